"""Immutable records, which ``stats()``, ``info()``, ``clients()``, ``stores()`` and ``describe()`` return; and the results of calls
on many keys that pass over some."""

from __future__ import annotations

from shmstore._base.imports import once
from shmstore._base.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from typing_extensions import Self

    _V = TypeVar("_V")
else:
    _V = object

__all__ = ["ClientInfo", "EntryInfo", "Found", "Removed", "Stats", "StoreInfo", "Stored"]


@once
class Stats(Record):
    """The figures of a store. Counters are totals of all processes since the store was created. Sizes are in bytes.

    entries: includes expired entries that were not yet swept; ``len(store)`` does not.
    hits, misses: calls that read a value, and found one or not. Those of a handle with readonly=True are only in its own
        ``stats()``, and end with it, because it cannot write to the store. In a cache, a value that cannot be read is a miss.
    evictions: entries that a full cache removed; evicted_for_memory: to make room for a value; evicted_for_entries:
        because of max_entries, or because the key found no free slot. A store that is no cache evicts nothing.
    expirations: expired entries that were removed. They are no evictions.
    largest_free: the longest run of free memory. A value and its key may take that much, and about 100 bytes less.
    fragmentation: the share of the free memory outside of that run: 1 - largest_free / bytes_free; 0 if none is free.
    moves: entries that were moved to make room for others (``compact()``, and puts that found no room).

    >>> store["a"] = 1
    >>> stats = store.stats()
    >>> stats.entries, stats.puts, stats.as_dict()["puts"]
    (1, 1, 1)
    """

    __slots__ = (
        "entries", "bytes_used", "bytes_free", "largest_free", "hits", "misses", "puts", "deletes", "evictions",
        "evicted_for_memory", "evicted_for_entries", "expirations", "reader_retries", "takeovers", "clients", "zombies",
        "moves", "fragmentation",
    )  # fmt: skip
    entries: int
    bytes_used: int
    bytes_free: int
    largest_free: int
    hits: int
    misses: int
    puts: int
    deletes: int
    evictions: int
    evicted_for_memory: int
    evicted_for_entries: int
    expirations: int
    reader_retries: int
    takeovers: int
    clients: int
    zombies: int
    moves: int
    fragmentation: float

    @property
    def hit_ratio(self) -> float | None:
        """Hits as a part of all reads; None before the first one."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else None


@once
class StoreInfo(Record):
    """What the kernel and the header say about a store.

    key, id: the System V key (key_t) and the segment's id, as ``ipcs -m`` shows them. A POSIX store has key 0 and id -1.
    name: the name that the creator gave, None for a number.
    size: as asked for at creation, in bytes: memory for entries and their table.
    mode, uid, gid: permission bits, and the owner.
    creator, creator_uid: the process id, in its own pid namespace, and the user of the process that created the store.
    created: seconds since the epoch.
    last_writer: when a handle for writing was last opened, closed or found dead, in seconds since the epoch.
    attached: the number of mappings in all processes.
    backend: "sysv" or "posix".
    evicts: whether it is a cache.
    requested_size, requested_max_entries, requested_max_clients: what the last handle for writing that was opened with such
        an option asked for, where that differs from what the store has; otherwise None.
    requested_at, requested_by: when that was, in seconds since the epoch, and the process id, in its own pid namespace.

    The kernel reports ``mode``, ``uid``, ``gid``, ``creator_uid`` and ``attached``. They are None if it does not: in another
    IPC namespace, in a sandbox, or after the descriptor of a POSIX store was closed.
    """

    __slots__ = (
        "key", "id", "name", "size", "mode", "uid", "gid", "creator", "creator_uid", "created", "last_writer", "attached",
        "format_version", "max_entries", "max_clients", "uuid", "readonly", "backend", "evicts",
        "requested_size", "requested_max_entries", "requested_max_clients", "requested_at", "requested_by",
    )  # fmt: skip
    key: int
    id: int
    name: str | None
    size: int
    mode: int | None
    uid: int | None
    gid: int | None
    creator: int
    creator_uid: int | None
    created: float
    last_writer: float
    attached: int | None
    format_version: int
    max_entries: int | None
    max_clients: int
    uuid: str
    readonly: bool
    backend: str
    evicts: bool
    requested_size: int | None
    requested_max_entries: int | None
    requested_max_clients: int | None
    requested_at: float | None
    requested_by: int | None


@once
class EntryInfo(Record):
    """An entry at one moment.

    size: the number of bytes of the stored value, without its key.
    codec: the name of the codec that the value was written with.
    version: as get_versioned() returns it.
    ttl: the number of seconds left; None: no limit.
    frequency: how often the entry was used lately, as a cache counts it to choose what it evicts: 0 to 3; None in a store that
        is no cache.
    tags: how many tags it was put with. Tags that share a counter are counted once.

    created: when the value was stored, in whole seconds since the epoch, by the clock of the process that stored it. A new
        value is a new creation; touch(), compact() and resize() are not. None: unknown.
    """

    __slots__ = ("size", "codec", "version", "ttl", "frequency", "tags", "created")
    size: int
    codec: str
    version: int
    ttl: float | None
    frequency: int | None
    tags: int
    created: int | None


@once
class ClientInfo(Record):
    """A handle that is open for writing.

    pid: the process id, in the process's own pid namespace.
    program: the name of the program; None if unknown (the process has ended, is in another pid namespace, or /proc is hidden).
    alive: False if the process is proved dead; None if there is no proof (another pid namespace, or /proc is hidden).
    is_me: whether this is the handle that was asked.
    """

    __slots__ = ("number", "pid", "program", "alive", "attached_at", "is_me")
    number: int
    pid: int
    program: str | None
    alive: bool | None
    attached_at: float
    is_me: bool


@once
class Found(dict["str | bytes", _V]):
    """The entries that get_many() could read. ``failed`` has the keys of the others, with their errors."""

    def __init__(self, found: Any = ()) -> None:
        super().__init__(found)
        self.failed: dict[str | bytes, Exception] = {}


class _Counted(int):
    """How many items were done, and which ones were not."""

    failed: dict[Any, Exception]

    @classmethod
    def of(cls, count: int, failed: dict[Any, Exception]) -> Self:
        counted = cls(count)
        counted.failed = failed
        return counted


@once
class Stored(_Counted):
    """The number of items that put_many() or add_many() stored.

    ``failed`` has the keys of the others, with their errors.
    """


@once
class Removed(_Counted):
    """The number of entries that delete_many() removed.

    ``failed`` has the keys of those that it could not remove, with their errors.
    """
