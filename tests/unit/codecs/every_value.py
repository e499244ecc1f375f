"""One value of every type that is stored, the same in every Python: corner cases, and one that a seed generates.

    python every_value.py KEY CODEC put|return|compare SEED [PACKAGE...]

One process puts them, another returns what it gets under another name, and the first compares. What gets prints, for
each name, whether the value is equal and of the same type, and whether packing it again gives the same bytes.
"""

import array
import datetime
import decimal
import fractions
import struct
import sys
import uuid
import zoneinfo
from random import Random

import shmstore
from shmstore.codecs import msgpack

ARRAYS = "?bhilqBHILQefdgFDG"


def corners(packages):
    yield (
        "plain",
        {"n": None, "b": [True, False], "i": -(2**63), "f": -0.0, "s": "é\U0001f600", "y": b"\0\xff", 7: 2**64 - 1},
    )
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
    if "numpy" in packages:
        yield from array_corners()
    if "pyarrow" in packages:
        import pyarrow

        yield "table", pyarrow.table({"a": [1, None], "s": ["x", "y"]})


def array_corners():
    import numpy as np

    for char in ARRAYS:
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


class Source(Random):
    """Values from a seed, by what no version of Python changed: getrandbits."""

    def upto(self, most):
        return self.getrandbits(64) % (most + 1)

    def bytes(self):
        return self.getrandbits(8 * 40).to_bytes(40, "little")[: self.upto(40)]

    def text(self):
        points = (self.upto(0x10FFFF) >> self.upto(20) for _ in range(self.upto(12)))
        return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)

    def float(self):
        found = struct.unpack("<d", self.getrandbits(64).to_bytes(8, "little"))[0]
        return found if found == found else 0.5  # nan is not equal to itself

    def int(self):
        return self.getrandbits(1 + self.upto(200)) * (1 - 2 * self.getrandbits(1))

    def leaf(self):
        return [self.text, self.bytes, self.float, self.int, lambda: None, lambda: bool(self.getrandbits(1))][
            self.upto(5)
        ]()

    def tree(self, depth):
        kind = self.upto(5) if depth else 5
        if kind == 5:
            return self.leaf()
        members = [self.tree(depth - 1) for _ in range(self.upto(4))]
        if kind < 2:
            return members
        return tuple(members) if kind == 2 else {self.leaf(): member for member in members}


def generated(source, packages):
    date = datetime.date(1 + source.upto(9998), 1 + source.upto(11), 1 + source.upto(27))
    time = datetime.time(source.upto(23), source.upto(59), source.upto(59), source.upto(999_999), fold=source.upto(1))
    minutes = datetime.timedelta(minutes=source.upto(2878) - 1439)
    zone = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"][source.upto(3)]
    for name in ("tree 1", "tree 2", "tree 3"):
        yield name, [source.tree(5), source.tree(5)]
    yield "any int", source.int()
    yield "any float", source.float()
    yield "any complex", complex(source.float(), source.float())
    yield "any str", source.text()
    yield "any bytes", source.bytes()
    yield "any bytearray", bytearray(source.bytes())
    yield "any memoryview", memoryview(source.bytes())
    yield "set of any", {source.leaf() for _ in range(source.upto(9))}
    yield "frozenset of any", frozenset(source.leaf() for _ in range(source.upto(9)))
    yield "any range", range(source.int(), source.int(), 1 + source.upto(99))
    yield "any slice", slice(source.leaf(), source.leaf(), source.leaf())
    yield "any date", date
    yield "any time", time
    yield "any naive datetime", datetime.datetime.combine(date, time)
    yield "any offset", datetime.datetime.combine(date, time, datetime.timezone(minutes, source.text() or "x"))
    yield "any zone", datetime.datetime.combine(date, time, zoneinfo.ZoneInfo(zone))
    yield "any timedelta", datetime.timedelta(source.upto(10**9), source.upto(86_399), source.upto(999_999))
    yield (
        "any decimal",
        decimal.Decimal((source.upto(1), [source.upto(9) for _ in range(1 + source.upto(40))], source.upto(900) - 450)),
    )
    yield "any fraction", fractions.Fraction(source.int(), 1 + abs(source.int()))
    yield "any uuid", uuid.UUID(int=source.getrandbits(128))
    for code in "bBhHiIlLqQ":
        size = array.array(code).itemsize
        yield f"any array {code}", array.array(code, source.getrandbits(8 * size * 5).to_bytes(size * 5, "little"))
    yield "any array d", array.array("d", [source.float() for _ in range(source.upto(9))])
    if "numpy" in packages:
        yield from generated_arrays(source)
    if "pyarrow" in packages:
        yield from generated_tables(source, "pandas" in packages)


