"""Keys of entries that are made of arguments: ``shmstore.key`` and ``shmstore.typed_key``.

A key is the arguments as text, much as Python writes them: ``('user',7,lang='en')``. Strs and bytes are in quotation marks.
The text of every other value is a number, is in brackets, or begins with a name that a colon or a bracket follows. So
different values have different texts, and no text of a value looks like a name and ``=``. Text of more than LONGEST characters
is replaced by its BLAKE2b hash.

The text is the same in every process: it contains no hash of Python's, sets are in the order of their texts, and what is not
ASCII is escaped. It is the same under every version of Python, except for classes that are in another module there.
"""

from __future__ import annotations

from shmstore._base.foreign import is_foreign
from shmstore._base.imports import imported, late
from shmstore.codecs import msgpack
from shmstore.codecs.error_path import type_name
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
    from typing import Any
else:
    hashlib = late("hashlib")

__all__ = ["LONGEST", "MUTABLE", "TYPED", "key", "text_of", "typed_key"]

TYPED, MUTABLE = 1, 2
LONGEST = 200  # characters; one hashed has 72
_SCALE = 400  # decimal digits: a Decimal beyond is no float, and is not written out as an int
_BITS = 128  # an int with more bits is written in hexadecimal, which takes no quadratic time


def key(*args: Any, **kwargs: Any) -> str:
    """Return a key for an entry that depends on these arguments: the same str in every process.

    Different arguments have different keys. The order of *kwargs* does not matter. Numbers that are equal
    have the same key: 1, 1.0 and True. So have a named tuple and the tuple, a member of a str enum and the str, and the same
    point in time in two zones. :func:`typed_key` tells equal arguments of different types apart.

    The arguments may be None, str, bytes, numbers, tuples and frozensets of arguments, enum members, paths, classes and
    functions of a module, frozen dataclasses of arguments, and all other values that can be hashed and stored: dates, UUIDs,
    ranges, numpy's scalars, types that you registered.

    A key of more than 200 characters is replaced by its 256-bit BLAKE2b hash.

    Cost: some us.

    >>> shmstore.key("user", 7, lang="en")
    "('user',7,lang='en')"
    >>> shmstore.key(1) == shmstore.key(1.0) != shmstore.key("1")
    True

    Raises: TypeError for an argument that cannot be hashed, or about which nothing says what it is in another process.
    """
    return text_of(args, kwargs, 0)


def typed_key(*args: Any, **kwargs: Any) -> str:
    """Return a key as :func:`key` does, and tell equal arguments of different types apart.

    This is a function of its own, and not an option of :func:`key`, so that every name is free for *kwargs*.

    >>> shmstore.typed_key(1), shmstore.typed_key(1.0), shmstore.typed_key(True)
    ('(1)', '(float:1)', '(bool:1)')

    Raises: as key().
    """
    return text_of(args, kwargs, TYPED)


def text_of(args: tuple[Any, ...], kwargs: dict[str, Any], how: int) -> str:
    """The key for these arguments. *how*: TYPED, and MUTABLE for arguments that cannot be hashed, by what is in them now."""
    parts = [_text(value, how) for value in args]
    parts += [f"{_name(name)}={_text(kwargs[name], how)}" for name in sorted(kwargs)]
    text = f"({','.join(parts)})"
    if len(text) <= LONGEST:
        return text
    return f"blake2b:{hashlib.blake2b(text.encode(), digest_size=32).hexdigest()}"


