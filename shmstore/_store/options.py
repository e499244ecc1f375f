"""What a handle is opened with: one record, parsed and checked in one place, and pickled with the handle."""

from __future__ import annotations

from shmstore._base.imports import once
from shmstore._base.record import Record
from shmstore._base.sentinels import DefaultInt, DefaultStr
from shmstore._store.names import parse_backend, parse_huge_page, parse_key, parse_owner, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shmstore._base.durations import Duration
    from shmstore._store.names import Key
    from shmstore.codecs.protocol import Codec

__all__ = ["ATTACHING", "CLIENTS_MAX", "Options", "parse", "parse_count"]

CLIENTS_MAX = 65_000


@once
class Options(Record):
    """The options of ``Store()``. *size_given*, *mode_given*: whether the caller gave it; *huge_page*: bytes, 0: ordinary
    pages; *uuid*: of the only store to attach to; *namespace*: the names of those that the handle is within, each b"s" (str) or
    b"b" (bytes) and the name."""

    __slots__ = (
        "codec", "create", "decoders", "evicts", "huge_page", "lock_memory", "max_clients", "max_entries", "mode", "mode_given",
        "namespace", "on_error", "owner", "prefault", "readonly", "size", "size_given", "timeout", "ttl", "uuid",
    )  # fmt: skip
    create: bool | None
    size: int
    size_given: bool
    max_entries: int | None
    max_clients: int | None
    mode: int
    mode_given: bool
    namespace: tuple[bytes, ...]
    on_error: str
    owner: int | str | None
    readonly: bool
    ttl: Duration | None
    codec: str | Codec
    decoders: tuple[str | Codec, ...]
    evicts: bool
    timeout: Duration | None
    huge_page: int
    prefault: bool
    lock_memory: bool
    uuid: bytes | None


# What creation takes, for handles that create nothing.
ATTACHING = {
    "create": False, "evicts": False, "size": 1 << 26, "size_given": False, "max_entries": None, "max_clients": None, "mode": 0o600,
    "mode_given": False, "huge_page": 0, "prefault": False, "lock_memory": False,
}  # fmt: skip


def parse_count(what: str, number: Any, most: int) -> None:
    if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
        raise TypeError(f"{what} is an int or None, not {type(number).__name__}")
    if number is not None and not 0 < number <= most:
        raise ValueError(f"{what} is from 1 to {'2**32 - 1' if most == 2**32 - 1 else most}, not {number}")


def parse(
    name: Any, *, backend: Any, create: Any, size: Any, max_entries: Any, max_clients: Any, mode: Any, owner: Any, readonly: Any, ttl: Any,
    codec: Any, decoders: Any, timeout: Any, hugepages: Any, prefault: Any, lock_memory: Any,
    evicts: bool, on_error: str = "raise",
) -> tuple[Key, Options]:  # fmt: skip
    """Check the arguments of ``Store()``.

    Raises: TypeError, ValueError; OSError for a path that cannot be read.
    """
    parsed = parse_key(name, parse_backend(backend))
    if parsed.kind == 4 and (readonly or create is False):
        raise ValueError("PRIVATE always makes a new store: leave readonly=True and create=False out")
    if readonly and prefault:
        raise ValueError("prefault=True allocates memory and readonly=True leaves no trace; leave one out")
    if hugepages and backend == "posix" and parsed.kind != 4:
        raise ValueError('/dev/shm has no huge pages: with hugepages use backend="sysv", or PRIVATE')
    huge_page = parse_huge_page(hugepages)
    if create not in (None, True, False):
        raise TypeError(f"create is None, True or False, not {create!r}")
    if readonly and create:
        raise ValueError("readonly=True creates nothing; leave create=True out")
    parse_count("max_entries", max_entries, 2**32 - 1)
    parse_count("max_clients", max_clients, CLIENTS_MAX)
    mode_given = type(mode) is not DefaultInt
    if mode_given and (isinstance(mode, bool) or not isinstance(mode, int)):
        raise TypeError(f"mode is an int such as 0o600, not {type(mode).__name__}")
    if mode_given and not 0 <= mode <= 0o777:
        raise ValueError(f"mode has permission bits only (0 to 0o777), not {mode:#o}")
    owner = parse_owner(owner)
    if not isinstance(decoders, (str, bytes)):  # resolve() refuses those
        decoders = tuple(decoders)
    return parsed, Options(
        create=None if create is None else bool(create), size=parse_size(size), size_given=type(size) is not DefaultStr,
        max_entries=max_entries, max_clients=max_clients, mode=mode, mode_given=mode_given, namespace=(), on_error=on_error, owner=owner, readonly=bool(readonly), ttl=ttl,
        codec=codec, decoders=decoders, evicts=evicts, timeout=timeout, huge_page=huge_page, prefault=bool(prefault),
        lock_memory=bool(lock_memory), uuid=None,
    )  # fmt: skip
