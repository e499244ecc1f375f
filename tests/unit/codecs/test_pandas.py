"""Objects of pandas come back equal, by everything that can be seen of them. What is refused is in test_remedies.py."""

from __future__ import annotations

import datetime
import random
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import pytest

pd = pytest.importorskip("pandas", reason="pandas is not installed")

import numpy as np  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import shmstore  # noqa: E402
from shmstore.codecs import msgpack as codec  # noqa: E402
from shmstore.errors import CodecError  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import pandas_values  # noqa: E402
from pandas_values import same  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas says of some kinds that they will go
    SCALARS = dict(pandas_values.scalars())
    ARRAYS = dict(pandas_values.arrays())
    LABELS = dict(pandas_values.labels())

pytestmark = pytest.mark.filterwarnings("ignore")


def round_trip(value):
    return codec.decode(codec.encode(value))


def series(name, label="name"):
    array = ARRAYS[name]
    return pd.Series(array, name=label, dtype=array.dtype if isinstance(array, np.ndarray) else None)


CONTAINERS = {
    "itself": lambda x: x, "list": lambda x: [x, 1, x], "tuple": lambda x: (x,), "dict": lambda x: {"a": {"b": x}},
    "rows": lambda x: [{"n": 1, "x": x}, {"n": 2, "x": x}], "tuple of lists": lambda x: ([x], x),
}  # fmt: skip


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", SCALARS)
def test_scalars(name, container):
    value = CONTAINERS[container](SCALARS[name])
    pandas_values.same_value(value, round_trip(value))


@pytest.mark.parametrize("name", SCALARS)
def test_scalars_as_keys_and_members(name):
    scalar = SCALARS[name]
    (key,) = round_trip({scalar: 1})
    (member,) = round_trip(frozenset({scalar}))
    pandas_values.same_value([scalar, scalar], [key, member])


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name):
    column = series(name)
    for value in (column, column[:0], column[::2], column.iloc[::-1], pd.concat([column] * 3)):
        same(value, round_trip(value))
        same(value.array, round_trip(value.array))
    frame = pd.DataFrame({"a": column, 2: column}, copy=False)
    same(frame, round_trip(frame))
    same(frame[1:1], round_trip(frame[1:1]))


@pytest.mark.parametrize("name", LABELS)
def test_indexes(name):
    index = LABELS[name]
    for value in (index, index[:0], index[1:4], index[::-2]):
        same(value, round_trip(value))
    for value in (pd.Series(range(5), index=index), pd.DataFrame([range(5)], columns=index), pd.DataFrame(index=index)):
        same(value, round_trip(value))


def frames():
    yield pd.DataFrame()
    yield pd.DataFrame(index=range(5))
    yield pd.DataFrame(columns=["a", "b"])
    yield pd.DataFrame(np.arange(6).reshape(2, 3))
    yield pd.DataFrame(np.arange(6).reshape(2, 3).T)
    yield pd.DataFrame(np.zeros((2, 2)), columns=["same", "same"])
    yield pd.DataFrame({True: [1], None: [2], 1.5: [3], ("t", 1): [4], pd.Timestamp("2026"): [5], np.nan: [6]})
    yield pd.DataFrame({"a": [1]}).rename_axis(columns="columns", index="rows").rename_axis(index=[("rows", 1)])
    yield pd.DataFrame({"a": [1, 2]}, index=[1.5, np.nan])
    yield pd.DataFrame({"a": [1, 2]}).set_flags(allows_duplicate_labels=False)
    yield (
        pd.DataFrame({"a": range(9), "b": list("abcabcabc")})
        .groupby(["b", pd.cut(range(9), 2)], observed=False)
        .agg(["sum", "mean"])
    )
    attributes = pd.DataFrame({"a": [1.5]})
    attributes.attrs = {"unit": ("m", 1), 2: [datetime.date(2026, 1, 1), pd.NaT]}
    yield attributes
    yield pd.get_dummies(pd.Series(list("abca")), sparse=True)
    yield pd.DataFrame({name: series(name) for name in ARRAYS if len(ARRAYS[name]) == 5})


