"""Immutable answers: what ``stats()``, ``info()``, ``clients()`` and ``stores()`` return."""

from __future__ import annotations

from shmstore._base.imports import once
from shmstore._base.record import Record

__all__ = ["ClientInfo", "Stats", "StoreInfo"]


@once
class Stats(Record):
    """Figures of a store. Counters are totals over its life, of all processes; sizes are in bytes.

    ``entries`` counts what is stored, expired entries not yet swept included; ``len(store)`` does not.
    """

    __slots__ = (
        "entries", "bytes_used", "bytes_free", "largest_free", "hits", "misses", "puts", "deletes", "evictions",
        "expirations", "reader_retries", "takeovers", "clients", "zombies",
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
    expirations: int
    reader_retries: int
    takeovers: int
    clients: int
    zombies: int


@once
class StoreInfo(Record):
    """What a store is: ``key`` (key_t) and ``id`` as in ``ipcs -m``, ``name`` as its creator gave it (None for
    a numeric key), ``size`` in bytes, ``mode``, ``uid``/``gid`` of the owner, ``creator`` (process id in its pid namespace) and
    ``creator_uid``, ``created`` (seconds since the epoch), ``last_writer`` (when a handle open for writing was last opened,
    closed or found dead), ``attached`` (mappings in all processes), ``backend`` ("sysv" or "posix"; a POSIX store has key 0 and id -1).

    ``mode``, ``uid``, ``gid``, ``creator_uid`` and ``attached`` are the kernel's word, and None where it gives none: to a process
    in another IPC namespace by now, one whose descriptor of a POSIX store was closed, one that a sandbox keeps from asking."""

    __slots__ = (
        "key", "id", "name", "size", "mode", "uid", "gid", "creator", "creator_uid", "created", "last_writer", "attached",
        "format_version", "max_entries", "max_clients", "uuid", "readonly", "backend",
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


@once
class ClientInfo(Record):
    """A process that is attached for writing. ``pid`` is its number in its own pid namespace. ``program``: its name, None where
    that cannot be told (it is gone, of another pid namespace, or /proc is hidden). ``alive``: True, False (its place is about to
    be freed), or None where no proof can be had from here (another pid namespace, a hidden /proc)."""

    __slots__ = ("number", "pid", "program", "alive", "attached_at", "is_me")
    number: int
    pid: int
    program: str | None
    alive: bool | None
    attached_at: float
    is_me: bool
