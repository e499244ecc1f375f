"""The store: a mapping that every process on the host shares, and what is done to stores from outside."""

from __future__ import annotations

import errno
import os
from _collections_abc import Mapping as AnyMapping  # collections.abc does no more than to rename it, at a price
from _collections_abc import MutableMapping

from shmstore import errors
from shmstore._base.calls import StoreCalls
from shmstore._base.durations import ttl_ns
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import current, late
from shmstore._base.sentinels import DEFAULT, MISSING, PRIVATE, UnsaidInt, UnsaidStr
from shmstore._core import lib
from shmstore._store import coding, control, copying, failures, many, waiting
from shmstore._store.keys import ALL_KEYS, EntryKey, raw_key
from shmstore._store.names import OBJECTS, Key
from shmstore._store.opening import open_handle
from shmstore._store.options import ATTACHING, Options, parse
from shmstore._store.views import Items, Keys, Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, TypeVar, overload

    from typing_extensions import Self

    from shmstore._base.durations import Duration
    from shmstore._base.sentinels import Default, Private
    from shmstore._store.records import ClientInfo, Stats, StoreInfo
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
    _V = object  # a subscript at run time needs something; typing itself takes 9 ms to import

__all__ = ["DEFAULT", "PRIVATE", "Store", "destroy", "open", "stores"]


