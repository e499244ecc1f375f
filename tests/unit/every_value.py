"""One value of every type that is stored, the same in every Python: a program that puts them and compares.

    python every_value.py KEY CODEC put|get

`get` prints, for each name, whether the value came back equal and of the same type, and whether packing it again
gives the same bytes.
"""

import array
import datetime
import decimal
import fractions
import sys
import uuid
import zoneinfo

import shmstore
from shmstore.codecs import msgpack


def values():
    yield "plain", {"n": None, "b": [True, False], "i": -(2**63), "f": -0.0, "s": "é\U0001f600", "y": b"\0\xff", 7: 2**64 - 1}
    yield "tuple", (1, ("x", ()))
    yield "set", {(1, 2)}
    yield "frozenset", frozenset({"a"})
    yield "slice", slice(1, None, "x")
    yield "int", [2**64, -(2**300)]
    yield "decimal", [decimal.Decimal("-1.50E+7"), decimal.Decimal("sNaN45").copy_abs()][:1]
    yield "fraction", fractions.Fraction(-1, 128)
    yield "range", range(0, 255, -3)
    yield "complex", complex(1, -0.0)
    yield "datetime", datetime.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    yield "offset", datetime.datetime(1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1), "CET"))
    yield "date", datetime.date(9999, 12, 31)
    yield "time", datetime.time(23, 59, 58, 1, fold=1)
    yield "timedelta", datetime.timedelta(microseconds=-1)
    yield "uuid", uuid.UUID(int=1, is_safe=uuid.SafeUUID.safe)
    yield "bytearray", [bytearray(b"x"), bytearray(100_000)]
    yield "memoryview", memoryview(bytearray(8)).cast("i", (1, 2))
    for code in "bBhHiIlLqQfdu":
        yield f"array {code}", array.array(code, "ab" if code == "u" else [1, 2])
    if "numpy" in sys.argv[4:]:
        yield from arrays()
    if "pyarrow" in sys.argv[4:]:
        import pyarrow

        yield "table", pyarrow.table({"a": [1, None], "s": ["x", "y"]})


def arrays():
    import numpy as np

    for char in "?bhilqBHILQefdgFDG":
        for order in "<>":
            yield f"numpy {order}{char}", np.arange(6).astype(np.dtype(char).newbyteorder(order)).reshape(2, 3)
        yield f"scalar {char}", np.dtype(char).type(1)
    yield "numpy U", np.array(["é", "abc"])
    yield "numpy S", np.array([b"a", b"abc"])
    yield "numpy M", np.array(["2026-11-05", "NaT"], "M8[ns]")
    yield "numpy F", np.asfortranarray(np.arange(6).reshape(2, 3))
    yield "numpy V", np.array([(1, ("x", 2.5))], [("a", "<i2"), ("in", [("s", "U3"), ("f", ">f8")])])
    yield "numpy large", np.arange(50_000)
    yield "numpy empty", np.zeros((3, 0, 2))
    yield "numpy point", np.array(5)
    yield "str_", np.str_("a")
    yield "datetime64", np.datetime64("2026-11-05")


def same(a, b):
    if type(a) is not type(b):
        return False
    if type(a).__module__ == "numpy":
        alike = sys.modules["numpy"].all(a == b) or a.tobytes() == b.tobytes()  # NaT is not equal to itself
        return a.dtype == b.dtype and a.shape == b.shape and bool(alike)
    return bool(a == b)


def main():
    key, codec, what = sys.argv[1:4]
    with shmstore.open(key, codec=codec, create=False) as store:
        for name, value in values():
            if what == "put":
                store[name] = value
            else:
                found = store[name]
                packed = name[-1] in "gG" or msgpack.encode(found) == msgpack.encode(value)  # those have gaps
                print(name, same(found, value), packed, sep="\t")


if __name__ == "__main__":
    main()
