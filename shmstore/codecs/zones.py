"""The zones that datetimes and times may carry, as bytes and back.

A zone is a ``datetime.timezone`` (its offset, and its name where it was given one) or a ``zoneinfo.ZoneInfo`` (its key: the
reader's machine supplies the rules). Nothing is converted to UTC.
"""

from __future__ import annotations

import struct
from datetime import timedelta, timezone, tzinfo

from shmstore._base.foreign import is_foreign
from shmstore._base.imports import imported, late
from shmstore.codecs.unsupported import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    import zoneinfo
    from typing import Any
else:
    zoneinfo = late("zoneinfo")

_OFFSET = struct.Struct(">q")  # microseconds east of UTC

# what follows the fields, in bits 1 and 2 of the flags
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
    if kind is getattr(imported("zoneinfo"), "ZoneInfo", None):
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
    """Read a zone. ZoneInfo opens files below its own search path only."""
    if kind == NO_ZONE:
        if data:
            raise ValueError("bytes are left over")
        return None
    if kind == KEY:
        key = data.decode("ascii")
        if not _is_key(key):
            raise ValueError(f"{key[:80]!r} is no time zone key")
        try:
            return zoneinfo.ZoneInfo(key)
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
