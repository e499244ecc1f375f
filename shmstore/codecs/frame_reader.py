"""Reading what codecs/frame_writer.py wrote. The writer is not trusted: every number is checked before it is used.

The objects have their own memory: a large array uses the copy of the value that the reader made.
"""

from __future__ import annotations

import sys

from shmstore.codecs import nested
from shmstore.codecs.arrow import read_table
from shmstore.codecs.buffers import skip_pad
from shmstore.codecs.dtypes import dtype_from
from shmstore.codecs.frame_writer import (
    ALIGN,
    ARROW,
    CATEGORICAL,
    HEAD,
    INTERVALS,
    KINDS,
    LABELS,
    LEVELS,
    MASKED,
    NUMPY,
    OBJECTS,
    PERIODS,
    RANGE,
    SPARSE,
    TEXTS,
    ZONED,
)
from shmstore.codecs.optional import need
from shmstore.codecs.pandas_zones import offset_from, zone_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Reader"]


class Reader:
    """Makes arrays and indexes, in the order in which they were described."""

    def __init__(self, data: memoryview) -> None:
        self.pd = sys.modules["pandas"]
        self.np = sys.modules["numpy"]
        end = HEAD + int.from_bytes(data[2:HEAD], "big")
        self.description = nested.unpack(bytes(data[HEAD:end]))
        self._memory = data[skip_pad(data, end, data[1]) :]
        self._at = 0

    def finish(self) -> None:
        """Refuse memory that no array uses."""
        if self._at != len(self._memory):
            raise ValueError("bytes are left over")

    def _take(self, size: int) -> memoryview:
        start = self._at + -self._at % ALIGN
        if type(size) is not int or not 0 <= size <= len(self._memory) - start:
            raise ValueError("an array is cut short")
        self._at = start + size
        return self._memory[start : self._at]

    # ---- indexes -------------------------------------------------------------------------------------------

    def index(self, description: Any) -> Any:
        """Make an index."""
        how, *rest = description
        if how == RANGE:
            name, *numbers = rest
            if len(numbers) != 3 or not all([type(number) is int for number in numbers]):
                raise ValueError("a range has start, stop and step")
            return self.pd.RangeIndex(*numbers, name=name)
        if how == LABELS:
            name, freq, array = rest
            return self._labels(name, freq, self.array(array))
        if how == LEVELS:
            return self._levels(*rest)
        raise ValueError("unknown kind of index")

    def _labels(self, name: Any, freq: Any, array: Any) -> Any:
        for part in (array[:0], array):  # pandas 1 would first make a dense array of a sparse one, of any length
            index = self.pd.Index(part, dtype=array.dtype, copy=False, tupleize_cols=False)
            if index.dtype != array.dtype:
                raise ValueError(f"this pandas has no index of dtype {array.dtype}")
        index.name = name
        return self.with_freq(index, freq)

    def with_freq(self, x: Any, freq: Any) -> Any:
        """Set the offset of an index or array of times. pandas itself would first compute all of the times."""
        if freq is not None:
            if x.dtype.kind not in "mM":
                raise ValueError("only times have an offset")
            array = getattr(x, "array", x)
            (array if hasattr(array, "freq") else x)._freq = offset_from(freq)  # since pandas 3.1 it is the index's
        return x

    def _levels(self, names: Any, sortorder: Any, levels: Any, codes: Any) -> Any:
        made = [self.index(level) for level in levels]
        numbers = [self._codes(array, len(level)) for array, level in zip(codes, made)]
        if len(levels) != len(codes) or len({len(array) for array in numbers}) != 1:
            raise ValueError("levels and codes do not fit")
        if sortorder is not None and type(sortorder) is not int:
            raise ValueError("a sort order is an int")
        return self.pd.MultiIndex(made, numbers, sortorder, names=names, verify_integrity=False)

    def _codes(self, description: Any, count: int) -> Any:
        """Make an array of positions below *count*; -1 means none."""
        codes = self._plain(description)
        if (
            codes.dtype.kind != "i"
            or not codes.dtype.isnative
            or (len(codes) and not -1 <= codes.min() <= codes.max() < count)
        ):
            raise ValueError("codes lead out of what they are of")
        return codes

    # ---- arrays --------------------------------------------------------------------------------------------

    def array(self, description: Any) -> Any:
        """Make an array, of numpy or of pandas."""
        how, *rest = description
        make = _MAKERS.get(how) if type(how) is int else None
        if make is None:
            raise ValueError("unknown kind of array")
        return make(self, *rest)

    def _plain(self, description: Any) -> Any:
        """Make an array of numpy's, which has memory for each of its elements."""
        if description[0] != NUMPY:
            raise ValueError("an array of numbers is wanted")
        return self.array(description)

    def _numpy(self, packed: bytes, size: int) -> Any:
        dtype = dtype_from(packed)
        if dtype.kind not in KINDS or not dtype.itemsize or dtype.subdtype is not None or size % dtype.itemsize:
            raise ValueError("no column has such a dtype")
        memory = self._take(size)
        array = self.np.frombuffer(memory, dtype) if size else self.np.empty(0, dtype)
        if not array.flags.writeable or not array.flags.aligned:
            array = array.copy()
        if dtype.kind in "mM" and self.pd.Series(array[:0]).dtype != dtype:
            raise ValueError(f"this pandas has no columns of {dtype}")
        return array

    def _objects(self, cells: Any) -> Any:
        return self.np.fromiter(cells, object, len(cells))

    def _zoned(self, kind: int, zone: bytes, array: Any) -> Any:
        naive = self.pd.DatetimeIndex(self._plain(array))
        return naive.tz_localize("UTC").tz_convert(zone_from(kind, zone)).array

    def _periods(self, offset: Any, ordinals: Any) -> Any:
        return self.pd.arrays.PeriodArray(self._plain(ordinals), dtype=self.pd.PeriodDtype(offset_from(offset)))

    def _intervals(self, closed: str, left: Any, right: Any) -> Any:
        return self.pd.arrays.IntervalArray.from_arrays(self._ends(left), self._ends(right), closed)

    def _ends(self, description: Any) -> Any:
        """Make an index of numbers or times that has memory for each, as pandas looks at all of them."""
        if description[0] == LABELS and description[3][0] in (NUMPY, ZONED, MASKED, ARROW):
            index = self.index(description)
            kind = getattr(index.dtype, "pyarrow_dtype", None)
            if kind is None or need("pyarrow", "arrow").types.is_primitive(kind):
                return index
        raise ValueError("intervals have no such ends")

    def _categorical(self, ordered: bool, categories: Any, codes: Any) -> Any:
        if type(ordered) is not bool:
            raise ValueError("categories are ordered or not")
        # Its own constructors would hash them all, to find one that comes twice: of a stranger's that may take for ever.
        kind: Any = self.pd.Categorical
        made: Any = super(kind, kind)
        dtype = self.pd.CategoricalDtype._from_fastpath(self.index(categories), ordered)
        return made._simple_new(self._codes(codes, len(dtype.categories)), dtype)

    def _masked(self, values: Any, mask: Any) -> Any:
        arrays, made = self.pd.arrays, self._plain(values)
        kinds = {"b": arrays.BooleanArray, "f": arrays.FloatingArray}
        return kinds.get(made.dtype.kind, arrays.IntegerArray)(made, self._plain(mask))

    def _texts(self, storage: str, nan: bool, texts: Any) -> Any:
        if type(texts) is not list or not all([text is None or isinstance(text, str) for text in texts]):
            raise ValueError("there are other cells than texts")
        return self.pd.array(texts, dtype=self._text_dtype(storage, nan))

    def _text_dtype(self, storage: str, nan: bool) -> Any:
        kind = self.pd.StringDtype
        dtype = kind(storage, na_value=self.np.nan) if nan and storage != "pyarrow_numpy" else kind(storage)
        if dtype.storage != storage or (dtype.na_value is not self.pd.NA) != nan:
            raise ValueError("this pandas has no such texts")
        return dtype

    def _arrow(self, how: Any, size: int) -> Any:
        column = read_table(self._take(size)).column(0)
        if how is None:
            return self.pd.arrays.ArrowExtensionArray(column)
        dtype, types = self._text_dtype(*how), need("pyarrow", "arrow").types
        if dtype.storage == "python" or not (types.is_string(column.type) or types.is_large_string(column.type)):
            raise ValueError(
                "texts are not kept so"
            )  # of other types there may be more than bytes to say what they are
        return dtype.__from_arrow__(column)

    def _sparse(self, length: int, fill: Any, values: Any, places: Any) -> Any:
        stored = self.array(values) if values[0] == OBJECTS else self._plain(values)
        numbers = [self._plain(place).astype("i4", copy=False) for place in places]
        of_kind = self.pd.arrays.SparseArray([], kind="integer" if len(numbers) == 1 else "block").sp_index
        index = type(of_kind)(length, *numbers)
        if index.npoints != len(stored):
            raise ValueError("values and their places do not fit")
        dtype = self.pd.SparseDtype(stored.dtype, fill)
        return self.pd.arrays.SparseArray(stored, sparse_index=index, fill_value=fill, dtype=dtype)


_MAKERS: dict[int, Callable[..., Any]] = {
    NUMPY: Reader._numpy,
    OBJECTS: Reader._objects,
    ZONED: Reader._zoned,
    PERIODS: Reader._periods,
    INTERVALS: Reader._intervals,
    CATEGORICAL: Reader._categorical,
    MASKED: Reader._masked,
    TEXTS: Reader._texts,
    ARROW: Reader._arrow,
    SPARSE: Reader._sparse,
}