@pytest.mark.parametrize("number", range(14))
def test_frames(number):
    frame = list(frames())[number]
    same(frame, round_trip(frame))
    same(frame.index, round_trip([frame.index])[0])


def test_cells_may_be_objects_of_pandas():
    inner = [pd.DataFrame({"x": [1.5]}), pd.Index(["a"]), pd.NaT]
    frame = pd.DataFrame({"cells": inner, "lists": [inner, {"k": inner}, ()]})
    back = round_trip(frame)
    for found in (list(back["cells"]), back["lists"][0], back["lists"][1]["k"]):
        for one, other in zip(inner, found, strict=True):
            same(one, other)


def test_there_is_a_number_for_each_frame():
    assert len(list(frames())) == 14


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_any_frame(data):
    """Columns, rows and labels in all combinations, whole or in part, in any container."""
    native = [
        name
        for name in sorted(ARRAYS)
        if len(ARRAYS[name]) == 5 and ">" not in name and name != "interval int64[pyarrow]"
    ]  # pandas does not take from others
    names = data.draw(st.lists(st.sampled_from(native), max_size=5))
    usual = [name for name in sorted(LABELS) if ">" not in name and "interval int64[pyarrow]" not in name]  # as above
    rows = LABELS[data.draw(st.sampled_from(usual))]
    columns = LABELS[data.draw(st.sampled_from(usual))]
    columns = columns.take(data.draw(st.lists(st.integers(0, 4), min_size=len(names), max_size=len(names))))
    frame = pd.DataFrame({at: series(name) for at, name in enumerate(names)}, index=range(5))
    frame.columns = columns
    frame.index = rows
    part = slice(data.draw(st.integers(0, 4)), None, data.draw(st.sampled_from([1, 2, -1])))
    frame = frame.iloc[part, data.draw(st.sampled_from([slice(None), slice(1, None), slice(None, None, -1)]))]
    same(frame, round_trip({"k": [frame]})["k"][0])


@settings(deadline=None, max_examples=100)
@given(st.integers(-(2**63) + 1, 2**63 - 1), st.sampled_from(["s", "ms", "us", "ns"]),
       st.sampled_from([None, "UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"]))  # fmt: skip
def test_any_time(number, unit, zone):
    unit = unit if unit in pandas_values.UNITS else "ns"
    length = pd.Timedelta(np.timedelta64(number, unit))
    pandas_values.same_value(length, round_trip(length))
    if unit != "ns":
        number %= 253_402_000_000 * {"s": 1, "ms": 10**3, "us": 10**6}[unit]  # the years that datetime has
    time = pd.Timestamp(np.datetime64(number, unit))
    try:
        time = time if zone is None else time.tz_localize("UTC").tz_convert(zone)
    except ValueError:  # beyond what the zone makes of it
        return
    pandas_values.same_value(time, round_trip(time))


def test_rows_of_usual_frames():
    frame = pd.DataFrame({
        "id": range(3), "name": ["a", None, "c"], "price": [1.5, np.nan, 2], "at": pd.to_datetime(["2026-01-01", None, "2026-01-03"]),
        "zone": pd.to_datetime(["2026-01-01", None, "2026-01-03"]).tz_localize("Europe/Berlin"), "took": pd.to_timedelta([1, None, 2], unit="s"),
        "count": pd.array([1, None, 3], "Int64"), "flag": pd.array([True, None, False], "boolean"), "kind": pd.Categorical(["x", "y", None]),
        "range": pd.cut([1, 5, 9], 3), "month": pd.period_range("2026-01", periods=3, freq="M"), "tags": [["a"], [], None],
    })  # fmt: skip
    for orient in ("records", "list", "dict", "index", "split", "tight"):
        rows = frame.to_dict(orient)
        pandas_values.same_value(rows, round_trip(rows))
    pandas_values.same_value(frame.to_numpy().tolist(), round_trip(frame.to_numpy().tolist()))
    same(frame, round_trip(frame))
    made = pd.DataFrame(round_trip(frame.to_dict("records")))
    assert list(made["range"]) == list(frame["range"])


