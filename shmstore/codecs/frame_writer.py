"""How pandas objects are described: their arrays (one for each column and each index) and their indexes.

An array is described by the parts that pandas keeps (codes and categories, values and mask, ordinals and an offset ...),
down to numpy arrays. The elements of these follow the description as they are in memory. Cells that are objects are in
the description. So nothing is converted. Arrow arrays, and long arrays of texts that pandas keeps in Arrow's memory, are
IPC streams. Only these need pyarrow.

The exact dtype counts: dtypes that other packages define are refused. ``docs/format.md`` has the grammar.
"""

from __future__ import annotations

import sys

from shmstore.codecs import nested
from shmstore.codecs.arrow import refuse_unknown, write_table
from shmstore.codecs.buffers import pad_after
from shmstore.codecs.dtypes import dtype_to
from shmstore.codecs.optional import need
from shmstore.codecs.pandas_zones import offset_to, zone_to
from shmstore.codecs.unsupported import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shmstore.codecs.nested import Places

__all__ = ["ALIGN", "HEAD", "KINDS", "Writer"]

NUMPY, OBJECTS, ZONED, PERIODS, INTERVALS, CATEGORICAL, MASKED, TEXTS, ARROW, SPARSE = range(1, 11)
RANGE, LABELS, LEVELS = 1, 2, 3

HEAD = 6  # bytes: kind, padding, length of the description in four
ALIGN = 16  # elements of every numpy dtype may lie there
KINDS = "biufcmMS"  # of numpy's dtypes, those that pandas has columns of
SHORT = 256  # texts; so many take less than Arrow's schema does

_OTHER_DTYPE = "store x.astype(object), or use codec='pickle'"
_STORAGE = "store x.astype(pandas.ArrowDtype(x.dtype.pyarrow_dtype.storage_type))"


