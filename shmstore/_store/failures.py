"""Opening segments, and the engine's status codes as exceptions: each names the store, the cause, the remedy."""

from __future__ import annotations

import os
from pwd import getpwuid

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import late
from shmstore._core import ffi, lib
from shmstore._store.names import BACKENDS
from shmstore._system.files import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any

    from shmstore._base.calls import StoreCalls
    from shmstore._store import memory_errors
    from shmstore._store.names import Key
else:
    logging, memory_errors = late("logging"), late("shmstore._store.memory_errors")

__all__ = ["failure", "log_news", "open_handle", "partly", "told", "user"]

_CREATE = {None: 0, True: 1, False: 2}
_KINDS = {1: "the name", 2: "the key", 3: "the path", 4: "a private key"}


def quoted(path: str) -> str:
    """A path as a shell takes it."""
    plain = path.isascii() and path.replace("/", "").replace("-", "").replace(".", "").replace("_", "").isalnum()
    return path if plain else "'" + path.replace("'", "'\"'\"'") + "'"


def told(of: str, *arguments: Any) -> Any:
    """What a function of memory_errors says; nothing, if it cannot be imported any more."""
    try:
        return getattr(memory_errors, of)(*arguments)
    except (ImportError, OSError) as error:  # the process became another user's, or changed its root
        if is_foreign(error):
            raise
        return ""


def user(uid: int) -> str:
    """A uid as people know it."""
    try:
        return f"uid {uid} ({getpwuid(uid).pw_name})"
    except KeyError as error:
        if is_foreign(error):
            raise
        return f"uid {uid}"


def program(pid: int) -> str:
    try:
        return f"process {pid} ({read(f'/proc/{pid}/comm').decode(errors='replace').strip()})"
    except OSError as error:
        if is_foreign(error):
            raise
        return f"process {pid}"


def open_handle(
    store: StoreCalls,
    key: Key,
    *,
    create: bool | None,
    size: int,
    size_given: bool,
    max_entries: int | None,
    mode: int,
    mode_given: bool,
    owner: int | str | None,
    readonly: bool,
    timeout: int,
    uuid: bytes | None = None,
    huge_page: int = 0,
    prefault: bool = False,
    lock_memory: bool = False,
) -> bytes:
    """Open or create, give the engine's handle to *store*, and return the store's uuid.

    Raises: StoreNotFound, StoreExists, StoreForeign, NotAStore, KeyCollision, FormatMismatch, StoreCorrupt,
        LockTimeout, StoreSystemError; ValueError where size, max_entries or mode differ from the creator's.
    """
    wish = ffi.new("struct shms_open_request *")
    found = ffi.new("struct shms_open_result *")
    name = ffi.new("char[]", key.name)
    wish.key, wish.name_kind, wish.name_length, wish.name = key.number, key.kind, len(key.name), name
    wish.create, wish.size, wish.max_entries, wish.mode = _CREATE[create], size, max_entries or 0, mode
    wish.size_given, wish.entries_given, wish.mode_given = size_given, max_entries is not None, mode_given
    wish.readonly, wish.timeout = readonly, timeout
    wish.backend = BACKENDS.index(key.backend)
    wish.id, wish.huge_page, wish.prefault, wish.lock_memory = key.id, huge_page, prefault, lock_memory
    object = ffi.NULL if key.object is None else ffi.new("char[]", key.object)
    wish.object = object
    wish.owner = -1 if owner is None else -2 if owner == "any" else owner
    if uuid is not None:
        wish.uuid_given = 1
        ffi.memmove(wish.uuid, uuid, 16)
    status = store._open_handle(int(ffi.cast("uintptr_t", wish)), int(ffi.cast("uintptr_t", found)))
    if status:
        raise _open_failure(status, key, wish, found)
    return bytes(ffi.buffer(found.uuid))


