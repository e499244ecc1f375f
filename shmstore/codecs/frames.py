"""pandas: DataFrame, Series, Index of every kind, and the arrays that they are made of.

Each is stored as a description and the memory that it refers to (``codecs/frame_writer.py``, ``codecs/frame_reader.py``).
An object that is read has the same dtypes, labels, indexes (their types, names and offsets), attributes and flags. A class
that derives from one of these is refused.

A program that has such an object has imported pandas. This module imports pandas to read one.
"""

from __future__ import annotations

import sys

from shmstore.codecs import pandas_scalars
from shmstore.codecs.frame_reader import Reader
from shmstore.codecs.frame_writer import Writer, index_types
from shmstore.codecs.optional import need

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shmstore.codecs.buffers import _Memory

    _Parts = Callable[[Any], tuple[list[Any], int]]

__all__ = ["PANDAS", "decode_pandas", "types"]

PANDAS = 21

FRAME, SERIES, INDEX, ARRAY = 1, 2, 3, 4


# ---- writing -----------------------------------------------------------------------------------------------


def frame_parts(value: Any) -> tuple[list[Any], int]:
    """Write indexes, attributes and columns."""
    writer = Writer()
    start = _start(writer, value)
    with writer.inside(".columns"):
        columns = writer.index(value.columns)
    arrays = []
    for at in range(value.shape[1]):
        with writer.inside(f".iloc[:, {at}]"):
            arrays.append(writer.array(value.iloc[:, at], ".iloc[{}]"))
    return writer.parts(FRAME, [*start, columns, arrays])


def series_parts(value: Any) -> tuple[list[Any], int]:
    """Write index, attributes, name and cells."""
    writer = Writer()
    start = _start(writer, value)
    return writer.parts(SERIES, [*start, writer.value(value.name, ".name"), writer.array(value, ".iloc[{}]")])


def index_parts(value: Any) -> tuple[list[Any], int]:
    """Write the labels, and what is known of them."""
    writer = Writer()
    return writer.parts(INDEX, [writer.index(value)])


def array_parts(value: Any) -> tuple[list[Any], int]:
    """Write an array, and the offset that one of times may know."""
    writer = Writer()
    if type(value) is _numpy_array(writer.pd):
        value = value.to_numpy()
    return writer.parts(ARRAY, [writer.freq(value), writer.array(value)])


def _start(writer: Writer, value: Any) -> list[Any]:
    attributes = writer.value(dict(value.attrs), ".attrs")
    with writer.inside(".index"):
        return [attributes, value.flags.allows_duplicate_labels, writer.index(value.index)]


# ---- reading -----------------------------------------------------------------------------------------------


def decode_pandas(data: _Memory) -> Any:
    """Read an object of pandas."""
    pd = need("pandas", "pandas")
    if data[0] >= pandas_scalars.FIRST:
        return pandas_scalars.decode(bytes(data))
    read = _READERS.get(data[0])
    if read is None:
        raise ValueError(f"unknown kind {data[0]}")
    reader = Reader(memoryview(data))
    found = read(pd, reader, *reader.description)
    reader.finish()
    return found


def _frame(pd: Any, reader: Reader, attrs: Any, duplicates: Any, index: Any, columns: Any, arrays: Any) -> Any:
    rows, labels = reader.index(index), reader.index(columns)
    made = {at: _column(pd, reader.array(array), rows) for at, array in enumerate(arrays)}
    if len(made) != len(labels):
        raise ValueError("columns and their labels do not fit")
    of_bytes = any([column.dtype != object and column.dtype.kind == "S" for column in made.values()])
    frame = pd.DataFrame(made, index=rows, copy=False if of_bytes else None)  # a copy of them would be of objects
    frame.columns = labels
    return _with(frame, attrs, duplicates)


def _series(pd: Any, reader: Reader, attrs: Any, duplicates: Any, index: Any, name: Any, array: Any) -> Any:
    rows = reader.index(index)
    made = _column(pd, reader.array(array), rows)
    if not isinstance(made, pd.Series):
        made = pd.Series(made, index=rows, dtype=made.dtype, copy=False)
    made.name = name
    return _with(made, attrs, duplicates)


def _column(pd: Any, array: Any, index: Any) -> Any:
    """Return what a frame takes as a column of just this dtype."""
    if len(array) != len(index):
        raise ValueError("index and columns do not have the same length")
    if array.dtype != object and array.dtype.kind != "S":
        return array
    return pd.Series(array, index=index, dtype=array.dtype, copy=False)  # nothing is made of its cells


def _with(made: Any, attrs: Any, duplicates: Any) -> Any:
    if type(attrs) is not dict or type(duplicates) is not bool:
        raise ValueError("attributes are a dict, and the flag a bool")
    made.attrs = attrs
    if not duplicates:
        made.flags._allows_duplicate_labels = False  # as it was; the property would hash all labels first
    return made


def _index(pd: Any, reader: Reader, index: Any) -> Any:
    return reader.index(index)


def _array(pd: Any, reader: Reader, freq: Any, array: Any) -> Any:
    made = reader.array(array)
    if isinstance(made, reader.np.ndarray):
        made = pd.array(made) if made.dtype.kind in "mM" else _numpy_array(pd)(made)
    return reader.with_freq(made, freq)


_READERS: dict[int, Callable[..., Any]] = {FRAME: _frame, SERIES: _series, INDEX: _index, ARRAY: _array}


# ---- what codecs/registry.py asks for ----------------------------------------------------------------------


def _numpy_array(pd: Any) -> Any:
    return getattr(pd.arrays, "NumpyExtensionArray", None) or pd.arrays.PandasArray


def _array_types(pd: Any) -> list[type]:
    names = ("ArrowExtensionArray", "ArrowStringArray", "BooleanArray", "DatetimeArray", "FloatingArray",
             "IntegerArray", "IntervalArray", "PeriodArray", "SparseArray", "StringArray", "TimedeltaArray")  # fmt: skip
    found = [pd.Categorical, _numpy_array(pd), *[getattr(pd.arrays, name) for name in names]]
    of_texts = [*pd.arrays.StringArray.__subclasses__(), *pd.arrays.ArrowStringArray.__subclasses__()]
    return [*found, *[kind for kind in of_texts if kind.__module__.startswith("pandas.")]]  # those with NaN, before 3


def types() -> list[tuple[type, int, _Parts]]:
    """Return type, code and parts of what pandas brings."""
    pd = sys.modules["pandas"]
    found: list[tuple[type, _Parts]] = [(pd.DataFrame, frame_parts), (pd.Series, series_parts)]
    found += [(kind, index_parts) for kind in (pd.RangeIndex, pd.MultiIndex, *index_types(pd))]
    found += [(kind, array_parts) for kind in _array_types(pd)]
    return [(kind, PANDAS, parts) for kind, parts in [*found, *pandas_scalars.types()]]
