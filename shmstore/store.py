"""The class Store, and the functions that open, list and remove stores."""

from __future__ import annotations

import errno
import os
from _collections_abc import Mapping as AnyMapping  # collections.abc does no more than to rename it, at a price
from _collections_abc import MutableMapping

from shmstore import errors
from shmstore._base.calls import StoreCalls
from shmstore._base.durations import check_ttl, seconds_until, ttl_ns
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import current, late
from shmstore._base.sentinels import DEFAULT, KEEP, MISSING, PRIVATE, DefaultInt, DefaultStr
from shmstore._core import lib
from shmstore._store import coding, control, copying, failures, many, namespaces, opening, waiting
from shmstore._store.keys import ALL_KEYS, KEPT_KEYS, EntryKey, raw_key
from shmstore._store.names import OBJECTS, Key
from shmstore._store.opening import open_handle
from shmstore._store.options import ATTACHING, Options, parse
from shmstore._store.views import Items, Keys, Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, Literal, TypeVar, overload

    from typing_extensions import Self

    from shmstore._base.durations import Duration, Moment
    from shmstore._base.sentinels import Default, Private
    from shmstore._store import barriers, computing, locks, resizing
    from shmstore._store import memoize as memoizing
    from shmstore._store.barriers import Barrier
    from shmstore._store.locks import Lease, Lock, Semaphore
    from shmstore._store.records import ClientInfo, EntryInfo, Found, Removed, Stats, Stored, StoreInfo
    from shmstore._store.views import _OnError
    from shmstore.codecs.protocol import Codec
    from shmstore.sysv import _table

    _V = TypeVar("_V")
    _T = TypeVar("_T")
    _D = TypeVar("_D")
    # A Mapping is invariant in its key, so a dict[str, V] is none of the third.
    _Pairs = Mapping[str, _V] | Mapping[bytes, _V] | Mapping[EntryKey, _V] | Iterable[tuple[EntryKey, _V]]
else:
    _table = late("shmstore.sysv._table", needs="sys")
    computing, memoizing = late("shmstore._store.computing"), late("shmstore._store.memoize")
    locks, barriers = late("shmstore._store.locks"), late("shmstore._store.barriers")
    resizing = late("shmstore._store.resizing")
    _V = object  # a subscript at run time needs something; typing itself takes 9 ms to import

__all__ = ["DEFAULT", "KEEP", "PRIVATE", "Store", "destroy", "open", "stores"]


