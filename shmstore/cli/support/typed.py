"""Values as JSON. A value that JSON lacks is an object whose first key begins with ``$``.

``(1, 2)`` is ``{"$tuple": [1, 2]}``, and bytes are ``{"$bytes": base64}``. A dict that begins like that, or has
a key that is not a str, is ``{"$dict": [[name, value], ...]}``. An int beyond 2**53 is ``{"$int": "9007199254740993"}``,
because many readers of JSON convert every number to a float. ``from_json`` reads back what ``to_json`` wrote: equal, and of
the same type. docs/cli.md has the table.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from datetime import date, datetime, time, timedelta, timezone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["EXACT", "from_json", "key_to_json", "to_json"]

EXACT = 2**53  # up to here every int is a float, and the only one that is written so


def key_to_json(key: str | bytes) -> Any:
    """A key as JSON: a string, or ``{"$bytes": ...}``."""
    return key if isinstance(key, str) else {"$bytes": b64encode(key).decode()}


def to_json(value: Any) -> Any:
    """What ``json.dumps`` writes for a value of any type."""
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return value if abs(value) <= EXACT else {"$int": str(value)}
    if kind is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if kind is list:
        return [to_json(item) for item in value]
    if kind is dict:
        tagged = str(next(iter(value), "")).startswith("$")
        if tagged or not all(type(name) is str for name in value):
            return {"$dict": [[to_json(name), to_json(item)] for name, item in value.items()]}
        return {name: to_json(item) for name, item in value.items()}
    if kind is bytes:
        return {"$bytes": b64encode(value).decode()}
    if kind in (tuple, set, frozenset):
        items = value if kind is tuple else sorted(value, key=repr)
        return {f"${kind.__name__}": [to_json(item) for item in items]}
    return _rare(value, kind)


def _rare(value: Any, kind: type) -> Any:
    if kind is complex:
        return {"$complex": [to_json(value.real), to_json(value.imag)]}
    if kind in (range, slice):
        return {f"${kind.__name__}": [to_json(value.start), to_json(value.stop), to_json(value.step)]}
    if kind is timedelta:
        return {"$timedelta": [value.days, value.seconds, value.microseconds]}
    if kind is date:
        return {"$date": value.isoformat()}
    if kind in (datetime, time):
        return {f"${kind.__name__}": value.isoformat(), **_zone_to_json(value)}
    if f"{kind.__module__}.{kind.__qualname__}" in ("decimal.Decimal", "fractions.Fraction", "uuid.UUID"):
        return {f"${kind.__name__.lower()}": str(value)}
    if all(hasattr(value, field) for field in ("dtype", "shape", "tolist")) and not isinstance(value, type):
        return {"$array": to_json(value.tolist()), "dtype": str(value.dtype), "shape": list(value.shape)}
    return {"$repr": repr(value), "type": f"{kind.__module__}.{kind.__qualname__}"}


def _zone_to_json(value: datetime | time) -> dict[str, Any]:
    """The parts of a zone that the ISO text lacks."""
    more: dict[str, Any] = {"fold": 1} if value.fold else {}
    zone = value.tzinfo
    if type(zone) is timezone:
        named = zone.__getinitargs__()[1:]  # type: ignore[attr-defined]
        more.update({"zone_name": named[0]} if named else {})
    elif zone is not None:
        more["zone"] = getattr(zone, "key", str(zone))
    return more


def from_json(document: Any) -> Any:
    """The value that a document of to_json's notation stands for.

    Raises: ValueError for an object with a ``$`` that it does not know.
    """
    if isinstance(document, list):
        return [from_json(item) for item in document]
    if not isinstance(document, dict):
        return document
    tag = next(iter(document), "")
    if not tag.startswith("$"):
        return {name: from_json(item) for name, item in document.items()}
    read = _READERS.get(tag)
    more = {name: item for name, item in document.items() if name != tag}
    if read is None or (more and tag not in ("$datetime", "$time")):
        raise ValueError(f"{tag!r} with {len(more)} further names is not a value; known names: {', '.join(_READERS)}")
    try:
        value = read(document[tag])
        return _zoned(value, **more) if more else value
    except (TypeError, ValueError, ArithmeticError, KeyError, AttributeError) as error:
        raise ValueError(f"this is not a {tag}: {document[tag]!r} ({error})") from None


def _zoned(value: Any, zone: str | None = None, zone_name: str | None = None, fold: int = 0) -> Any:
    if zone is not None:
        from zoneinfo import ZoneInfo

        value = value.replace(tzinfo=ZoneInfo(zone))
    if zone_name is not None:
        value = value.replace(tzinfo=timezone(value.utcoffset(), zone_name))
    return value.replace(fold=fold)


def _items(document: Any) -> list[Any]:
    if not isinstance(document, list):
        raise TypeError("it must be a list")
    return [from_json(item) for item in document]


def _int(text: str) -> int:
    if not text.removeprefix("-").isdecimal():
        raise ValueError("it must be digits")
    return int(text)


def _decimal(text: str) -> Any:
    from decimal import Decimal

    return Decimal(text)


def _fraction(text: str) -> Any:
    from fractions import Fraction

    return Fraction(text)


def _uuid(text: str) -> Any:
    from uuid import UUID

    return UUID(text)


_READERS: dict[str, Callable[[Any], Any]] = {
    "$tuple": lambda items: tuple(_items(items)),
    "$set": lambda items: set(_items(items)),
    "$frozenset": lambda items: frozenset(_items(items)),
    "$dict": lambda pairs: {from_json(name): from_json(item) for name, item in pairs},
    "$int": _int,
    "$bytes": lambda text: b64decode(text, validate=True),
    "$float": lambda text: float(text),
    "$complex": lambda parts: complex(*_items(parts)),
    "$range": lambda parts: range(*_items(parts)),
    "$slice": lambda parts: slice(*_items(parts)),
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta": lambda parts: timedelta(*parts),
    "$decimal": _decimal,
    "$fraction": _fraction,
    "$uuid": _uuid,
}