class Store(StoreCalls, MutableMapping["str | bytes", _V]):
    """A mapping from keys to objects in one segment of shared memory, shared by all who know its name.

    One key:    get, [], in, put, []=, add, replace, delete, del, pop, setdefault, touch, ttl, view
    Counters:   incr, decr
    Together:   get_versioned, cas, modify, wait, wait_async
    Many keys:  get_many, put_many, add_many, delete_many, keys, items, values, update, clear, popitem
    The store:  stats, info, clients, check, recover, close, destroy

    Operations on one key are linearizable among all processes and threads. Operations on many are not
    snapshots. **Values are copies**: ``store[k].append(x)`` changes nothing; ``store.modify(k, f)`` does.

    Readers wait for nobody. A process killed at any moment leaves every key with its old or its new value, and
    what it held is taken over by whoever needs it.

    Threads may share a handle. A forked child uses the inherited handle as a client of its own. A pickled handle
    attaches to the same store in the process that unpickles it, and never creates one.
    """

    __slots__ = (
        "__weakref__", "_codec", "_codec_number", "_codecs", "_key", "_options", "_parts", "_popped_at", "_typed", "_uuid",
    )  # fmt: skip

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
        given = {**locals()}  # a copy: a debugger may add to what locals() returns
        del given["self"]
        open_handle(self, *parse(**given))

    @property
    def closed(self) -> bool:
        """Whether this handle was closed."""
        return bool(lib.shms_usable(self._handle) == lib.SHMS_CLOSED)

    def destroy(self) -> None:
        """Remove the store and what it holds. Every process's next call, and every sleeper, gets StoreDestroyed.

        Cost: giving the memory back, by whoever detaches last.
        """
        control.destroy(self)

    def __repr__(self) -> str:
        try:
            status = lib.shms_usable(self._handle)
            state = {lib.SHMS_CLOSED: "closed", lib.SHMS_DESTROYED: "destroyed"}.get(status)
            state = state or ("read-only" if self._options.readonly else "open")
            return f"<shmstore.Store {self._key.shown} {state}>"
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
        def get(self, key: EntryKey, default: None = None) -> _V | None: ...
        @overload
        def get(self, key: EntryKey, default: _V | _T) -> _V | _T: ...
        @overload
        def get(self, key: EntryKey, default: None = None, *, type: type[_T]) -> _T | None: ...
        @overload
        def get(self, key: EntryKey, default: _D, *, type: type[_T]) -> _T | _D: ...
        @overload
        def get(self, key: EntryKey, default: Any = None, *, type: Any) -> Any: ...
        def get(self, key: EntryKey, default: Any = None, *, type: Any = None) -> Any: ...

        def get_into(self, key: EntryKey, buffer: Any, /) -> int: ...
        def __getitem__(self, key: EntryKey, /) -> _V: ...
        def __contains__(self, key: object, /) -> bool: ...
        def put(self, key: EntryKey, value: _V, *, ttl: Duration | None | Default = DEFAULT) -> int: ...
        def __setitem__(self, key: EntryKey, value: _V, /) -> None: ...
        def delete(self, key: EntryKey, /) -> bool: ...
        def add(self, key: EntryKey, value: _V, *, ttl: Duration | None | Default = DEFAULT) -> bool: ...
        def replace(self, key: EntryKey, value: _V, *, ttl: Duration | None | Default = DEFAULT) -> bool: ...
        def cas(self, key: EntryKey, value: _V, version: int, *, ttl: Duration | None | Default = DEFAULT) -> bool: ...
        def get_versioned(self, key: EntryKey, /) -> tuple[_V, int]: ...
        def __delitem__(self, key: EntryKey, /) -> None: ...
        def incr(self, key: EntryKey, by: int = 1, *, initial: int = 0) -> int: ...
        def decr(self, key: EntryKey, by: int = 1, *, initial: int = 0) -> int: ...
        def view(self, key: EntryKey) -> memoryview: ...
        def wait(
            self, key: EntryKey, *, after: int | None = None, timeout: Duration | None = None, spin: Duration = 0.0
        ) -> int: ...

    def modify(self, key: EntryKey, function: Callable[[_V], _V], default: Any = MISSING) -> _V:
        """Replace the value by ``function(value)``, atomically, and return the new one.

        *function* gets a copy, runs while nothing is locked, and is called again if somebody was faster. A key
        that is absent starts with *default*. The entry keeps its time to live.

        Raises: KeyError if the key is absent and there is no default; whatever *function* raises.
        """
        while True:
            found = self._value_and_version(key)
            if found is None:
                if default is MISSING:
                    raise KeyError(key)
                raw_key(f"store {self._key.shown}", key)  # is it a key at all?
                found = default, 0
            value, version = found
            new = function(value)
            if self._swap(key, new, version):
                return new

    def setdefault(self, key: EntryKey, default: Any = None) -> Any:
        """Return the value; if the key is absent, store *default* first and return it. Atomic."""
        value = self.get(key, MISSING)
        while value is MISSING:
            if self.add(key, default):
                return default
            value = self.get(key, MISSING)
        return value

    if TYPE_CHECKING:

        @overload
        def pop(self, key: EntryKey, default: Default = MISSING) -> _V: ...
        @overload
        def pop(self, key: EntryKey, default: _V | _T) -> _V | _T: ...

    def pop(self, key: EntryKey, default: Any = MISSING) -> Any:
        """Remove the entry and return its value; of all who pop it at once, one gets it.

        With a default, an entry that this handle cannot read is removed as well, and the default returned.

        Raises: KeyError if the key is absent and no default is given; CodecError likewise, and the entry stays.
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
                if instead is MISSING or is_foreign(error):
                    raise
                value = instead
            if self._delete_if(key, version):
                return value

    def touch(self, key: EntryKey, ttl: Duration | None | Default = DEFAULT) -> bool:
        """Give the entry a new time to live (seconds; None: for ever); tell whether there is one."""
        return self._touch(key, ttl)

    def ttl(self, key: EntryKey) -> float | None:
        """Seconds that the entry has left; None: for ever.

        Raises: KeyError if the key is absent.
        """
        left = self._time_left(key)
        if left is None:
            raise KeyError(key)
        return left / 1e9 if left else None

    async def wait_async(
        self, key: EntryKey, *, after: int | None = None, timeout: Duration | None = None, spin: Duration = 0.0
    ) -> int:
        """As :meth:`wait`, without blocking the event loop: a thread of its own sleeps. Cancelling ends it."""
        return await waiting.wait_async(self, key, after=after, timeout=timeout, spin=spin)

    # ---- many entries: each is an operation of its own

    if TYPE_CHECKING:

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
        """Return copies of the values of those keys that are there. Not a snapshot; each value is whole.

        type: read each value as this type; for handles of codec "msgspec".
        on_error: "skip" leaves out the entries that this handle cannot read; "raise" raises their CodecError.
        """
        return many.get_many(self, keys, type=type, on_error=on_error)

    def put_many(self, items: _Pairs[_V], *, ttl: Duration | None | Default = DEFAULT) -> int:
        """Store many values; return how many.

        All are encoded first, so a CodecError changes nothing. Then they are put one by one. An error of the package says in
        ``stored`` how many were put, and in ``failed`` which keys were not; an exception of a signal handler cannot.
        """
        return many.put_many(self, items, ttl, many.SET)

    def add_many(self, items: _Pairs[_V], *, ttl: Duration | None | Default = DEFAULT) -> int:
        """Store those whose key is absent; return how many that were. Otherwise as :meth:`put_many`."""
        return many.put_many(self, items, ttl, many.ADD)

    def delete_many(self, keys: Iterable[EntryKey]) -> int:
        """Remove many entries; return how many there were.

        Each is removed by itself. An error says in ``stored`` how many were removed, and in ``failed`` which keys are left.
        """
        return many.delete_many(self, keys)

    def update(self, other: Any = (), /, **more: _V) -> None:
        """As ``dict.update``, by :meth:`put_many`."""
        pairs = many.pairs_of(self, "update", other)
        many.put_many(self, {**pairs, **more} if more else pairs, DEFAULT, many.SET)

    def clear(self) -> None:
        """Remove every entry. Not atomic: what others put meanwhile may stay."""
        many.clear(self)

    def popitem(self) -> tuple[EntryKey, _V]:
        """Remove some entry and return it with its key; each comes once, whoever asks. Entries that this handle
        cannot read are passed over, and stay.

        It begins behind the entry that this handle popped last. Cost: 1 us, and a look at each empty slot in between.

        Raises: KeyError if the store is empty, or has no other entries.
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
        """The keys, or those that begin with *prefix* (and are of its type). A live view, not a snapshot."""
        return Keys(self, prefix, copying.place(1))

    def items(self, *, on_error: _OnError = "raise") -> Items[_V]:
        """Keys and copies of values. A live view, not a snapshot; entries that go meanwhile are left out.

        on_error: as of :meth:`get_many`.
        """
        return Items(self, on_error)

    def values(self, *, on_error: _OnError = "raise") -> Values[_V]:
        """Copies of values. A live view, not a snapshot.

        on_error: as of :meth:`get_many`.
        """
        return Values(self, on_error)

    def __eq__(self, other: object) -> bool:
        """Compare with what another mapping holds. A value that cannot be read equals nothing."""
        if self is other or not isinstance(other, AnyMapping):
            return True if self is other else NotImplemented
        try:
            return dict(self.items()) == dict(other.items())
        except errors.CodecError as error:
            if is_foreign(error):
                raise
            return False

    # ---- the store

    def stats(self) -> Stats:
        """Figures of the store, at no particular moment. Cost: independent of the number of entries."""
        return control.stats(self)

    def info(self) -> StoreInfo:
        """What the kernel and the header say of the store."""
        return control.info(self)

    def clients(self) -> list[ClientInfo]:
        """The processes that are attached for writing. Cost: some 50 us each."""
        return control.clients(self)

    def check(self, *, repair: bool = False) -> int:
        """Verify every invariant that the format states (``docs/format.md``), while others go on working.

        repair: make them hold first. Everything that can be derived is derived anew; an entry that contradicts itself
            is given up. Returns how many those are: 0 without repair. No death makes this necessary; scribbled bytes
            do.

        Cost: a walk through everything, with repair three; writers of one part of the heap wait meanwhile.

        Raises: StoreCorrupt naming the invariant; StoreDestroyed; LockTimeout; ReadOnlyStore, with repair.
        """
        return control.check(self, repair=repair)

    def recover(self) -> int:
        """Look for dead processes now and free what they held; return how many there were."""
        return control.recover(self)

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
    _no_key = failures.no_key
    _no_text = failures.no_text
    _no_version = failures.no_version
    _view_failure = failures.view_failure
    _hand_over = copying.hand_over
    _wait = waiting.wait
    _raw_info = control.raw_info
    _revalidate = control.revalidate

    def _ttl_ns(self, ttl: Any) -> int:
        return ttl_ns(ttl)


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
) -> Store[Any]:
    """Open or create a store, for values of any type: ``Store(name, ...)``.

    What the options mean, what it costs and what it raises is said there: ``help(shmstore.Store.__init__)``.
    """
    return Store(**locals())


