"""The first page of a store, read without attaching to the store, for ``ls`` and ``info``.

The fields are those of docs/format.md. They are not trusted: a name is only bytes that some process wrote.
"""

from __future__ import annotations

import struct

__all__ = ["DESTROYED", "FORMAT", "HEADER_SIZE", "Header", "parse_header"]

HEADER_SIZE = 8192
FORMAT = 1
DESTROYED, SUPERSEDED = 3, 4  # the state, bits 47..44 of the creation word

_MAGIC, _MAGIC_INIT = b"SHMSTORE", b"SHMSINIT"
_NAME_AT, _NAME_MAX = 4096, 4095
_KINDS = {1: "name", 2: "number", 3: "path", 4: "private"}


class Header:
    """The fields that the creator of a store wrote to its first page."""

    def __init__(self, page: bytes) -> None:
        magic, state, self.format = struct.unpack_from("<8sQI", page)
        self.complete = magic == _MAGIC
        self.destroyed = (state >> 44) & 0xF == DESTROYED
        self.superseded = (state >> 44) & 0xF == SUPERSEDED  # another segment has the entries, since a resize
        self.root = struct.unpack_from("<Q", page, 320)[0] - 1  # the id of the segment that has the key; -1: this one
        (self.size,) = struct.unpack_from("<Q", page, 240)
        self.uuid = page[56:72].hex()
        self.created = struct.unpack_from("<Q", page, 104)[0] / 1e9
        self.creator, self.creator_uid, kind, length = struct.unpack_from("<IIII", page, 152)
        self.max_entries = struct.unpack_from("<Q", page, 168)[0] or None
        (self.max_clients,) = struct.unpack_from("<I", page, 192)
        *fields, self.requested_by, at = struct.unpack_from("<QQIIQ", page, 1056)
        # What a process asked for that attached with sizes: those that the store does not have.
        self.requested = {
            name: value for name, value in zip(("size", "max_entries", "max_clients"), fields, strict=False) if value
        }
        self.requested_at = at / 1e9
        self.evicts = struct.unpack_from("<Q", page, 296)[0] != 0  # it is a cache
        self.kind = _KINDS.get(kind, f"kind {kind}")
        raw = page[_NAME_AT : _NAME_AT + min(length, _NAME_MAX)]
        self.name = raw.decode(errors="backslashreplace") if kind in (1, 3) and self.complete else None


def parse_header(page: bytes) -> Header | None:
    """The header at the start of a segment; None if the segment is not a store."""
    if len(page) < HEADER_SIZE or page[:8] not in (_MAGIC, _MAGIC_INIT):
        return None
    return Header(page)
