"""Opening segments, and the engine's status codes as exceptions: each names the store, the cause, the remedy."""

from __future__ import annotations

import os
from pwd import getpwuid

from shmstore import errors
from shmstore._base.durations import seconds, timeout_ns
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import late
from shmstore._core import ffi, lib
from shmstore._store import keys
from shmstore._system.files import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any

    from shmstore._store import memory_errors
    from shmstore._store.keys import EntryKey
    from shmstore.store import Store
else:
    logging, memory_errors = late("logging"), late("shmstore._store.memory_errors")

_ABOUT_ENTRIES = {
    lib.SHMS_FULL, lib.SHMS_TABLE_FULL, lib.SHMS_TOO_LARGE, lib.SHMS_NOT_INT, lib.SHMS_OVERFLOW, lib.SHMS_CONTENDED
}  # fmt: skip


def quoted(path: str) -> str:
    """A path, quoted for a shell if necessary."""
    plain = path.isascii() and path.replace("/", "").replace("-", "").replace(".", "").replace("_", "").isalnum()
    return path if plain else "'" + path.replace("'", "'\"'\"'") + "'"


def told(of: str, *arguments: Any) -> Any:
    """The text of a function of memory_errors; empty if that module cannot be imported any more."""
    try:
        return getattr(memory_errors, of)(*arguments)
    except (ImportError, OSError) as error:  # the process became another user's, or changed its root
        if is_foreign(error):
            raise
        return ""


def user(uid: int) -> str:
    """A uid with the name of the user."""
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


def _holder(handle: int) -> tuple[int, int | None, str]:
    """The lock holder for which the last timed out call on this handle waited: its process id in its own pid namespace (0:
    unknown); 1 alive, 0 dead, 2 unproved (None: unknown); and its program (empty: hidden, or in another pid namespace)."""
    holder = ffi.new("struct shms_client_info *")
    known = lib.shms_lock_holder(handle, holder)
    if known != 1:
        return holder.pid, None, ""
    return holder.pid, holder.alive, ffi.string(holder.program).decode(errors="replace")


