"""What an error says to store instead can be stored: each remedy is executed here, as it stands in the message."""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
import io
import os
import pathlib
import subprocess
import sys
import warnings
from decimal import Decimal

import pytest

from shmstore.codecs import msgpack as codec
from shmstore.codecs import pickle as pickle_codec
from shmstore.errors import CodecError

Point = collections.namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Record:
    x: int


def derived(kind, *arguments):
    return type("Derived", (kind,), {})(*arguments)


STANDARD = [
    (Point(1, 2), "tuple(x)"), (Point(1, 2), "x._asdict()"), (Colour.RED, "x.value"), (Record(1), "dataclasses.asdict(x)"),
    (collections.OrderedDict(a=1), "dict(x)"), (collections.defaultdict(int, a=1), "dict(x)"), (collections.Counter("aab"), "dict(x)"),
    (derived(list, [1]), "list(x)"), (derived(set, [1]), "set(x)"), (derived(frozenset, [1]), "frozenset(x)"), (derived(str, "a"), "str(x)"),
    (derived(int, 7), "int(x)"), (derived(float, 1.5), "float(x)"), (derived(bytes, b"a"), "bytes(x)"), (derived(bytearray, b"a"), "bytearray(x)"),
    (derived(array.array, "h", [1]), "array.array(x.typecode, x)"), (pathlib.PurePosixPath("a/b"), "str(x)"), ((n for n in "ab"), "list(x)"),
    ("a\ud800", "x.encode('utf-8', 'surrogatepass')"), ("\udcff", "x.encode('utf-8', 'surrogateescape')"),
]  # fmt: skip


def check(value, expression, names=None):
    """The remedy stands in the error, and what it gives comes back of its type."""
    with pytest.raises(CodecError) as caught:
        codec.encode({"k": [value]})
    said = str(caught.value)
    assert said.startswith("cannot encode $.k[0]") and "; " in said
    written = (
        expression.replace("x.encode(", "s.encode(")
        if isinstance(value, str)
        else expression.replace("x.value", "its .value")
    )
    assert written in said
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        remedied = eval(expression, {"x": value, "array": array, "dataclasses": dataclasses, **(names or {})})
    back = codec.decode(codec.encode({"k": [remedied]}))["k"][0]
    assert type(back) is type(remedied)
    return remedied, back


@pytest.mark.parametrize(("value", "expression"), STANDARD, ids=[expression for _, expression in STANDARD])
def test_standard_types(value, expression):
    remedied, back = check(value, expression)
    assert back == remedied


def test_a_surrogate_of_a_file_name_gives_its_bytes_back():
    assert check(os.fsdecode(b"\xff"), "x.encode('utf-8', 'surrogateescape')")[1] == b"\xff"


# ---- numpy -------------------------------------------------------------------------------------------------


def numpy_values():
    np = pytest.importorskip("numpy", reason="numpy is not installed")
    records = np.rec.array([(1, 2.5), (2, 3.5)], dtype=[("a", "i4"), ("b", "f8")])
    plain = "numpy.array(x, numpy.dtype((numpy.void, x.dtype)), subok=False)"
    yield records, plain
    yield records, "x.tolist()"
    yield np.rec.array([("a", None)], dtype=[("s", "O"), ("t", "O")]), "x.tolist()"
    yield records[0], "x.item()"
    yield np.array(records, subok=False), "x.view(numpy.dtype((numpy.void, x.dtype)))"
    yield np.matrix([[1, 2]]), "numpy.array(x, subok=False)"
    yield np.char.array(["a", "b"]), "numpy.array(x, subok=False)"
    masked = np.ma.array([1, 2], mask=[0, 1])
    for part in ("x.data", "x.mask"):
        yield masked, part
        yield np.ma.masked, part
        yield np.ma.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")])[0], part
    yield np.array([1, "a", None, {"k": 1}], object), "x.tolist()"
    yield np.array(["a", "b"], object), "x.astype('U')"
    yield np.array([(1, "x")], [("a", "i4"), ("o", "O")]), "x.tolist()"
    yield np.array([(1, "x")], [("a", "i4"), ("o", "O")])[0], "x.tolist()"
    yield np.array([1, 2], np.dtype("i4", metadata={"a": 1})), "x.astype(x.dtype.str)"
    yield np.array([(1, 2)], np.dtype([("a", "i4"), ("b", "i4")], metadata={"a": 1})), "x.tolist()"
    yield np.array([(1, 2)], [("a", np.dtype("i4", metadata={"a": 1})), ("b", "i4")]), "x.tolist()"
    if hasattr(np, "dtypes") and hasattr(np.dtypes, "StringDType"):
        yield np.array(["a", "bc"], np.dtypes.StringDType()), "x.tolist()"
        yield np.array(["a", None], np.dtypes.StringDType(na_object=None)), "x.tolist()"
    yield np.str_("\ud800"), "x.encode('utf-8', 'surrogatepass')"


def test_numpy():
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    for value, expression in numpy_values():
        remedied, back = check(value, expression, {"numpy": numpy})
        if isinstance(remedied, numpy.ndarray):
            assert back.dtype == remedied.dtype
            assert back.tolist() == remedied.tolist() == value.tolist() or isinstance(value, numpy.ma.MaskedArray)
        else:
            assert repr(back) == repr(remedied)


def test_a_record_array_keeps_its_fields():
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    value, expression = next(iter(numpy_values()))
    _, back = check(value, expression, {"numpy": numpy})
    assert back.dtype.names == ("a", "b") and (back["b"] == value.b).all()


# ---- Arrow -------------------------------------------------------------------------------------------------


