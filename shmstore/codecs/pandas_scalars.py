"""What pandas returns for one cell: Timestamp, Timedelta, NaT, NA, Period and Interval; and its offsets.

Rows of ``frame.to_dict("records")`` are made of these. Each is stored by its fields, and needs pandas and nothing
else to be read. A Timestamp keeps its unit, its zone and ``fold``; a Period its offset, an Interval its two ends,
each of its type.
"""

from __future__ import annotations

import struct
import sys

from shmstore._base.foreign import is_foreign
from shmstore.codecs import nested
from shmstore.codecs.optional import need
from shmstore.codecs.pandas_zones import offset_from, offset_to, zone_from, zone_to
from shmstore.codecs.unsupported import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["FIRST", "decode", "types"]

NAT, NA, TIMESTAMP, TIMEDELTA, PERIOD, INTERVAL, OFFSET = range(16, 23)
FIRST = NAT  # the kinds below are those of codecs/frames.py

_UNITS = ("s", "ms", "us", "ns")
_CLOSED = ("right", "left", "both", "neither")
_NUMBER = struct.Struct(">q")
_TIMESTAMP = struct.Struct(">BBq")  # unit; fold in bit 0, the kind of the zone above; since 1970 in UTC
_TIMEDELTA = struct.Struct(">Bq")


# ---- writing -----------------------------------------------------------------------------------------------


def _timestamp(value: Any) -> bytes:
    kind, zone = zone_to(value.tzinfo)
    unit = _UNITS.index(getattr(value, "unit", "ns"))
    data = _TIMESTAMP.pack(unit, kind << 1 | value.fold, value.asm8.view("i8")) + zone
    if value.fold:
        try:
            _timestamp_from(type(value), data)
        except ValueError as error:
            if is_foreign(error):
                raise
            raise Unsupported("its fold would not come back the same", "store x.replace(fold=0)", ".fold") from None
    return data


def _timedelta(value: Any) -> bytes:
    return _TIMEDELTA.pack(_UNITS.index(getattr(value, "unit", "ns")), value.asm8.view("i8"))


def _period(value: Any) -> bytes:
    with nested.At(".freq"):
        return _NUMBER.pack(value.ordinal) + _offset(value.freq)


def _interval(value: Any) -> bytes:
    ends = nested.pack(value.left, [(".left", [value.left])]), nested.pack(value.right, [(".right", [value.right])])
    return bytes((_CLOSED.index(value.closed),)) + b"\x92" + b"".join(ends)


def _offset(value: Any) -> bytes:
    return nested.pack(offset_to(value), [])


def _parts(kind: int, write: Callable[[Any], bytes]) -> Callable[[Any], tuple[list[Any], int]]:
    def parts(value: Any) -> tuple[list[Any], int]:
        data = write(value)
        return [bytes((kind,)), data], 1 + len(data)

    return parts


# ---- reading -----------------------------------------------------------------------------------------------


def decode(data: bytes) -> Any:
    """Read a scalar."""
    pd = need("pandas", "pandas")
    kind, rest = data[0], data[1:]
    if kind == NAT or kind == NA:
        if rest:
            raise ValueError("bytes are left over")
        return pd.NaT if kind == NAT else pd.NA
    if kind == TIMESTAMP:
        return _timestamp_from(pd.Timestamp, rest)
    if kind == TIMEDELTA:
        unit, number = _TIMEDELTA.unpack(rest)
        np = sys.modules["numpy"]
        return _in_unit(pd.Timedelta(np.timedelta64(number, _UNITS[unit])), unit)
    if kind == PERIOD:
        offset = offset_from(nested.unpack(rest[8:]))
        return _no_nat(pd.Period(ordinal=_NUMBER.unpack(rest[:8])[0], freq=offset))
    if kind == INTERVAL:
        left, right = nested.unpack(rest[1:])
        return pd.Interval(left, right, _CLOSED[rest[0]])
    if kind == OFFSET:
        return offset_from(nested.unpack(rest))
    raise ValueError(f"unknown kind {kind}")


def _timestamp_from(timestamp: Any, data: bytes) -> Any:
    np = sys.modules["numpy"]
    unit, flags, number = _TIMESTAMP.unpack(data[:10])
    zone = zone_from(flags >> 1, data[10:])
    found = _in_unit(timestamp(np.datetime64(number, _UNITS[unit])), unit)
    if zone is not None:
        found = found.tz_localize("UTC").tz_convert(zone)
    if found.fold != flags & 1:
        found = found.replace(fold=flags & 1)
        if found.fold != flags & 1 or found.asm8.view("i8") != number:
            raise ValueError("its fold is not that of its time")
    return found


def _in_unit(value: Any, unit: int) -> Any:
    if getattr(_no_nat(value), "unit", "ns") != _UNITS[unit]:
        raise ValueError(f"this pandas has no times in {_UNITS[unit]}: it needs pandas 2")
    return value


def _no_nat(value: Any) -> Any:
    if value is sys.modules["pandas"].NaT:
        raise ValueError("NaT is written otherwise")
    return value


# ---- what codecs/frames.py asks for ------------------------------------------------------------------------


def types() -> list[tuple[type, Callable[[Any], tuple[list[Any], int]]]]:
    """Return type and parts of what this module stores."""
    pd = sys.modules["pandas"]
    found: list[tuple[type, int, Callable[[Any], bytes]]] = [
        (pd.Timestamp, TIMESTAMP, _timestamp),
        (pd.Timedelta, TIMEDELTA, _timedelta),
        (type(pd.NaT), NAT, lambda value: b""),
        (type(pd.NA), NA, lambda value: b""),
        (pd.Period, PERIOD, _period),
        (pd.Interval, INTERVAL, _interval),
    ]
    offsets = [getattr(pd.offsets, name) for name in pd.offsets.__all__]
    found += [(kind, OFFSET, _offset) for kind in offsets]
    return [(kind, _parts(code, write)) for kind, code, write in found]
