"""The store: a mapping that every process on the host shares. Meaning only; the mechanism is the C core."""

from __future__ import annotations

import os
from collections.abc import ItemsView, KeysView, MutableMapping, ValuesView

from shmstore import _core, errors
from shmstore._core import ffi, lib
from shmstore._keys import Key, parse_key, parse_size
from shmstore._native import failure, open_handle, program, seconds_to_ns
from shmstore._records import ClientInfo, Stats, StoreInfo
from shmstore.codecs import msgpack as _msgpack
from shmstore.codecs import resolve
from shmstore.codecs.msgpack import UNCHECKED, ext_hook, unpackb
from shmstore.codecs.msgpack import failure as decode_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, TypeVar

    from shmstore.codecs import Codec

    V = TypeVar("V")
    T = TypeVar("T")
else:
    V = object  # a subscript at run time needs something; typing itself takes 9 ms to import

__all__ = ["DEFAULT", "Store", "destroy", "open", "stores"]

Name = str | bytes
_SET, _ADD, _REPLACE, _CAS = range(4)  # enum shms_mode in op.h
_ALL_NAMES = 0xFFFFFFFF
_BYTES_NAMES = 8
_BATCH = 1 << 16  # bytes of names fetched by one call; at least one name of 32 KiB fits
_SLICE = 100_000_000  # ns: how long a waiting call stays away from Python
_CODECS = {"raw": lib.SHMS_CODEC_RAW, "msgpack": lib.SHMS_CODEC_MSGPACK, "pickle": lib.SHMS_CODEC_PICKLE}
_NAMES_OF_CODECS = {number: name for name, number in _CODECS.items()}

_loose: dict[str, Any] = {}
lib.shms_glue_bind(id(_loose), 0)
_msgpack.install_scan(_loose["scan"], _loose["scan_packed"])


class _Default:
    """Stands for "what the handle was opened with"."""

    def __repr__(self) -> str:
        return "DEFAULT"

    def __reduce__(self) -> str:
        return "DEFAULT"


DEFAULT = _Default()
_MISSING = _Default()


def _log_death(handle: int, pid: int, deaths: int, rebuilds: int) -> None:
    import logging

    logging.getLogger("shmstore").warning(
        "process %d died while attached; its locks and memory were taken over by process %d (deaths seen by this "
        "handle: %d, arenas rebuilt: %d)", pid, os.getpid(), deaths, rebuilds,
    )  # fmt: skip


lib.shms_glue_tell(id(_log_death))


def _names_ended(prefix: Name) -> tuple[bytes, int]:
    """A prefix as the engine wants it: bytes, and which kind of names it can begin."""
    if not isinstance(prefix, (str, bytes)):
        raise TypeError(f"a prefix is str or bytes, not {type(prefix).__name__}")
    if isinstance(prefix, bytes):
        return prefix, _BYTES_NAMES
    return prefix.encode(), 0 if prefix else _ALL_NAMES


def _raw_name(name: Name) -> tuple[bytes, int]:
    if isinstance(name, str):
        raw, kind = name.encode(), 0
    elif isinstance(name, bytes):
        raw, kind = name, _BYTES_NAMES
    else:
        raise TypeError(f"names are str or bytes, not {type(name)!r}")
    if len(raw) > 32768:
        raise ValueError(f"names are at most 32768 bytes long, this one is {len(raw)}")
    return raw, kind