def test_arrow():
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    for value in (pyarrow.array([1, None]), pyarrow.chunked_array([[1], [2]])):
        remedied, back = check(value, "pyarrow.table({'name': x})", {"pyarrow": pyarrow})
        assert back.equals(remedied)
    for value in (pyarrow.scalar(5), pyarrow.scalar("a"), pyarrow.scalar(None), pyarrow.scalar([1, None])):
        assert check(value, "x.as_py()")[1] == value.as_py()


# ---- pandas ------------------------------------------------------------------------------------------------


def pandas_values():
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    extension = pytest.importorskip("pandas.tests.extension.decimal", reason="pandas is installed without its tests")
    tz = pytest.importorskip("dateutil.tz")
    decimals = extension.DecimalArray([Decimal(1), Decimal("1.50")])
    yield derived(pd.DataFrame, {"a": [1]}), "pandas.DataFrame(x)"
    yield derived(pd.Series, [1]), "pandas.Series(x)"
    yield decimals, "list(x)"
    yield pd.Series(decimals), "x.astype(object)"
    yield pd.Index(decimals), "x.astype(object)"
    for zone in (tz.tzlocal(), tz.tzoffset("x", 3600)):
        yield pd.Timestamp("2026-07-01", tz=zone), "x.tz_convert('UTC')"
        yield pd.date_range("2026-07-01", periods=2, tz=zone), "x.tz_convert('UTC')"
        yield pd.Series(pd.date_range("2026-07-01", periods=2, tz=zone)), "x.dt.tz_convert('UTC')"
    day = type("Mine", (pd.offsets.Day,), {})
    times = pd.date_range("2026-01-01", periods=3)
    holder = times.array if hasattr(times.array, "freq") else times
    holder._freq = day()
    yield times, "pandas.DatetimeIndex(x, freq=None)"


def test_pandas():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    for value, expression in pandas_values():
        remedied, back = check(value, expression, {"pandas": pandas})
        if isinstance(remedied, (pandas.DataFrame, pandas.Series, pandas.Index)):
            assert remedied.equals(back) and len(back) == len(value)
        else:
            assert back == remedied


def test_storage_of_an_extension_type_in_a_column():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

    class Own(pyarrow.ExtensionType):
        def __init__(self):
            super().__init__(pyarrow.int64(), "shmstore.tests.column")

        def __arrow_ext_serialize__(self):
            return b""

        @classmethod
        def __arrow_ext_deserialize__(cls, storage, serialized):
            return cls()

    chunks = pyarrow.chunked_array([pyarrow.ExtensionArray.from_storage(Own(), pyarrow.array([1, None]))])
    column = pandas.Series(pandas.arrays.ArrowExtensionArray(chunks))
    _, back = check(column, "x.astype(pandas.ArrowDtype(x.dtype.pyarrow_dtype.storage_type))", {"pandas": pandas})
    assert back.iloc[0] == 1 and back.isna().iloc[1]


PATHS = [
    ("pd.DataFrame({'a': [1], 'o': [x]})", ".iloc[:, 1].iloc[0]"),
    ("pd.DataFrame({'a': [1], 'o': [[{'k': x}]]})", ".iloc[:, 1].iloc[0][0].k"),
    ("pd.Series([1, x], dtype=object)", ".iloc[1]"), ("pd.Index([x])", "[0]"), ("pd.Series([1], index=[x])", ".index[0]"),
    ("pd.DataFrame([[1]], columns=[x])", ".columns[0]"), ("pd.Series([1], index=pd.Index([1], name=x))", ".index.name"),
    ("pd.Series([1], name=x)", ".name"), ("with_attrs(pd.Series([1]), {'a': {'b': [x]}})", ".attrs.a.b[0]"),
    ("pd.Categorical([x])", ".categories[0]"), ("pd.Series(pd.Categorical([x]))", ".array.categories[0]"),
    ("pd.MultiIndex.from_arrays([[1], [x]])", ".levels[1][0]"), ("pd.Series([pd.DataFrame({'a': [pd.Series([x])]})])", ".iloc[0].iloc[:, 0].iloc[0].iloc[0]"),
]  # fmt: skip


class Unknown:
    pass


def with_attrs(made, attrs):
    made.attrs = attrs
    return made


@pytest.mark.parametrize(("text", "path"), PATHS, ids=[path for _, path in PATHS])
def test_paths_lead_into_objects_of_pandas(text, path):
    """They read like Python, and lead to the very object."""
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    unknown = Unknown()
    value = eval(text, {"pd": pd, "x": unknown, "with_attrs": with_attrs})
    with pytest.raises(CodecError) as caught:
        codec.encode([value])
    assert str(caught.value).startswith(f"cannot encode $[0]{path}: objects of type ") and "Unknown" in str(
        caught.value
    )
    if ".a" not in path[:7] and ".k" not in path:  # keys of dicts, which are written as attributes
        assert eval(f"value{path}") is unknown


def test_the_general_remedies_work():
    """register() its class, codec='pickle', and a codec of one's own, which every other refusal names."""
    value = io.StringIO("text")
    with pytest.raises(CodecError, match=r"register\(\) its class, or use codec='pickle' or a codec of your own"):
        codec.encode(value)
    assert pickle_codec.decode(pickle_codec.encode(value)).getvalue() == "text"
    script = """
import io, shmstore
from shmstore.codecs import msgpack as codec
shmstore.register(121, io.StringIO, lambda x: x.getvalue().encode(), lambda data: io.StringIO(data.decode()))
print(codec.decode(codec.encode([io.StringIO("text")]))[0].getvalue())
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    assert run.stdout == "text\n", run.stderr
