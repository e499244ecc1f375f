"""All changes of a store, found by comparing one look at its table with the next.

The engine wakes processes that wait for a certain key, and cannot wake one that waits for any key. So the counters of puts
and deletes are read every few milliseconds, which costs about ten microseconds. When they have changed, or an entry has
expired, the table is walked and compared with the last walk, in chunks of slots. A chunk without changes has the same
bytes as before.

The counters also show how many changes no walk has found, because values were overwritten or deleted before it reached
them. So every change is shown or counted, unless a writer was killed between a change and its count.
"""

from __future__ import annotations

from struct import Struct

from shmstore._base.record import Record
from shmstore._core import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from shmstore import Store
    from shmstore._store.keys import EntryKey

__all__ = ["Counters", "Table", "begin"]

_HEAD = Struct("<IQQ")
_CHUNK = 7 * 64 * 16  # slots: sixteen pages of the table
_ROOM = 1 << 18  # at least one key and what stands before it
_END = 2**64 - 1


class Counters:
    """The number of puts and deletes that the store has counted, minus those that were found."""

    def __init__(self, store: Store[Any]) -> None:
        self.store = store
        self.puts = self.deletes = 0  # below zero: found, and not counted yet
        self._last = self._read()

    def _read(self) -> tuple[int, int, int]:
        stats = self.store.stats()
        return stats.puts, stats.deletes + stats.evictions, stats.expirations

    def moved(self) -> bool:
        """Whether the store has counted a change since the last call."""
        before, self._last = self._last, self._read()
        self.puts += self._last[0] - before[0]
        self.deletes += self._last[1] - before[1]
        return self._last != before

    def take_unseen(self) -> tuple[int, int]:
        """The puts and deletes that no walk has found. Each is returned once."""
        unseen = max(0, self.puts), max(0, self.deletes)
        self.puts -= unseen[0]
        self.deletes -= unseen[1]
        return unseen


class _Chunk(Record):
    """A range of slots: its bytes, its keys, and when the first of its entries expires (0: never)."""

    __slots__ = ("data", "due", "keys")
    data: bytes
    keys: set[EntryKey]
    due: int


_EMPTY = _Chunk(data=b"", keys=set(), due=0)


class Table:
    """The contents of the slots at the last walk."""

    def __init__(self, store: Store[Any]) -> None:
        self.store = store
        self._chunks: dict[int, _Chunk] = {}
        self._known: dict[EntryKey, tuple[int, int, int]] = {}  # version, expiry, chunk
        self.look()

    def is_due(self) -> bool:
        """Whether an entry has expired since the last walk."""
        due = min((chunk.due for chunk in self._chunks.values() if chunk.due), default=0)
        return 0 < due <= lib.shms_now()

    def look(self) -> tuple[list[tuple[EntryKey, int]], list[tuple[EntryKey, bool]]]:
        """New keys with their versions, and keys that are gone with whether they expired."""
        put: list[tuple[EntryKey, int]] = []
        missing: list[tuple[EntryKey, int]] = []
        unvisited = set(self._chunks)
        for number, data in self._walk():
            unvisited.discard(number)
            chunk = self._chunks.get(number, _EMPTY)
            if data == chunk.data:
                continue
            entries = dict(self._parse(data))
            for key, (version, expiry) in entries.items():
                if self._known.get(key, (0,))[0] != version:
                    put.append((key, version))
                self._known[key] = version, expiry, number
            missing += [(key, number) for key in chunk.keys - entries.keys()]
            due = min((expiry for _, expiry in entries.values() if expiry), default=0)
            self._chunks[number] = _Chunk(data=data, keys=set(entries), due=due)
        for number in unvisited:  # of the table that the store had before a resize
            missing += [(key, number) for key in self._chunks.pop(number).keys]
        now = lib.shms_now()
        gone: list[tuple[EntryKey, bool]] = []
        for key, number in missing:
            _, expiry, where = self._known[key]
            if where == number:  # else it was deleted, and put again into another chunk
                del self._known[key]
                gone.append((key, 0 < expiry <= now))
        return put, gone

    def know(self, key: EntryKey, version: int) -> None:
        """Note that this version was shown, so that it is no change any more."""
        if key in self._known:
            self._known[key] = version, *self._known[key][1:]

    def _walk(self) -> Iterator[tuple[int, bytes]]:
        """The used chunks, each with the bytes of its keys, versions and expiries."""
        cursor, filled, buffer = ffi.new("uint64_t *"), ffi.new("uint64_t *"), ffi.new("uint8_t[]", _ROOM)
        while cursor[0] != _END:
            number = cursor[0] // _CHUNK
            end, parts = (number + 1) * _CHUNK, []
            while cursor[0] < end:
                status = lib.shms_next_versions(self.store._handle, cursor, end, buffer, _ROOM, filled)
                if status == lib.SHMS_SUPERSEDED:  # it was resized: from the beginning of another table
                    self.store._follow()
                    cursor[0] = 0
                    break
                if status:
                    raise self.store._fail(status)
                parts.append(ffi.unpack(ffi.cast("char *", buffer), filled[0]))
            else:
                yield number, b"".join(parts)

    def _parse(self, data: bytes) -> Iterator[tuple[EntryKey, tuple[int, int]]]:
        at = 0
        while at < len(data):
            mark, version, expiry = _HEAD.unpack_from(data, at)
            begin = at + _HEAD.size
            at = begin + (mark & 0x7FFFFFFF)
            key = data[begin:at]
            yield key if mark >> 31 else self.store._text(key), (version, expiry)


def begin(store: Store[Any]) -> tuple[Table, Counters]:
    """The first walk, and the counters at that moment; if others write meanwhile, those of the last of several tries."""
    for _ in range(10):
        counters = Counters(store)
        table = Table(store)
        if not counters.moved():
            break
    counters.take_unseen()
    return table, counters