def destroy(name: str | int | os.PathLike[str], *, backend: str = "sysv") -> None:
    """Remove the store with this name and what it holds, whoever is attached.

    Raises: StoreNotFound, StoreForeign, NotAStore (which is left alone).
    """
    store: Store[Any] = Store(name, backend=backend, create=False)
    with store:
        store.destroy()


def stores() -> list[StoreInfo]:
    """The stores on this host that this process may read; private ones have no name and are not found.

    Other users' are included in System V memory. In POSIX memory only mine and root's: whoever owns a file can make
    it shorter while it is mapped, which is a signal that kills (``shmstore ls`` lists theirs without mapping them).

    Raises: StoreSystemError where the kernel does not list them, or this process lacks what opening takes.
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
    """Whatever store the kernel has there, whoever made it; read-only for a look."""
    store: Store[Any] = Store.__new__(Store)
    codec: dict[str, Any] = {"codec": "msgpack", "decoders": (), "ttl": None, "uuid": None}
    open_handle(store, key, Options(owner="any", readonly=readonly, timeout=timeout, **codec, **ATTACHING))
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
    """An object of mine or root's. One that is gone since the folder was listed is nobody's."""
    try:
        return os.lstat(os.path.join(os.fsencode(OBJECTS), name)).st_uid in (0, os.geteuid())
    except OSError as error:
        if is_foreign(error):
            raise
        return False
