"""Types that C does not write and read by itself: those of other packages, and those that users register.

C asks for a type or a code once, and keeps the answer (csrc/python/types.c). A package's codes import it.
"""

from __future__ import annotations

from _thread import allocate_lock

from shmstore._base.imports import imported, late
from shmstore.codecs import buffers, extensions
from shmstore.codecs.unsupported import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    _T = TypeVar("_T")
    _Parts = Callable[[Any], tuple[list[Any], int]]
    from shmstore.codecs import zones
else:
    zones = late("shmstore.codecs.zones", needs="datetime")

__all__ = [
    "FIRST",
    "LAST",
    "PARTS",
    "READERS",
    "classes",
    "find",
    "reader",
    "register",
    "unknown",
    "zone_from",
    "zone_of",
]

FIRST, LAST = 64, 127  # codes for the types of users

# What grows while the process runs outlives importlib.reload.
PARTS: dict[int, _Parts] = globals().get("PARTS", {})  # by the id of the type: what to write, as pieces to be joined
READERS: dict[int, Callable[[Any], Any]] = globals().get("READERS", {})  # by code: what to make an object with
_ENCODERS: dict[int, tuple[int, Any]] = globals().get(
    "_ENCODERS", {}
)  # by the id of the type, because a metaclass may define any ==
_KEPT: list[type] = globals().get("_KEPT", [])
_users: dict[int, type] = globals().get("_users", {})  # code: class

# Where a type comes from (the root of its __module__), and the module here that stores it.
_SOURCES = {
    "builtins": "buffers", "array": "buffers", "numpy": "arrays", "pyarrow": "arrow", "pandas": "frames",
}  # fmt: skip
# Code: the module here and its function.
_READERS = {
    15: ("buffers", "decode_bytearray"),
    16: ("buffers", "decode_memoryview"),
    17: ("buffers", "decode_array"),
    18: ("arrays", "decode_ndarray"),
    19: ("arrays", "decode_scalar"),
    20: ("arrow", "decode_arrow"),
    21: ("frames", "decode_pandas"),
}
_MODULE = type.__dict__["__module__"]
_lock = allocate_lock()
_functions: dict[int, tuple[Any, Any]] = globals().get("_functions", {})  # code: encode, decode


_modules = {
    "buffers": buffers,
    "arrays": late("shmstore.codecs.arrays", needs="numpy"),
    "arrow": late("shmstore.codecs.arrow", needs="pyarrow"),
    "frames": late("shmstore.codecs.frames", needs="pandas"),
}
_standard = {source: late(source) for source, _ in extensions.STANDARD.values()}


# ---- what C asks for ---------------------------------------------------------------------------------------


def find(kind: type) -> tuple[int, Callable[[Any], bytes] | None] | None:
    """Return the code of a type that C does not know, and its encoder, None if C has it; None if it is not stored.

    A package's types are looked for only if it has been imported: otherwise no instance can exist.
    """
    found = _ENCODERS.get(id(kind))
    if found is not None:
        return found
    module = _MODULE.__get__(kind)
    if type(module) is not str:
        return None
    for code, (source, name) in extensions.STANDARD.items():
        if getattr(imported(source), name, None) is kind:
            return _keep(kind, code, None)
    root = module.partition(".")[0]
    stored_by = _SOURCES.get(root)
    if stored_by is None or (stored_by != "buffers" and imported(root) is None):
        return None
    for known, code, parts in _modules[stored_by].types():
        if known is kind:
            PARTS[id(kind)] = parts
            return _keep(kind, code, _joined(parts))
    return None


def _keep(kind: type, code: int, encode: Callable[[Any], bytes] | None) -> tuple[int, Callable[[Any], bytes] | None]:
    _KEPT.append(kind)  # so that its id is not another's
    found = _ENCODERS[id(kind)] = code, encode
    return found


def _joined(parts: _Parts) -> Callable[[Any], bytes]:
    def encode(value: Any) -> bytes:
        return b"".join(parts(value)[0])

    return encode


def reader(code: int) -> Callable[[Any], Any] | None:
    """Return the decoder of a code that has not been met before, or None."""
    where = _READERS.get(code)
    if where is None:
        return None
    found = READERS[code] = getattr(_modules[where[0]], where[1])
    return found  # type: ignore[no-any-return]


def classes(code: int) -> Any:
    """Return the class of objects with a code of the standard library; of UUIDs also the mark "not known to be safe"."""
    module, name = extensions.STANDARD[code]
    found = getattr(_standard[module], name)
    return (found, _standard[module].SafeUUID.unknown) if code == extensions.UUID_ else found


