"""Control of an open handle: the calls of cffi's functions that need no entry."""

from __future__ import annotations

import os
from time import sleep

from shmstore import errors
from shmstore._base.durations import timeout_ns
from shmstore._base.foreign import is_foreign
from shmstore._core import ffi, lib
from shmstore._store.failures import log_events, so_far, told, user
from shmstore._store.names import BACKENDS
from shmstore._store.records import ClientInfo, Stats, StoreInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shmstore.store import Store


def tell_events(store: Store[Any]) -> None:
    """Log what this handle took over since the last call. Calls that wait in C log by themselves."""
    if not lib.shms_has_events(store._handle):
        return
    deaths, pid = ffi.new("uint64_t *"), ffi.new("uint32_t *")
    if lib.shms_take_events(store._handle, deaths, pid):
        log_events(store, pid[0], deaths[0])


def call(store: Store[Any], function: Callable[..., int], *args: object) -> int:
    """Make a call that keeps the GIL. After a resize it is made on the segment that has the entries now."""
    while (status := function(store._handle, *args)) == lib.SHMS_SUPERSEDED:
        store._follow()
    return status


def raw_info(store: Store[Any]) -> Any:
    raw = ffi.new("struct shms_info *")
    status = lib.shms_get_info(store._handle, raw)
    if status:
        raise store._fail(status)
    return raw


def without_gil(store: Store[Any], call: Callable[..., int], *args: object, superseded: bool = True) -> int:
    """Make a call that releases the GIL. Repeat it if a signal handler forked before it began, or the store was resized."""
    status = lib.SHMS_FORKED
    while status == lib.SHMS_FORKED or (superseded and status == lib.SHMS_SUPERSEDED):
        revalidate(store)
        status = call(store._handle, *args)
    tell_events(store)
    return status


def revalidate(store: Store[Any]) -> None:
    """Ask the kernel now whether the handle is usable. A Cache that was removed is opened again. Raises: what makes it
    unusable."""
    status = lib.shms_revalidate_now(store._handle)
    if status:
        store._reopen(status)


def require_writing(store: Store[Any]) -> None:
    """Raises: ReadOnlyStore, before a call that may find nothing to write does anything else."""
    if store._options.readonly:
        revalidate(store)
        raise store._fail(lib.SHMS_READ_ONLY)
    status = call(store, lib.shms_usable)
    if status:
        store._reopen(status)


def stats(store: Store[Any]) -> Stats:
    raw = ffi.new("struct shms_stats *")
    status = call(store, lib.shms_get_stats, raw)
    if status:
        raise store._fail(status)
    figures = {field: getattr(raw, field) for field in Stats.__slots__ if field != "fragmentation"}
    fragmentation = 1 - min(raw.largest_free, raw.bytes_free) / raw.bytes_free if raw.bytes_free else 0.0
    return Stats(**figures, fragmentation=fragmentation)


def clients(store: Store[Any]) -> list[ClientInfo]:
    raw, start, found, count = ffi.new("struct shms_client_info[]", _ROWS), ffi.new("uint32_t *"), [], _ROWS
    while count == _ROWS:
        count = call(store, lib.shms_get_clients, start, raw, _ROWS)
        if count < 0:
            raise store._fail(count)
        found += [
            ClientInfo(
                number=c.number,
                pid=c.pid,
                program=ffi.string(c.program).decode(errors="replace") or None,
                alive={0: False, 1: True, 2: None}[c.alive],
                attached_at=c.attached / 1e9,
                is_me=bool(c.self),
            )
            for c in raw[0:count]
        ]
    return found


_ROWS = 16  # clients that are looked at in one call, below a millisecond


def check(store: Store[Any], *, repair: bool = False) -> int:
    given_up = _repair(store) if repair else 0
    what = ffi.new("char[200]")
    status = without_gil(store, lib.shms_w_check, what, 200)
    tell_events(store)
    if status == lib.SHMS_CORRUPT:
        raise errors.StoreCorrupt(
            f"store {store._key.shown}: {ffi.string(what).decode()}; check(repair=True) keeps all entries that it can"
        )
    if status:
        raise store._fail(status)
    return given_up


def in_steps(store: Store[Any], handle: int, step: Callable[..., int], *args: object) -> int:
    """Call *step*, which keeps the GIL, until there are no steps left, and let other threads run between two of them.

    Returns its last status. A step that finds a lock held is tried again until the time is up.
    """
    end = lib.shms_now() + timeout_ns(store._options.timeout, "timeout")
    while (status := step(handle, *args)) in (lib.SHMS_AGAIN, lib.SHMS_BUSY):
        if status == lib.SHMS_BUSY and lib.shms_now() > end:
            return lib.SHMS_TIMEOUT
        sleep(0.001 if status == lib.SHMS_BUSY else 0)
    tell_events(store)
    return status