class Writer:
    """Describes arrays and indexes, and gathers the memory that belongs to them."""

    def __init__(self) -> None:
        self.pd = sys.modules["pandas"]
        self.np = sys.modules["numpy"]
        self._pieces: list[Any] = []
        self._size = 0
        self.path = ""  # in the object, of what is being described
        self._places: Places = []

    def parts(self, kind: int, description: list[Any]) -> tuple[list[Any], int]:
        """Return what is written of an object, in pieces, and how many bytes they are.

        Raises: Unsupported.
        """
        packed = nested.pack(description, self._places)
        start = HEAD + len(packed)
        pad = pad_after(start, self._size)
        head = bytes((kind, len(pad))) + len(packed).to_bytes(4, "big")
        return [head, packed, pad, *self._pieces], start + len(pad) + self._size

    def inside(self, segment: str) -> _Inside:
        """Go one segment of the path into the object."""
        return _Inside(self, segment)

    def value(self, value: Any, segment: str) -> Any:
        """Return a value that becomes part of the description as it is."""
        self._places.append((self.path + segment, [value]))
        return value

    def _cells(self, values: list[Any], segment: str) -> list[Any]:
        self._places.append((self.path + segment, values))
        return values

    # ---- indexes -------------------------------------------------------------------------------------------

    def index(self, index: Any) -> list[Any]:
        """Describe an index.

        Raises: Unsupported.
        """
        kind = type(index)
        if kind is self.pd.RangeIndex:
            return [RANGE, self.value(index.name, ".name"), index.start, index.stop, index.step]
        if kind is self.pd.MultiIndex:
            names = self._cells(list(index.names), ".names[{}]")
            levels = []
            for at, level in enumerate(index.levels):
                with self.inside(f".levels[{at}]"):
                    levels.append(self.index(level))
            return [
                LEVELS,
                names,
                index.sortorder,
                levels,
                [self._numpy(self.np.asarray(codes), "") for codes in index.codes],
            ]
        if kind not in index_types(self.pd):
            raise Unsupported("it is of a class derived from pandas.Index", "store one of pandas.Index(x)")
        return [LABELS, self.value(index.name, ".name"), self.freq(index), self.array(index)]

    def freq(self, x: Any) -> list[Any] | None:
        """Describe the offset that an index or array of times knows of itself, if it does."""
        offset = getattr(x, "freq", None) if x.dtype.kind in "mM" else None
        if offset is None:
            return None
        try:
            return offset_to(offset)
        except Unsupported as error:
            kind = "DatetimeIndex" if x.dtype.kind == "M" else "TimedeltaIndex"
            raise Unsupported(error.cause, f"leave it out: pandas.{kind}(x, freq=None)", ".freq" + error.part) from None

    # ---- arrays --------------------------------------------------------------------------------------------

    def array(self, x: Any, element: str = "[{}]") -> list[Any]:
        """Describe the array of a Series or an index, or an array itself; *element* is how one is reached.

        Raises: Unsupported.
        """
        if isinstance(x.dtype, self.np.dtype):
            return self._numpy(self.np.asarray(x), element)
        for name, describe in _DESCRIBERS.items():
            if type(x.dtype) is getattr(self.pd, name, None):
                values = (
                    x if type(x) is self.pd.IntervalIndex else getattr(x, "array", x)
                )  # an array of ranges fails in pandas 3.1
                return describe(self, values, element)
        from shmstore.codecs.error_path import type_name

        raise Unsupported(f"arrays of dtype {type_name(type(x.dtype))} are not stored", _OTHER_DTYPE)

    def _numpy(self, array: Any, element: str) -> list[Any]:
        dtype = array.dtype
        if dtype.kind == "O":
            return [OBJECTS, self._cells(array.tolist(), element)]
        described = dtype_to(dtype)
        if dtype.kind not in KINDS or dtype.itemsize == 0:
            raise Unsupported(f"arrays of dtype {dtype.str} are not stored", _OTHER_DTYPE)
        if not array.flags.c_contiguous:
            array = array.copy()
        return [NUMPY, described, self._add(array.view("u1"))]

    def _add(self, memory: Any) -> int:
        """Append a piece of memory, and return its size."""
        size: int = memory.nbytes
        pad = -self._size % ALIGN
        self._pieces += [bytes(pad), memory]
        self._size += pad + size
        return size

    def _zoned(self, array: Any, element: str) -> list[Any]:
        with nested.At(".dtype"):
            kind, zone = zone_to(array.dtype.tz)
        return [ZONED, kind, zone, self._numpy(self.np.asarray(array.tz_convert(None)), element)]

    def _periods(self, array: Any, element: str) -> list[Any]:
        with nested.At(".dtype.freq"):
            offset = offset_to(array.dtype.freq)
        return [PERIODS, offset, self._numpy(array.asi8, element)]

    def _intervals(self, array: Any, element: str) -> list[Any]:
        ends = [array.left, array.right]
        for at, end in enumerate(ends):
            if type(end) is self.pd.RangeIndex:  # of which pandas cannot even take a slice
                ends[at] = self.pd.Index(end.to_numpy())
        return [INTERVALS, array.closed, *[self.index(end) for end in ends]]

    def _categorical(self, array: Any, element: str) -> list[Any]:
        with self.inside(".array.categories" if element != "[{}]" else ".categories"):
            categories = self.index(array.categories)
        return [CATEGORICAL, bool(array.ordered), categories, self._numpy(array.codes, element)]

    def _masked(self, array: Any, element: str) -> list[Any]:
        kind = array.dtype.numpy_dtype
        values = array.to_numpy(dtype=kind, na_value=kind.type(0))
        return [MASKED, self._numpy(values, element), self._numpy(array.isna(), element)]

    def _texts(self, array: Any, element: str) -> list[Any]:
        dtype = array.dtype
        how = [dtype.storage, dtype.na_value is not self.pd.NA]
        if dtype.storage != "python" and len(array) > SHORT:
            return self._arrow(array, element, how)
        return [TEXTS, *how, self._cells(array.to_numpy(object, na_value=None).tolist(), element)]

    def _arrow(self, array: Any, element: str, how: list[Any] | None = None) -> list[Any]:
        pa = need("pyarrow", "arrow")
        chunks = array.__arrow_array__()
        refuse_unknown(pa, chunks.type, "it", _STORAGE)
        return [ARROW, how, self._add(memoryview(write_table(pa.table([chunks], names=["x"]))))]

    def _sparse(self, array: Any, element: str) -> list[Any]:
        index = array.sp_index
        places = [index.indices] if array.kind == "integer" else [index.blocs, index.blengths]
        with self.inside(".array" if element != "[{}]" else ""):
            fill = self.value(array.fill_value, ".fill_value")
            values = self._numpy(array.sp_values, ".sp_values[{}]")
        return [SPARSE, len(array), fill, values, [self._numpy(place, element) for place in places]]


class _Inside(nested.At):
    """Also prefixes the paths of the values that the writer takes meanwhile."""

    __slots__ = ("_outer", "_writer")

    def __init__(self, writer: Writer, segment: str) -> None:
        super().__init__(segment)
        self._writer = writer
        self._outer = writer.path

    def __enter__(self) -> None:
        self._writer.path += self._path

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._writer.path = self._outer
        super().__exit__(kind, error, trace)


_MASKED_DTYPES = ["BooleanDtype", "Float32Dtype", "Float64Dtype"]
_MASKED_DTYPES += [f"{sign}Int{bits}Dtype" for sign in ("", "U") for bits in (8, 16, 32, 64)]
_DESCRIBERS: dict[str, Callable[[Writer, Any, str], list[Any]]] = {
    "DatetimeTZDtype": Writer._zoned,
    "PeriodDtype": Writer._periods,
    "IntervalDtype": Writer._intervals,
    "CategoricalDtype": Writer._categorical,
    "StringDtype": Writer._texts,
    "ArrowDtype": Writer._arrow,
    "SparseDtype": Writer._sparse,
    **dict.fromkeys(_MASKED_DTYPES, Writer._masked),
}


def index_types(pd: Any) -> list[type]:
    """Return the classes of indexes that are described by one array."""
    names = ("Index", "DatetimeIndex", "TimedeltaIndex", "PeriodIndex", "IntervalIndex", "CategoricalIndex")
    numbers = {
        type(pd.Index([], dtype=code)) for code in ("int64", "uint64", "float64")
    }  # pandas 1 has classes for them
    return [*[getattr(pd, name) for name in names], *numbers]
