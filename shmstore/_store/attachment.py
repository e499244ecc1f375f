"""One process's attachment to a store: opening, health, closing. What is in the store is for the layers above."""

from __future__ import annotations

import os

from shmstore import errors
from shmstore._base.calls import StoreCalls
from shmstore._base.durations import seconds, timeout_ns, ttl_ns
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import current
from shmstore._base.sentinels import Private, UnsaidInt, UnsaidStr
from shmstore._core import ffi, lib
from shmstore._store.failures import failure, log_news, open_handle, told, user
from shmstore._store.keys import no_key
from shmstore._store.names import Key, parse_backend, parse_huge_page, parse_key, parse_owner, parse_size
from shmstore.codecs import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from typing_extensions import Self

    from shmstore._base.durations import Duration
    from shmstore.codecs.protocol import Codec

__all__ = ["Attachment"]

_CODECS = {"raw": lib.SHMS_CODEC_RAW, "msgpack": lib.SHMS_CODEC_MSGPACK, "pickle": lib.SHMS_CODEC_PICKLE}
NAMES_OF_CODECS = {number: name for name, number in _CODECS.items()}
_ABOUT_ENTRIES = {
    lib.SHMS_FULL, lib.SHMS_TABLE_FULL, lib.SHMS_TOO_LARGE, lib.SHMS_NOT_INT, lib.SHMS_OVERFLOW, lib.SHMS_CONTENDED
}  # fmt: skip
_CODECS["msgspec"] = lib.SHMS_CODEC_MSGPACK  # the same bytes: whoever reads msgpack reads them


