"""Objects of pandas, one of each kind that there is, and how two of them are compared.

What the pandas at hand does not have is left out.
"""

import datetime
import zoneinfo
from decimal import Decimal

import numpy as np
import pandas as pd

try:
    import pyarrow as pa
except ImportError:
    pa = None

UNITS = ("s", "ms", "us", "ns") if hasattr(pd.Timestamp("2026"), "unit") else ("ns",)  # since pandas 2
MANY = 2000  # rows that no test looks at one by one
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
FIXED = datetime.timezone(datetime.timedelta(hours=-5), "EST")
NUMBERS = [
    "bool",
    "i1",
    "i2",
    "i4",
    "i8",
    "u1",
    "u2",
    "u4",
    "u8",
    "f2",
    "f4",
    "f8",
    "g",
    "F",
    "D",
    "G",
    "q",
    "Q",
    ">i4",
    ">f8",
    "S3",
]
MASKED = ["boolean", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64"]
PERIODS = ["M", "Q-FEB", "W-WED", "D", "2D", "B"]
OFFSETS = [
    "D", "3D", "B", "W-MON", "MS", "QS-FEB", "36min", pd.DateOffset(months=1), pd.offsets.MonthEnd(2), pd.offsets.WeekOfMonth(week=1, weekday=2),
    pd.offsets.CustomBusinessDay(holidays=["2026-01-02"], weekmask="Mon Tue Wed"), pd.offsets.BusinessHour(start="10:00"),
    pd.offsets.FY5253Quarter(startingMonth=3, weekday=2), pd.offsets.Easter(), pd.offsets.Day(1) + pd.offsets.Hour(1),
]  # fmt: skip


def arrays():
    """Name and array, or what a Series makes one of, and its dtype; five rows each."""
    for code in NUMBERS:
        yield code, np.array([0, 1, 1, 0, 2], code)
    for unit in UNITS:
        yield f"M8[{unit}]", np.array([0, 5, "NaT", -(2**40), 2**40], f"M8[{unit}]")
        yield f"m8[{unit}]", np.array([0, 5, "NaT", -(2**40), 2**40], f"m8[{unit}]")
        yield (
            f"M8[{unit}, zone]",
            pd.DatetimeIndex(np.array([0, 5, "NaT", 10**6, 1], f"M8[{unit}]")).tz_localize(BERLIN).array,
        )
    for name, zone in (
        ("key", "America/New_York"),
        ("utc", "UTC"),
        ("timezone", datetime.timezone.utc),
        ("fixed", FIXED),
        ("+90", "+01:30"),
    ):
        try:
            yield (
                f"zone {name}",
                pd.DatetimeIndex(["2026-10-25 01:30", "2026-10-25 00:30", None, "1970", "2200"], tz="UTC")
                .tz_convert(zone)
                .array,
            )
        except KeyError:
            pass  # pandas 1 takes no offsets for zones
    yield "object", np.array(["a", None, np.nan, (1, {2}), [1, {"x": pd.NaT}]], object)
    yield "object texts", np.array(["a", "b", "", "é\0", "a"], object)
    yield "object numbers", np.array([1, 2.5, 2**70, True, Decimal("1.50")], object)
    yield (
        "object times",
        np.array(
            [datetime.date(2026, 1, 1), datetime.datetime(1, 1, 1), pd.Timestamp("2026"), pd.NaT, pd.Timedelta(1)],
            object,
        ),
    )
    yield "object others", np.array([pd.NA, pd.Period("2026-01", "M"), pd.Interval(0, 1), np.float32(1), b"x"], object)
    yield "object arrays", np.fromiter([np.array([1, 2]), np.array(3), np.array([4, 5]), (), []], object, 5)
    for name in MASKED:
        yield name, pd.array([1, None, 0, 1, None], dtype=name)
    for name in PERIODS:
        yield (
            f"period {name}",
            pd.period_range("2026-01-05", periods=4, freq=name).append(pd.PeriodIndex(["NaT"], freq=name)).array,
        )
    for closed in ("left", "right", "both", "neither"):
        yield f"interval {closed}", pd.interval_range(0, 5, closed=closed).array
    yield "interval floats", pd.arrays.IntervalArray.from_tuples([(0, 1.5), (1, 2), np.nan, (2, 2), (-1.0, 0)])
    yield (
        "interval times",
        pd.interval_range(pd.Timestamp("2026"), periods=5, freq="36h" if pd.__version__ >= "2.2" else "36H").array,
    )
    yield "interval zone", pd.interval_range(pd.Timestamp("2026", tz=BERLIN), periods=5).array
    yield "interval durations", pd.interval_range(pd.Timedelta(0), periods=5).array
    yield from unusual_intervals()
    yield from categoricals()
    yield from texts()
    yield from sparse()
    if pa is not None:
        yield from of_arrow()


def unusual_intervals():
    """Ends that not every version has: numbers with a mask, numbers of Arrow's."""
    dtypes = ["Int64"] + ["int64[pyarrow]"] * (pa is not None)
    for dtype in dtypes:
        ends = [pd.array(range(first, first + 5), dtype=dtype) for first in (0, 1)]
        try:
            yield f"interval {dtype}", pd.arrays.IntervalArray.from_arrays(*ends)
        except (AttributeError, TypeError, NotImplementedError):
            pass


def categoricals():
    yield "cut", pd.cut([1, 7, 5, 4, 6], 3)
    yield "cut labels", pd.cut([1, 7, 5, 4, 6], 3, labels=["bad", "medium", "good"])
    yield "qcut", pd.qcut([1, 7, 5, 4, np.nan], 2)
    for ordered in (False, True):
        yield (
            f"category str {ordered}",
            pd.Categorical(["a", "b", None, "a", "c"], categories=["c", "b", "a", "z"], ordered=ordered),
        )
        yield f"category int {ordered}", pd.Categorical([3, 1, 2, 3, None], categories=[3, 2, 1], ordered=ordered)
    yield "category times", pd.Categorical(pd.date_range("2026", periods=5, name="day"))
    yield "category zone", pd.Categorical(pd.date_range("2026", periods=5, tz=BERLIN))
    yield "category durations", pd.Categorical(pd.timedelta_range(0, periods=5))
    yield "category periods", pd.Categorical(pd.period_range("2026", periods=5, freq="M"))
    yield "category bools", pd.Categorical([True, False, None, True, True])
    yield "category floats", pd.Categorical([1.5, -0.0, None, np.inf, 1.5])
    yield "category masked", pd.Categorical(pd.array([1, 2, None, 1, 1], "Int64"))
    yield "category mixed", pd.Categorical([1, "a", (1, 2), None, Decimal(1) / 3])
    yield "category many", pd.Categorical(range(5), categories=range(300))
    yield "category range", pd.Categorical.from_codes([0, 1, 4, -1, 2], pd.RangeIndex(5))
    yield "category none", pd.Categorical([None] * 5, categories=[])
    yield "category named", pd.Categorical(["a"] * 5, categories=pd.Index(["a", "b"], name=("n", 1)))
    yield "category records", pd.Categorical([(1, "a"), (2, "b"), None, (1, "a"), (1, "a")])


def texts():
    words = ["a", None, "", "é\U0001f600\0", "a"]
    for dtype in ("str", "string", "string[python]", "string[pyarrow]", "string[pyarrow_numpy]"):
        try:
            made = pd.Series(words, dtype=dtype)
            long = pd.Series(words * 200, dtype=dtype)
        except (ImportError, TypeError, ValueError):
            continue
        if made.dtype != object:
            yield dtype, made.array
            yield f"{dtype} long", long.array[:1000]
    try:
        yield "str python", pd.array(words, dtype=pd.StringDtype("python", na_value=np.nan))
    except TypeError:
        pass  # pandas before 2.3


def sparse():
    make = pd.arrays.SparseArray
    for kind in ("integer", "block"):
        yield f"sparse {kind}", make([0, 0, 1, 2, 0], kind=kind)
        yield f"sparse floats {kind}", make([np.nan, 0, 1.5, np.nan, 2], kind=kind)
        yield f"sparse empty {kind}", make([0] * 5, kind=kind)
        yield f"sparse full {kind}", make([1] * 5, fill_value=0, kind=kind)
    yield "sparse ones", make(np.array([1, 1, 0, 1, 1], "i2"), fill_value=np.int16(1))
    yield "sparse bools", make([True, False, False, True, False])
    yield "sparse complex", make(np.array([1, 0, 0, 2j, 0]))
    yield "sparse objects", make(np.array(["a", None, (1,), None, "b"], object))
    yield "sparse f4", pd.array([0, 0, 1, 0, 0], dtype=pd.SparseDtype("f4", 0))


def of_arrow():
    table = {
        "int8": [1, None, 2, 3, 4], "float": [1.5, None, 2, 3, 4], "bool": [True, None, False, True, True], "string": ["a", None, "b", "", "é"],
        "large_string": ["a", None, "b", "", "é"], "binary": [b"a", None, b"", b"\xff", b"b"], "date32": [datetime.date(2026, 1, 1), None, None, None, None],
        "time64[us]": [datetime.time(1), None, None, None, None], "duration[s]": [datetime.timedelta(1), None, None, None, None],
        "timestamp[ms]": [datetime.datetime(2026, 1, 1), None, None, None, None], "null": [None] * 5,
    }  # fmt: skip
    for name, cells in table.items():
        yield f"arrow {name}", pd.array(cells, dtype=pd.ArrowDtype(pa.type_for_alias(name)))
    kinds = {
        "zone": (pa.timestamp("ns", "Europe/Berlin"), [datetime.datetime(2026, 1, 1)]), "decimal": (pa.decimal128(5, 2), [Decimal("1.5")]),
        "list": (pa.list_(pa.int32()), [[1, 2]]), "struct": (pa.struct([("a", pa.int8()), ("b", pa.string())]), [{"a": 1, "b": "x"}]),
        "map": (pa.map_(pa.string(), pa.int8()), [[("a", 1)]]), "dictionary": (pa.dictionary(pa.int8(), pa.string()), ["a"]),
        "fixed": (pa.binary(2), [b"ab"]),
    }  # fmt: skip
    for name, (kind, cells) in kinds.items():
        yield (
            f"arrow {name}",
            pd.arrays.ArrowExtensionArray(
                pa.chunked_array([pa.array([*cells, None], kind), pa.array([*cells, None, None], kind)])
            ),
        )


def labels():
    """Name and index of five labels, of every type that there is."""
    for name, array in arrays():
        if (
            len(array) == 5
            and "arrays" not in name
            and name != "object"
            and not (pd.__version__ < "2" and name in ("arrow list", "arrow map"))
        ):
            try:
                yield f"index {name}", pd.Index(array, name="name", tupleize_cols=False)
            except (NotImplementedError, TypeError, ValueError):
                pass  # pandas has no such index
    yield "range", pd.RangeIndex(5)
    yield "range step", pd.RangeIndex(-1, -11, -2, name="r")
    yield "names", pd.Index(list("abcde"), name=("tuple", 1))
    yield "same", pd.Index(["a", "a", "b", "b", "a"])
    yield "mixed", pd.Index([1, "a", None, 1.5, (1, 2)], dtype=object, tupleize_cols=False)
    yield "tuples", pd.Index([(1, "a")] * 5, tupleize_cols=False)
    for offset in OFFSETS:
        yield f"freq {offset!r}", pd.date_range("2026-01-05", periods=5, freq=offset)
    yield "freq zone", pd.date_range("2026-03-28", periods=5, freq="D", tz=BERLIN, name="z")
    yield "freq durations", pd.timedelta_range("1D", periods=5, freq="90min" if pd.__version__ >= "2.2" else "90T")
    yield from multi()


def multi():
    pairs = pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("a", 2), ("b", 1), ("a", 1)], names=["x", None])
    yield "multi", pairs
    yield "multi sorted", pairs.sort_values()
    yield "multi unused", pairs.append(pairs)[5:].set_names(["p", "q"])
    yield "multi NaN", pd.MultiIndex.from_arrays([[1, np.nan, 2, None, 1], pd.date_range("2026", periods=5, tz=BERLIN)])
    yield (
        "multi category",
        pd.MultiIndex.from_arrays(
            [pd.cut(range(5), 2), pd.period_range("2026", periods=5, freq="D")], names=["cut", ("p", 1)]
        ),
    )
    yield "multi product", pd.MultiIndex.from_product([pd.date_range("2026", periods=1, freq="D"), ["a"], range(5)])
    yield (
        "multi objects",
        pd.MultiIndex.from_arrays(
            [np.array([1, "a", (1, 2), None, 2.5], object), pd.array([1, None, 2, 3, 4], "Int64")]
        ),
    )
    yield "multi one", pd.MultiIndex.from_arrays([list("abcde")])


