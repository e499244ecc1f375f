"""What lies in front of the buffer of a ``SharedMemory``: which name it has, since a key is only a hash of it.

    0        8       16        20            24       32     40        64
    +--------+-------+---------+-------------+--------+------+---------+---------------------+- - -
    | magic  | check | version | name length | offset | size |    0    | name in UTF-8   0   | buffer
    +--------+-------+---------+-------------+--------+------+---------+---------------------+- - -
    u8[8]    u64     u32       u32           u64      u64                                    offset

Little-endian. ``offset`` is a page of the creator's machine, and the name ends before it; ``size`` is what the
user asked for. ``check`` is SipHash-1-3 of bytes 16 to 40 and the name, so a header that another process still
writes, in whatever order its bytes arrive, is not taken for a whole one. Nothing changes it later.
"""

from __future__ import annotations

from struct import Struct

from shmstore._core import lib
from shmstore._system.limits import PAGE

__all__ = ["FIXED", "Foreign", "Header", "key_of", "read", "total", "write"]

MAGIC = b"SHMSTMEM"
VERSION = 1
FIXED = 64
_FIELDS = Struct("<IIQQ")
_DOMAIN = b"SharedMemory\0"  # no store's name has a NUL, so no store has such a key but by chance
_KEYS = (0x6D656D5F736D6873, 0x6B63656863)


class Foreign(Exception):
    """The segment was made by something else, or by a version that this one cannot read."""


class Header:
    """One that is whole."""

    __slots__ = ("name", "offset", "size")

    def __init__(self, name: bytes, offset: int, size: int) -> None:
        self.name = name
        self.offset = offset
        self.size = size


def key_of(name: bytes) -> int:
    """The key_t of a name: never 0 or -1."""
    raw = _DOMAIN + name
    return lib.shms_key_of_name(raw, len(raw))


def total(size: int) -> int:
    """Bytes of the segment for a buffer of this size."""
    return PAGE + size


def _check(fields: bytes, name: bytes) -> bytes:
    raw = fields + name
    return lib.shms_hash(raw, len(raw), *_KEYS).to_bytes(8, "little")


def write(memory: memoryview, name: bytes, size: int) -> Header:
    """Begin a new segment, which is all zero."""
    fields = _FIELDS.pack(VERSION, len(name), PAGE, size)
    memory[16 : 16 + len(fields)] = fields
    memory[FIXED : FIXED + len(name)] = name
    memory[8:16] = _check(fields, name)
    memory[:8] = MAGIC
    return Header(name, PAGE, size)


def read(memory: memoryview | bytes, size: int | None = None) -> Header | None:
    """Give the header; None if its writer has not finished. Nothing in it is believed that could do harm.

    size: of the segment, if *memory* is only its beginning.

    Raises: Foreign.
    """
    if len(memory) < FIXED:
        raise Foreign
    start = bytes(memory[:FIXED])
    if start[:8] != MAGIC:
        if any(start[:8]):
            raise Foreign
        return None
    fields = start[16 : 16 + _FIELDS.size]
    version, length, offset, asked = _FIELDS.unpack(fields)
    name = bytes(memory[FIXED : FIXED + min(length, 1 << 16)])
    if _check(fields, name) != start[8:16]:
        return None
    if version != VERSION or not FIXED + length <= offset <= offset + asked <= (size or len(memory)):
        raise Foreign
    return Header(name, offset, asked)