def _open_failure(status: int, key: Key, wish: Any, found: Any) -> Exception:
    store = f"store {key.shown}"
    if status == lib.SHMS_NOT_FOUND:
        how = "readonly=True" if wish.readonly else "create=False"
        gone = told("about_absence", key)
        return errors.StoreNotFound(
            f"{store}: there is none ({key.place}), and {how} does not make one{gone and f'; {gone}'}"
        )
    if status == lib.SHMS_EXISTS:
        return errors.StoreExists(f"{store}: it exists already; leave create=True out to attach to it")
    if status == lib.SHMS_FOREIGN:
        return errors.StoreForeign(
            f"{store}: it was created by {user(found.uid)}, and this process runs as {user(os.geteuid())}; "
            f'if you trust them, pass owner={found.uid} (or owner="any")'
        )
    if status == lib.SHMS_NOT_A_STORE:
        what, remedy = (
            (
                f"segment {found.id} ({key.place}, {found.size} bytes, created by {user(found.uid)})",
                f"ipcrm -m {found.id}",
            )
            if key.object is None
            else (f"{key.place} ({found.size} bytes, owned by {user(found.uid)})", f"rm {quoted(key.place)}")
        )
        return errors.NotAStore(
            f"{store}: {what} is no store and was left untouched; use another key, or remove it if it is yours: {remedy}"
        )
    if status == lib.SHMS_COLLISION:
        other = ffi.buffer(found.name, found.name_length)[:].decode("utf-8", "replace")
        whose = f"{_KINDS.get(found.name_kind, 'another key')} {other!r}".rstrip(" '\"" if not other else "")
        return errors.KeyCollision(
            f"{store}: its System V {key.place} belongs to the store of {whose}; use another name"
            if key.object is None
            else f"{store}: its file {key.place} belongs to the store of {whose}; use another name"
        )
    if status == lib.SHMS_FORMAT:
        return errors.FormatMismatch(
            f"{store}: it has format {found.format} (features {found.incompatible:#x}), this version knows "
            "format 1 (features 0x0); upgrade shmstore, or remove the store with the version that made it"
        )
    if status == lib.SHMS_MISMATCH:
        what = ffi.string(found.what).decode()
        theirs = {"size": found.size, "max_entries": found.max_entries, "mode": oct(found.mode)}[what]
        ours = {"size": wish.size, "max_entries": wish.max_entries, "mode": oct(wish.mode)}[what]
        return ValueError(
            f"{store}: its creator chose {what}={theirs}, this handle asks for {ours}; leave {what} out to "
            "take what is there"
        )
    if status == lib.SHMS_TOO_SMALL:
        least = f"{found.minimum} bytes ({-(-found.minimum // 1024)}K)"
        if not wish.max_entries:
            return ValueError(f"{store}: size={wish.size} is too small: the least store has {least}; make size larger")
        return ValueError(
            f"{store}: size={wish.size} leaves too little for objects beside the table of {wish.max_entries} entries; "
            f"make size larger (at least {least}) or max_entries smaller"
        )
    if status == lib.SHMS_TOO_LARGE:
        return ValueError(f"{store}: size is at most 16T and max_entries at most 2**32 - 1")
    if status == lib.SHMS_CORRUPT:
        return errors.StoreCorrupt(
            f"{store}: {ffi.string(found.what).decode()} is impossible; remove it: "
            + (f"ipcrm -m {found.id}" if key.object is None else f"rm {quoted(key.place)}")
        )
    if status == lib.SHMS_NO_CLIENT:
        return errors.TooManyClients(
            f"{store}: the client table is full: every slot belongs to a live process; close handles, attach with "
            "readonly=True, which needs no slot, or make the store anew with a larger size (info().max_clients)"
        )
    if status == lib.SHMS_TIMEOUT and not found.pid:
        return errors.LockTimeout(
            f"{store}: others were making or removing it all the time, or somebody of another pid namespace began to make it "
            "and does not go on; try again, with a longer timeout"
            + (
                f"; if that does not help, remove it: ipcrm -m {found.id}"
                if key.object is None and found.id >= 0
                else ""
            )
        )
    if status == lib.SHMS_TIMEOUT:
        return errors.LockTimeout(
            f"{store}: {program(found.pid)} began to create it and does not go on; "
            "continue or kill that process (SIGCONT, SIGKILL), and it is created anew"
        )
    if status == lib.SHMS_NO_MEMORY:
        return MemoryError(f"{store}: no memory for a handle")
    if status == lib.SHMS_FULL:
        return errors.StoreFull(
            f"{store}: no place for one more writing process, since {told('no_page', found.error)}; "
            "readonly=True needs none"
        )
    return _system_failure(store, key, wish, found)