def scalars():
    yield "NaT", pd.NaT
    yield "NA", pd.NA
    for text in ("2026-10-25 02:30:00.123456789", "1677-09-22", "2262-04-11", "1970"):
        yield f"Timestamp {text}", pd.Timestamp(text)
    yield "Timestamp least", pd.Timestamp.min
    yield "Timestamp most", pd.Timestamp.max
    if len(UNITS) > 1:
        for unit in UNITS:
            yield f"Timestamp {unit}", pd.Timestamp("2026-10-25 02:30").as_unit(unit)
            yield f"Timestamp {unit} zone", pd.Timestamp("2026-10-25 02:30", tz="UTC").as_unit(unit).tz_convert(BERLIN)
            yield f"Timedelta {unit}", pd.Timedelta("-1D").as_unit(unit)
        yield "Timestamp far", pd.Timestamp(datetime.datetime(9999, 12, 31))
    for zone in ("UTC", "Europe/Berlin", BERLIN, datetime.timezone.utc, FIXED):
        for text in ("2026-10-25 00:30", "2026-10-25 01:30", "2026-07-01"):
            yield f"Timestamp {text} {zone!r}", pd.Timestamp(text, tz="UTC").tz_convert(zone)
    yield "Timestamp offset", pd.Timestamp("2026-01-01 00:00+01:30")
    yield "Timestamp fold", pd.Timestamp(2026, 1, 1).replace(fold=1)
    yield "Timestamp fold zone", pd.Timestamp(datetime.datetime(2026, 7, 1, fold=1, tzinfo=BERLIN))
    for text in ("1D", "-1ns", "0s", "106751 days 23:47:16.854775807"):
        yield f"Timedelta {text}", pd.Timedelta(text)
    yield "Timedelta least", pd.Timedelta.min
    yield "Period", pd.Period("2026-02", "M")
    for freq in PERIODS:
        yield f"Period {freq}", pd.Period("1950-02-03", freq)
    for ends in ((0, 1), (0.5, np.inf), (np.float64(1), np.float32(2)), (np.int8(1), 2), (2**70, 2**71), (-0.0, 0.0)):
        yield f"Interval {ends}", pd.Interval(*ends)
    for closed in ("left", "right", "both", "neither"):
        yield f"Interval {closed}", pd.Interval(pd.Timestamp("2026"), pd.Timestamp("2027"), closed)
    yield "Interval zone", pd.Interval(pd.Timestamp("2026", tz=BERLIN), pd.Timestamp("2027", tz=BERLIN))
    yield "Interval durations", pd.Interval(pd.Timedelta(0), pd.Timedelta(1))
    yield "Interval of cut", pd.cut([1, 2, 3], 2)[0]
    for offset in OFFSETS:
        if not isinstance(offset, str):
            yield f"offset {offset!r}", offset


