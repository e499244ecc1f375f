"""The store: a mapping that every process on the host shares, and what is done to stores from outside."""

from __future__ import annotations

import errno
import os

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import late
from shmstore._base.sentinels import DEFAULT, PRIVATE, UnsaidInt, UnsaidStr
from shmstore._store.batches import Batches
from shmstore._store.names import OBJECTS, Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeVar

    from shmstore._base.durations import Duration
    from shmstore._base.sentinels import Private
    from shmstore._store.records import StoreInfo
    from shmstore.codecs.protocol import Codec

    _V = TypeVar("_V")
    from shmstore.sysv import _table
else:
    _V = object
    _table = late("shmstore.sysv._table", needs="sys")

__all__ = ["DEFAULT", "PRIVATE", "Store", "destroy", "open", "stores"]


class Store(Batches[_V]):
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

    __slots__ = ()


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
    return Store(
        name, backend=backend, create=create, size=size, max_entries=max_entries, mode=mode, owner=owner,
        readonly=readonly, ttl=ttl, codec=codec, decoders=decoders, timeout=timeout, hugepages=hugepages,
        prefault=prefault, lock_memory=lock_memory,
    )  # fmt: skip


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
    store._key = key
    store._options = ("any", readonly, None, "msgpack", (), timeout)
    store._open(False, 1 << 26, False, None, 0o600, False, None)
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
