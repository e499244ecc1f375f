"""What users call a store: a name, a System V key, or a path; and sizes as users write them."""

from __future__ import annotations

import errno
import os

from shmstore._core import lib

__all__ = ["Key", "parse_key", "parse_size"]

NAME_MAX = 255
PROJECT = 0x53  # ftok's second argument
_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Key:
    """A parsed key: what the kernel knows (key_t) and what the header keeps (kind and name)."""

    __slots__ = ("kind", "name", "number", "shown")

    def __init__(self, number: int, kind: int, name: bytes, shown: str) -> None:
        self.number = number
        self.kind = kind
        self.name = name
        self.shown = shown


def parse_key(key: str | int | os.PathLike[str]) -> Key:
    """Turn a user's key into a :class:`Key`.

    Raises: TypeError, ValueError; OSError (FileNotFoundError) for a path that cannot be looked at.
    """
    if isinstance(key, bool):
        raise TypeError("a store's key is a str, an int or a pathlib.Path, not bool")
    if isinstance(key, str):
        try:
            name = key.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the store name {key!r} holds a lone surrogate; use valid Unicode") from None
        if not 1 <= len(name) <= NAME_MAX:
            raise ValueError(f"a store name has 1 to {NAME_MAX} bytes of UTF-8, this one has {len(name)}")
        if b"\0" in name:
            raise ValueError(f"a store name has no NUL: {key!r}")
        return Key(lib.shms_key_of_name(name, len(name)), 1, name, repr(key))
    if isinstance(key, int):
        if key == 0:
            raise ValueError("0 is IPC_PRIVATE, which names no segment; use another key")
        if not -(2**31) <= key < 2**32:
            raise ValueError(f"a System V key has 32 bits, {key} has more")
        return Key(key - 2**32 if key >= 2**31 else key, 2, b"", hex(key & 0xFFFFFFFF))
    if isinstance(key, os.PathLike):
        path = os.path.realpath(os.fspath(key))
        number = lib.shms_sysv_ftok(os.fsencode(path), PROJECT)
        if number < 0:
            raise OSError(-number, f"{os.strerror(-number)}: a path names a store only while it exists", path)
        number = number - 2**32 if number >= 2**31 else number
        if number in (0, -1):
            raise OSError(errno.EINVAL, "ftok gives a key that names no segment; use another path", path)
        return Key(number, 3, os.fsencode(path), f"Path({path!r})")
    raise TypeError(f"a store's key is a str, an int or a pathlib.Path, not {type(key).__name__}")


def parse_size(size: int | str) -> int:
    """Bytes, from an int or a str such as "64M" (units of 1024: K, M, G, T)."""
    if isinstance(size, bool) or not isinstance(size, (int, str)):
        raise TypeError(f'size is a number of bytes or a str such as "64M", not {type(size).__name__}')
    if isinstance(size, str):
        text = size.strip().upper().removesuffix("IB").removesuffix("B")
        digits = text.rstrip("KMGT")
        try:
            bytes_ = int(float(digits) * _UNITS[text[len(digits) :]])
        except (ValueError, KeyError, OverflowError):
            raise ValueError(f'size is a number of bytes or a str such as "64M", not {size!r}') from None
    else:
        bytes_ = size
    if bytes_ <= 0:
        raise ValueError(f"size must be positive, not {size!r}")
    if bytes_ > 1 << 44:
        raise ValueError(f"size is at most 16T, not {size!r}")
    return bytes_
