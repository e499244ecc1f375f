"""Immutable answers: what ``stats()``, ``info()``, ``clients()`` and ``stores()`` return."""

from __future__ import annotations

from shmstore._base.imports import once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ClientInfo", "Stats", "StoreInfo"]


@once
class _Record:
    __slots__: tuple[str, ...] = ()

    def __init__(self, **values: Any) -> None:
        for field in self.__slots__:
            object.__setattr__(self, field, values.pop(field))
        if values:
            raise TypeError(f"{type(self).__name__} has no {', '.join(values)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return {field: getattr(self, field) for field in self.__slots__}

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.as_dict())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Record) and type(other) is type(self) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.as_dict().values()))

    def __repr__(self) -> str:
        fields = ", ".join([f"{field}={value!r}" for field, value in self.as_dict().items()])
        return f"{type(self).__name__}({fields})"


@once
def _restore(cls: type[_Record], values: dict[str, Any]) -> _Record:
    return cls(**values)


@once
class Stats(_Record):
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
class StoreInfo(_Record):
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
class ClientInfo(_Record):
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
