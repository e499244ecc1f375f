"""The extension types: which code stands for which type, and what its payload holds.

Codes 1 to 4 hold other values (one packed array) and are built where the packers are, in
``codecs/msgpack.py``. The others are leaves: a function to bytes and one back, here and in
``codecs/moments.py``; from 15 on in modules that ``codecs/registry.py`` imports when they are needed. A leaf
has one spelling, and its decoder refuses every other. ``docs/format.md`` has the table; changing an entry
changes the format.

An object's type is looked up by identity. ``decimal``, ``fractions``, ``uuid`` and ``zoneinfo`` are not
imported for it: whoever holds an instance has imported them.
"""

from __future__ import annotations

import struct
import sys
from datetime import date, datetime, time, timedelta

from shmstore.codecs import moments
from shmstore.codecs.refusal import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal
    from fractions import Fraction
    from typing import Any
    from uuid import UUID

    _Encoder = Callable[[Any], bytes]
    _Decoder = Callable[[bytes], Any]

TUPLE, SET, FROZENSET, SLICE = 1, 2, 3, 4
INT, DECIMAL, FRACTION, RANGE, COMPLEX = 5, 6, 7, 8, 9
DATETIME, DATE, TIME, TIMEDELTA = 10, 11, 12, 13
UUID_ = 14
BYTEARRAY, MEMORYVIEW, ARRAY = 15, 16, 17
NDARRAY, NUMPY_SCALAR, ARROW, PANDAS = 18, 19, 20, 21

LARGE = range(BYTEARRAY, PANDAS + 1)  # mostly one piece of memory, which their decoders take as it lies

# The tables that registering adds to outlive importlib.reload.
NAMES: dict[int, str] = globals().get("NAMES", {}) | {
    TUPLE: "tuple", SET: "set", FROZENSET: "frozenset", SLICE: "slice",
    INT: "int", DECIMAL: "Decimal", FRACTION: "Fraction", RANGE: "range", COMPLEX: "complex",
    DATETIME: "datetime", DATE: "date", TIME: "time", TIMEDELTA: "timedelta",
    UUID_: "UUID",
    BYTEARRAY: "bytearray", MEMORYVIEW: "memoryview", ARRAY: "array.array",
    NDARRAY: "numpy array", NUMPY_SCALAR: "numpy scalar", ARROW: "Arrow", PANDAS: "pandas",
}  # fmt: skip

PART = 1024  # bytes of a number in a Fraction or range: reducing and counting them takes quadratic time

_COMPLEX = struct.Struct(">dd")


# ---- int ---------------------------------------------------------------------------------------------------


