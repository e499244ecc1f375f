"""Payloads of datetime, date, time and timedelta, and of the zones that the first three may carry.

A zone is a ``datetime.timezone`` (its offset, and its name where it was given one) or a ``zoneinfo.ZoneInfo``
(its key: the reader's machine supplies the rules). Fields are kept as they stand, ``fold`` too; nothing is
converted to UTC.
"""

from __future__ import annotations

import struct
import sys
from datetime import date, datetime, time, timedelta, timezone, tzinfo

from shmstore._foreign import is_foreign
from shmstore.codecs.refusal import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DATETIME = struct.Struct(">BHBBBBBI")  # flags, year, month, day, hour, minute, second, microsecond
_TIME = struct.Struct(">BBBBI")
_DATE = struct.Struct(">HBB")
_TIMEDELTA = struct.Struct(">iII")  # days, seconds, microseconds, as Python normalizes them
_OFFSET = struct.Struct(">q")  # microseconds east of UTC

# flags: bit 0 is fold, bits 1 and 2 say what follows the fields
NO_ZONE, OFFSET, NAMED_OFFSET, KEY = range(4)

KEY_SIZE = 255
_KEY_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/")
_ZONES = "use datetime.timezone, or zoneinfo.ZoneInfo(key)"


# ---- zones -------------------------------------------------------------------------------------------------


def encode_zone(zone: tzinfo | None) -> tuple[int, bytes]:
    """Return the kind of a zone and its bytes."""
    if zone is None:
        return NO_ZONE, b""
    kind = type(zone)
    if kind is timezone:
        return _encode_offset(zone)
    if kind is getattr(sys.modules.get("zoneinfo"), "ZoneInfo", None):
        return KEY, _zone_key(zone).encode("ascii")
    raise Unsupported(f"a tzinfo of type {kind.__qualname__} is not stored", _ZONES, ".tzinfo")


def _encode_offset(zone: Any) -> tuple[int, bytes]:
    offset, *name = zone.__getinitargs__()  # a name that was given, not the one made up from the offset
    if type(offset) is not timedelta:
        raise Unsupported("its offset is a subclass of timedelta", _ZONES, ".tzinfo")
    packed = _OFFSET.pack(offset // timedelta(microseconds=1))
    if not name:
        return OFFSET, packed
    if type(name[0]) is not str:
        raise Unsupported("its name is a subclass of str", _ZONES, ".tzinfo")
    try:
        return NAMED_OFFSET, packed + name[0].encode()
    except UnicodeEncodeError as error:
        if is_foreign(error):
            raise
        raise Unsupported("its name holds a lone surrogate", "give it another name", ".tzinfo") from None


def _zone_key(zone: Any) -> str:
    """Return the key under which ``ZoneInfo(key)`` gives this zone back."""
    key = zone.key
    if type(key) is not str:
        raise Unsupported("a ZoneInfo without a key cannot be found again", _ZONES, ".tzinfo")
    try:
        _, (_, from_cache) = zone.__reduce__()
    except Exception as error:  # pickle.PicklingError, which need not be imported for this
        if is_foreign(error):
            raise
        raise Unsupported("a ZoneInfo read from a file cannot be found again", _ZONES, ".tzinfo") from None
    if not from_cache:
        raise Unsupported("a ZoneInfo.no_cache() is the same as no other", _ZONES, ".tzinfo")
    if not _is_key(key):
        raise Unsupported(f"the zone key {key[:80]!r} is not one of the tz database's", _ZONES, ".tzinfo")
    return key


def _is_key(key: str) -> bool:
    """Accept what keys of the tz database are made of: no dots, no blanks, no empty segment."""
    return len(key) <= KEY_SIZE and _KEY_CHARACTERS.issuperset(key) and "" not in key.split("/")


def decode_zone(kind: int, data: bytes) -> tzinfo | None:
    """Read a zone; what ZoneInfo opens by it lies below its own search path."""
    if kind == NO_ZONE:
        if data:
            raise ValueError("bytes are left over")
        return None
    if kind == KEY:
        from zoneinfo import ZoneInfo

        key = data.decode("ascii")
        if not _is_key(key):
            raise ValueError(f"{key[:80]!r} is no time zone key")
        try:
            return ZoneInfo(key)
        except Exception as error:  # not there, or (a directory, say) no zone file
            if is_foreign(error):
                raise
            raise ValueError(
                f"the time zone {key!r} is unknown on this machine: install the tz database or tzdata"
            ) from error
    offset = timedelta(microseconds=_OFFSET.unpack(data[:8])[0])
    if kind == OFFSET:
        if len(data) != 8:
            raise ValueError("bytes are left over")
        return timezone(offset)
    return timezone(offset, data[8:].decode())


# ---- the four types ----------------------------------------------------------------------------------------


def encode_datetime(value: datetime) -> bytes:
    """Write the fields, then the zone."""
    kind, zone = encode_zone(value.tzinfo)
    fields = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
    return _DATETIME.pack(value.fold | kind << 1, *fields) + zone


def decode_datetime(data: bytes) -> datetime:
    """Read a datetime."""
    flags, year, month, day, hour, minute, second, microsecond = _DATETIME.unpack(data[:12])
    if flags > 7:
        raise ValueError(f"unknown flags {flags:#x}")
    zone = decode_zone(flags >> 1, data[12:])
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=flags & 1)


def encode_time(value: time) -> bytes:
    """Write the fields, then the zone."""
    kind, zone = encode_zone(value.tzinfo)
    fields = (value.hour, value.minute, value.second, value.microsecond)
    return _TIME.pack(value.fold | kind << 1, *fields) + zone


def decode_time(data: bytes) -> time:
    """Read a time of day."""
    flags, hour, minute, second, microsecond = _TIME.unpack(data[:8])
    if flags > 7:
        raise ValueError(f"unknown flags {flags:#x}")
    return time(hour, minute, second, microsecond, decode_zone(flags >> 1, data[8:]), fold=flags & 1)


def encode_date(value: date) -> bytes:
    """Write year, month, day."""
    return _DATE.pack(value.year, value.month, value.day)


def decode_date(data: bytes) -> date:
    """Read a date."""
    return date(*_DATE.unpack(data))


def encode_timedelta(value: timedelta) -> bytes:
    """Write days, seconds, microseconds."""
    return _TIMEDELTA.pack(value.days, value.seconds, value.microseconds)


def decode_timedelta(data: bytes) -> timedelta:
    """Read a duration, as Python normalizes it."""
    days, seconds, microseconds = _TIMEDELTA.unpack(data)
    if seconds >= 86_400 or microseconds >= 1_000_000:
        raise ValueError("the duration is not normalized")
    return timedelta(days, seconds, microseconds)