class Store(MutableMapping["str | bytes", V]):
    """A mapping from names to objects in one segment of shared memory, shared by all who know its key.

    One name:   get, [], in, put, []=, add, replace, delete, del, pop, setdefault, touch, ttl
    Counters:   incr, decr
    Together:   get_versioned, cas, modify, wait, wait_async
    Many names: get_many, put_many, add_many, delete_many, keys, items, values, update, clear, popitem
    The store:  stats, info, clients, check, recover, close, destroy

    Operations on one name are linearizable among all processes and threads. Operations on many are not
    snapshots. **Values are copies**: ``store[k].append(x)`` changes nothing; ``store.modify(k, f)`` does.

    Readers wait for nobody. A process killed at any moment leaves every name with its old or its new value, and
    what it held is taken over by whoever needs it.

    Threads may share a handle. A forked child uses the inherited handle as a client of its own. A pickled handle
    attaches to the same store in the process that unpickles it, and never creates one.
    """

    # Class attributes rather than properties keep the hot calls free of a second look-up.
    __slots__ = (
        "__weakref__", "_codec", "_codec_number", "_codecs", "_contains", "_delete", "_delete_many", "_encode",
        "_get", "_get_many", "_get_versioned", "_handle", "_incr", "_key", "_options", "_put", "_put_many",
        "_time_left", "_timeout", "_touch", "_uuid", "_version",
    )  # fmt: skip

    def __init__(
        self,
        key: str | int | os.PathLike[str],
        *,
        create: bool | None = None,
        size: int | str = DEFAULT,  # type: ignore[assignment]
        max_entries: int | None = None,
        mode: int = DEFAULT,  # type: ignore[assignment]
        owner: int | str | None = None,
        readonly: bool = False,
        ttl: float | None = None,
        codec: str | Codec = "msgpack",
        decoders: Iterable[str | Codec] = (),
        timeout: float | None = 5.0,
    ) -> None:
        """Attach to the store with this key, or create it.

        key: a str (1 to 255 bytes), an int (a System V key_t), or a pathlib.Path (ftok).
        create: None opens or creates, True must create, False must exist.
        size: of the whole segment, in bytes or as "64M" (the default); memory is paid for as it is used.
        max_entries: at least that many fit, if their bytes do; None: derived from the size.
        mode: permission bits, exact; 0o600 by default.
        owner: whose stores to trust beside mine and root's: a uid, or "any".
        readonly: attach without the right to write; leaves no trace in the store.
        ttl: seconds that entries live when a call says nothing; None: for ever.
        codec: "msgpack", "raw", "pickle" (trusted stores only!), or an object with name, encode, decode.
        decoders: further codecs that this handle may read.
        timeout: seconds to wait for a lock whose holder is alive but does not go on.

        When attaching, size, max_entries and mode are the creator's; asking for others is an error.

        Cost: attaching takes some 50 us; creating, a page fault for each region touched.

        Raises: StoreNotFound, StoreExists, StoreForeign, NotAStore, KeyCollision, FormatMismatch, StoreCorrupt,
            LockTimeout, StoreSystemError; ValueError and TypeError for arguments.
        """
        self._handle = 0
        parsed = parse_key(key)
        self._key = parsed
        if create not in (None, True, False):
            raise TypeError(f"create is None, True or False, not {create!r}")
        if readonly and create:
            raise ValueError("readonly=True creates nothing; leave create=True out")
        if max_entries is not None and (isinstance(max_entries, bool) or not isinstance(max_entries, int)):
            raise TypeError(f"max_entries is an int or None, not {type(max_entries).__name__}")
        if max_entries is not None and not 0 < max_entries < 2**32:
            raise ValueError(f"max_entries is from 1 to 2**32 - 1, not {max_entries}")
        mode_given = mode is not DEFAULT
        if mode_given and (isinstance(mode, bool) or not isinstance(mode, int)):
            raise TypeError(f"mode is an int such as 0o600, not {type(mode).__name__}")
        if mode_given and not 0 <= mode <= 0o777:
            raise ValueError(f"mode has permission bits only (0 to 0o777), not {mode:#o}")
        if not (owner is None or owner == "any" or (isinstance(owner, int) and owner >= 0)):
            raise ValueError(f'owner is None, a uid, or "any", not {owner!r}')
        self._options = (owner, bool(readonly), ttl, codec, tuple(decoders), timeout)
        self._open(
            None if create is None else bool(create),
            parse_size("64M" if size is DEFAULT else size),  # type: ignore[comparison-overlap]
            size is not DEFAULT,  # type: ignore[comparison-overlap]
            max_entries,
            mode if mode_given else 0o600,
            mode_given,
            None,
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
    ) -> None:
        owner, readonly, ttl, codec, decoders, timeout = self._options
        self._codec, self._codecs = resolve(codec, decoders)
        self._encode = self._codec.encode
        self._codec_number: Any = _CODECS.get(self._codec.name, self._codec.name)
        self._timeout = timeout
        wait = seconds_to_ns(timeout, "timeout")
        if ttl is not None:
            if isinstance(ttl, bool) or not isinstance(ttl, (int, float)):
                raise TypeError(f"ttl is a number of seconds or None, not {type(ttl).__name__}")
            if not ttl > 0:
                raise ValueError(f"ttl is a number of seconds above 0, or None for ever, not {ttl!r}")
        handle = open_handle(
            self._key, create=create, size=size, size_given=size_given, max_entries=max_entries, mode=mode,
            mode_given=mode_given, owner=owner, readonly=readonly, timeout=wait, uuid=uuid,
        )  # fmt: skip
        self._handle = handle
        number = self._codec_number
        lib.shms_configure(
            handle, wait, 0 if ttl is None else min(int(ttl * 1e9) + 1, 2**61), number if type(number) is int else 0
        )
        calls: dict[str, Any] = {}
        lib.shms_glue_bind(id(calls), handle)
        self._get = calls["get"]
        self._get_versioned = calls["get_versioned"]
        self._contains = calls["contains"]
        self._version = calls["version"]
        self._time_left = calls["time_left"]
        self._put = calls["put"]
        self._incr = calls["incr"]
        self._delete = calls["delete"]
        self._touch = calls["touch"]
        self._get_many = calls["get_many"]
        self._put_many = calls["put_many"]
        self._delete_many = calls["delete_many"]
        self._uuid = bytes(ffi.buffer(self._info().uuid, 16))
        _opened[handle] = os.getpid()

    # ---- failing ------------------------------------------------------------------------------------------

    def _fail(self, result: Any, asked: int | None = None) -> Exception:
        """The exception for what a call returned instead of a result: a tuple with the status in front."""
        status = result[0] if type(result) is tuple else result
        return failure(status, f"store {self._key.shown}", self._handle, self._timeout, asked)

    def _look(self) -> None:
        """Is the handle usable, by the kernel's word of now?"""
        status = lib.shms_look_now(self._handle)
        if status:
            raise self._fail(status)

    # ---- one name -----------------------------------------------------------------------------------------

    def get(self, name: Name, default: Any = None) -> Any:
        """Return a copy of the value, or *default* if the name is absent or expired.

        Atomic: the value as it was at one moment of the call. Waits for no writer.

        Cost: the decoder's, and some 200 ns.

        Raises: CodecError for a value of a codec that this handle was not opened with.
        """
        data = self._get(name)
        if type(data) is bytes:
            if len(data) > UNCHECKED:
                return _msgpack.decode(data)
            try:
                return unpackb(data, ext_hook=ext_hook, strict_map_key=False)
            except MemoryError:
                raise
            except Exception as error:
                raise decode_failure(data, error) from error
        if data is None:
            return default
        return self._decode_pair(data)

    def __getitem__(self, name: Name) -> V:
        value: V = self.get(name, _MISSING)
        if value is _MISSING:
            raise KeyError(name)
        return value

    def _decode_pair(self, pair: tuple[Any, ...]) -> Any:
        if len(pair) == 1:
            raise self._fail(pair)
        return self._decode(pair[0], pair[1])

    def _decode(self, number: int | str, data: bytes) -> Any:
        if number == lib.SHMS_CODEC_MSGPACK:
            return _msgpack.decode(data)
        codec = number if type(number) is str else _NAMES_OF_CODECS.get(number, f"number {number}")  # type: ignore[arg-type]
        reader = self._codecs.get(codec)
        if reader is None:
            raise errors.CodecError(
                f"store {self._key.shown}: the value was put with the codec {codec!r}, and this handle reads "
                f"{', '.join(sorted(self._codecs))}; if you trust whoever put it, open the store with "
                f"decoders=({codec!r},)"
            )
        return reader.decode(data)

    def __contains__(self, name: object) -> bool:
        result = self._contains(name)
        if result is True or result is False:
            return bool(result)
        raise self._fail(result)

    def put(self, name: Name, value: V, *, ttl: float | None | _Default = DEFAULT) -> int:
        """Store a copy of *value* under *name*, replacing what is there; return its version.

        Atomic: others see the old value or the new one, whole. A put that fails changes nothing.
        ttl: seconds to live; None for ever; by default the handle's.

        Cost: the encoder's, and some 200 ns.

        Raises: CodecError, StoreFull (ValueTooLarge if it could never fit), ReadOnlyStore, LockTimeout.
        """
        body = self._encode(value)
        if ttl is DEFAULT and type(self._codec_number) is int:
            version = self._put(name, body)
        else:
            version = self._put(name, body, True if ttl is DEFAULT else ttl, _SET, 0, False, self._codec_number)
        if type(version) is int:
            return version
        raise self._fail(version, len(body))

    def __setitem__(self, name: Name, value: V) -> None:
        self.put(name, value)

    def _put_if(self, name: Name, value: V, ttl: Any, mode: int, expected: int, keep: bool) -> int:
        body = self._encode(value)
        version = self._put(name, body, True if ttl is DEFAULT else ttl, mode, expected, keep, self._codec_number)
        if type(version) is int:
            return version
        raise self._fail(version, len(body))

    def add(self, name: Name, value: V, *, ttl: float | None | _Default = DEFAULT) -> bool:
        """Store *value* only if the name is absent; tell whether it was. Of all who try at once, one succeeds."""
        return self._put_if(name, value, ttl, _ADD, 0, False) != 0

    def replace(self, name: Name, value: V, *, ttl: float | None | _Default = DEFAULT) -> bool:
        """Store *value* only if the name is present; tell whether it was."""
        return self._put_if(name, value, ttl, _REPLACE, 0, False) != 0

    def get_versioned(self, name: Name) -> tuple[V, int]:
        """Return the value and its version, both of one moment.

        A version is an opaque int above 0 that never comes twice in the store's life; no order is promised.

        Raises: KeyError, CodecError.
        """
        found = self._get_versioned(name)
        if found is None:
            raise KeyError(name)
        if len(found) == 1:
            raise self._fail(found)
        version, codec, data = found
        return self._decode(codec, data), version

    def cas(self, name: Name, value: V, version: int, *, ttl: float | None | _Default = DEFAULT) -> bool:
        """Store *value* only if the name still has *version* (0: is absent); tell whether it had."""
        if isinstance(version, bool) or not isinstance(version, int):
            raise TypeError(f"a version is an int, not {type(version).__name__}")
        if not 0 <= version < 2**64:
            raise ValueError(f"no store gives the version {version}")
        return self._put_if(name, value, ttl, _CAS, version, False) != 0

    def modify(self, name: Name, function: Callable[[V], V], default: Any = _MISSING) -> V:
        """Replace the value by ``function(value)``, atomically, and return the new one.

        *function* gets a copy, runs while nothing is locked, and is called again if somebody was faster. A name
        that is absent starts with *default*. The entry keeps its time to live.

        Raises: KeyError if the name is absent and there is no default; whatever *function* raises.
        """
        while True:
            found = self._get_versioned(name)
            if found is None:
                if default is _MISSING:
                    raise KeyError(name)
                new, version = function(default), 0
            elif len(found) == 1:
                raise self._fail(found)
            else:
                new, version = function(self._decode(found[1], found[2])), found[0]
            if self._put_if(name, new, DEFAULT, _CAS, version, True):
                return new

    def setdefault(self, name: Name, default: Any = None) -> Any:
        """Return the value; if the name is absent, store *default* first and return it. Atomic."""
        value = self.get(name, _MISSING)
        while value is _MISSING:
            if self.add(name, default):
                return default
            value = self.get(name, _MISSING)
        return value

    def delete(self, name: Name) -> bool:
        """Remove the entry; tell whether there was one."""
        gone = self._delete(name, 0)
        if gone is True or gone is False:
            return bool(gone)
        raise self._fail(gone)

    def __delitem__(self, name: Name) -> None:
        if not self.delete(name):
            raise KeyError(name)

    def pop(self, name: Name, default: Any = _MISSING) -> Any:
        """Remove the entry and return its value; of all who pop it at once, one gets it.

        Raises: KeyError if the name is absent and no default is given. A value that cannot be decoded stays.
        """
        while True:
            found = self._get_versioned(name)
            if found is None:
                if default is _MISSING:
                    raise KeyError(name)
                return default
            if len(found) == 1:
                raise self._fail(found)
            value = self._decode(found[1], found[2])
            gone = self._delete(name, found[0])
            if gone is True:
                return value
            if type(gone) is tuple:
                raise self._fail(gone)

    def popitem(self) -> tuple[Name, V]:
        """Remove some entry and return it with its name; each comes once, whoever asks.

        Raises: KeyError if the store is empty.
        """
        for name in self._walk(b"", _ALL_NAMES):
            value = self.pop(name, _MISSING)
            if value is not _MISSING:
                return name, value
        raise KeyError(f"store {self._key.shown} is empty")

    def incr(self, name: Name, by: int = 1, *, initial: int = 0) -> int:
        """Add to an integer, atomically, and return the sum; an absent name starts at *initial*.

        64 bits, signed. The entry keeps its time to live; a new one gets the handle's.

        Raises: OverflowError, and TypeError if the value is no int; both leave it as it is.
        """
        result = self._incr(name, by, initial)
        if type(result) is int:
            return result
        raise self._fail(result, 9)

    def decr(self, name: Name, by: int = 1, *, initial: int = 0) -> int:
        """Subtract from an integer; otherwise as :meth:`incr`."""
        return self.incr(name, -by, initial=initial)

    def touch(self, name: Name, ttl: float | None | _Default = DEFAULT) -> bool:
        """Give the entry a new time to live (seconds; None: for ever); tell whether there is one."""
        touched = self._touch(name, True if ttl is DEFAULT else ttl)
        if touched is True or touched is False:
            return bool(touched)
        raise self._fail(touched)

    def ttl(self, name: Name) -> float | None:
        """Seconds that the entry has left; None: for ever.

        Raises: KeyError if the name is absent.
        """
        left = self._time_left(name)
        if left is None:
            raise KeyError(name)
        if type(left) is tuple:
            raise self._fail(left)
        return left / 1e9 if left else None

    # ---- waiting ------------------------------------------------------------------------------------------

    def wait(self, name: Name, *, after: int | None = None, timeout: float | None = None, spin: float = 0.0) -> int:
        """Sleep until the name exists with a version other than *after*; return that version.

        With *after*, a delete or expiry ends the wait, too, and returns 0. No polling: the sleeper is woken by
        the change. *spin*: seconds to look without sleeping first, for answers in less than a microsecond.

        Ctrl-C ends it at once, and other threads run meanwhile.

        Raises: TimeoutError after *timeout* seconds; StoreDestroyed, StoreClosed.
        """
        return self._wait(name, after, timeout, spin, None)

    def _wait(self, name: Name, after: int | None, timeout: float | None, spin: float, stop: Any) -> int:
        raw, kind = _raw_name(name)
        left = seconds_to_ns(timeout, "timeout")
        spinning = seconds_to_ns(spin, "spin")
        end = lib.shms_now() + left
        version = ffi.new("uint64_t *")
        while True:
            self._look() if spinning == 0 else None
            nap = max(1, min(_SLICE, left))
            status = lib.shms_w_wait(
                self._handle, raw, len(raw), kind, after is not None, after or 0, nap, min(spinning, nap), version
            )
            if status == lib.SHMS_OK:
                return int(version[0])
            if status != lib.SHMS_AGAIN:
                raise self._fail(status)
            left = end - lib.shms_now()
            spinning = max(0, spinning - nap)
            if stop is not None and stop():
                return 0
            if left <= 0:
                raise TimeoutError(f"store {self._key.shown}: {name!r} did not change within {timeout} s")

    async def wait_async(
        self, name: Name, *, after: int | None = None, timeout: float | None = None, spin: float = 0.0
    ) -> int:
        """As :meth:`wait`, without blocking the event loop: a thread of its own sleeps. Cancelling ends it."""
        import asyncio
        import threading

        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        cancelled = threading.Event()

        def settle(result: int, error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(result)
            else:
                done.set_exception(error)

        def sleeper() -> None:
            result, error = 0, None
            try:
                result = self._wait(name, after, timeout, spin, cancelled.is_set)
            except BaseException as e:
                error = e
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:
                pass  # the loop is gone, and with it whoever waited

        threading.Thread(target=sleeper, name="shmstore-wait", daemon=True).start()
        try:
            return await done
        finally:
            cancelled.set()

    # ---- many names ---------------------------------------------------------------------------------------

    def get_many(self, names: Iterable[Name]) -> dict[Name, V]:
        """Return copies of the values of those names that are there. Not a snapshot; each value is whole."""
        wanted = tuple(names)
        found = self._get_many(wanted)
        if len(found) == 1:
            raise self._fail(found)
        hits, packed, others = found
        try:
            values = dict(zip(hits, _msgpack.decode(packed), strict=True))
        except errors.CodecError:
            values = {}  # one of them is bad: say which, by asking one by one
            others = wanted
        for name in others:
            value = self.get(name, _MISSING)
            if value is not _MISSING:
                values[name] = value
        return values

    def _store_many(self, items: Mapping[Name, V] | Iterable[tuple[Name, V]], ttl: Any, mode: int) -> int:
        pairs: Mapping[Name, V] = items if isinstance(items, dict) else dict(items)
        names = tuple(pairs)
        for name in names:
            _raw_name(name)
        encode = self._encode
        bodies = tuple([encode(value) for value in pairs.values()])
        given = True if ttl is DEFAULT else ttl
        if type(self._codec_number) is int:
            result = self._put_many(names, bodies, given, mode, self._codec_number)
            if type(result) is int:
                return result
            status, stored = result
        else:
            stored, status = 0, 0
            for name, body in zip(names, bodies, strict=True):
                result = self._put(name, body, given, mode, 0, False, self._codec_number)
                if type(result) is not int:
                    status = result[0]
                    break
                stored += result != 0
            if not status:
                return stored
        error = self._fail(status)
        error.args = (f"{error.args[0]} ({stored} of {len(names)} items were stored before)", *error.args[1:])
        raise error

    def put_many(
        self, items: Mapping[Name, V] | Iterable[tuple[Name, V]], *, ttl: float | None | _Default = DEFAULT
    ) -> int:
        """Store many values; return how many. All are encoded first, so a CodecError changes nothing; then they
        are put one by one, and a failure says how many were stored."""
        return self._store_many(items, ttl, _SET)

    def add_many(
        self, items: Mapping[Name, V] | Iterable[tuple[Name, V]], *, ttl: float | None | _Default = DEFAULT
    ) -> int:
        """Store those whose name is absent; return how many that were. Otherwise as :meth:`put_many`."""
        return self._store_many(items, ttl, _ADD)

    def delete_many(self, names: Iterable[Name]) -> int:
        """Remove many entries; return how many there were."""
        result = self._delete_many(tuple(names))
        if type(result) is int:
            return result
        raise self._fail(result)

    def update(self, other: Any = (), /, **more: V) -> None:
        """As ``dict.update``, by :meth:`put_many`."""
        pairs: dict[Name, V] = {}
        pairs.update(other, **more)
        self.put_many(pairs)

    def clear(self) -> None:
        """Remove every entry. Not atomic: what others put meanwhile may stay."""
        batch: list[Name] = []
        for name in self._walk(b"", _ALL_NAMES):
            batch.append(name)
            if len(batch) == 1000:
                self.delete_many(batch)
                batch.clear()
        self.delete_many(batch)

    def _walk(self, prefix: bytes, kind: int) -> Iterator[Name]:
        """All names of a kind. One that is present throughout comes exactly once."""
        cursor, filled = ffi.new("uint64_t *"), ffi.new("uint64_t *")
        buffer = ffi.new("uint8_t[]", _BATCH)
        while cursor[0] != 2**64 - 1:
            status = lib.shms_next_names(self._handle, cursor, prefix, len(prefix), kind, buffer, _BATCH, filled)
            if status:
                raise self._fail(status)
            names = ffi.unpack(ffi.cast("char *", buffer), filled[0])
            at = 0
            while at < len(names):
                mark = int.from_bytes(names[at : at + 4], "little")
                length = mark & 0x7FFFFFFF
                raw = names[at + 4 : at + 4 + length]
                at += 4 + length
                yield raw if mark >> 31 else raw.decode()

    def __iter__(self) -> Iterator[Name]:
        return self._walk(b"", _ALL_NAMES)

    def keys(self, prefix: Name = "") -> Names:
        """The names, or those that begin with *prefix* (and are of its type). A live view, not a snapshot."""
        return Names(self, prefix)

    def items(self) -> Items[V]:
        """Names and copies of values. A live view, not a snapshot; entries that go meanwhile are left out."""
        return Items(self)

    def values(self) -> Values[V]:
        """Copies of values. A live view, not a snapshot."""
        return Values(self)

    def __len__(self) -> int:
        """Count the unexpired entries; exact when nobody writes. Cost: a walk through the table in use."""
        count = lib.shms_count_entries(self._handle, 0)
        if count < 0:
            raise self._fail(count)
        return int(count)

    def __bool__(self) -> bool:
        count = lib.shms_count_entries(self._handle, 1)
        if count < 0:
            raise self._fail(count)
        return bool(count)

    # ---- the store ----------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether this handle was closed."""
        return lib.shms_configure is None or self._handle == 0 or lib.shms_look_now(self._handle) == lib.SHMS_CLOSED

    def stats(self) -> Stats:
        """Figures of the store, at no particular moment. Cost: independent of the number of entries."""
        raw = ffi.new("struct shms_stats *")
        status = lib.shms_get_stats(self._handle, raw)
        if status:
            raise self._fail(status)
        return Stats(**{field: getattr(raw, field) for field in Stats.__slots__})

    def _info(self) -> Any:
        raw = ffi.new("struct shms_info *")
        status = lib.shms_get_info(self._handle, raw)
        if status:
            raise self._fail(status)
        return raw

    def info(self) -> StoreInfo:
        """What the kernel and the header say of the store."""
        self._look()
        return _info_of(self._info())

    def clients(self) -> list[ClientInfo]:
        """The processes that are attached for writing. Cost: some 50 us each."""
        room = 64
        while True:
            raw = ffi.new("struct shms_client_info[]", room)
            count = lib.shms_get_clients(self._handle, raw, room)
            if count < 0:
                raise self._fail(count)
            if count <= room:
                break
            room = count
        return [
            ClientInfo(
                number=c.number,
                pid=c.pid,
                program=ffi.string(c.program).decode(errors="replace"),
                alive={0: False, 1: True, 2: None}[c.alive],
                attached_at=c.attached / 1e9,
                is_me=bool(c.self),
            )
            for c in raw[0:count]
        ]

    def check(self) -> None:
        """Verify every invariant that the format states (``docs/format.md``), while others go on working.

        Cost: a walk through everything; writers of one part of the heap wait meanwhile.

        Raises: StoreCorrupt naming the invariant; StoreDestroyed; LockTimeout.
        """
        self._look()
        what = ffi.new("char[200]")
        status = lib.shms_w_check(self._handle, seconds_to_ns(self._timeout, "timeout"), what, 200)
        if status == lib.SHMS_CORRUPT:
            raise errors.StoreCorrupt(f"store {self._key.shown}: {ffi.string(what).decode()}")
        if status:
            raise self._fail(status)

    def recover(self) -> int:
        """Look for dead processes now and free what they held; return how many there were."""
        self._look()
        count = lib.shms_w_recover(self._handle)
        if count < 0:
            raise self._fail(count)
        return int(count)

    def close(self) -> None:
        """Let go of the store, which lives on. Other threads inside finish or get StoreClosed. Idempotent."""
        handle = self._handle
        if handle:
            _opened.pop(handle, None)
            lib.shms_close(handle)

    def destroy(self) -> None:
        """Remove the store and what it holds. Every process's next call, and every sleeper, gets StoreDestroyed.

        Cost: giving the memory back, by whoever detaches last.
        """
        self._look()
        status = lib.shms_w_destroy(self._handle)
        if status == lib.SHMS_SYSTEM:
            raise errors.StoreSystemError(
                1, f"store {self._key.shown}: only its owner or creator may remove it (shmctl IPC_RMID)"
            )
        if status:
            raise self._fail(status)

    def __enter__(self) -> Store[V]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # half made, or the interpreter is going down
            pass

    def __repr__(self) -> str:
        try:
            state = "closed" if self.closed else "read-only" if self._options[1] else "open"
            return f"<shmstore.Store {self._key.shown} {state}>"
        except Exception:
            return "<shmstore.Store>"

    def __reduce__(self) -> tuple[Any, ...]:
        key = self._key
        return _attach, (key.number, key.kind, key.name, key.shown, self._uuid, self._options)

    def __copy__(self) -> Store[V]:
        raise TypeError("a handle cannot be copied; dict(store) copies what is in it")

    def __deepcopy__(self, memo: object) -> Store[V]:
        raise TypeError("a handle cannot be copied; dict(store) copies what is in it")


class Names(KeysView["str | bytes"]):
    """The names of a store, or those with a prefix."""

    __slots__ = ("_prefix", "_raw", "_kind")

    def __init__(self, store: Store[Any], prefix: Name = "") -> None:
        super().__init__(store)
        self._prefix = prefix
        self._raw, self._kind = _names_ended(prefix)

    def __iter__(self) -> Iterator[Name]:
        store: Any = self._mapping  # type: ignore[attr-defined]
        return store._walk(self._raw, self._kind)  # type: ignore[no-any-return]

    def __contains__(self, name: object) -> bool:
        if self._prefix and not (isinstance(name, type(self._prefix)) and name.startswith(self._prefix)):  # type: ignore[arg-type]
            return False
        return isinstance(name, (str, bytes)) and name in self._mapping  # type: ignore[attr-defined]

    def __len__(self) -> int:
        if not self._prefix and self._kind == _ALL_NAMES:
            return len(self._mapping)  # type: ignore[attr-defined]
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<names of {self._mapping!r}>"  # type: ignore[attr-defined]


def _batches(store: Store[V]) -> Iterator[tuple[Name, V]]:
    batch: list[Name] = []
    for name in store:
        batch.append(name)
        if len(batch) == 100:
            yield from store.get_many(batch).items()
            batch.clear()
    yield from store.get_many(batch).items()


class Items(ItemsView["str | bytes", V]):
    """Names and values of a store, fetched in batches."""

    __slots__ = ()

    def __iter__(self) -> Iterator[tuple[Name, V]]:
        return _batches(self._mapping)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<items of {self._mapping!r}>"  # type: ignore[attr-defined]


class Values(ValuesView[V]):
    """Values of a store, fetched in batches."""

    __slots__ = ()

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in _batches(self._mapping))  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<values of {self._mapping!r}>"  # type: ignore[attr-defined]