def _name(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else ascii(name)


_EXACT = (type(None), str, bytes, int, tuple, frozenset)  # whose texts tell their types


def _text(value: Any, how: int) -> str:
    """A value as text. TYPED: the text of another type begins with its name."""
    cls = type(value)
    text = _text_of_base(value, cls, how)
    return f"{_of_class(cls)}:{text}" if how & TYPED and cls not in _EXACT else text


def _text_of_base(value: Any, cls: type, how: int) -> str:
    if value is None:
        return "None"
    if isinstance(value, str):
        return ascii(str.__str__(value))
    if isinstance(value, bytes):
        return repr(bytes(value))
    if isinstance(value, int):
        return _integer(int.__index__(value))
    if isinstance(value, tuple):
        return f"({','.join([_text(item, how) for item in tuple.__iter__(value)])})"
    if isinstance(value, frozenset):
        return f"{{{','.join(sorted([_text(item, how) for item in frozenset.__iter__(value)]))}}}"
    if isinstance(value, (float, complex, _class("decimal", "Decimal"))):
        return _number(value)
    if isinstance(value, _class("numbers", "Complex")) and not isinstance(value, _class("numpy", "timedelta64")):
        return _integer(int(value)) if isinstance(value, _class("numbers", "Integral")) else _number(value)
    if isinstance(value, (type, type(_name), type(len))):
        return _of_module(value)
    if getattr(cls, "__hash__", None) is None:
        if how & MUTABLE:
            return _text_of_mutable(value, cls, how)
        raise TypeError(
            f"a key is made of arguments that can be hashed, not {type_name(cls)}; use a tuple or a frozenset of what is in it"
        )
    return _text_of_other(value, cls, how)


def _integer(number: int) -> str:
    return str(number) if number.bit_length() <= _BITS else hex(number)


def _number(value: Any) -> str:
    """A number that may not be an int: equal numbers have the same text, that of an int where there is one."""
    if not hasattr(value, "as_integer_ratio"):
        return f"complex[{_number(value.real)},{_number(value.imag)}]" if value.imag else _number(value.real)
    if value.is_nan() if hasattr(value, "is_nan") else value != value:
        return "float:nan"
    if value in (_INFINITY, -_INFINITY):
        return "float:inf" if value > 0 else "float:-inf"
    if hasattr(value, "adjusted") and value and not -_SCALE < value.adjusted() < _SCALE:
        sign, digits, exponent = value.as_tuple()
        figures = "".join(map(str, digits))
        shortest = figures.rstrip("0")
        return f"{'-' * sign}{shortest}e{exponent + len(figures) - len(shortest)}"
    above, below = value.as_integer_ratio()
    if below == 1:
        return _integer(above)
    nearest = above / below if abs(above) < below << 1000 else 0.0
    if nearest.as_integer_ratio() == (above, below):
        return repr(nearest)
    return f"{_integer(above)}/{_integer(below)}"


_INFINITY = float("inf")


def _text_of_mutable(value: Any, cls: type, how: int) -> str:
    if isinstance(value, list):
        return f"[{','.join([_text(item, how) for item in list.__iter__(value)])}]"
    if isinstance(value, dict):
        items = sorted([f"{_text(key, how)}:{_text(item, how)}" for key, item in dict.items(value)])
        return f"dict[{','.join(items)}]"
    if isinstance(value, set):
        return f"{{{','.join(sorted([_text(item, how) for item in set.__iter__(value)]))}}}"
    if isinstance(value, bytearray):
        return repr(bytes(value))
    if hasattr(cls, "__dataclass_fields__"):
        return _of_fields(value, cls, how)
    return _packed(value, cls)


def _of_fields(value: Any, cls: Any, how: int) -> str:
    fields = [name for name, field in cls.__dataclass_fields__.items() if field.compare]
    return f"{_of_class(cls)}[{','.join([f'{name}={_text(getattr(value, name), how)}' for name in fields])}]"


def _text_of_other(value: Any, cls: type, how: int) -> str:
    if isinstance(value, _class("enum", "Enum")):
        member = _text(value._value_, how) if isinstance(value, _class("enum", "Flag")) else value._name_
        return f"{_of_class(cls)}[{member}]"
    if isinstance(value, _class("pathlib", "PurePath")):
        return f"path:{ascii(value.as_posix())}"
    if hasattr(cls, "__dataclass_fields__") and getattr(cls, "__hash__", None) is not object.__hash__:
        return _of_fields(value, cls, how)
    if not how & TYPED and isinstance(value, _class("datetime", "datetime")) and value.utcoffset() is not None:
        value = _in_utc(value)
    hash(value)  # some objects say only now that they cannot be hashed
    return _packed(value, cls)


def _packed(value: Any, cls: type) -> str:
    try:
        return f"packed:{msgpack.encode(value).hex()}"
    except CodecError as error:
        if is_foreign(error):
            raise
        raise TypeError(
            f"a key is the same in every process, and nothing says what {value!r:.60} of type {type_name(cls)} is in another "
            "one; use what identifies it, such as its id or its name, or register its type"
        ) from None


def _in_utc(moment: Any) -> Any:
    """Points in time are equal in whatever zone they are written."""
    try:
        return moment.astimezone(_class("datetime", "timezone").utc)
    except OverflowError as error:  # on the first or the last day of all
        if is_foreign(error):
            raise
        return moment


def _of_module(thing: Any) -> str:
    """A class or a function, by the name under which every process finds it."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "")
    found = imported(module) if isinstance(module, str) else None
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not thing:
        raise TypeError(
            f"a key is the same in every process, and no module has {thing!r:.60} under its name; use a class or a function that "
            "a module defines, or a name that you give it"
        )
    return f"{module}:{name}"


def _of_class(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}:{cls.__qualname__}"


def _class(module: str, name: str) -> Any:
    """The class, if its module is imported. Otherwise no instance of it can exist."""
    return getattr(imported(module), name, ())