# ---- comparing ---------------------------------------------------------------------------------------------


def same(a, b):
    """Assert that *b* is what *a* is, by all that can be seen of it."""
    assert type(b) is type(a)
    if isinstance(a, (pd.DataFrame, pd.Series)) and len(a) > MANY:
        assert a.equals(b)
        same(a[:10], b[:10])
    elif isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(b, a, check_freq=True, check_column_type=True, check_index_type=True,
                                      check_exact=True, check_names=True, check_flags=True)  # fmt: skip
        same(a.index, b.index)
        same(a.columns, b.columns)
        for at in range(a.shape[1]):
            same_array(a.iloc[:, at].array, b.iloc[:, at].array)
    elif isinstance(a, pd.Series):
        pd.testing.assert_series_equal(b, a, check_freq=True, check_exact=True, check_names=True, check_flags=True)
        same(a.index, b.index)
        same_value(a.name, b.name)
        same_array(a.array, b.array)
    elif isinstance(a, pd.Index):
        same_index(a, b)
    elif isinstance(a, pd.api.extensions.ExtensionArray):
        same_array(a, b)
    else:
        same_value(a, b)
    if isinstance(a, (pd.DataFrame, pd.Series)):
        assert a.attrs == b.attrs
        assert a.flags.allows_duplicate_labels is b.flags.allows_duplicate_labels