def generated_arrays(source):
    import numpy as np

    for char in ARRAYS:
        shape = tuple(source.upto(3) for _ in range(source.upto(3)))
        order = "<>"[source.upto(1)]
        numbers = [source.upto(1000) for _ in range(int(np.prod(shape, dtype=int)))]
        made = np.array(numbers, "i8").astype(np.dtype(char).newbyteorder(order)).reshape(shape)
        made = np.asfortranarray(made) if source.upto(1) and shape else made
        made.flags.writeable = bool(source.upto(1))
        yield f"any numpy {char}", made
        yield f"any scalar {char}", np.dtype(char).type(source.upto(100))
    yield "any numpy U", np.array([source.text().strip("\0") for _ in range(3)])
    yield (
        "any numpy M",
        np.array([source.upto(10**9) for _ in range(3)], ["M8[s]", "M8[25ns]", "m8[us]"][source.upto(2)]),
    )
    yield (
        "any numpy V",
        np.array(
            [(source.upto(99), source.float())], np.dtype([("a", ">i4"), ("b", "f8")], align=bool(source.upto(1)))
        ),
    )


def generated_tables(source, pandas):
    import pyarrow

    columns = {"i": [source.upto(9) for _ in range(4)], "s": [source.text() for _ in range(4)], "n": [None, 1, None, 2]}
    yield "any table", pyarrow.table(columns)
    yield "any batch", pyarrow.record_batch([pyarrow.array(column) for column in columns.values()], list(columns))
    if pandas:
        import numpy as np
        import pandas as pd

        index = pd.Index(np.array(columns["i"], "i8"), name="index")
        frame = pd.DataFrame({1: np.array(columns["i"], "i2"), 2: [source.float() for _ in range(4)]}, index=index)
        frame.columns = pd.Index(np.array([1, 2], "i8"))  # pandas 2 and 3 make different ones of the dict's
        yield "any frame", frame
        yield "any series", pd.Series(frame[2].to_numpy(), index=index, name="name")
        yield "any index", index


def values(seed, packages):
    yield from corners(packages)
    yield from generated(Source(seed), packages)


def same(a, b):
    if type(a) is not type(b):
        return False
    if type(a).__module__ == "numpy":
        alike = sys.modules["numpy"].all(a == b) or a.tobytes() == b.tobytes()  # NaT is not equal to itself
        return a.dtype == b.dtype and a.shape == b.shape and bool(alike)
    if type(a).__module__.startswith("pandas"):
        return a.equals(b)
    return bool(a == b)


def packs_alike(name, found, value):
    """Long doubles have gaps, and sets no order."""
    return name[-1] in "gG" or "set" in name or msgpack.encode(found) == msgpack.encode(value)


def main():
    key, codec, step, seed, *packages = sys.argv[1:]
    with shmstore.open(key, codec=codec, create=False) as store:
        for name, value in values(int(seed), packages):
            if step == "put":
                store[name] = value
                continue
            found = store[name if step == "return" else f"returned {name}"]
            if step == "return":
                store[f"returned {name}"] = found
            print(name, same(found, value), packs_alike(name, found, value), sep="\t")


if __name__ == "__main__":
    main()