def to_twos_complement(number: int) -> bytes:
    """Write an int of any size in as few bytes as hold it, big-endian, two's complement."""
    bits = (number if number >= 0 else ~number).bit_length()
    return number.to_bytes(bits // 8 + 1, "big", signed=True)


def from_twos_complement(data: bytes) -> int:
    """Read what ``to_twos_complement`` wrote; a longer spelling of the same number is a ValueError."""
    if len(data) > 1 and data[0] == (0 if data[1] < 0x80 else 0xFF):
        raise ValueError("the number is not written in as few bytes as hold it")
    if not data:
        raise ValueError("a number of no bytes")
    return int.from_bytes(data, "big", signed=True)


def decode_int(data: bytes) -> int:
    """Read an int that msgpack's own 64 bits do not hold."""
    number = from_twos_complement(data)
    if -(2**63) <= number < 2**64:
        raise ValueError("an int of 64 bits needs no extension")
    return number


def join_ints(numbers: tuple[int, ...]) -> bytes:
    """Write several ints, each behind its length in two bytes."""
    payload = b""
    for number in numbers:
        part = to_twos_complement(number)
        if len(part) > PART:
            raise Unsupported(
                f"a number in it takes {len(part)} bytes, {PART} is the most",
                "store the numbers as ints of their own",
            )
        payload += len(part).to_bytes(2, "big") + part
    return payload


def split_ints(data: bytes, count: int) -> list[int]:
    """Read what ``join_ints`` wrote."""
    numbers = []
    at = 0
    for _ in range(count):
        size = int.from_bytes(data[at : at + 2], "big")
        part = data[at + 2 : at + 2 + size]
        if size > PART or len(part) != size:
            raise ValueError("a number is cut short or too long")
        numbers.append(from_twos_complement(part))
        at += 2 + size
    if at != len(data):
        raise ValueError("bytes are left over")
    return numbers


# ---- the other numbers -------------------------------------------------------------------------------------


def encode_decimal(value: Decimal) -> bytes:
    """Write the text that denotes exactly this Decimal: sign, digits, exponent, kind of NaN."""
    return str(value).replace("e", "E").encode("ascii")  # the context may ask for a small e


def decode_decimal(data: bytes) -> Decimal:
    """Read a Decimal; other spellings of it (blanks, underscores, other digits) are refused."""
    from decimal import Decimal

    text = data.decode("ascii")
    value = Decimal(text)
    if str(value).replace("e", "E") != text:  # also met where the context makes NaN out of nonsense
        raise ValueError("this is not how the number is written")
    return value


def encode_fraction(value: Fraction) -> bytes:
    """Write numerator and denominator."""
    parts = (value.numerator, value.denominator)
    if type(parts[0]) is not int or type(parts[1]) is not int:
        raise Unsupported("its numerator or denominator is not an int", "use Fraction(int(n), int(d))")
    return join_ints(parts)


def decode_fraction(data: bytes) -> Fraction:
    """Read a Fraction, which must be in lowest terms."""
    from fractions import Fraction

    numerator, denominator = split_ints(data, 2)
    value = Fraction(numerator, denominator)
    if value.denominator != denominator:
        raise ValueError("the fraction is not in lowest terms")
    return value


def encode_range(value: range) -> bytes:
    """Write start, stop and step."""
    return join_ints((value.start, value.stop, value.step))


def decode_range(data: bytes) -> range:
    """Read a range; its step is not 0."""
    return range(*split_ints(data, 3))


def encode_complex(value: complex) -> bytes:
    """Write real and imaginary part as doubles."""
    return _COMPLEX.pack(value.real, value.imag)


def decode_complex(data: bytes) -> complex:
    """Read a complex number."""
    return complex(*_COMPLEX.unpack(data))


# ---- UUID --------------------------------------------------------------------------------------------------


def encode_uuid(value: UUID) -> bytes:
    """Write the 16 bytes, and one more where ``is_safe`` is known."""
    safe: int | None = value.is_safe.value  # 0 safe, -1 unsafe, None unknown
    return value.bytes if safe is None else value.bytes + (b"\1" if safe == 0 else b"\0")


def decode_uuid(data: bytes) -> UUID:
    """Read a UUID."""
    from uuid import UUID, SafeUUID

    if len(data) == 16:
        return UUID(bytes=data)
    if len(data) != 17 or data[16] > 1:
        raise ValueError("a UUID has 16 bytes, and one of 0 or 1 if it is known to be safe or unsafe")
    return UUID(bytes=data[:16], is_safe=SafeUUID.safe if data[16] else SafeUUID.unsafe)


# ---- the registry ------------------------------------------------------------------------------------------

LEAVES: dict[int, _Decoder] = globals().get("LEAVES", {}) | {
    INT: decode_int,
    DECIMAL: decode_decimal,
    FRACTION: decode_fraction,
    RANGE: decode_range,
    COMPLEX: decode_complex,
    DATETIME: moments.decode_datetime,
    DATE: moments.decode_date,
    TIME: moments.decode_time,
    TIMEDELTA: moments.decode_timedelta,
    UUID_: decode_uuid,
}

_PRESENT: list[tuple[type, int, _Encoder]] = [
    (int, INT, to_twos_complement),  # msgpack asks only for those that it cannot hold
    (range, RANGE, encode_range),
    (complex, COMPLEX, encode_complex),
    (datetime, DATETIME, moments.encode_datetime),
    (date, DATE, moments.encode_date),
    (time, TIME, moments.encode_time),
    (timedelta, TIMEDELTA, moments.encode_timedelta),
]

_LATER: list[tuple[str, str, int, _Encoder]] = [
    ("decimal", "Decimal", DECIMAL, encode_decimal),
    ("fractions", "Fraction", FRACTION, encode_fraction),
    ("uuid", "UUID", UUID_, encode_uuid),
]

# By the id of the type, whose own hash and == belong to its metaclass; _KEPT keeps the ids from being reused.
ENCODERS: dict[int, tuple[int, _Encoder]] = globals().get("ENCODERS", {})
ENCODERS.update({id(kind): (code, encode) for kind, code, encode in _PRESENT})
_KEPT: list[type] = globals().get("_KEPT", []) + [kind for kind, _, _ in _PRESENT]


def register(kind: type, code: int, encode: _Encoder) -> tuple[int, _Encoder]:
    """Let *encode* write objects of exactly this type."""
    _KEPT.append(kind)
    found = ENCODERS[id(kind)] = (code, encode)
    return found


def find(kind: type) -> tuple[int, _Encoder] | None:
    """Return code and encoder of a type, or None: a class of the same name elsewhere is not the same type."""
    found = ENCODERS.get(id(kind))
    if found is not None:
        return found
    for module, name, code, encode in _LATER:
        if getattr(sys.modules.get(module), name, None) is kind:
            return register(kind, code, encode)
    from shmstore.codecs import registry

    return registry.find(kind)


_NATIVE = (str, int, float, bool, bytes, type(None), list, dict, tuple, set, frozenset, slice)


def is_native(kind: type) -> bool:
    """Tell whether objects of a type are written without an encoder of their own."""
    return any([kind is known for known in _NATIVE])
