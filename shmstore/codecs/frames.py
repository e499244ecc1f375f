"""pandas DataFrames, Series and Indexes: the columns as an Arrow stream, labels and indexes beside it.

Columns of dtype object change in Arrow without an error (a None among the NaN, ints, dicts), so their cells are
stored by this package's codec, one by one, as are labels; so are columns of numpy dtypes that Arrow does not
have. And what is written is read back and compared before it is stored. So a value that comes back has the
same dtypes, the same index (its type, name and frequency) and the same cells, or ``put`` raised; and to put
one costs reading it as well.

A program that holds such an object has imported pandas; pyarrow is imported to write it.
"""

from __future__ import annotations

import sys

from shmstore import _calls
from shmstore._foreign import is_foreign
from shmstore.codecs.arrow import read_table, write_table
from shmstore.codecs.buffers import pad_after, skip_pad
from shmstore.codecs.optional import need
from shmstore.codecs.refusal import Unsupported
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shmstore.codecs.buffers import _Memory

__all__ = ["PANDAS", "decode_frame", "frame_parts", "types"]

PANDAS = 21

_NESTED = "there is another pandas object in it"
_CELLS = 64  # for each byte of a stream
_HEAD = 6  # bytes: kind, padding, length of the description in four
FRAME, SERIES, INDEX = 1, 2, 3
_REMEDY = "store pyarrow.Table.from_pandas(x), or its columns as numpy arrays, or use codec='pickle'"

RANGE, LABELS, COLUMN, LEVELS = 1, 2, 3, 4  # how an index is described


# ---- writing -----------------------------------------------------------------------------------------------


def frame_parts(value: Any) -> tuple[list[Any], int]:
    """Write kind and description, padding, and the IPC stream of the columns."""
    pd = sys.modules["pandas"]
    if sys.modules.get("pyarrow") is None:
        try:
            __import__("pyarrow")
        except ImportError as error:
            if is_foreign(error):
                raise
            raise Unsupported("pandas objects are stored through pyarrow, which cannot be imported here",
                              "pip install 'shmstore[arrow]', or use codec='pickle'") from None  # fmt: skip
    try:
        parts, size = _write(pd, value)
        again = _read(b"".join(parts))
        difference = _difference(pd, value, again)
    except Unsupported:
        raise
    except CodecError as error:  # a label that is not stored
        if is_foreign(error):
            raise
        cause = str(error).removeprefix("cannot encode $")
        raise Unsupported(f"among its labels or attributes, {cause.partition(';')[0].strip(': ')}",
                          _REMEDY) from None  # fmt: skip
    except Exception as error:
        if is_foreign(error):
            raise
        raise Unsupported(f"pyarrow does not convert it: {str(error)[:200]}", _REMEDY) from None
    if difference:
        raise Unsupported(f"{difference} would not come back the same", _REMEDY)
    return parts, size


def _write(pd: Any, value: Any) -> tuple[list[Any], int]:
    from shmstore.codecs import msgpack

    about: list[Any]
    if isinstance(value, pd.Index):
        kind, about = INDEX, [_index_to(pd, value)]
        columns = []
    elif isinstance(value, pd.Series):
        kind, about = SERIES, [_index_to(pd, value.index), value.name, value.attrs]
        columns = [value]
    else:
        kind, about = FRAME, [_index_to(pd, value.index), _index_to(pd, value.columns), value.attrs]
        columns = [value.iloc[:, at] for at in range(value.shape[1])]
    aside = {at: _cells_to(column) for at, column in enumerate(columns) if not _for_arrow(column.dtype)}
    if aside:
        about.append(aside)
    if kind != INDEX and not value.flags.allows_duplicate_labels:
        raise Unsupported("its flags are not stored", "x.set_flags(allows_duplicate_labels=True)", ".flags")
    packed = msgpack.encode(about)
    if _calls.holds(packed, PANDAS):
        raise Unsupported(_NESTED, "store that one by itself")
    stream = write_table(_table(pd, {at: column for at, column in enumerate(columns) if at not in aside}))
    pad = pad_after(_HEAD + len(packed), stream.size)
    head = bytes((kind, len(pad))) + len(packed).to_bytes(4, "big")
    return [head, packed, pad, stream], _HEAD + len(packed) + len(pad) + stream.size


def _for_arrow(dtype: Any) -> bool:
    """Tell whether Arrow keeps columns of a dtype: of numpy's, not objects, complex or byte-swapped ones."""
    if not isinstance(dtype, sys.modules["numpy"].dtype):
        return True
    return bool(dtype.isnative and dtype.kind in "biufmM" and dtype.itemsize <= 8)