def zone_of(zone: Any) -> tuple[int, bytes]:
    """Return the kind of a zone and its bytes."""
    return zones.encode_zone(zone)


def zone_from(kind: int, data: bytes) -> Any:
    """Return the zone that these bytes stand for."""
    return zones.decode_zone(kind, data)


def unknown(code: int) -> str:
    """Say why nothing can be made of a code."""
    if FIRST <= code <= LAST:
        return (f"extension code {code} is unknown here: codes {FIRST} to {LAST} are for types that a program "
                f"registers; call shmstore.register({code}, ...) as the program did that put the value")  # fmt: skip
    return (f"extension code {code} is unknown to this version of shmstore; "
            "it was written by a newer one, or by another program")  # fmt: skip


# ---- types of users ----------------------------------------------------------------------------------------


def register(code: int, cls: type[_T], encode: Callable[[_T], bytes], decode: Callable[[bytes], _T]) -> None:
    """Store objects of your class in this process: *encode* converts an object to bytes, *decode* bytes to an object.

    code: 64 to 127, recorded with each value. All programs that share a store must use a code for the same class.
    cls: exactly this class. A subclass still raises ``CodecError``.

    You can register any class that cannot be stored yet, including named tuples and enums. Its objects can then be
    anywhere in a value, also as a member of a set or a key of a dict. *decode* must return an equal object of the same
    class; the package does not check this. Both functions run while no lock is held, and must not change the value that
    is being stored. Their exceptions become ``CodecError``, except those of signal handlers.

    Registering the same again does nothing. A class that was defined again, because its module was reloaded, replaces the
    old class, whose objects can still be put. Several threads may register at once. A value that is being read or written
    meanwhile is treated as before or after the registration.

    >>> class Money:
    ...     def __init__(self, cents):
    ...         self.cents = cents
    >>> shmstore.register(64, Money, lambda money: b"%d" % money.cents, lambda data: Money(int(data)))
    >>> store["price"] = Money(250)
    >>> store["price"].cents
    250

    Raises: ValueError if the code or the class is registered already; TypeError for wrong arguments.
    """
    if type(code) is not int:
        raise TypeError(f"an extension code is an int, not {type(code).__name__}")
    if not FIRST <= code <= LAST:
        raise ValueError(f"codes of one's own are from {FIRST} to {LAST}, not {code}; the others are the package's")
    if not isinstance(cls, type):
        raise TypeError(f"cls is a class, not {type(cls).__name__}")
    if not callable(encode) or not callable(decode):
        raise TypeError("encode and decode are functions")
    entry = (encode, decode)
    with _lock:
        holder = _users.get(code)
        if holder is not None and not (_defined_again(holder, cls) or (holder is cls and _functions[code] == entry)):
            raise ValueError(f"code {code} is registered for {holder.__qualname__} already")
        if holder is not cls:
            if any([known is cls for known in _users.values()]):
                raise ValueError(f"{cls.__qualname__} is registered with another code already")
            if _is_native(cls) or find(cls) is not None:
                raise ValueError(f"{cls.__qualname__} is stored already, in a way that every program knows")
            _functions[code] = entry
            _users[code] = cls
        if id(cls) not in _ENCODERS:  # also where a signal handler ended the first call here
            extensions.NAMES[code] = cls.__qualname__
            READERS[code] = _reader(decode)
            _keep(cls, code, _writer(code, encode))


def _defined_again(holder: type, cls: type) -> bool:
    """Tell whether a class is another one's successor: its module, or a notebook's cell, was executed again."""
    names = [(kind.__module__, kind.__qualname__) for kind in (holder, cls)]
    return holder is not cls and names[0] == names[1] and "<locals>" not in cls.__qualname__


_NATIVE = (str, int, float, bool, bytes, type(None), list, dict, tuple, set, frozenset, slice, range, complex)


def _is_native(kind: type) -> bool:
    """Tell whether C knows a type without asking."""
    return any([kind is known for known in _NATIVE])


def _reader(decode: Callable[[bytes], Any]) -> Callable[[Any], Any]:
    def read(data: Any) -> Any:
        return decode(data if type(data) is bytes else bytes(data))

    return read


def _writer(code: int, encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def write(value: Any) -> bytes:
        encoded = encode(value)
        if type(encoded) is not bytes:
            raise Unsupported(
                f"the function registered for code {code} returned {type(encoded).__name__}, not bytes",
                "return bytes(...)",
            )
        return encoded

    return write