class Store(StoreCalls, MutableMapping["str | bytes", _V]):
    """A mapping from keys to objects, shared by all processes on the host that open it by its name.

    One key:    get, [], in, put, []=, add, replace, delete, del, pop, setdefault, view
    Counters:   incr, decr
    Expiry:     touch, expire, ttl, get_with_ttl, expire_due
    Together:   get_versioned, cas, modify, wait, wait_async
    One at a time: get_or_set, aget_or_set, memoize, lease, lock, semaphore, barrier
    Together again: namespace, evict_tag, and tags= of what puts
    Many keys:  get_many, put_many, add_many, delete_many, keys, items, values, update, clear, popitem
    The store:  describe, stats, info, clients, check, compact, recover, close, destroy

    Keys are str or bytes. Operations on one key are linearizable among all processes and threads. Operations on
    many keys are not snapshots. **Values are copies**: ``store[key].append(x)`` changes nothing, but
    ``store.modify(key, function)`` does.

    Reads wait for no other process. A process that is killed at any moment leaves every key with its complete old
    or new value. A process that needs a lock of the dead one takes it over.

    Threads may share a handle, or open one each: all handles of a process on a store are one client of it. A forked
    child uses an inherited handle as a client of its own. A pickled handle attaches to the same store where it is
    unpickled, and never creates one.

    >>> with shmstore.Store("example", size="1M") as store:
    ...     store["user:1"] = {"name": "Ada"}
    ...     print(store["user:1"], len(store))
    ...     store.destroy()
    {'name': 'Ada'} 1

    Every call may raise StoreClosed, StoreDestroyed and StoreCorrupt.
    """

    __slots__ = (
        "__weakref__", "_codec", "_codec_number", "_codecs", "_key", "_options", "_parts", "_popped_at", "_typed", "_uuid",
    )  # fmt: skip

    _EVICTS = False  # of a Cache: True

    if TYPE_CHECKING:
        _codec: Codec  # that writes
        _codec_number: int | str  # as it is recorded; a name for codecs of users
        _codecs: dict[str, Codec]  # that read, by name
        _key: Key
        _options: Options
        _parts: Callable[[Any], Any]
        _popped_at: int  # a slot, for popitem
        _typed: Any
        _uuid: bytes

    # ---- opening and closing

    def __init__(
        self,
        name: str | int | os.PathLike[str] | Private,
        *,
        backend: str = "sysv",
        create: bool | None = None,
        size: int | str = DefaultStr("64M"),
        max_entries: int | None = None,
        max_clients: int | None = None,
        mode: int = DefaultInt(0o600),
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
        """Attach to the store with this name. If there is none, create it.

        name: a str (1 to 255 bytes), an int (a System V key_t), a pathlib.Path (its ftok), or PRIVATE: a new store
            without a name, for this process and those that get the handle by fork or pickle. It ends with the last one.
        backend: "sysv" or "posix", a file in /dev/shm. The same name means two different stores.
        create: None opens or creates, True must create, False must not create.
        size: memory for entries and their table, in bytes or as "64M". An empty store accepts one value of nine tenths
            of it. Memory is allocated as it is used. The segment is larger, by 140 to 148 KiB, 4 KiB for each of max_clients,
            and what a table of more than a tenth of the size needs.
        max_entries: the minimum number of entries, if their bytes fit. None: derived from the size.
        max_clients: how many processes may be attached for writing at once, up to 65,000. None: 1,024. A client uses 4 KiB
            while it is attached.
        mode: exact permission bits. The umask does not apply.
        owner: a uid, the name of a user, or "any": whose stores to open, besides those of this user and root.
        readonly: attach without the permission to write. This leaves no trace in the store.
        ttl: time to live in seconds for entries that are put without one. None: no limit.
        codec: "msgpack", "msgspec" (the same bytes, and Structs), "raw" (bytes only), "pickle" (only if you trust every
            writer), or an object with name, encode and decode.
        decoders: further codecs that this handle may read.
        timeout: how many seconds a call waits for a lock, for example of a stopped process.
        hugepages: create the store in huge pages: True, or their size such as "2M". Needs System V memory or PRIVATE, and
            huge pages that the administrator has reserved (vm.nr_hugepages). The size is rounded up.
        prefault: allocate and map the whole store now, so that later calls need not.
        lock_memory: keep the memory out of the swap (RLIMIT_MEMLOCK). System V: while the store exists; POSIX: while this
            handle is attached.

        size, max_entries and max_clients belong to the creator. Attaching with others logs a warning, once for each process
        and store, and ``shmstore doctor`` reports it. Attaching with another mode raises ValueError. hugepages applies to
        creation only. A store with hugepages, prefault or lock_memory gives no memory back to the system.

        Cost: attaching takes about 50 us. Creating takes about 100 us.

        Raises: StoreNotFound, StoreExists, StoreForeign, NotAStore, KeyCollision, FormatMismatch, StoreCorrupt,
            LockTimeout, StoreSystemError, TooManyClients; ValueError and TypeError for wrong arguments.
        """
        given = {**locals()}  # a copy: a debugger may add to what locals() returns
        del given["self"]
        open_handle(self, *parse(**given, evicts=self._EVICTS))

    @property
    def closed(self) -> bool:
        """Whether this handle was closed.

        >>> store.close()
        >>> store.closed
        True
        """
        return bool(lib.shms_usable(self._handle) == lib.SHMS_CLOSED)

    def destroy(self) -> None:
        """Remove the store and all its entries, for all processes.

        Calls that wait, and the next call of every process, raise StoreDestroyed.

        Cost: freeing the memory, in the process that detaches last.

        >>> store.destroy()
        >>> store.get("user:1")
        Traceback (most recent call last):
          ...
        shmstore.errors.StoreDestroyed: ...

        Raises: StoreSystemError if this process is neither the owner nor the creator.
        """
        namespaces.require_store(self, "destroy")
        control.destroy(self)

    def __repr__(self) -> str:
        try:
            status = lib.shms_usable(self._handle)
            state = {lib.SHMS_CLOSED: "closed", lib.SHMS_DESTROYED: "destroyed"}.get(status)
            state = state or ("read-only" if self._options.readonly else "open")
            return f"<shmstore.{'Cache' if self._EVICTS else 'Store'} {self._key.shown} {state}>"
        except Exception as error:
            if is_foreign(error):
                raise
            return "<shmstore.Store>"

    def __reduce__(self) -> tuple[Any, ...]:
        key = self._key
        place: tuple[str, bytes | None, int] = (key.backend, key.object, key.id)
        if key.kind == 4:
            info = control.raw_info(self)
            path = b"/proc/%d/fd/%d" % (os.getpid(), info.descriptor) if key.backend == "posix" else None
            place = (key.backend, path, info.id)
        options = {**self._options.as_dict(), **ATTACHING, "uuid": self._uuid}
        return current(_attach), (current(type(self)), (key.number, key.kind, key.name, key.shown), place, options)

    def __copy__(self) -> Self:
        raise TypeError("a handle cannot be copied; dict(store) copies what is in it")

    def __deepcopy__(self, memo: object) -> Self:
        raise TypeError("a handle cannot be copied; dict(store) copies what is in it")

    # ---- one entry: each call is linearizable among all processes and threads

    if TYPE_CHECKING:  # in C: csrc/python/store_type.c

        @overload  # type: ignore[override]  # of Any, which StoreCalls says
        def get(self, key: EntryKey, default: None = None, *, touch: Duration | None | Default = KEEP) -> _V | None: ...
        @overload
        def get(self, key: EntryKey, default: _V | _T, *, touch: Duration | None | Default = KEEP) -> _V | _T: ...
        @overload
        def get(
            self, key: EntryKey, default: None = None, *, type: type[_T], touch: Duration | None | Default = KEEP
        ) -> _T | None: ...
        @overload
        def get(
            self, key: EntryKey, default: _D, *, type: type[_T], touch: Duration | None | Default = KEEP
        ) -> _T | _D: ...
        @overload
        def get(
            self, key: EntryKey, default: Any = None, *, type: Any, touch: Duration | None | Default = KEEP
        ) -> Any: ...
        def get(
            self, key: EntryKey, default: Any = None, *, type: Any = None, touch: Duration | None | Default = KEEP
        ) -> Any: ...

        def get_into(self, key: EntryKey, buffer: Any, /) -> int: ...
        def __getitem__(self, key: EntryKey, /) -> _V: ...
        def __contains__(self, key: object, /) -> bool: ...
        def put(
            self,
            key: EntryKey,
            value: _V,
            *,
            ttl: Duration | None | Default = DEFAULT,
            tags: Iterable[EntryKey] | Default | None = (),
        ) -> int: ...
        def __setitem__(self, key: EntryKey, value: _V, /) -> None: ...
        def delete(self, key: EntryKey, version: int | None = None) -> bool: ...
        def add(
            self,
            key: EntryKey,
            value: _V,
            *,
            ttl: Duration | None | Default = DEFAULT,
            tags: Iterable[EntryKey] | None = (),
        ) -> bool: ...
        def replace(
            self,
            key: EntryKey,
            value: _V,
            *,
            ttl: Duration | None | Default = DEFAULT,
            tags: Iterable[EntryKey] | Default | None = (),
        ) -> bool: ...
        def cas(
            self,
            key: EntryKey,
            value: _V,
            version: int,
            *,
            ttl: Duration | None | Default = DEFAULT,
            tags: Iterable[EntryKey] | Default | None = (),
        ) -> bool: ...
        def evict_tag(self, tag: EntryKey, /) -> None: ...
        def get_versioned(self, key: EntryKey, /) -> tuple[_V, int]: ...
        def get_with_ttl(self, key: EntryKey, /) -> tuple[_V, float | None]: ...
        def __delitem__(self, key: EntryKey, /) -> None: ...
        def incr(
            self,
            key: EntryKey,
            by: int = 1,
            *,
            initial: int = 0,
            create: bool = True,
            ttl: Duration | None | Default = DEFAULT,
            tags: Iterable[EntryKey] | None = (),
        ) -> int: ...
        def decr(
            self,
            key: EntryKey,
            by: int = 1,
            *,
            initial: int = 0,
            create: bool = True,
            ttl: Duration | None | Default = DEFAULT,
            tags: Iterable[EntryKey] | None = (),
        ) -> int: ...
        def view(self, key: EntryKey) -> memoryview: ...
        def wait(
            self, key: EntryKey, *, after: int | None = None, timeout: Duration | None = None, spin: Duration = 0.0
        ) -> int: ...

    def modify(
        self,
        key: EntryKey,
        function: Callable[[_V], _V],
        default: Any = MISSING,
        *,
        ttl: Duration | None | Default = KEEP,
        tags: Iterable[EntryKey] | Default | None = KEEP,
    ) -> _V:
        """Replace the value by ``function(value)``, and return the new value.

        Atomic: no change of another process is lost. *function* gets a copy, and runs while no lock is held. It is called
        again if another process has changed the entry meanwhile. An absent key starts with *default*.

        ttl, tags: as in put(). By default (KEEP) an existing entry keeps its time to live, and its tags.

        Cost: about 2 us, and *function*.

        >>> store["cart"] = ["tea"]
        >>> store.modify("cart", lambda cart: cart + ["milk"])
        ['tea', 'milk']

        Raises: KeyError if the key is absent and there is no default; what *function* raises; otherwise as put().
        """
        check_ttl(ttl)  # before *function* runs
        while True:
            taken = self._generations(None if tags is KEEP else tags)
            value, version = self._value_and_version(key) or (MISSING, 0)
            if value is MISSING:
                if default is MISSING:
                    raise KeyError(key)
                raw_key(f"store {self._key.shown}", key)  # is it a key at all?
                value = default
            new = function(value)
            if self._cas(key, new, version, ttl=ttl, tags=KEEP if tags is KEEP and version else taken):
                return new

    def setdefault(self, key: EntryKey, default: Any = None) -> Any:
        """Return the value. If the key is absent, store *default* and return it.

        Atomic: if several processes call this at once for an absent key, one of them stores its *default*, and all return it.

        >>> store.setdefault("limit", 10)
        10
        >>> store.setdefault("limit", 20)
        10

        Raises: as get() and put().
        """
        value, _ = self._value_and_version(key) or (MISSING, 0)
        while value is MISSING:
            if self._add(key, default):
                return default
            value, _ = self._value_and_version(key) or (MISSING, 0)
        return value

    if TYPE_CHECKING:

        @overload
        def pop(self, key: EntryKey, default: Default = MISSING) -> _V: ...
        @overload
        def pop(self, key: EntryKey, default: _V | _T) -> _V | _T: ...

    def pop(self, key: EntryKey, default: Any = MISSING) -> Any:
        """Remove the entry and return its value.

        Atomic: if several processes pop one entry at once, only one of them gets it. If there is a *default*, it is returned
        for an absent key, and for a value that this handle cannot read. Such an entry is removed, too.

        Cost: about 1 us, and decoding.

        >>> store["job"] = "mail"
        >>> store.pop("job")
        'mail'
        >>> store.pop("job", None)

        Raises: without *default*, KeyError if the key is absent, and CodecError if this handle cannot read the value.
            Then the entry stays.
        """
        value = self._take(key, default)
        if value is not MISSING:
            return value
        if default is MISSING:
            raise KeyError(key)
        return default

    def _take(self, key: EntryKey, instead: Any = MISSING) -> Any:
        """Remove the entry and return its value, MISSING if there is none. *instead*: of what cannot be read."""
        while True:
            found = self._get_versioned(key)
            if found is None:
                return MISSING
            version, codec, data = found
            try:
                value = coding.decode(self, codec, data, key)
            except errors.CodecError as error:
                if is_foreign(error) or (instead is MISSING and not self._EVICTS):
                    raise
                self._unreadable(error)
                value = instead
            if self._delete(key, version):
                return value

    def touch(self, key: EntryKey, ttl: Duration | None | Default = DEFAULT) -> bool:
        """Set the entry's time to live in seconds, None: no limit. Return whether the key is present.

        Atomic. The default is the handle's ttl. The value and the version stay the same.

        Cost: about 200 ns.

        >>> store["session"] = "Ada"
        >>> store.touch("session", 60)
        True
        >>> store.touch("nobody")
        False
        """
        return self._touch(key, ttl, 0)

    def expire(self, key: EntryKey, at: Moment | None) -> bool:
        """Let the entry expire at a point in time. Return whether the key is present.

        Atomic. The value and the version stay the same. If *at* has passed, the entry is removed at once.

        at: seconds since the epoch, as ``time.time()`` returns them, or a datetime (local time if it has no zone). None:
            never. The call reads the wall clock once and sets the time to live that is left until then. Later changes of
            the wall clock do not move the expiry.

        Cost: about 1 us.

        >>> import time
        >>> store["session"] = "Ada"
        >>> store.expire("session", time.time() + 60)
        True
        >>> store.expire("session", 0), "session" in store
        (True, False)

        Raises: ReadOnlyStore, LockTimeout; TypeError, ValueError.
        """
        left = None if at is None else seconds_until(at)
        return self._delete(key) if left is not None and left <= 0 else self._touch(key, left, 0)

    def ttl(self, key: EntryKey) -> float | None:
        """Return the number of seconds until the entry expires, None: never.

        Cost: about 200 ns.

        >>> store["config"] = {}
        >>> print(store.ttl("config"))
        None

        Raises: KeyError if the key is absent.
        """
        left = self._time_left(key)
        if left is None:
            raise KeyError(key)
        return left / 1e9 if left else None

    async def wait_async(
        self, key: EntryKey, *, after: int | None = None, timeout: Duration | None = None, spin: Duration = 0.0
    ) -> int:
        """Do the same as :meth:`wait` without blocking the event loop.

        Cost: about 20 us to begin and to end. One thread of this process serves all waits. *spin* has no effect: a loop that
        spins would run nothing else.

        >>> import asyncio
        >>> version = store.put("job", "ready")
        >>> asyncio.run(store.wait_async("job", timeout=5)) == version
        True

        Raises: as wait().
        """
        return await waiting.wait_async(self, key, after=after, timeout=timeout, spin=spin)

    # ---- one at a time, among all processes, threads and coroutines

    def get_or_set(
        self,
        key: EntryKey,
        function: Callable[[], _T],
        *,
        ttl: Duration | None | Default = DEFAULT,
        stale: Duration | None = None,
        early: float | None = None,
        tags: Iterable[EntryKey] | None = (),
    ) -> Any:  # _V | _T
        """Return the value. If the key is absent, store ``function()`` and return it.

        One caller computes at a time: the others, in all processes and threads, sleep until the value is there. If the
        computing process dies, one of them takes over. An exception of *function* goes to its own caller, and the next caller
        computes. While *function* runs, no lock of the engine is held. If *function* asks for the same key, it
        computes that value itself.

        ttl: as in put().
        stale: for this time after the ttl, callers get the old value at once, while one of them computes the new one.
            The entry expires after ttl + stale.
        tags: as in put(). If one of them is evicted while *function* runs, the value is returned, but not found later.
        early: compute the value before its ttl is over, with a probability that grows towards the end and with the time that
            the computation took (XFetch). 1.0 is a good factor; a larger one makes it earlier.

        Cost: that of get() if the value is there; otherwise *function*, a get, a put, and about 3 us.

        >>> store.get_or_set("answer", lambda: 6 * 7, ttl=60)
        42

        Raises: what *function* raises; otherwise as get() and put().
        """
        if stale is None and early is None:
            value = self.get(key, MISSING)
            if value is not MISSING:
                return value
        return self._compute(key, function, computing.Plan(self, ttl, stale, early, tags))

    async def aget_or_set(
        self,
        key: EntryKey,
        function: Callable[[], Any],
        *,
        ttl: Duration | None | Default = DEFAULT,
        stale: Duration | None = None,
        early: float | None = None,
        tags: Iterable[EntryKey] | None = (),
    ) -> Any:
        """Do the same as :meth:`get_or_set` in a coroutine. *function* may be a coroutine function.

        Cost: that of get_or_set(). It suspends the task only to compute or to wait; one thread waits for all tasks of this
        process.

        >>> import asyncio
        >>> async def answer():
        ...     return 42
        >>> asyncio.run(store.aget_or_set("answer", answer))
        42

        Raises: as get_or_set().
        """
        if stale is None and early is None:
            value = self.get(key, MISSING)
            if value is not MISSING:
                return value
        return await self._acompute(key, function, computing.Plan(self, ttl, stale, early, tags))

    def memoize(
        self,
        function: Callable[..., Any] | None = None,
        *,
        ttl: Duration | None | Default = DEFAULT,
        stale: Duration | None = None,
        early: float | None = None,
        key: Callable[..., Any] | None = None,
        version: str | int | None = None,
        ignore: str | Iterable[str] = (),
        typed: bool = False,
        name: str | None = None,
        tags: Iterable[EntryKey] | Callable[..., Iterable[EntryKey]] = (),
    ) -> Any:
        """Return a decorator that keeps the results of a function in the store, as get_or_set() does.

        For functions, methods (below @classmethod or @staticmethod) and coroutine functions. Arguments may be all that
        :func:`shmstore.key` takes, and lists, dicts, sets and arrays of that. A call has the same key whether arguments are
        given by position, by name or by default.

        key: a function of the same arguments. It returns what the result depends on.
        version: change it when a function that this one calls has changed. Its own code is part of the key anyway.
        ignore: names of parameters that the result does not depend on, such as "self" or a connection.
        typed: distinguish 1, 1.0 and True.
        name: use this name in the keys, instead of the module, the qualified name and a hash of the code.
        tags: as in put(), or a function of the same arguments that returns them.

        The function gets cache_key(...), cache_info(), cache_clear() and __wrapped__. cache_clear() takes constant time in a
        store that evicts; otherwise it also deletes the results.

        Cost: of a hit, that of get(), and of making the key, which takes a few us.

        >>> @store.memoize(ttl=300)
        ... def square(x):
        ...     return x * x
        >>> square(7), square(x=7), square.cache_info().hits
        (49, 49, 1)

        Raises: TypeError for an argument that has no value that is the same in every process; otherwise as get_or_set().
        """
        given: Any = {"key": key, "version": version, "ignore": ignore, "typed": typed, "name": name, "tags": tags}
        plan = computing.Plan(self, ttl, stale, early)

        def decorate(function: Callable[..., Any]) -> Any:
            return memoizing.memoize(self, function, plan=plan, **given)

        return decorate if function is None else decorate(function)

    def namespace(self, name: EntryKey) -> Self:
        """Return a handle on a namespace: a mapping of its own in the same store, which can be cleared at once.

        The handle has all methods of the store, for the keys, locks and barriers of the namespace, with the same options. The
        same key can be in the store and in each namespace, as different entries. In all processes, handles with the same name
        are on the same namespace. A namespace may have namespaces in it, up to 16 levels.

        ``clear()`` takes constant time, whatever the number of entries: those of the namespace, and of all namespaces in it, are
        absent at once. Later puts free their memory. ``len()`` and iteration walk through the store, in steps between which
        other threads run. evict_tag(), stats(), info(), clients(), check(), compact(), resize() and expire_due() are about the
        whole store. recover() recovers all dead processes, but removes only the locks that are in the namespace. The store's own
        len() and iteration do not visit its namespaces; its clear() clears them all.

        name: a str or bytes of 1 to 255 bytes. A store can have 8,191 namespaces, and keeps them until it is destroyed.

        Cost: about 150 us. The calls of the handle take 100 to 400 ns more than those of the store.

        >>> users = store.namespace("users")
        >>> users["7"] = "Ada"
        >>> users["7"], "7" in store, len(users)
        ('Ada', False, 1)
        >>> users.clear()
        0
        >>> list(users)
        []

        Raises: TooManyNamespaces, InvalidKey, TypeError; otherwise as opening the store and put().
        """
        return namespaces.namespace(self, name)

    def lease(self, key: EntryKey, *, timeout: Duration | None = None) -> Lease:
        """Return the lease of a key, for `with`: the right to compute its value, which get_or_set() takes, too.

        Like :meth:`lock`, but for an entry's key. Within the block, get_or_set() of this key computes at once.

        >>> with store.lease("report") as held:
        ...     if "report" not in store:
        ...         store["report"] = 42

        Raises: as lock().
        """
        return locks.Lease(self, key, timeout)

    def lock(self, name: EntryKey, *, timeout: Duration | None = None, reentrant: bool = False) -> Lock:
        """Return a lock, for `with` and `async with`: one holder at a time, among all processes, threads and coroutines.

        The lock is released at the end of the block. If its process dies, the next waiter takes it over. Names of locks are not
        keys: iteration does not list locks, and clear() does not remove them. In a Cache, locks are never evicted.

        timeout: how long `with` waits before it raises TimeoutError. With 0 it neither waits nor raises: it returns None if
            another holder has the lock.
        reentrant: let the thread or task that holds it enter again, also through another lock object of the same name.

        The object that `with` returns has a *token*, a fencing token: a number that is greater than those of all former holders.

        Cost: about 5 us to acquire and release. Waiting costs nothing while nothing happens.

        >>> with store.lock("nightly-job", timeout=0) as held:
        ...     if held:
        ...         print("no other process does it now")
        no other process does it now

        Raises: within `with`, TimeoutError, LeaseLost, StoreFull, ReadOnlyStore, LockTimeout.
        """
        return locks.Lock(self, name, timeout, reentrant)

    def semaphore(self, name: EntryKey, n: int, *, timeout: Duration | None = None) -> Semaphore:
        """Return a semaphore, for `with` and `async with`: *n* holders at a time. Otherwise as :meth:`lock`.

        All its users give the same *n*.

        Cost: about 6 us to acquire and release, and 24 bytes for each holder.

        >>> with store.semaphore("downloads", 4):
        ...     pass

        Raises: ValueError if the semaphore has another n now; otherwise as lock().
        """
        return locks.Semaphore(self, name, n, timeout)

    def barrier(
        self,
        name: EntryKey,
        n: int,
        *,
        timeout: Duration | None = None,
        action: Callable[[], object] | None = None,
    ) -> Barrier:
        """Return a barrier for *n* parties in any processes, with the methods of threading.Barrier.

        If a party dies while it waits, the others raise threading.BrokenBarrierError.

        timeout: how long wait() waits by default before it breaks the barrier.
        action: a function that the last party calls before the others go on.

        >>> store.barrier("start", 1).wait()
        0

        Raises: ValueError if the barrier has another n now; StoreFull, ReadOnlyStore, LockTimeout.
        """
        return barriers.Barrier(self, name, n, timeout, action)

    # ---- many entries: each is an operation of its own

    if TYPE_CHECKING:

        @overload
        def get_many(self, keys: Iterable[EntryKey], *, on_error: Literal["skip"]) -> Found[_V]: ...
        @overload
        def get_many(self, keys: Iterable[EntryKey], *, on_error: _OnError = "raise") -> dict[EntryKey, _V]: ...
        @overload
        def get_many(
            self, keys: Iterable[EntryKey], *, type: type[_T], on_error: _OnError = "raise"
        ) -> dict[EntryKey, _T]: ...
        @overload
        def get_many(
            self, keys: Iterable[EntryKey], *, type: Any, on_error: _OnError = "raise"
        ) -> dict[EntryKey, Any]: ...

    def get_many(
        self, keys: Iterable[EntryKey], *, type: Any = None, on_error: _OnError = "raise"
    ) -> dict[EntryKey, Any]:
        """Return a dict of the keys that are present and copies of their values.

        Not a snapshot: each value is as it was at some moment of the call.

        type: convert each value to this type. The handle needs codec "msgspec".
        on_error: "skip" leaves out the entries that this handle cannot read. The returned dict then has an attribute
            ``failed``, with their keys and errors. "raise" raises the CodecError.

        Cost: that of get() for each key, without the loop in Python.

        >>> store.update(a=1, b=2)
        >>> store.get_many(["a", "b", "c"])
        {'a': 1, 'b': 2}

        Raises: CodecError; TypeError if *keys* is a single str or bytes.
        """
        return many.get_many(self, keys, type=type, on_error=on_error)

    if TYPE_CHECKING:

        @overload
        def put_many(
            self,
            items: _Pairs[_V],
            *,
            ttl: Duration | None | Default = DEFAULT,
            tags: Iterable[EntryKey] | Default | None = (),
            on_error: Literal["skip"],
        ) -> Stored: ...
        @overload
        def put_many(
            self,
            items: _Pairs[_V],
            *,
            ttl: Duration | None | Default = DEFAULT,
            tags: Iterable[EntryKey] | Default | None = (),
            on_error: _OnError = "raise",
        ) -> int: ...

    def put_many(
        self,
        items: _Pairs[_V],
        *,
        ttl: Duration | None | Default = DEFAULT,
        tags: Iterable[EntryKey] | Default | None = (),
        on_error: _OnError = "raise",
    ) -> int:
        """Store many values from a mapping or from pairs, and return their number.

        All values are encoded first, so a CodecError changes nothing. Then they are put one by one; each put is atomic. An
        error of the package has the number of stored entries in ``stored``, and the other keys in ``failed``. An
        exception of a signal handler does not have them.

        tags: as in put(), of all items.
        on_error: "skip" passes over an item that cannot be stored: because of its key or its value, or because there is no
            room for it. All other items are stored. The returned number then has an attribute ``failed``, with the keys
            and errors of the items that were passed over. "raise" raises the error.

        Cost: less than that of put() for each item.

        >>> store.put_many({"a": 1, "b": 2}, ttl=60)
        2
        >>> stored = store.put_many({"c": 3, "d": object()}, on_error="skip")
        >>> stored, list(stored.failed)
        (1, ['d'])

        Raises: as put().
        """
        return many.put_many(self, items, ttl, tags, many.SET, on_error)

    if TYPE_CHECKING:

        @overload
        def add_many(
            self,
            items: _Pairs[_V],
            *,
            ttl: Duration | None | Default = DEFAULT,
            tags: Iterable[EntryKey] | None = (),
            on_error: Literal["skip"],
        ) -> Stored: ...
        @overload
        def add_many(
            self,
            items: _Pairs[_V],
            *,
            ttl: Duration | None | Default = DEFAULT,
            tags: Iterable[EntryKey] | None = (),
            on_error: _OnError = "raise",
        ) -> int: ...

    def add_many(
        self,
        items: _Pairs[_V],
        *,
        ttl: Duration | None | Default = DEFAULT,
        tags: Iterable[EntryKey] | None = (),
        on_error: _OnError = "raise",
    ) -> int:
        """Store the items whose key is absent, and return their number. Otherwise as :meth:`put_many`.

        >>> store["a"] = 1
        >>> store.add_many({"a": 2, "b": 2})
        1
        """
        return many.put_many(self, items, ttl, tags, many.ADD, on_error)

    if TYPE_CHECKING:

        @overload
        def delete_many(self, keys: Iterable[EntryKey], *, on_error: Literal["skip"]) -> Removed: ...
        @overload
        def delete_many(self, keys: Iterable[EntryKey], *, on_error: _OnError = "raise") -> int: ...

    def delete_many(self, keys: Iterable[EntryKey], *, on_error: _OnError = "raise") -> int:
        """Remove the entries with these keys, and return how many there were.

        Each removal is atomic. An error of the package has the number of removed entries in ``stored``, and the other keys in
        ``failed``.

        on_error: "skip" passes over a key whose lock is not free in time. All others are removed. The returned number then
            has an attribute ``failed``, with the keys and errors of those that were passed over. "raise" raises the error.

        >>> store.update(a=1, b=2)
        >>> store.delete_many(["a", "b", "c"])
        2

        Raises: ReadOnlyStore, LockTimeout; TypeError if *keys* is a single str or bytes.
        """
        return many.delete_many(self, keys, on_error)

    def update(self, other: Any = (), /, **more: _V) -> None:
        """Store the items of a mapping or of pairs, and those of *more*, as ``dict.update`` and by :meth:`put_many`.

        >>> store.update({"a": 1}, b=2)
        >>> sorted(store)
        ['a', 'b']

        Raises: as put_many().
        """
        pairs = many.pairs_of(self, "update", other)
        many.put_many(self, {**pairs, **more} if more else pairs, DEFAULT, None, many.SET, "raise")

    def clear(self) -> int:  # type: ignore[override]  # that of MutableMapping returns nothing
        """Remove all entries, and return their number. Not atomic: entries that are put meanwhile may stay.

        This includes the entries of all namespaces, which are not counted. On the handle of a namespace, clear() is atomic, takes
        constant time, includes the namespaces in it, and returns 0. See :meth:`namespace`.

        Cost: that of delete() for each entry; of a namespace, about 500 ns.

        >>> store.update(a=1, b=2)
        >>> store.clear()
        2
        >>> len(store)
        0

        Raises: ReadOnlyStore, LockTimeout. The error has the number of removed entries in ``stored``.
        """
        return many.clear(self)

    def expire_due(self) -> int:
        """Remove all entries that have expired or were evicted by a tag or with a namespace, and return their number.

        Such an entry is absent at once, but its memory is in use until a put needs it or comes across it. This call
        frees the memory of all of them now.

        Cost: a few ns for each group of 56 slots, and that of delete() for each expired entry.

        >>> store.put_many({"a": 1, "b": 2}, ttl=60)
        2
        >>> store.expire_due()
        0

        Raises: ReadOnlyStore, LockTimeout. The error has the number of removed entries in ``stored``.
        """
        return control.expire_due(self)

    def popitem(self) -> tuple[EntryKey, _V]:
        """Remove an entry, and return its key and value.

        Atomic: no two callers get the same entry. Entries that this handle cannot read stay.

        Cost: about 1 us, and a walk over the empty slots behind the entry that this handle popped last.

        >>> store["job"] = "mail"
        >>> store.popitem()
        ('job', 'mail')

        Raises: KeyError if there is no entry that this handle can read.
        """
        key, value = many.popitem(self)
        return key, value

    def __iter__(self) -> Iterator[EntryKey]:
        caller = copying.place(1)
        if caller is not None and caller[1] == copying.IN_LOOP:
            return copying.list_keys(self, caller, lambda: None)
        walk: Iterator[EntryKey] = self._walk(b"", ALL_KEYS)
        return walk

    def keys(self, prefix: EntryKey = "") -> Keys:
        """Return a live view of the keys, or of those with the type of *prefix* that begin with it.

        Not a snapshot: iterating yields each key exactly once if it is present all the time.

        >>> store.update({"user:1": "Ada", "user:2": "Bob", "hits": 0})
        >>> sorted(store.keys("user:"))
        ['user:1', 'user:2']
        """
        return Keys(self, prefix, copying.place(1))

    def items(self, *, on_error: _OnError = "raise") -> Items[_V]:
        """Return a live view of the keys and copies of the values.

        Not a snapshot: entries that are removed meanwhile are left out.

        on_error: as in :meth:`get_many`.

        >>> store.update(a=1, b=2)
        >>> sorted(store.items())
        [('a', 1), ('b', 2)]

        Raises: CodecError, while iterating.
        """
        return Items(self, on_error)

    def values(self, *, on_error: _OnError = "raise") -> Values[_V]:
        """Return a live view of copies of the values. Not a snapshot.

        on_error: as in :meth:`get_many`.

        >>> store.update(a=1, b=2)
        >>> sum(store.values())
        3

        Raises: CodecError, while iterating.
        """
        return Values(self, on_error)

    def __eq__(self, other: object) -> bool:
        """Return whether another mapping has equal keys and values. A value that cannot be read equals nothing."""
        if self is other or not isinstance(other, AnyMapping):
            return True if self is other else NotImplemented
        try:
            return dict(self.items()) == dict(other.items())
        except errors.CodecError as error:
            if is_foreign(error):
                raise
            return False

    # ---- the store

    def describe(self, key: EntryKey) -> EntryInfo:
        """Return the size, codec, version, time to live, frequency and tags of an entry, as they were at one moment.

        This does not read the value, so it works for values that this handle cannot read.

        Cost: about 2 us, whatever the size.

        >>> store["job"] = "mail"
        >>> info = store.describe("job")
        >>> info.size, info.codec, info.ttl
        (5, 'msgpack', None)

        Raises: KeyError if the key is absent.
        """
        return coding.describe(self, key)

    def stats(self) -> Stats:
        """Return the figures of the store. Each is read at a slightly different moment.

        Cost: about 5 us, independent of the number of entries.

        >>> store["a"] = 1
        >>> store.stats().entries
        1
        """
        return control.stats(self)

    def info(self) -> StoreInfo:
        """Return what the kernel and the store's header say about the store.

        Cost: about 10 us.

        >>> store.info().backend
        'sysv'
        """
        return control.info(self)

    def clients(self) -> list[ClientInfo]:
        """Return the clients: the handles that are open for writing, in all processes.

        Cost: about 50 us for each.

        >>> [client.is_me for client in store.clients()]
        [True]
        """
        return control.clients(self)

    def check(self, *, repair: bool = False) -> int:
        """Verify every invariant of the format (``docs/format.md``) while other processes keep working.

        repair: first make the invariants true again: correct everything that can be derived, and remove entries that
            contradict themselves. Returns the number of these entries; 0 without repair. Deaths of processes never make
            a repair necessary. Bytes that were overwritten by mistake may.

        Cost: a walk through the whole store, three walks with repair. No other process waits meanwhile.

        >>> store.check()
        0

        Raises: StoreCorrupt, which names the broken invariant; LockTimeout; ReadOnlyStore with repair.
        """
        return control.check(self, repair=repair)

    def compact(self) -> int:
        """Move entries so that free memory lies in one piece, and return the number of entries that were moved.

        A put that finds no room does the same for the memory that it needs, within limits (about 30 ms). So nothing
        depends on this call: it spends that time beforehand, and may get more.

        Other processes and threads read and write meanwhile. An entry keeps its value, version and time to live. An
        entry that is read in place (:meth:`view`) stays where it is.

        Cost: about 1 us for each entry that is moved, the copy of its value, and a look at each page of the heap.

        >>> store.compact()
        0

        Raises: ReadOnlyStore; LockTimeout if eight calls of this handle are in progress all the time.
        """
        return control.compact(self)

    def resize(self, size: int | str, *, max_entries: int | None = None) -> None:
        """Give the store another size, while other processes and threads read and write.

        size: as for ``Store()``, larger or smaller than now.
        max_entries: None keeps the present number. max_clients never changes.

        The entries are copied to a new segment, which then takes the place of the old one. They keep their values, versions
        and times to live. Locks and leases stay held. All handles of all processes follow with their next call. Views and
        iterations that have begun go on in the old segment, which is kept until they end. No write is lost. If this process
        dies, the store has its old size or the new one, with all entries.

        A smaller Cache evicts the entries that do not fit. A smaller Store that cannot hold its entries raises StoreFull, and
        does not change.

        For a while, both segments take memory. A System V store keeps the segment that has its key. That segment takes two
        pages, and leads to the one with the entries: ``ipcs`` shows both.

        Cost: the copy of all entries. Writers go on during most of it; at its end they wait, about 0.2 us for each entry. If this
        process is stopped at that end, they wait until it continues or is killed.

        >>> with shmstore.Store("example", size="1M") as store:
        ...     store.resize("2M")
        ...     print(store.info().size)
        ...     store.destroy()
        2097152

        Raises: StoreFull, ReadOnlyStore; StoreForeign if it is the store of another user; LockTimeout if a stopped writer holds a
            lock, or if another process resizes the store and does not finish in time; StoreSystemError if there is no memory;
            ValueError for a size that is too small, and for a private store.
        """
        resizing.resize(self, size, max_entries)

    def recover(self) -> int:
        """Release the locks and memory of dead processes now, and return the number of these processes.

        This includes what they held by lock(), lease() and semaphore().

        Other calls do this when they need a lock or memory.

        Cost: a look at each client and, if locks were ever used, a walk through the store.

        >>> store.recover()
        0

        Raises: ReadOnlyStore.
        """
        count = control.recover(self)
        for raw in self._walk(b"", KEPT_KEYS):
            locks.release_dead(self, raw)
        return count

    # ---- what the base type, csrc/python/store_type.c, calls

    _decode = coding.decode
    _encode_parts = coding.encode_parts
    _get_typed = coding.get_typed
    _memory_of = coding.memory_of
    _undecodable = coding.undecodable
    _unencodable = coding.unencodable
    _text = coding.text  # for shmstore watch
    _unfit = coding.unfit
    _fail = failures.fail
    _log_events = failures.log_events
    _no_count = failures.no_count
    _no_create = failures.no_create
    _no_tags = failures.no_tags
    _no_key = failures.no_key
    _no_text = failures.no_text
    _no_version = failures.no_version
    _view_failure = failures.view_failure
    _hand_over = copying.hand_over
    _wait = waiting.wait
    _follow = opening.follow
    _raw_info = control.raw_info
    _revalidate = control.revalidate

    # What a Cache does otherwise.

    def _compute(self, key: EntryKey, function: Callable[[], Any], plan: computing.Plan) -> Any:
        return computing.get_or_set(self, key, function, plan)

    async def _acompute(self, key: EntryKey, function: Callable[[], Any], plan: computing.Plan) -> Any:
        return await computing.aget_or_set(self, key, function, plan)

    def _reopen(self, status: int) -> None:
        if status != lib.SHMS_SUPERSEDED:
            raise self._fail(status)
        self._follow()

    def _unreadable(self, error: Exception) -> None:
        """A value was passed over that cannot be read."""

    def _add_many_over_unreadable(self, pairs: dict[Any, Any], ttl: Any, tags: Any, done: int) -> int:
        return 0

    def _ttl_ns(self, ttl: Any, argument: str) -> int:
        return ttl_ns(ttl, argument)


def _attach(
    cls: type[Store[Any]], key: tuple[Any, ...], place: tuple[str, bytes | None, int], options: dict[str, Any]
) -> Store[Any]:
    """Unpickle a handle: attach to that very store, never create one."""
    store = cls.__new__(cls)
    backend, object, id = place
    open_handle(store, Key(*key, backend=backend, object=object, id=id), Options(**options))
    return store


# Its parameters are those of Store, written out: an editor reads the source. A test holds the two together.
def open(
    name: str | int | os.PathLike[str] | Private,
    *,
    backend: str = "sysv",
    create: bool | None = None,
    size: int | str = DefaultStr("64M"),
    max_entries: int | None = None,
    max_clients: int | None = None,
    mode: int = DefaultInt(0o600),
    owner: int | str | None = None,
    readonly: bool = False,
    ttl: Duration | None = None,
    codec: str | Codec = "msgpack",
    decoders: Iterable[str | Codec] = (),
    timeout: Duration | None = 5.0,
    hugepages: bool | int | str = False,
    prefault: bool = False,
    lock_memory: bool = False,
) -> Store[Any]:
    """Open or create a store for values of any type, as ``Store(name, ...)`` does.

    ``help(shmstore.Store.__init__)`` explains the options, the cost and the errors.

    >>> with shmstore.open("example", size="1M") as store:
    ...     store["greeting"] = "hello"
    >>> with shmstore.open("example") as store:  # in this process or in another one
    ...     print(store["greeting"])
    hello
    >>> shmstore.destroy("example")
    """
    return Store(**locals())


def destroy(name: str | int | os.PathLike[str], *, backend: str = "sysv") -> None:
    """Remove the store with this name and all its entries, even if processes are attached.

    >>> shmstore.destroy("example")
    Traceback (most recent call last):
      ...
    shmstore.errors.StoreNotFound: ...

    Raises: StoreNotFound, StoreForeign, NotAStore. What is not a store stays as it is.
    """
    store: Store[Any] = Store(name, backend=backend, create=False)
    with store:
        store.destroy()


def stores() -> list[StoreInfo]:
    """Return the stores on this host that this process may read, except private stores.

    In System V memory this includes the stores of other users. In POSIX memory it includes only those of this user and
    root, because the owner of a file can shorten it, and that kills processes that have it mapped. ``shmstore ls`` lists
    all of them without mapping them.

    Cost: about 50 us for each store.

    >>> with shmstore.open("example", size="1M") as store:
    ...     print("example" in [info.name for info in shmstore.stores()])
    ...     store.destroy()
    True

    Raises: StoreSystemError if the kernel gives no list, or if this process has no descriptor or memory left.
    """
    found = []
    for key in _keys_in_use():
        try:
            with attach_to(key) as store:
                found.append(store.info())
        except (errors.ShmStoreError, OSError, ValueError) as error:
            if is_foreign(error) or (isinstance(error, errors.StoreSystemError) and error.errno not in _NOT_HERE):
                raise  # of this process (no descriptor, no memory): the list would lack what there is
            continue  # no store, not ours to read, or gone since
    return found


def attach_to(key: Key, *, readonly: bool = True, timeout: float = 0) -> Store[Any]:
    """Attach to the store with this key, of any user; read-only by default."""
    store: Store[Any] = Store.__new__(Store)
    codec: dict[str, Any] = {"codec": "msgpack", "decoders": (), "ttl": None, "uuid": None, "namespace": ()}
    open_handle(
        store, key, Options(owner="any", readonly=readonly, timeout=timeout, on_error="raise", **codec, **ATTACHING)
    )
    return store


_NOT_HERE = (errno.EACCES, errno.ENOENT, errno.EINVAL, errno.EIDRM)  # not ours to read, or gone since


def _keys_in_use() -> list[Key]:
    try:
        numbers = [segment.stat.key for segment in _table.segments() if segment.stat]
    except OSError as error:
        if is_foreign(error):
            raise
        if error.errno != errno.ENOSYS:
            raise errors.StoreSystemError(error.errno, f"stores: {error.strerror}") from None
        numbers = []  # a kernel without System V memory
    keys = [Key(number, 2, b"", hex(number & 0xFFFFFFFF)) for number in numbers if number != 0]
    try:
        names = sorted(os.listdir(os.fsencode(OBJECTS)))
    except OSError as error:
        if is_foreign(error):
            raise
        if error.errno != errno.ENOENT:
            raise errors.StoreSystemError(
                error.errno, f"stores: {error.strerror}: {OBJECTS} cannot be listed"
            ) from None
        names = []
    objects = [name for name in names if name.startswith(b"shmstore-") and _trusted(name)]
    keys += [Key(0, 2, b"", repr(os.fsdecode(name)), backend="posix", object=name) for name in objects]
    return keys


def _trusted(name: bytes) -> bool:
    """Whether the object belongs to this user or root. An object that was removed meanwhile does not."""
    try:
        return os.lstat(os.path.join(os.fsencode(OBJECTS), name)).st_uid in (0, os.geteuid())
    except OSError as error:
        if is_foreign(error):
            raise
        return False
