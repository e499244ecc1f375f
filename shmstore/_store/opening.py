"""Opening segments; each failure names the store, the cause and the remedy."""

from __future__ import annotations

import os

from shmstore import errors
from shmstore._base.durations import timeout_ns, ttl_ns
from shmstore._base.foreign import is_foreign
from shmstore._core import ffi, lib
from shmstore._store import coding
from shmstore._store.control import tell_events
from shmstore._store.differences import log_differences
from shmstore._store.failures import program, quoted, told, user
from shmstore._store.names import BACKENDS
from shmstore._store.options import ATTACHING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shmstore._store.names import Key
    from shmstore._store.options import Options
    from shmstore.store import Store

__all__ = ["failure", "follow", "open_handle", "request_of"]

SHARES_SLOT = True  # tests of several clients in one process set it to False: then each handle is a client of its own
_CREATE = {None: 0, True: 1, False: 2}
_KINDS = {1: "the name", 2: "the key", 3: "the path", 4: "a private key"}


def open_handle(store: Store[Any], key: Key, options: Options) -> Any:
    """Open or create, and make *store* a handle of it. Returns the result: what the creator chose.

    Raises: StoreNotFound, StoreExists, StoreForeign, NotAStore, KeyCollision, FormatMismatch, StoreCorrupt,
        LockTimeout, StoreSystemError; ValueError where the mode differs from the creator's.
    """
    store._key, store._options = key, options
    store._uuid, store._copies, store._popped_at = b"", {}, 0
    coding.set_codecs(store)
    store._confine(options.namespace)
    request, memory = request_of(key, options)
    result = _open(store, key, request)
    del memory
    store._uuid = bytes(ffi.buffer(result.uuid))
    log_differences(store, result)
    tell_events(store)
    return result


def follow(store: Store[Any]) -> None:
    """The store was resized: go on with the segment that has its entries now. Another thread may have done so already.

    Raises: StoreDestroyed; what open_handle raises.
    """
    if lib.shms_usable(store._handle) != lib.SHMS_SUPERSEDED:
        return
    options = store._options.replaced(**ATTACHING, uuid=store._uuid)
    request, memory = request_of(store._key, options)
    request.follows = 1
    try:
        result = _open(store, store._key, request)
    except errors.StoreNotFound as error:
        if is_foreign(error):
            raise
        raise store._fail(lib.SHMS_DESTROYED) from None
    del memory
    if not store._options.size_given:  # a cache that is created again has the size that it had
        store._options = store._options.replaced(size=result.store_size)
    tell_events(store)


def _open(store: Store[Any], key: Key, request: Any) -> Any:
    result = ffi.new("struct shms_open_result *")
    number = store._codec_number if type(store._codec_number) is int else lib.SHMS_CODEC_NAMED
    status = store._open_handle(
        int(ffi.cast("uintptr_t", request)), int(ffi.cast("uintptr_t", result)), ttl_ns(store._options.ttl), number
    )
    if status:
        raise failure(status, key, request, result)
    return result


def request_of(key: Key, options: Options) -> tuple[Any, tuple[Any, ...]]:
    """What the engine is asked for, and the memory that it refers to."""
    timeout = timeout_ns(options.timeout, "timeout")
    request = ffi.new("struct shms_open_request *")
    name = ffi.new("char[]", key.name)
    request.key, request.name_kind, request.name_length, request.name = key.number, key.kind, len(key.name), name
    request.create, request.size, request.size_given = _CREATE[options.create], options.size, options.size_given
    request.max_clients = options.max_clients or 0
    request.evicts = options.evicts
    request.max_entries, request.entries_given = options.max_entries or 0, options.max_entries is not None
    request.mode, request.mode_given = options.mode, options.mode_given
    request.readonly, request.timeout = options.readonly, timeout
    request.backend = BACKENDS.index(key.backend)
    request.id, request.huge_page = key.id, options.huge_page
    request.prefault, request.lock_memory = options.prefault, options.lock_memory
    request.shares = SHARES_SLOT
    object = ffi.NULL if key.object is None else ffi.new("char[]", key.object)
    request.object = object
    owner = options.owner
    request.owner = -1 if owner is None else -2 if owner == "any" else owner
    if options.uuid is not None:
        request.uuid_given = 1
        ffi.memmove(request.uuid, options.uuid, 16)
    return request, (name, object)