def _cells_to(column: Any) -> Any:
    return list(column) if column.dtype == object else column.to_numpy()


def _table(pd: Any, columns: dict[int, Any]) -> Any:
    """Return the table whose columns are called by their numbers."""
    pa = need("pyarrow", "arrow")
    plain = {str(at): column.reset_index(drop=True) for at, column in columns.items()}
    return pa.Table.from_pandas(pd.DataFrame(plain), preserve_index=False)


def _index_to(pd: Any, index: Any) -> list[Any]:
    """Describe an index."""
    if type(index) is pd.RangeIndex:
        return [RANGE, index.name, index.start, index.stop, index.step]
    if type(index) is pd.MultiIndex:
        levels = [_index_to(pd, index.get_level_values(at)) for at in range(index.nlevels)]
        return [LEVELS, list(index.names), levels]
    dtype = str(index.dtype)
    if type(index) is pd.Index and dtype in ("object", "str"):
        return [LABELS, index.name, dtype, list(index)]
    freq = getattr(index, "freqstr", None) if type(index) is not pd.PeriodIndex else None
    stream = write_table(_table(pd, {0: index.to_series()}))
    return [COLUMN, index.name, freq, stream.to_pybytes()]


# ---- reading -----------------------------------------------------------------------------------------------


def decode_frame(data: _Memory) -> Any:
    """Read a DataFrame, Series or Index."""
    need("pandas", "arrow")
    need("pyarrow", "arrow")
    return _read(data)


def _read(data: _Memory) -> Any:
    from shmstore.codecs import msgpack

    pd = sys.modules["pandas"]
    kind, pad = data[:2]
    end = _HEAD + int.from_bytes(data[2:_HEAD], "big")
    packed = bytes(data[_HEAD:end])
    if _calls.holds(packed, PANDAS):  # each level would copy all that are inside it
        raise ValueError(_NESTED)
    about = msgpack.decode(packed)
    if kind not in (FRAME, SERIES, INDEX) or type(about) is not list:
        raise ValueError("unknown kind or description")
    stream = memoryview(data)[skip_pad(data, end, pad) :]
    table = read_table(stream)
    index = _index_from(pd, about[0], len(data))
    if kind == INDEX:
        return index
    frame = _columns(pd, table, len(stream), about[3] if len(about) > 3 else {}, len(index))
    if type(about[2]) is not dict:
        raise ValueError("attrs are a dict")
    if kind == SERIES:
        frame = frame.iloc[:, 0]
        frame.name = about[1]
    else:
        frame.columns = _index_from(pd, about[1], len(data))
    frame.index = index
    frame.attrs = about[2]
    return frame


def _columns(pd: Any, table: Any, size: int, aside: dict[int, Any], rows: int) -> Any:
    """Put the columns of the table, whose stream has *size* bytes, and the others together."""
    if table.num_columns:
        frame = _to_pandas(table, size)
    else:
        frame = pd.DataFrame(index=pd.RangeIndex(rows))
    if len(frame) != rows or any([len(cells) != rows for cells in aside.values()]):
        raise ValueError("index and columns do not have the same length")
    for at, cells in aside.items():
        dtype = object if type(cells) is list else cells.dtype
        frame.insert(at, str(at), pd.Series(cells, index=frame.index, dtype=dtype))
    return frame


def _to_pandas(table: Any, size: int) -> Any:
    """Convert a table; one that would take much more memory than its stream of *size* bytes is refused."""
    if table.num_rows * table.num_columns > _CELLS * size:
        raise ValueError("there are more cells than bytes to say what they hold")
    pa = need("pyarrow", "arrow")
    for field in table.schema:
        if not _is_bounded(pa, field.type, True):
            raise ValueError(f"columns of type {str(field.type)[:80]} can be much larger than their bytes; store the table")
    return table.to_pandas()


def _is_bounded(pa: Any, kind: Any, is_column: bool) -> bool:
    """Tell whether an array of this type has some bytes for each element that to_pandas() makes."""
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _is_bounded(pa, kind.storage_type, is_column)
    if t.is_dictionary(kind):  # below a column each of its values is made as often as it is referred to
        return is_column and _is_bounded(pa, kind.value_type, False)
    if t.is_fixed_size_list(kind) and not kind.list_size:
        return False
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind) or t.is_map(kind) or t.is_struct(kind):
        inside = [kind.field(at).type for at in range(kind.num_fields)]
        return bool(inside) and all([_is_bounded(pa, part, False) for part in inside])
    if t.is_fixed_size_binary(kind):
        return bool(kind.byte_width)
    plain = (t.is_boolean, t.is_integer, t.is_floating, t.is_temporal, t.is_decimal, t.is_string, t.is_large_string, t.is_binary,
             t.is_large_binary)  # fmt: skip
    return (is_column and t.is_null(kind)) or any([one(kind) for one in plain])