def _info_of(raw: Any) -> StoreInfo:
    name = bytes(ffi.buffer(raw.name, raw.name_length)).decode(errors="surrogateescape")
    return StoreInfo(
        key=raw.key, id=raw.id, name=name if raw.name_kind in (1, 3) else None, size=raw.size, mode=raw.mode,
        uid=raw.uid, gid=raw.gid, creator=raw.creator_pid, creator_uid=raw.creator_uid, created=raw.created / 1e9,
        attached=raw.attached, format_version=raw.format, max_entries=raw.max_entries or None,
        max_clients=raw.clients, uuid=bytes(ffi.buffer(raw.uuid, 16)).hex(), readonly=bool(raw.readonly),
    )  # fmt: skip


def _attach(number: int, kind: int, name: bytes, shown: str, uuid: bytes, options: tuple[Any, ...]) -> Store[Any]:
    """Unpickle a handle: attach to that very store, never create one."""
    store: Store[Any] = Store.__new__(Store)
    store._handle = 0
    store._key = Key(number, kind, name, shown)
    store._options = options
    store._open(False, 1 << 26, False, None, 0o600, False, uuid)
    return store


def open(key: str | int | os.PathLike[str], **options: Any) -> Store[Any]:
    """Open or create a store: ``Store(key, **options)``."""
    return Store(key, **options)