def _repair(store: Store[Any]) -> int:
    """Return the number of entries that were removed."""
    lost, status = 0, lib.SHMS_SUPERSEDED
    while status == lib.SHMS_SUPERSEDED:
        store._follow()
        state = ffi.new("struct shms_repair *")
        status = in_steps(store, store._handle, lib.shms_repair_some, state)
        lost += state.lost
    if status:
        raise store._fail(status)
    return int(lost)


def compact(store: Store[Any]) -> int:
    """Return the number of entries that were moved."""
    require_writing(store)
    state = ffi.new("struct shms_compaction *")
    handle = store._handle  # to which the state belongs: another thread may open a cache again meanwhile
    try:
        status = in_steps(store, handle, lib.shms_compact_some, state)
    finally:
        lib.shms_compact_leave(handle, state)
    if status == lib.SHMS_SUPERSEDED:  # what a resize has copied lies in one piece
        status = lib.SHMS_OK
    if status:
        raise store._fail(status)
    return int(state.moved)


def recover(store: Store[Any]) -> int:
    count = without_gil(store, lib.shms_w_recover)
    if count < 0:
        raise store._fail(count)
    return count


def expire_due(store: Store[Any]) -> int:
    """In steps that keep the GIL for less than a millisecond. What a lock keeps in the table is tried again, as long as the
    timeout says without progress, and after a look for dead processes."""
    page, gone, removed = ffi.new("uint64_t *"), ffi.new("uint64_t *"), 0
    patience = timeout_ns(store._options.timeout, "timeout")
    end = 0
    while page[0] != _LAST_PAGE:
        status = lib.shms_expire_due(store._handle, page, gone)
        removed += gone[0]
        if status == lib.SHMS_SUPERSEDED:
            store._follow()
            page[0] = 0
            continue
        if status == lib.SHMS_OK or gone[0]:
            end = 0
        if status == lib.SHMS_BUSY:
            end = end or lib.shms_now() + patience
            status = lib.SHMS_OK if lib.shms_now() < end else lib.SHMS_TIMEOUT
            without_gil(store, lib.shms_w_recover)
            sleep(0.001)
        if status:
            raise so_far(store._fail(status), removed)
    return removed


_LAST_PAGE = 2**64 - 1


def destroy(store: Store[Any]) -> None:
    status = without_gil(store, lib.shms_w_destroy, superseded=False)
    while status == lib.SHMS_SUPERSEDED:
        try:
            status = without_gil(store, lib.shms_w_destroy, superseded=False)
        except errors.StoreDestroyed as error:
            if is_foreign(error):
                raise
            return  # this process removed the former segment during a resize, and so its successor
    if status == lib.SHMS_SYSTEM:
        raise _may_not_remove(store)
    if status:
        raise store._fail(status)


def _may_not_remove(store: Store[Any]) -> Exception:
    info, buffer = raw_info(store), ffi.new("char[64]")
    code = lib.shms_refused(store._handle, buffer, len(buffer))
    call = ffi.string(buffer).decode()
    other = told("about_removal", call, code, store._key, info.id)
    if other:
        return errors.StoreSystemError(code, f"store {store._key.shown}: {call}: {os.strerror(code)}: {other}")
    if not info.kernel_known:
        whose, who, how = "it belongs to another user", "its owner, its creator", "shmstore rm, as that user"
    elif store._key.backend == "sysv":
        whose = f"it was created by {user(info.creator_uid)} and belongs to {user(info.uid)}"
        who, how = "one of them", f"shmstore rm, or ipcrm -m {info.id}, as that user"
    else:
        whose = f"{store._key.place} belongs to {user(info.uid)}"
        who, how = "the owner of that file, or of the directory,", f"rm {store._key.place} as that user"
    return errors.StoreSystemError(
        code, f"store {store._key.shown}: {whose}, and this process runs as {user(os.geteuid())}; "
        f"only {who} or root may remove it: {how}",
    )  # fmt: skip


def info(store: Store[Any]) -> StoreInfo:
    revalidate(store)
    raw = raw_info(store)
    name = bytes(ffi.buffer(raw.name, raw.name_length)).decode(errors="surrogateescape")
    kernel = {
        field: getattr(raw, field) if raw.kernel_known else None for field in ("mode", "uid", "gid", "creator_uid")
    }
    return StoreInfo(
        key=raw.key, id=raw.id, name=name if raw.name_kind in (1, 3) else None, size=raw.size, **kernel,
        creator=raw.creator_pid, created=raw.created / 1e9, last_writer=raw.last_writer / 1e9,
        attached=None if raw.attached < 0 else raw.attached, format_version=raw.format, max_entries=raw.max_entries or None,
        max_clients=raw.clients, uuid=bytes(ffi.buffer(raw.uuid, 16)).hex(), readonly=bool(raw.readonly),
        backend=BACKENDS[raw.backend], evicts=bool(raw.evicts), requested_size=raw.requested_size or None,
        requested_max_entries=raw.requested_max_entries or None, requested_max_clients=raw.requested_max_clients or None,
        requested_at=raw.requested_at / 1e9 or None, requested_by=raw.requested_by or None,
    )  # fmt: skip
