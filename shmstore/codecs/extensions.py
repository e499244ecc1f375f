"""The extension types: which code stands for which type. ``docs/format.md`` says what their payloads hold.

Codes 1 to 4 hold other values (one packed array). Codes up to 14 are the standard library's, written and read in C
(csrc/python/pack_types.c and unpack_types.c). The others are written and read by the modules that
``codecs/registry.py`` names. Changing an entry changes the format.
"""

from __future__ import annotations

TUPLE, SET, FROZENSET, SLICE = 1, 2, 3, 4
INT, DECIMAL, FRACTION, RANGE, COMPLEX = 5, 6, 7, 8, 9
DATETIME, DATE, TIME, TIMEDELTA = 10, 11, 12, 13
UUID_ = 14
BYTEARRAY, MEMORYVIEW, ARRAY = 15, 16, 17
NDARRAY, NUMPY_SCALAR, ARROW, PANDAS = 18, 19, 20, 21

LARGE = range(BYTEARRAY, PANDAS + 1)  # mostly one piece of memory, which their decoders use in place

# registering adds to it; it outlives importlib.reload
NAMES: dict[int, str] = globals().get("NAMES", {}) | {
    TUPLE: "tuple", SET: "set", FROZENSET: "frozenset", SLICE: "slice",
    INT: "int", DECIMAL: "Decimal", FRACTION: "Fraction", RANGE: "range", COMPLEX: "complex",
    DATETIME: "datetime", DATE: "date", TIME: "time", TIMEDELTA: "timedelta",
    UUID_: "UUID",
    BYTEARRAY: "bytearray", MEMORYVIEW: "memoryview", ARRAY: "array.array",
    NDARRAY: "numpy array", NUMPY_SCALAR: "numpy scalar", ARROW: "Arrow", PANDAS: "pandas",
}  # fmt: skip

# Module and name of the types that C writes and does not know by itself.
STANDARD = {
    DECIMAL: ("decimal", "Decimal"), FRACTION: ("fractions", "Fraction"), UUID_: ("uuid", "UUID"),
    DATETIME: ("datetime", "datetime"), DATE: ("datetime", "date"), TIME: ("datetime", "time"),
    TIMEDELTA: ("datetime", "timedelta"),
}  # fmt: skip

PART = 1024  # bytes of a number in a Fraction or range: reducing and counting them takes quadratic time