def destroy(key: str | int | os.PathLike[str]) -> None:
    """Remove the store with this key and what it holds, whoever is attached.

    Raises: StoreNotFound, StoreForeign, NotAStore (which is left alone).
    """
    with Store(key, create=False) as store:
        store.destroy()


def stores() -> list[StoreInfo]:
    """The stores on this host that this process may read, those of other users included."""
    found = []
    try:
        with _open_file("/proc/sysvipc/shm") as table:
            rows = [line.split() for line in list(table)[1:]]
    except OSError:
        return []
    for row in rows:
        key = int(row[0])
        if key == 0:
            continue
        try:
            with Store(key & 0xFFFFFFFF, create=False, readonly=True, owner="any", timeout=0) as store:
                found.append(store.info())
        except (errors.ShmStoreError, OSError, ValueError):
            continue  # no store, not ours to read, or gone since
    return found


import builtins  # noqa: E402 - `open` above hides the builtin one

_open_file = builtins.open

_opened: dict[int, int] = {}  # handles of this process, for the end


def _close_all() -> None:
    """At exit: leave the registry clean. Daemon threads may still be inside, so with them nothing is closed, and
    the place is freed when somebody finds the process gone."""
    import sys

    threading = sys.modules.get("threading")
    if threading is None or threading.active_count() <= 1:
        for handle in list(_opened):
            lib.shms_close(handle)


import atexit  # noqa: E402

atexit.register(_close_all)