def _timed_out(store: str, handle: int, timeout: str) -> Exception:
    """The error for a lock timeout, with what is known about the lock holder."""
    pid, alive, program = _holder(handle)
    if alive == 0:
        return errors.LockTimeout(
            f"{store}: gave up after {timeout}: process {pid} held a lock that this call needs, and has died since; "
            f"{_UNCHANGED}; the next call takes it over"
        )
    if alive == 2:
        return errors.LockTimeout(
            f"{store}: gave up after {timeout}: process {pid} (its id in its own pid namespace) holds a lock that this call needs, and "
            f"cannot be proved dead from here; {_UNCHANGED}; continue or kill it there, or share its pid or network "
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
        f"{store}: gave up after {timeout}: {who} holds a lock that this call needs, and is alive "
        f"(stopped, swapped out, or resizing the store); {_UNCHANGED}; continue or kill that process{there}"
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


def so_far(error: Exception, removed: int) -> Exception:
    """Say in *error* that a call on all entries had *removed* so many before."""
    if isinstance(error, errors.ShmStoreError):
        error.stored = removed
        if not removed:
            return error
        text, *more = error.args
        said = f"{removed} entries were removed before"
        error.args = (text.replace(_UNCHANGED, said) if _UNCHANGED in text else f"{text}; {said}", *more)
    return error


def failure(status: int, store: str, handle: int, timeout: str = "", asked: int | None = None) -> Exception:
    """The exception for a failed call on an open store."""
    if status in (lib.SHMS_FULL, lib.SHMS_TABLE_FULL, lib.SHMS_TOO_LARGE):
        return _full(status, store, handle, asked)
    if status == lib.SHMS_CLOSED:
        return errors.StoreClosed(f"{store}: this handle is closed; open the store again")
    if status == lib.SHMS_DESTROYED:
        return errors.StoreDestroyed(f"{store}: it was removed with all its entries; open it again")
    if status == lib.SHMS_READ_ONLY:
        info = ffi.new("struct shms_info *")
        if lib.shms_get_info(handle, info) == lib.SHMS_OK and info.read_compatible:
            return errors.ReadOnlyStore(
                f"{store}: a newer version made it with features ({info.read_compatible:#x}) that this one can read "
                "but not write, so it was opened as if with readonly=True; upgrade shmstore to write"
            )
        return errors.ReadOnlyStore(
            f"{store}: this handle was opened with readonly=True; to write, open the store without it"
        )
    if status == lib.SHMS_TIMEOUT:
        return _timed_out(store, handle, timeout)
    if status == lib.SHMS_CONTENDED:
        return errors.LockTimeout(
            f"{store}: writers overwrote this entry faster than it could be read, for {timeout}; a handle that may write "
            "(readonly=False) can pin it"
        )
    if status == lib.SHMS_CORRUPT:
        return errors.StoreCorrupt(f"{store}: an entry breaks the format; check() names the invariant")
    if status == lib.SHMS_NOT_INT:
        return TypeError(f"{store}: incr and decr need an int that was stored with msgpack; the value was not changed")
    if status == lib.SHMS_OVERFLOW:
        return OverflowError(f"{store}: the result does not fit in 64 bits with a sign; the value was not changed")
    if status == lib.SHMS_NO_CLIENT:
        return errors.TooManyClients(
            f"{store}: the client table is full: every slot belongs to a live process; this process can read, and needs "
            "a slot to write; close handles of other processes (clients() lists them), or create the store with a larger max_clients"
        )
    if status == lib.SHMS_NO_COUNTER:
        return errors.TooManyNamespaces(
            f"{store}: it has as many namespaces as it can have (8,191); use keys with a prefix where nothing has to be cleared "
            "at once, or tags, of which there may be any number"
        )
    if status == lib.SHMS_FORMAT:
        return errors.FormatMismatch(
            f"{store}: it was created by a version without tags and namespaces; remove it, and create it again"
        )
    return errors.ShmStoreError(f"{store}: the engine failed with status {status}")


def _full(status: int, store: str, handle: int, asked: int | None) -> Exception:
    stats = ffi.new("struct shms_stats *")
    lib.shms_get_stats(handle, stats)
    wanted = "" if asked is None else f"{asked} bytes needed, "
    info = ffi.new("struct shms_info *")
    is_cache = lib.shms_get_info(handle, info) == lib.SHMS_OK and info.evicts
    if status == lib.SHMS_TOO_LARGE:
        return errors.ValueTooLarge(
            f"{store}: {wanted}more than the empty store can hold "
            f"({stats.bytes_used + stats.bytes_free} bytes of heap); create it with a larger size, or resize() it"
        )
    if status == lib.SHMS_TABLE_FULL and not is_cache:
        return errors.StoreFull(
            f"{store}: no free slot for this key, with {stats.entries} entries in the store; {_UNCHANGED}; "
            "delete some, or create the store with a larger max_entries"
        )
    short_of = lib.shms_short_of(handle)
    if is_cache and not short_of:
        return errors.ValueTooLarge(
            f"{store}: {wanted}more than this cache can evict now: what is read in place (views) or being written stays; "
            f"{_UNCHANGED}; release views, or give it a larger size: resize()"
        )
    if short_of:
        return errors.StoreFull(
            f"{store}: {wanted}{stats.bytes_free} bytes free in the store, but {told('no_page', short_of)}; "
            f"{_UNCHANGED}"
        )
    return errors.StoreFull(
        f"{store}: {wanted}{stats.bytes_free} bytes free, the largest free block {stats.largest_free}; {_UNCHANGED}; "
        "delete something, set a ttl, or give the store a larger size: resize()"
    )


def logger() -> logging.Logger | None:
    """The logger of the package; None while Python shuts down."""
    try:
        found = logging.getLogger("shmstore")
    except (ImportError, OSError) as error:  # no other code has imported it, so nothing would show the record
        if is_foreign(error):
            raise
        return None
    if not found.handlers:  # a program that configures no logging sees nothing on stderr
        found.addHandler(logging.NullHandler())
    return found


def log_events(store: Store[Any], pid: int, deaths: int) -> None:
    """Log what a handle took over: *pid* is the last process that died."""
    log = logger()
    if log is None:
        return
    log.warning(
        "shmstore %s: process %d died while it used the store; process %d took over its locks and memory "
        "(deaths seen by this handle: %d)",
        store._key.shown,
        pid,
        os.getpid(),
        deaths,
    )


# ---- what the methods of a store raise


def fail(store: Store[Any], status: int, asked: int | None = None, name: Any = None) -> Exception:
    """The exception for a status. It names the entry where it is about that: *name*."""
    where = f"store {store._key.shown}"
    if name is not None and status in _ABOUT_ENTRIES:
        where += f", entry {name!r}"
    return failure(status, where, store._handle, seconds(timeout_ns(store._options.timeout, "timeout")), asked)


def no_version(store: Store[Any], method: str, key: object, version: object) -> Exception:
    """For what no store gives as a version."""
    where = f"store {store._key.shown}: {method}({key!r})"
    if type(version) is bool or not isinstance(version, int):
        return TypeError(f"{where}: a version is an int, not {type(version).__name__}")
    shown = (
        f"{version}" if version.bit_length() < 128 else f"of {version.bit_length()} bits"
    )  # Python writes not all of them
    return ValueError(f"{where}: no store gives the version {shown}; versions come from put() and get_versioned()")


def no_count(store: Store[Any], method: str, key: object, argument: str, number: object) -> Exception:
    """For what incr and decr cannot count with."""
    where = f"store {store._key.shown}: {method}({key!r})"
    if not hasattr(type(number), "__index__"):
        return TypeError(f"{where}: {argument} is an int, not {type(number).__name__}")
    return OverflowError(f"{where}: {argument} has more than 64 bits, sign included; the value was not changed")


def no_create(store: Store[Any], method: str, key: object, create: object) -> Exception:
    """For what says neither that incr and decr may create a counter nor that they may not."""
    return TypeError(
        f"store {store._key.shown}: {method}({key!r}): create is True or False, not {type(create).__name__}"
    )


def no_key(store: Store[Any], key: object) -> Exception:
    most = keys.KEY_MAX - 9 * bool(store._options.namespace)  # SHMS_KEY_INSIDE_MAX in csrc/python/call.h
    return keys.no_key(f"store {store._key.shown}", key, most)


def no_tags(store: Store[Any], tags: Any, count: int) -> Exception:
    """For what are no tags, or too many: *count* of them."""
    where = f"store {store._key.shown}"
    if count >= 0:
        return errors.InvalidTag(f"{where}: an entry has at most 256 tags, not {count}; use fewer, broader ones")
    if isinstance(tags, (str, bytes)):
        return TypeError(
            f"{where}: tags are several, and {tags!r:.60} is a single {type(tags).__name__}; write tags=[{tags!r:.60}]"
        )
    wrong = [tag for tag in tags if not isinstance(tag, (str, bytes))] if isinstance(tags, tuple) else [tags]
    if wrong:
        return TypeError(f"{where}: a tag is str or bytes, not {type(wrong[0]).__name__} ({wrong[0]!r:.60})")
    return errors.InvalidTag(f"{where}: of the tags {tags!r:.120} one has more than 32768 bytes or a lone surrogate")


def view_failure(store: Store[Any], key: EntryKey, status: int) -> Exception:
    where = f"store {store._key.shown}: view({key!r})"
    if status == lib.SHMS_UNMET:
        return TypeError(f"{where}: only a value that is bytes can be read in place; get() returns a copy of any value")
    if status == lib.SHMS_FULL:
        return errors.StoreFull(
            f"{where}: all pins of this process are in use by views of other values; release some of them"
        )
    return store._fail(status)


def no_text(store: Store[Any], raw: bytes) -> Exception:
    return errors.StoreCorrupt(
        f"store {store._key.shown}: a key that was put as str is not UTF-8 ({raw[:40]!r}); check() says more"
    )