# ---- through a store ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["msgpack", "msgspec"])
def test_through_a_store(make, key, other):
    if other == "msgspec":
        pytest.importorskip("msgspec")
    store = make(size="64M", codec=other)
    values = {
        "large": pd.DataFrame({"i": np.arange(50_000), "f": np.arange(50_000) / 3, "s": ["text"] * 50_000, "c": pd.Categorical(["x", "y"] * 25_000)}),
        "series": pd.Series(np.arange(100_000)), "cut": pd.Series(pd.cut(range(20_000), 4)), "at": pd.Timestamp("2026", tz="UTC"),
        "rows": [{"at": pd.Timestamp("2026"), "n": pd.NA, "t": (pd.NaT, pd.Timedelta(1))}] * 3,
    }  # fmt: skip
    store.put_many(values)
    with shmstore.open(key, readonly=True, decoders=("msgspec",) if other == "msgspec" else ()) as reader:
        for handle in (store, reader):
            found = [{name: handle[name] for name in values}, handle.get_many(list(values)), dict(handle.items())]
            for copy in found:
                for name, value in values.items():
                    same(value, copy[name])
    same(values["large"], store.pop("large"))


@pytest.mark.parametrize("rows", [10, 100_000])
def test_what_comes_back_can_be_changed(rows):
    frame = pd.DataFrame(
        {
            "a": range(rows),
            "s": ["x"] * rows,
            "n": pd.array([1] * rows, "Int64"),
            "c": pd.Categorical(["x", "y"] * (rows // 2)),
        }
    )
    packed = codec.encode(frame)
    for back in (codec.decode(packed), codec.decode([bytearray, bytes][rows < 100](packed))):
        back.loc[0, "a"] = 7
        back.loc[0, "n"] = pd.NA
        back.loc[0, "c"] = "y"
        back["s"] = "y"
        back.iloc[:, 0] *= 2
    column = codec.decode(codec.encode(frame["a"]))
    column += 1
    same(frame, codec.decode(packed))


# ---- strangers ---------------------------------------------------------------------------------------------

FUZZ = """
import random, resource, sys, warnings
warnings.simplefilter("ignore")
import pandas
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
import shmstore
from shmstore.codecs import msgpack as codec
rng = random.Random(int(sys.argv[1]))
seeds = [bytes.fromhex(line) for line in sys.stdin]
values = errors = 0
for n in range(int(sys.argv[2])):
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(6, len(data))] = rng.choice((0, 1, 2, 127, 128, 192, 255, rng.randrange(256)))
    if rng.random() < 0.1:
        del data[rng.randrange(6, len(data)):]
    data[1:5] = (len(data) - 6).to_bytes(4, "big")
    try:
        codec.decode(bytes(data))
        values += 1
    except shmstore.CodecError:
        errors += 1
print(values, errors)
"""


def ext(payload):
    return b"\xc9" + len(payload).to_bytes(4, "big") + b"\x15" + payload


def payload(value):
    packed = codec.encode(value)
    return packed[{0xC7: 3, 0xC8: 4, 0xC9: 6}.get(packed[0], 2) :]


def test_damaged_bytes_give_a_value_or_an_error():
    """In another process, with 4 GB of addresses: a crash there is a failure here."""
    seed = random.randrange(1 << 30)
    values = [*SCALARS.values(), *map(series, ARRAYS), *LABELS.values(), *list(frames())[:13]]
    lines = "\n".join(ext(payload(value)).hex() for value in values)
    run = subprocess.run(
        [sys.executable, "-c", FUZZ, str(seed), "20000"], input=lines, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, (seed, run.returncode, run.stderr[-2000:])
    found, refused = map(int, run.stdout.split())
    assert found + refused == 20000 and refused > 1000


@pytest.mark.parametrize(
    "name", ["Timestamp 2026-10-25 02:30:00.123456789", "Timedelta 1D", "NaT", "NA", "Period", "Interval (0, 1)"]
)
def test_scalars_have_no_byte_too_few_or_too_many(name):
    good = payload(SCALARS[name])
    same(SCALARS[name], codec.decode(ext(good)))
    for bad in [good[:at] for at in range(len(good))] + [good + b"\0", b"\x63" + good[1:]]:
        with pytest.raises(CodecError, match=r"^cannot decode: "):
            codec.decode(ext(bad))


def nested(levels):
    """The bytes of a Series in a Series and so on."""
    found = b"\xc0"
    for _ in range(levels):
        about = b"\x95\x80\xc3\x95\x01\xc0\x00\x01\x01\xc0\x92\x02\x91" + found
        found = ext(b"\x02\x00" + len(about).to_bytes(4, "big") + about)
    return found


def test_objects_inside_one_another_are_limited():
    inner = codec.decode(nested(6))
    for _ in range(5):
        (inner,) = inner
    assert type(inner) is pd.Series and inner.iloc[0] is None
    for levels in (7, 3000):
        with pytest.raises(CodecError, match="more than 6 objects of pandas inside one another"):
            codec.decode(nested(levels))


def described(kind, about, memory=b""):
    description = codec.encode(about)
    return ext(bytes((kind, 0)) + len(description).to_bytes(4, "big") + description + memory)


SERIES, INDEX, ARRAY = 2, 3, 4
NUMPY, PERIODS, INTERVALS, CATEGORICAL, MASKED, ARROW, SPARSE = 1, 4, 5, 6, 7, 9, 10


def test_equal_hashes_of_categories_take_no_time():
    """Labels of which all have one hash: nothing that is read looks for one that comes twice."""
    labels = [number * (2**61 - 1) for number in range(1, 200_000)]
    about = [None, [CATEGORICAL, False, [2, None, None, [2, labels]], [NUMPY, b"\xa3|i1", 2]]]
    found = codec.decode(described(ARRAY, about, b"\0\1"))
    assert len(found) == 2 and found.categories[1] == labels[1]


def ranged(length):
    return [1, None, 0, length, 1]


BILLION = 10**9
HOLLOW = [SPARSE, BILLION, 0, [NUMPY, b"\xa3<i8", 0], [[NUMPY, b"\xa3<i4", 0]]]  # a billion zeros, of no bytes
OF_HOLLOW = [2, None, None, HOLLOW]
NO_CODES = [NUMPY, b"\xa3|i1", 0]
SHORT = {  # kind, description, length of what it gives
    "interval": (ARRAY, [None, [INTERVALS, "right", ranged(BILLION), ranged(BILLION)]], None),
    "interval of sparse": (ARRAY, [None, [INTERVALS, "right", OF_HOLLOW, OF_HOLLOW]], None),
    "masked": (ARRAY, [None, [MASKED, HOLLOW, HOLLOW]], None),
    "periods": (ARRAY, [None, [PERIODS, ["Day", 1, False, {}], HOLLOW]], None),
    "codes": (ARRAY, [None, [CATEGORICAL, False, ranged(5), HOLLOW]], None),
    "levels": (INDEX, [[3, [None, None], None, [ranged(5), ranged(5)], [HOLLOW, HOLLOW]]], None),
    "sparse of sparse": (ARRAY, [None, [SPARSE, BILLION, 0, HOLLOW, [HOLLOW]]], None),
    "range": (INDEX, [ranged(BILLION)], BILLION),
    "sparse": (ARRAY, [None, HOLLOW], BILLION),
    "series": (SERIES, [{}, True, ranged(BILLION), None, HOLLOW], BILLION),
    "categories": (ARRAY, [None, [CATEGORICAL, False, ranged(BILLION), NO_CODES]], 0),
    "wide levels": (INDEX, [[3, [None], None, [ranged(BILLION)], [NO_CODES]]], 0),
}


@pytest.mark.parametrize("name", SHORT)
def test_few_bytes_become_no_gigabytes(name):
    """What says that it is long, and has no bytes for its parts, is refused, or takes no memory for them."""
    kind, about, length = SHORT[name]
    packed = described(kind, about)
    tracemalloc.start()
    try:
        if length is None:
            with pytest.raises(CodecError, match=r"^cannot decode: extension 21 \(pandas\)"):
                codec.decode(packed)
        else:
            assert len(codec.decode(packed)) == length
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_few_bytes_of_arrow_become_no_gigabytes():
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("x", pa.null())])) as writer:
        writer.write(pa.table({"x": pa.nulls(BILLION)}))
    stream = sink.getvalue().to_pybytes()
    ends = [2, None, None, [ARROW, None, len(stream)]]
    for about in (
        [ARROW, ["pyarrow", False], len(stream)],
        [ARROW, ["python", False], len(stream)],
        [INTERVALS, "right", ends, ends],
    ):
        before = pa.total_allocated_bytes()
        with pytest.raises(CodecError, match=r"^cannot decode: extension 21 \(pandas\)"):
            codec.decode(described(ARRAY, [None, about], stream))
        assert pa.total_allocated_bytes() - before < 1 << 20