def _index_from(pd: Any, description: Any, size: int) -> Any:
    """Make an index, of a value of *size* bytes."""
    how, name, *rest = description
    if how == RANGE:
        start, stop, step = rest
        return pd.RangeIndex(start, stop, step, name=name)
    if how == LABELS:
        dtype, labels = rest
        if dtype not in ("object", "str") or type(labels) is not list:
            raise ValueError("unknown labels")
        return pd.Index(labels, dtype=dtype, name=name, tupleize_cols=False)
    if how == COLUMN:
        freq, stream = rest
        index = pd.Index(_to_pandas(read_table(stream), len(stream)).iloc[:, 0])
        index.name = name
        if freq is not None:
            index.freq = freq
        return index
    if how == LEVELS:
        levels = [_index_from(pd, level, size) for level in rest[0]]
        if sum(map(len, levels)) > _CELLS * size:  # a range takes memory there
            raise ValueError("there are more labels than bytes to say what they are")
        return pd.MultiIndex.from_arrays(levels, names=name)
    raise ValueError("unknown kind of index")


# ---- comparing ---------------------------------------------------------------------------------------------


def _difference(pd: Any, a: Any, b: Any) -> str:
    """Name what is not the same, or return nothing."""
    if type(a) is not type(b):
        return "its type"
    if isinstance(a, pd.Index):
        return _index_difference(pd, a, b, "it")
    found = _index_difference(pd, a.index, b.index, "its index")
    if found or a.attrs != b.attrs:
        return found or "its attrs"
    if isinstance(a, pd.Series):
        return "its name" if not _same_cell(a.name, b.name) else _cells(a, b, "it")
    found = _index_difference(pd, a.columns, b.columns, "the labels of its columns")
    for at in range(a.shape[1]):
        found = found or _cells(a.iloc[:, at], b.iloc[:, at], f"column {at}")
    return found


def _index_difference(pd: Any, a: Any, b: Any, what: str) -> str:
    if type(a) is not type(b) or len(a) != len(b) or a.nlevels != b.nlevels:
        return what
    if not _same_cells(a.names, b.names):
        return f"the name of {what}"
    if a.nlevels > 1:
        found = ""
        for at in range(a.nlevels):
            level = f"level {at} of {what}"
            found = found or _index_difference(pd, a.get_level_values(at), b.get_level_values(at), level)
        return found
    if getattr(a, "freq", None) != getattr(b, "freq", None):
        return f"the frequency of {what}"
    return _cells(a, b, what)


def _cells(a: Any, b: Any, what: str) -> str:
    if a.dtype != b.dtype or repr(a.dtype) != repr(b.dtype):
        return f"{what} (of dtype {str(a.dtype)[:80]})"
    if a.dtype == object:
        same = _same_cells(a, b)
    elif str(a.dtype) == "category":
        if _cells(a.dtype.categories, b.dtype.categories, what):
            return f"the categories of {what}"
        same = a.equals(b)
    else:
        same = a.equals(b)
    return "" if same else what


def _same_cells(a: Any, b: Any) -> bool:
    """Compare two sequences of objects."""
    return len(a) == len(b) and all([_same_cell(x, y) for x, y in zip(a, b, strict=True)])


def _same_cell(a: Any, b: Any) -> bool:
    """Compare two objects; those of other types than these are compared by == alone, as cells rarely are any."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (tuple, list)):
        return _same_cells(a, b)
    return a is b or bool(a == b) or bool(a != a and b != b)


def types() -> list[tuple[type, int, Callable[[Any], tuple[list[Any], int]]]]:
    """Return type, code and parts of what this module stores."""
    pd = sys.modules["pandas"]
    names = ("DataFrame", "Series", "Index", "RangeIndex", "MultiIndex", "DatetimeIndex", "TimedeltaIndex",
             "PeriodIndex", "IntervalIndex", "CategoricalIndex")  # fmt: skip
    return [(getattr(pd, name), PANDAS, frame_parts) for name in names]
