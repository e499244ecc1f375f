"""Time zones and offsets as pandas holds them, as plain values.

A zone is one of those in ``codecs/zones.py``, or one of pytz, which pandas before version 3 made from a zone's key. An
offset (the ``freq`` of an index or a period) is stored as its class, its count, whether it is normalized, and further
arguments of its class. Unlike frequency strings, the names of classes and their arguments do not depend on the version.
"""

from __future__ import annotations

import sys
from datetime import timedelta

from shmstore._base.foreign import is_foreign
from shmstore.codecs import nested, zones
from shmstore.codecs.unsupported import Unsupported
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["offset_from", "offset_to", "zone_from", "zone_to"]

PYTZ_KEY, PYTZ_OFFSET = 4, 5  # in addition to the kinds of codecs/zones.py

_CONVERT = "convert it: x.tz_convert('UTC') or to another key, of a Series x.dt.tz_convert('UTC')"


# ---- zones -------------------------------------------------------------------------------------------------


def zone_to(zone: Any) -> tuple[int, bytes]:
    """Return the kind of a zone and its bytes.

    Raises: Unsupported.
    """
    pytz = sys.modules.get("pytz")
    if pytz is not None:
        if type(zone) is type(pytz.FixedOffset(1)):
            return PYTZ_OFFSET, (zone.utcoffset(None) // timedelta(minutes=1)).to_bytes(2, "big", signed=True)
        key: Any = getattr(zone, "zone", None)
        if (
            isinstance(zone, pytz.BaseTzInfo)
            and key in pytz.all_timezones_set
            and type(pytz.timezone(key)) is type(zone)
        ):
            return PYTZ_KEY, key.encode("ascii")
    try:
        return zones.encode_zone(zone)
    except Unsupported as error:
        raise Unsupported(error.cause, _CONVERT, ".tz") from None


def zone_from(kind: int, data: bytes) -> Any:
    """Read a zone."""
    if kind != PYTZ_KEY and kind != PYTZ_OFFSET:
        return zones.decode_zone(kind, data)
    try:
        import pytz  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        if is_foreign(error):
            raise
        raise CodecError("cannot decode: the value needs pytz, for its time zone; pip install pytz") from None
    if kind == PYTZ_OFFSET:
        return pytz.FixedOffset(int.from_bytes(data, "big", signed=True))
    try:
        return pytz.timezone(data.decode("ascii"))
    except KeyError as error:  # pytz.UnknownTimeZoneError
        if is_foreign(error):
            raise
        raise ValueError(f"the time zone {data[:80]!r} is unknown to pytz on this machine") from None


# ---- offsets -----------------------------------------------------------------------------------------------


def offset_to(offset: Any) -> list[Any]:
    """Describe an offset: name of the class, count, whether it is normalized, further arguments.

    Raises: Unsupported.
    """
    pd = sys.modules["pandas"]
    kind = type(offset)
    if getattr(pd.offsets, kind.__name__, None) is not kind:
        raise Unsupported(f"an offset of type {kind.__qualname__} is not one of pandas.offsets", "use one of those")
    arguments = {name: value for name, value in offset.kwds.items() if name != "calendar"}  # made of the others
    nested.pack(arguments, [(".kwds", [arguments])])
    described = [kind.__name__, offset.n, offset.normalize, arguments]
    if offset_from(described) != offset:
        raise Unsupported("its offset cannot be made again", "use another of pandas.offsets")
    return described


def offset_from(described: Any) -> Any:
    """Make an offset.

    Raises: ValueError and what its class raises.
    """
    pd = sys.modules["pandas"]
    name, count, normalize, arguments = described
    if type(name) is not str or type(normalize) is not bool or type(arguments) is not dict:
        raise ValueError("an offset has name, count, bool and arguments")
    kind = getattr(pd.offsets, name, None)
    if not isinstance(kind, type) or not issubclass(kind, pd.offsets.BaseOffset) or kind.__name__ != name:
        raise ValueError(f"this pandas has no offset {name[:80]!r}")
    return kind(count, normalize=normalize, **arguments)