def same_index(a, b):
    assert type(b) is type(a) and repr(b.dtype) == repr(a.dtype) and len(a) == len(b)
    pd.testing.assert_index_equal(b, a, exact=True, check_exact=True)
    for one, other in zip(a.names, b.names):
        same_value(one, other)
    assert getattr(a, "freq", None) == getattr(b, "freq", None)
    if isinstance(a, pd.MultiIndex):
        assert a.sortorder == b.sortorder
        for one, other in zip(a.levels, b.levels):
            same_index(one, other)
        for one, other in zip(a.codes, b.codes):
            assert one.dtype == other.dtype and (one == other).all()
    elif isinstance(a, pd.RangeIndex):
        assert (a.start, a.stop, a.step) == (b.start, b.stop, b.step)
    else:
        same_array(a.array, b.array)


def same_array(a, b):
    assert type(b) is type(a) and repr(b.dtype) == repr(a.dtype) and len(a) == len(b)
    if isinstance(a.dtype, np.dtype):
        assert a.dtype.char == b.dtype.char and a.dtype.byteorder == b.dtype.byteorder
    assert getattr(a, "freq", None) == getattr(b, "freq", None)
    zone = getattr(a.dtype, "tz", None)
    assert type(zone) is type(getattr(b.dtype, "tz", None))
    if isinstance(a, pd.Categorical):
        same_index(a.categories, b.categories)
        assert a.ordered is b.ordered and a.codes.dtype == b.codes.dtype and (a.codes == b.codes).all()
        return
    if isinstance(a, pd.arrays.SparseArray):
        pd._testing.assert_sp_array_equal(b, a)
        same_value(a.fill_value, b.fill_value)
        assert a.kind == b.kind
    if isinstance(a, pd.arrays.IntervalArray):
        same_index(a.left, b.left)
        same_index(a.right, b.right)
        return
    for one, other in zip(list(a), list(b)):
        same_value(one, other)


def same_value(a, b):
    """Compare cells, names, scalars: by type and bits as far as they can be seen."""
    assert type(b) is type(a), (a, b)
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for one, other in zip(a, b):
            same_value(one, other)
    elif isinstance(a, dict):
        same_value(list(a.items()), list(b.items()))
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape and (a == b).all()
    elif isinstance(a, pd.Interval):
        same_value([a.left, a.right, a.closed], [b.left, b.right, b.closed])
    elif a is pd.NA or a is pd.NaT:
        assert a is b
    elif isinstance(a, (pd.Timestamp, pd.Timedelta)):
        assert (
            a == b
            and repr(a) == repr(b)
            and getattr(a, "unit", None) == getattr(b, "unit", None)
            and a.asm8.view("i8") == b.asm8.view("i8")
        )
        if isinstance(a, pd.Timestamp):
            assert a.fold == b.fold and type(a.tz) is type(b.tz) and a.tz == b.tz and a.nanosecond == b.nanosecond
    else:
        assert a == b or a != a and b != b, (a, b)
        assert repr(a) == repr(b)