def _system_failure(store: str, key: Key, wish: Any, found: Any) -> Exception:
    call, code = ffi.string(found.what).decode(), found.error
    advice = told("about", call, code, key, wish, found)
    return errors.StoreSystemError(code, f"{store}: {call}: {os.strerror(code)}: {advice}")


def _holder(handle: int) -> tuple[int, int | None, str]:
    """Whom the last timed out call on this handle waited for: the process id in its own pid namespace (0: not known), 1 alive,
    0 dead, 2 cannot be proved (None: not known), and its program; empty: it is no process of this pid namespace, or hidden."""
    holder = ffi.new("struct shms_client_info *")
    known = lib.shms_lock_holder(handle, holder)
    if known != 1:
        return holder.pid, None, ""
    return holder.pid, holder.alive, ffi.string(holder.program).decode(errors="replace")


def _timed_out(store: str, handle: int, timeout: str) -> Exception:
    """What holds a lock, as far as it can be told from here."""
    pid, alive, program = _holder(handle)
    info = ffi.new("struct shms_info *")
    if alive == 0 and not (lib.shms_get_info(handle, info) == lib.SHMS_OK and info.readonly):
        return errors.LockTimeout(
            f"{store}: gave up after {timeout}: process {pid} held a lock that this needs, and has died since; "
            f"{_UNCHANGED}; the next call takes it over"
        )
    if alive == 0:
        return errors.LockTimeout(
            f"{store}: gave up after {timeout}: process {pid} died with a lock that this needs, and a read-only "
            "handle takes nothing over; a handle that may write does, in recover() or any call that needs the lock"
        )
    if alive == 2:
        return errors.LockTimeout(
            f"{store}: gave up after {timeout}: process {pid} (its number where it runs) holds a lock that this needs, and whether "
            f"it is alive cannot be proved from here; {_UNCHANGED}; continue or kill it there, or share its pid or network "
            "namespace, where deaths can be proved"
        )
    who = (
        f"process {pid} ({program})"
        if program
        else f"process {pid} of another pid namespace"
        if alive
        else "another process"
    )
    there = "" if program else " there"
    return errors.LockTimeout(
        f"{store}: gave up after {timeout}: {who} holds a lock that this needs, and is alive "
        f"(stopped, or swapped out); {_UNCHANGED}; continue or kill that process{there}"
    )


_UNCHANGED = "nothing was changed"


def partly(error: Exception, did: str, done: int, keys: tuple[Any, ...], at: int) -> Exception:
    """Say in *error* that a call on many *keys* had *done* so many before it ended at the key with number *at*."""
    if isinstance(error, errors.ShmStoreError):
        error.stored, error.failed = done, keys[at:]
        if done == 0 and _UNCHANGED in error.args[0]:
            return error
        said = f"{done} of {len(keys)} items were {did} before; this one and the later ones were not"
        text, *more = error.args
        said = text.replace(_UNCHANGED, said) if _UNCHANGED in text else f"{text}; {said}"
        error.args = (said, *more)
    return error


