"""What a segment or object contains: a store with its header and figures, something else, or unreadable bytes."""

from __future__ import annotations

import errno
import os
import re
import time

from shmstore import errors
from shmstore._base.record import Record
from shmstore.cli.support.entry_keys import printable
from shmstore.cli.support.header import Header, parse_header
from shmstore.cli.support.objects import OUT_OF_DESCRIPTORS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shmstore import Stats
    from shmstore.cli.support.objects import Object
    from shmstore.cli.support.segments import Segment

__all__ = ["RECHECKS", "RECHECK_PAUSE", "Block", "Found", "look", "recheck", "stores"]

_NUMBERED = re.compile("shmstore-#[0-9a-f]{8}")  # as _store/names.py calls the file of a numeric key
RECHECKS, RECHECK_PAUSE = 20, 0.005
_GONE = (errno.ENOENT, errno.EINVAL, errno.EIDRM)


class Block(Record):
    """A SharedMemory or ShareableList of this package: its name, and the requested number of bytes."""

    __slots__ = ("kind", "name", "size")
    kind: str
    name: str
    size: int

    def for_json(self) -> dict[str, Any]:
        """The fields, with the name that ``kind`` has there."""
        return {"class": self.kind, "name": self.name, "size": self.size}


def parse_block(page: bytes, size: int) -> Block | None:
    """The block in a System V segment with this size and first page; None if it is not a block, or incomplete."""
    from shmstore.shared_memory import _header, _shareable_list

    try:
        header = _header.read(page, size)
    except _header.Foreign:
        return None
    if header is None:
        return None
    a_list = page[header.offset : header.offset + 8] == _shareable_list.MAGIC
    name = header.name.decode(errors="backslashreplace")
    return Block(kind="ShareableList" if a_list else "SharedMemory", name=name, size=header.size)


class Found:
    """A segment or an object, and what its memory contains.

    kind: "store", "unreadable", or the kind of the segment or object ("segment", "object", "semaphore", ...).
    states: words for what is unusual.
    stats: the figures of a store that can be opened.
    clients: how many of its clients are alive.
    last_writer: when the last client was there (None: there are clients, or client slots that are not free).
    attached: the number of mappings (None: unknown).
    block: the block in the segment, if it is one.
    """

    def __init__(self, place: Segment | Object) -> None:
        self.place = place
        self.header: Header | None = None
        self.block: Block | None = None
        self.kind = place.kind
        self.gone = False
        self.stats: Stats | None = None
        self.clients: int | None = None
        self.last_writer: float | None = None
        self.attached = place.attached
        self.trouble = ""
        try:
            page = place.first_page()
            self.header = parse_header(page)
            if self.header is None and place.backend == "sysv":
                self.block = parse_block(page, place.size)
        except OSError as error:
            if error.errno in OUT_OF_DESCRIPTORS:
                raise  # of this process, so nothing can be said of what is there
            self.kind = "unreadable"
            self.gone = error.errno in _GONE
            self.trouble = "" if error.errno in (errno.EACCES, errno.EPERM) else os.strerror(error.errno or 0).lower()
        if self.header is not None:
            self.kind = "store"
            if not self.destroyed and not self.hazardous:
                self._ask_store()

    def _ask_store(self) -> None:
        from shmstore.store import attach_to

        assert self.header is not None
        if not self.header.complete:
            self.trouble = "unfinished"
            return
        try:
            with attach_to(self.place.store_key()) as store:
                info = store.info()
                if info.uuid == self.header.uuid:
                    self.stats = store.stats()
                    clients = store.clients()
                    self.clients = sum(client.alive is not False for client in clients)
                    self.last_writer = None if clients else info.last_writer
                    if self.attached is None and info.attached is not None:
                        self.attached = info.attached - 1
        except errors.FormatMismatch:
            self.trouble = f"format {self.header.format}"
        except (errors.StoreCorrupt, errors.NotAStore):
            self.trouble = "corrupt"
        except errors.StoreSystemError as error:
            if error.errno in OUT_OF_DESCRIPTORS:
                raise
        except (errors.ShmStoreError, OSError, ValueError):
            pass  # gone meanwhile

    @property
    def size(self) -> int:
        """In bytes, as asked for: the segment of a store has header and client slots beside it."""
        return self.header.size if self.header is not None and self.header.complete else self.place.size

    @property
    def name(self) -> str | None:
        """The name that the creator gave the store, if it was a name."""
        return self.header.name if self.header is not None and self.header.kind == "name" else None

    @property
    def private(self) -> bool:
        """Whether it is a store without a name, which ends with its last process."""
        return self.header is not None and self.header.kind == "private"

    @property
    def destroyed(self) -> bool:
        """Whether it was removed, and exists only for attached processes. A private segment has the same mark from the
        beginning, but does not count."""
        return (self.place.removed and not self.private) or (self.header is not None and self.header.destroyed)

    @property
    def foreign(self) -> bool:
        """Whether it belongs to a user other than this one and root, so that ``Store`` needs ``owner=``."""
        return self.place.trusted_uid not in (0, os.geteuid())

    @property
    def hazardous(self) -> bool:
        """Whether another user can end this process by SIGBUS if it maps the file: by shortening the file."""
        return self.foreign and self.place.backend == "posix"

    @property
    def states(self) -> list[str]:
        """What is unusual about it, in words."""
        flags = {
            self.trouble: bool(self.trouble), "private": self.private, "destroyed": self.destroyed,
            "unreadable": self.kind == "unreadable", "foreign": self.foreign, "locked": self.place.locked,
        }  # fmt: skip
        return [word for word, holds in flags.items() if holds]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        place = self.place.as_dict()
        row = {"kind": self.kind, "name": place.get("object"), "states": self.states, **place}
        if self.block is not None:
            row.update(name=self.block.name, block=self.block.kind)
        if self.header is not None:
            row.update(name=self.header.name, name_kind=self.header.kind, attached=self.attached, clients=self.clients)
            row.update(size=self.size, segment_size=self.place.size)
            for field in ("bytes_used", "bytes_free", "entries"):
                row[field] = None if self.stats is None else getattr(self.stats, field)
        return row


def stores(backend: str) -> list[Found]:
    """The stores in one kind of memory, without private POSIX stores."""
    from shmstore.cli.support.objects import objects
    from shmstore.cli.support.segments import segments

    places: list[Segment | Object] = [*(segments() if backend == "sysv" else objects())]
    return [one for place in places if (one := look(place)).kind == "store" and not one.gone]


def recheck(found: list[Found]) -> list[Found]:
    """Look again, for a tenth of a second in all, at segments that are attached but have no client: a short read may have attached
    them, as this command does."""
    for _ in range(RECHECKS):
        if not any(one.attached and not one.clients for one in found):
            break
        time.sleep(RECHECK_PAUSE)
        again = [
            look(place) if one.attached and not one.clients and (place := one.place.again()) else one for one in found
        ]
        found = [one for one in again if not one.gone]
    return found


def look(place: Segment | Object) -> Found:
    """Look into a segment or an object, read-only."""
    return Found(place)


def store_name(found: Found) -> str:
    """The name of a store for output: its name or path, or its key, or where it is."""
    if found.header is not None and found.header.name is not None:
        return printable(found.header.name)
    key = found.place.store_key()
    if key.object is None:
        return key.shown
    name = key.object.decode(errors="backslashreplace")
    return f"0x{name[-8:]}" if _NUMBERED.fullmatch(name) else printable(name)