def failure(status: int, key: Key, request: Any, result: Any) -> Exception:
    store = f"store {key.shown}"
    if status == lib.SHMS_NOT_FOUND:
        how = "readonly=True" if request.readonly else "create=False"
        gone = told("about_absence", key)
        return errors.StoreNotFound(
            f"{store}: there is no such store ({key.place}), and {how} does not create one{gone and f'; {gone}'}"
        )
    if status == lib.SHMS_EXISTS:
        return errors.StoreExists(f"{store}: it exists already; leave create=True out to attach to it")
    if status == lib.SHMS_FOREIGN:
        return errors.StoreForeign(
            f"{store}: it was created by {user(result.uid)}, and this process runs as {user(os.geteuid())}; "
            f'if you trust them, pass owner={result.uid} (or owner="any")'
        )
    if status == lib.SHMS_NOT_A_STORE:
        what, remedy = (
            (
                f"segment {result.id} ({key.place}, {result.size} bytes, created by {user(result.uid)})",
                f"ipcrm -m {result.id}",
            )
            if key.object is None
            else (f"{key.place} ({result.size} bytes, owned by {user(result.uid)})", f"rm {quoted(key.place)}")
        )
        return errors.NotAStore(
            f"{store}: {what} is not a store and was not changed; use another name, or remove it if it is yours: {remedy}"
        )
    if status == lib.SHMS_COLLISION:
        other = ffi.buffer(result.name, result.name_length)[:].decode("utf-8", "replace")
        whose = f"{_KINDS.get(result.name_kind, 'another key')} {other!r}".rstrip(" '\"" if not other else "")
        return errors.KeyCollision(
            f"{store}: its System V {key.place} belongs to the store of {whose}; use another name"
            if key.object is None
            else f"{store}: its file {key.place} belongs to the store of {whose}; use another name"
        )
    if status == lib.SHMS_FORMAT:
        return errors.FormatMismatch(
            f"{store}: it has format {result.format} (features {result.incompatible:#x}), this version knows "
            "format 1 (features 0x0); upgrade shmstore, or remove the store with the version that created it"
        )
    if status == lib.SHMS_MISMATCH:
        what = ffi.string(result.what).decode()
        if what == "kind":
            return errors.NotACache(
                f"{store}: it was created as a Store, which keeps every entry and evicts none; open it with shmstore.Store, or use "
                "another name for the cache"
            )
        return ValueError(
            f"{store}: its creator chose mode={result.mode:#o}, this handle asks for {request.mode:#o}; leave mode out to "
            "use the creator's"
        )
    if status == lib.SHMS_TOO_SMALL:
        least = f"{result.minimum} bytes ({-(-result.minimum // 1024)}K)"
        if not request.max_entries:
            return ValueError(
                f"{store}: size={request.size} is too small: the smallest store has {least}; make size larger"
            )
        return ValueError(
            f"{store}: size={request.size} leaves too little memory for objects, next to a table for {request.max_entries} entries; "
            f"make size larger (at least {least}) or max_entries smaller"
        )
    if status == lib.SHMS_TOO_LARGE:
        return ValueError(f"{store}: size is at most 16T and max_entries at most 2**32 - 1")
    if status == lib.SHMS_CORRUPT:
        return errors.StoreCorrupt(
            f"{store}: {ffi.string(result.what).decode()} is impossible; remove it: "
            + (f"ipcrm -m {result.id}" if key.object is None else f"rm {quoted(key.place)}")
        )
    if status == lib.SHMS_NO_CLIENT:
        return errors.TooManyClients(
            f"{store}: the client table is full: every slot belongs to a live process; close handles of other processes, attach with "
            "readonly=True, which needs no slot, or create the store again with a larger max_clients"
        )
    if status == lib.SHMS_TIMEOUT and not result.pid:
        return errors.LockTimeout(
            f"{store}: other processes created or removed it all the time, or a process in another pid namespace stopped while "
            "creating it; try again with a longer timeout"
            + (
                f"; if that does not help, remove it: ipcrm -m {result.id}"
                if key.object is None and result.id >= 0
                else ""
            )
        )
    if status == lib.SHMS_TIMEOUT:
        return errors.LockTimeout(
            f"{store}: {program(result.pid)} began to create it and has stopped; "
            "continue or kill that process (SIGCONT, SIGKILL), and open the store again"
        )
    if status == lib.SHMS_NO_MEMORY:
        return MemoryError(f"{store}: no memory for a handle")
    if status == lib.SHMS_FULL:
        return errors.StoreFull(
            f"{store}: no client slot for another writing process, because {told('no_page', result.error)}; "
            "readonly=True needs none"
        )
    return _system_failure(store, key, request, result)


def _system_failure(store: str, key: Key, request: Any, result: Any) -> Exception:
    call, code = ffi.string(result.what).decode(), result.error
    advice = told("about", call, code, key, request, result)
    return errors.StoreSystemError(code, f"{store}: {call}: {os.strerror(code)}: {advice}")