def failure(status: int, store: str, handle: int, timeout: str = "", asked: int | None = None) -> Exception:
    """The exception for a failed call on an open store."""
    if status in (lib.SHMS_FULL, lib.SHMS_TABLE_FULL, lib.SHMS_TOO_LARGE):
        return _full(status, store, handle, asked)
    if status == lib.SHMS_CLOSED:
        return errors.StoreClosed(f"{store}: this handle is closed; open the store again")
    if status == lib.SHMS_DESTROYED:
        return errors.StoreDestroyed(f"{store}: it was removed, and what it held is gone; open it anew")
    if status == lib.SHMS_READ_ONLY:
        info = ffi.new("struct shms_info *")
        if lib.shms_get_info(handle, info) == lib.SHMS_OK and info.read_compatible:
            return errors.ReadOnlyStore(
                f"{store}: a newer version made it with features ({info.read_compatible:#x}) that this one can read "
                "but not write, so it was opened as if with readonly=True; upgrade shmstore to write"
            )
        return errors.ReadOnlyStore(f"{store}: this handle was opened with readonly=True; open it without to write")
    if status == lib.SHMS_TIMEOUT:
        return _timed_out(store, handle, timeout)
    if status == lib.SHMS_CONTENDED:
        return errors.LockTimeout(
            f"{store}: overtaken by overwrites of this entry for {timeout}; a handle that may write "
            "(readonly=False) can pin what it reads"
        )
    if status == lib.SHMS_CORRUPT:
        return errors.StoreCorrupt(f"{store}: an entry breaks the format; check() says which rule")
    if status == lib.SHMS_NOT_INT:
        return TypeError(f"{store}: incr and decr need an int that was stored with msgpack; the value is kept")
    if status == lib.SHMS_OVERFLOW:
        return OverflowError(f"{store}: the counter would leave 64 signed bits; the value is kept")
    if status == lib.SHMS_NO_CLIENT:
        return errors.TooManyClients(
            f"{store}: the client table is full: every slot belongs to a live process; this process can read, and needs "
            "a slot to write; close handles of other processes (clients() lists them)"
        )
    return errors.ShmStoreError(f"{store}: the engine failed with status {status}")


def _full(status: int, store: str, handle: int, asked: int | None) -> Exception:
    stats = ffi.new("struct shms_stats *")
    lib.shms_get_stats(handle, stats)
    wanted = "" if asked is None else f"{asked} bytes asked for, "
    if status == lib.SHMS_TOO_LARGE:
        return errors.ValueTooLarge(
            f"{store}: {wanted}more than the empty store could take "
            f"({stats.bytes_used + stats.bytes_free} bytes of heap); create it with a larger size"
        )
    if status == lib.SHMS_TABLE_FULL:
        return errors.StoreFull(
            f"{store}: no slot left near this key with {stats.entries} entries; {_UNCHANGED}; "
            "delete some, or create the store with a larger max_entries"
        )
    short_of = lib.shms_short_of(handle)
    if short_of:
        return errors.StoreFull(
            f"{store}: {wanted}{stats.bytes_free} bytes free in the store, but {told('no_page', short_of)}; "
            f"{_UNCHANGED}"
        )
    return errors.StoreFull(
        f"{store}: {wanted}{stats.bytes_free} bytes free, the largest run {stats.largest_free}; {_UNCHANGED}; "
        "delete something, set a ttl, or create the store with a larger size"
    )


def log_news(store: str, pid: int, deaths: int, rebuilds: int) -> None:
    """Log what a handle took over or rebuilt: *pid* is the last process that died, 0 if none did."""
    try:
        logger = logging.getLogger("shmstore")
    except (ImportError, OSError) as error:  # nobody else has imported it, so nobody would see what is logged
        if is_foreign(error):
            raise
        return
    if not logger.handlers:  # a program that configures no logging sees nothing on stderr
        logger.addHandler(logging.NullHandler())
    if pid:
        logger.warning(
            "shmstore %s: process %d died in the midst of something; its locks and memory were taken over by process %d "
            "(deaths seen by this handle: %d, arenas rebuilt: %d)", store, pid, os.getpid(), deaths, rebuilds,
        )  # fmt: skip
    else:
        logger.warning(
            "shmstore %s: process %d rebuilt %d arenas: somebody died in the midst of something, or their bookkeeping "
            "did not fit", store, os.getpid(), rebuilds,
        )  # fmt: skip