@pytest.mark.parametrize("count", [5, 100_000])
def test_intervals_of_a_range(count):
    """Their ends come back as numbers: pandas cannot take a slice of ranges, and they have no memory of their own."""
    try:
        intervals = pd.IntervalIndex.from_breaks(pd.RangeIndex(count + 1))
    except AttributeError:
        return  # older versions take no ranges
    for value in (
        intervals,
        pd.Series(range(count), index=intervals),
        pd.Series(intervals),
        pd.DataFrame({"a": intervals}),
    ):
        back = round_trip(value)
        found, wanted = [
            x
            if isinstance(x, pd.Index)
            else x.index
            if type(x.index) is pd.IntervalIndex
            else x.iloc[:, 0]
            if x.ndim > 1
            else x
            for x in (back, value)
        ]
        assert type(back) is type(value) and len(back) == count and found.dtype == wanted.dtype
        if isinstance(found, pd.Index):
            assert found.equals(wanted) and type(found.left) is not pd.RangeIndex
        else:
            assert found.iloc[0] == pd.Interval(0, 1) and found.iloc[-1] == pd.Interval(count - 1, count)


# ---- imports -----------------------------------------------------------------------------------------------


def run(script, *arguments):
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_imported_for_its_own_values_alone():
    script = """
import sys
import shmstore
from shmstore.codecs import msgpack as codec
import datetime, numpy
codec.decode(codec.encode([numpy.arange(3), bytearray(b"x"), numpy.float64(1), datetime.datetime.now(), numpy.datetime64("NaT")]))
print([name for name in ("pyarrow", "pandas") if name in sys.modules])
"""
    assert run(script) == "[]\n"


@pytest.mark.parametrize(
    "value",
    [pd.DataFrame({"a": [1]}), pd.NaT, pd.Timestamp("2026"), [{"t": pd.NA}]],
    ids=lambda value: type(value).__name__,
)
def test_without_pandas_the_error_says_what_to_install(value):
    script = """
import sys
sys.modules["pandas"] = None
import shmstore
from shmstore.codecs import msgpack as codec
try:
    codec.decode(bytes.fromhex(sys.argv[1]))
except shmstore.CodecError as error:
    print(error)
"""
    said = run(script, codec.encode(value).hex())
    assert said.startswith("cannot decode: the value needs pandas") and "pip install 'shmstore[pandas]'" in said