class Attachment(StoreCalls):
    """A handle on a store. Threads may share it; a forked child uses it as a client of its own."""

    __slots__ = (
        "__weakref__", "_codec", "_codec_number", "_codecs", "_encode", "_key", "_options", "_parts", "_popped_at", "_timeout",
        "_typed", "_uuid",
    )  # fmt: skip

    def __init__(
        self,
        name: str | int | os.PathLike[str] | Private,
        *,
        backend: str = "sysv",
        create: bool | None = None,
        size: int | str = UnsaidStr("64M"),
        max_entries: int | None = None,
        mode: int = UnsaidInt(0o600),
        owner: int | str | None = None,
        readonly: bool = False,
        ttl: Duration | None = None,
        codec: str | Codec = "msgpack",
        decoders: Iterable[str | Codec] = (),
        timeout: Duration | None = 5.0,
        hugepages: bool | int | str = False,
        prefault: bool = False,
        lock_memory: bool = False,
    ) -> None:
        """Attach to the store with this name, or create it.

        name: a str (1 to 255 bytes), an int (a System V key_t), a pathlib.Path (ftok), or PRIVATE: a new store
            without a name, for this process and those that get the handle by fork or pickle; it goes with the last.
        backend: "sysv" (the default) or "posix": a file in /dev/shm, bound by its size, visible to whoever mounts it.
            The same name means two stores, one of each.
        create: None opens or creates, True must create, False must exist.
        size: of the whole segment, in bytes or as "64M" (the default); memory is paid for as it is used.
        max_entries: at least that many fit, if their bytes do; None: derived from the size.
        mode: permission bits, exact; 0o600 by default.
        owner: whose stores to trust beside mine and root's: a uid, the name of a user, or "any".
        readonly: attach without the right to write; leaves no trace in the store.
        ttl: seconds that entries live when a call says nothing; None: for ever.
        codec: "msgpack", "msgspec" (the same bytes, faster, and Structs), "raw", "pickle" (trusted stores only!), or
            an object with name, encode, decode.
        decoders: further codecs that this handle may read.
        timeout: seconds to wait for a lock whose holder is alive but does not go on.
        hugepages: make the store of huge pages; True, or their size such as "2M". System V, or PRIVATE; size is rounded
            up. The administrator sets them aside (vm.nr_hugepages).
        prefault: allocate and map the whole store now, so that no later call pays for a first touch.
        lock_memory: keep it out of the swap (RLIMIT_MEMLOCK); System V: for its life, POSIX: while this is attached.

        When attaching, size, max_entries and mode are the creator's; asking for others is an error. hugepages is for
        creation alone. A store made with hugepages, prefault or lock_memory does not give memory back to the system.

        Cost: attaching takes some 50 us; creating, a page fault for each region touched.

        Raises: StoreNotFound, StoreExists, StoreForeign, NotAStore, KeyCollision, FormatMismatch, StoreCorrupt,
            LockTimeout, StoreSystemError; ValueError and TypeError for arguments.
        """
        parsed = parse_key(name, parse_backend(backend))
        self._key = parsed
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
        if max_entries is not None and (isinstance(max_entries, bool) or not isinstance(max_entries, int)):
            raise TypeError(f"max_entries is an int or None, not {type(max_entries).__name__}")
        if max_entries is not None and not 0 < max_entries < 2**32:
            raise ValueError(f"max_entries is from 1 to 2**32 - 1, not {max_entries}")
        mode_given = type(mode) is not UnsaidInt
        if mode_given and (isinstance(mode, bool) or not isinstance(mode, int)):
            raise TypeError(f"mode is an int such as 0o600, not {type(mode).__name__}")
        if mode_given and not 0 <= mode <= 0o777:
            raise ValueError(f"mode has permission bits only (0 to 0o777), not {mode:#o}")
        owner = parse_owner(owner)
        if not isinstance(decoders, (str, bytes)):  # resolve() refuses those
            decoders = tuple(decoders)
        self._options = (owner, bool(readonly), ttl, codec, decoders, timeout)
        self._open(
            None if create is None else bool(create),
            parse_size(size),
            type(size) is not UnsaidStr,
            max_entries,
            mode,
            mode_given,
            None,
            huge_page,
            bool(prefault),
            bool(lock_memory),
        )

    def _open(
        self,
        create: bool | None,
        size: int,
        size_given: bool,
        max_entries: int | None,
        mode: int,
        mode_given: bool,
        uuid: bytes | None,
        huge_page: int = 0,
        prefault: bool = False,
        lock_memory: bool = False,
    ) -> None:
        owner, readonly, ttl, codec, decoders, timeout = self._options
        self._codec, self._codecs = resolve(codec, decoders)
        self._encode = self._codec.encode
        self._parts = getattr(self._codec, "encode_parts", self._encode)
        self._typed: Any = self._codecs.get("msgspec")  # reads msgpack, also as a given type
        self._codec_number: Any = _CODECS.get(self._codec.name, self._codec.name)
        self._timeout = timeout
        wait, lifetime = timeout_ns(timeout, "timeout"), ttl_ns(ttl)
        self._uuid = open_handle(
            self, self._key, create=create, size=size, size_given=size_given, max_entries=max_entries, mode=mode,
            mode_given=mode_given, owner=owner, readonly=readonly, timeout=wait, uuid=uuid,
            huge_page=huge_page, prefault=prefault, lock_memory=lock_memory,
        )  # fmt: skip
        self._copies = {}
        self._popped_at = 0  # slot (popitem)
        number = self._codec_number
        lib.shms_configure(self._handle, wait, lifetime, number if type(number) is int else lib.SHMS_CODEC_NAMED)
        self._tell_news()

    # ---- failing ------------------------------------------------------------------------------------------

    def _fail(self, status: int, asked: int | None = None, name: Any = None) -> Exception:
        """The exception for a status. It names the entry where it is about that: *name*."""
        where = f"store {self._key.shown}"
        if name is not None and status in _ABOUT_ENTRIES:
            where += f", entry {name!r}"
        return failure(status, where, self._handle, seconds(timeout_ns(self._timeout, "timeout")), asked)

    def _no_version(self, method: str, key: object, version: object) -> Exception:
        """For what no store gives as a version."""
        where = f"store {self._key.shown}: {method}({key!r})"
        if type(version) is bool or not isinstance(version, int):
            return TypeError(f"{where}: a version is an int, not {type(version).__name__}")
        shown = (
            f"{version}" if version.bit_length() < 128 else f"of {version.bit_length()} bits"
        )  # Python writes not all of them
        return ValueError(f"{where}: no store gives the version {shown}; versions come from put() and get_versioned()")

    def _no_count(self, method: str, key: object, argument: str, number: object) -> Exception:
        """For what incr and decr cannot count with."""
        where = f"store {self._key.shown}: {method}({key!r})"
        if not hasattr(type(number), "__index__"):
            return TypeError(f"{where}: {argument} is an int, not {type(number).__name__}")
        return OverflowError(f"{where}: {argument} has more than 64 bits, sign included; nothing was counted")

    def _no_key(self, key: object) -> Exception:
        return no_key(f"store {self._key.shown}", key)

    def _tell_news(self) -> None:
        """Log what this handle took over or rebuilt since the last time. Calls that wait in C do so themselves."""
        if not lib.shms_has_events(self._handle):
            return
        deaths, rebuilds, pid = ffi.new("uint64_t *"), ffi.new("uint64_t *"), ffi.new("uint32_t *")
        if lib.shms_take_events(self._handle, deaths, rebuilds, pid):
            self._log_news(pid[0], deaths[0], rebuilds[0])

    def _ttl_ns(self, ttl: Any) -> int:
        """For csrc/python: what no exact float or int is."""
        return ttl_ns(ttl)

    def _log_news(self, pid: int, deaths: int, rebuilds: int) -> None:
        log_news(self._key.shown, pid, deaths, rebuilds)

    def _info(self) -> Any:
        raw = ffi.new("struct shms_info *")
        status = lib.shms_get_info(self._handle, raw)
        if status:
            raise self._fail(status)
        return raw

    def _away(self, call: Callable[..., int], *args: object) -> int:
        """Make a call that gives the GIL up; again if a signal handler forked before it began."""
        status = lib.SHMS_FORKED
        while status == lib.SHMS_FORKED:
            self._look()
            status = call(self._handle, *args)
        self._tell_news()
        return status

    def _look(self) -> None:
        """Is the handle usable, by the kernel's word of now?"""
        status = lib.shms_revalidate_now(self._handle)
        if status:
            raise self._fail(status)

    @property
    def closed(self) -> bool:
        """Whether this handle was closed."""
        return bool(lib.shms_usable(self._handle) == lib.SHMS_CLOSED)

    def destroy(self) -> None:
        """Remove the store and what it holds. Every process's next call, and every sleeper, gets StoreDestroyed.

        Cost: giving the memory back, by whoever detaches last.
        """
        status = self._away(lib.shms_w_destroy)
        if status == lib.SHMS_SYSTEM:
            raise self._may_not_remove()
        if status:
            raise self._fail(status)

    def _may_not_remove(self) -> Exception:
        info, buffer = self._info(), ffi.new("char[64]")
        code = lib.shms_refused(self._handle, buffer, len(buffer))
        call = ffi.string(buffer).decode()
        other = told("about_removal", call, code, self._key, info.id)
        if other:
            return errors.StoreSystemError(code, f"store {self._key.shown}: {call}: {os.strerror(code)}: {other}")
        if not info.kernel_known:
            whose, who, how = "it belongs to another user", "its owner, its creator", "shmstore rm, as that user"
        elif self._key.backend == "sysv":
            whose = f"it was created by {user(info.creator_uid)} and belongs to {user(info.uid)}"
            who, how = "one of them", f"shmstore rm, or ipcrm -m {info.id}, as that user"
        else:
            whose = f"{self._key.place} belongs to {user(info.uid)}"
            who, how = "the owner of that file, or of the directory,", f"rm {self._key.place} as that user"
        return errors.StoreSystemError(
            code, f"store {self._key.shown}: {whose}, and this process runs as {user(os.geteuid())}; "
            f"only {who} or root may remove it: {how}",
        )  # fmt: skip

    def __repr__(self) -> str:
        try:
            status = lib.shms_usable(self._handle)
            state = {lib.SHMS_CLOSED: "closed", lib.SHMS_DESTROYED: "destroyed"}.get(status)
            state = state or ("read-only" if self._options[1] else "open")
            return f"<shmstore.Store {self._key.shown} {state}>"
        except Exception as error:
            if is_foreign(error):
                raise
            return "<shmstore.Store>"

    def __reduce__(self) -> tuple[Any, ...]:
        key = self._key
        place: tuple[str, bytes | None, int] = (key.backend, key.object, key.id)
        if key.kind == 4:
            info = self._info()
            path = b"/proc/%d/fd/%d" % (os.getpid(), info.descriptor) if key.backend == "posix" else None
            place = (key.backend, path, info.id)
        return current(_attach), (
            current(type(self)),
            key.number,
            key.kind,
            key.name,
            key.shown,
            self._uuid,
            self._options,
            place,
        )

    def __copy__(self) -> Self:
        raise TypeError("a handle cannot be copied; dict(store) copies what is in it")

    def __deepcopy__(self, memo: object) -> Self:
        raise TypeError("a handle cannot be copied; dict(store) copies what is in it")


def _attach(
    cls: type[Attachment], number: int, kind: int, name: bytes, shown: str, uuid: bytes, options: tuple[Any, ...],
    place: tuple[str, bytes | None, int],
) -> Attachment:  # fmt: skip
    """Unpickle a handle: attach to that very store, never create one."""
    store = cls.__new__(cls)
    backend, object, id = place
    store._key = Key(number, kind, name, shown, backend=backend, object=object, id=id)
    store._options = options
    store._open(False, 1 << 26, False, None, 0o600, False, uuid)
    return store
