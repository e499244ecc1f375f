"""The names of entries, as the engine wants them: bytes and a kind, for "a" and b"a" are two names."""

from __future__ import annotations

__all__ = ["ALL_NAMES", "Name", "prefix_of", "raw_name"]

Name = str | bytes
ALL_NAMES = 0xFFFFFFFF
BYTES_NAMES = 8
NAME_MAX = 32768


def prefix_of(prefix: Name) -> tuple[bytes, int]:
    """A prefix as the engine wants it: bytes, and which kind of names it can begin."""
    if not isinstance(prefix, (str, bytes)):
        raise TypeError(f"a prefix is str or bytes, not {type(prefix).__name__}")
    if isinstance(prefix, bytes):
        return prefix, BYTES_NAMES
    return prefix.encode(), 0 if prefix else ALL_NAMES


def raw_name(name: Name) -> tuple[bytes, int]:
    """A name as the engine wants it.

    Raises: TypeError, ValueError.
    """
    if isinstance(name, str):
        raw, kind = name.encode(), 0
    elif isinstance(name, bytes):
        raw, kind = name, BYTES_NAMES
    else:
        raise TypeError(f"names are str or bytes, not {type(name).__name__}")
    if len(raw) > NAME_MAX:
        raise ValueError(f"names are at most {NAME_MAX} bytes long, this one is {len(raw)}")
    return raw, kind
