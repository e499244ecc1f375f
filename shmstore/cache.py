"""The class Cache: a store that evicts what is least useful instead of refusing what is new."""

from __future__ import annotations

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import current, late
from shmstore._base.sentinels import MISSING, DefaultInt, DefaultStr
from shmstore._core import lib
from shmstore._store import coding, failures, rescue
from shmstore._store.names import Key
from shmstore._store.options import Options, parse
from shmstore.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from typing import Any, Literal

    from typing_extensions import TypeVar

    from shmstore._base.durations import Duration
    from shmstore._base.sentinels import Private
    from shmstore._store.keys import EntryKey
    from shmstore.codecs.protocol import Codec
    from shmstore.near import cache as near
    from shmstore.near import config as near_config

    _V = TypeVar("_V", default=Any)
else:
    near, near_config = late("shmstore.near.cache"), late("shmstore.near.config")
    _V = object

__all__ = ["Cache"]


class Cache(Store[_V]):
    """A store for values that can be computed again: it never refuses a value because it is full, and it survives deploys.

    It has the methods and options of a Store, and differs in this:

    **It evicts.** Where a Store raises StoreFull, a Cache removes the entries that are least useful. Only a value that would
    not fit into the empty cache raises ValueTooLarge. ``max_entries`` is the largest number of entries. Each concurrent
    writer exceeds it by one at most. Expired entries go first. The policy is S3-FIFO, without its queues: a new entry must
    be used again while a tenth of the cache is written anew, or it is evicted; what is used again stays as long as it is used.
    So a scan over many keys that are asked for once does not push out what is asked for often. Getting, overwriting and
    touching an entry counts as use, but not through a handle with readonly=True, which cannot write that down.

    **It opens itself again.** After ``destroy``, ``shmstore rm`` or ``ipcrm``, the next call of each process opens or creates
    the cache again, empty, and goes on. A private cache and a closed handle do not come back, and a handle with readonly=True
    or create=False waits until another process has created the cache: until then its calls raise StoreDestroyed.

    **What it cannot read is absent**: a value of another codec, of a class that is gone, or damaged. ``get`` returns its default,
    ``cache[key]`` raises KeyError, ``setdefault``, ``get_or_set``, ``add`` and ``modify`` replace it. It counts as a miss, and is logged.

    >>> with shmstore.Cache("example", size="1M", ttl=3600) as cache:
    ...     for n in range(100_000):
    ...         cache[f"page:{n}"] = "x" * 100
    ...     print(cache.stats().evictions > 90_000)
    ...     cache.destroy()
    True

    The segment is larger than a Store's by a sixty-fourth of the size, which the policy needs.

    A cache and a store of one name are the same memory, and what the creator chose counts: a Store that attaches to a
    cache evicts, too. A Cache that attaches to a store raises NotACache.

    Two caches are equal only if they are the same handle, so a cache can be a key of a dict.
    """

    __slots__ = ("_problem", "_retry_at")

    _EVICTS = True

    if TYPE_CHECKING:
        _problem: Exception | None  # why it could not be opened
        _retry_at: float  # with on_error="miss": when that is tried again, by monotonic()

    if not TYPE_CHECKING:  # type checkers read __init__

        def __new__(cls, name=None, *, backing=None, **options):
            """With a *backing*, return a near cache of that server instead (shmstore/near/cache.py)."""
            return super().__new__(cls) if backing is None else _near(cls, name, backing, **options)

    # The parameters of Store, written out: an editor reads the source. A test holds the two together.
    def __init__(
        self,
        name: str | int | os.PathLike[str] | Private,
        *,
        on_error: Literal["raise", "miss"] = "raise",
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
        """Attach to the cache with this name. If there is none, create it.

        on_error: "miss" turns whatever is wrong with the cache into a miss: it is corrupt or foreign, it cannot be opened, a
            lock is not free in time, there is no client slot or no memory, a value is larger than the cache. Then reading
            calls find nothing, and writing calls store nothing. Each kind of error is logged once a minute (logger
            "shmstore"). A cache that cannot be opened is tried again once a second. Errors of the caller are raised all the
            same: wrong arguments, values that cannot be encoded, calls on a closed handle, writing with readonly=True.
            stats, info, clients, check, compact, recover, destroy and locks always say what is wrong. "raise" raises every error.

        The other options are those of ``Store``. max_entries is the largest number of entries, None: no limit but size.
        What a process does not ask for, it keeps as it was when it creates the cache again.

        Cost, Raises: as ``Store``; NotACache.
        """
        given = {**locals()}  # a copy: a debugger may add to what locals() returns
        del given["self"]
        if on_error not in ("raise", "miss"):
            raise ValueError(f'on_error is "raise" or "miss", not {on_error!r}')
        rescue.open_or_lose(self, *parse(**given, evicts=True))

    @property
    def closed(self) -> bool:
        """Whether this handle was closed.

        >>> store.close()
        >>> store.closed
        True
        """
        return self._handle == rescue.CLOSED_BY_USER

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        _, (cls, key, place, options) = super().__reduce__()
        return current(_attach), (cls, key, place, self._options.as_dict(), options["uuid"])

    async def wait_async(
        self, key: EntryKey, *, after: int | None = None, timeout: Duration | None = None, spin: Duration = 0.0
    ) -> int:
        """As :meth:`Store.wait_async`."""
        wait = super().wait_async
        return await rescue.awaited(self, "wait", wait, key, after=after, timeout=timeout, spin=spin)  # type: ignore[no-any-return]

    async def _acompute(self, *arguments: Any) -> Any:
        return await rescue.awaited(self, "_acompute", super()._acompute, *arguments)

    # ---- failures: _store/rescue.py

    _rescue = rescue.rescue

    def _fail(self, status: int, asked: int | None = None, name: Any = None) -> Exception:
        return rescue.mark(self, failures.fail(self, status, asked, name))

    def _view_failure(self, key: EntryKey, status: int) -> Exception:
        return rescue.mark(self, failures.view_failure(self, key, status))

    def _no_text(self, raw: bytes) -> Exception:
        return rescue.mark(self, failures.no_text(self, raw))

    def _reopen(self, status: int) -> None:
        if status == lib.SHMS_SUPERSEDED:
            self._follow()
        else:
            rescue.reopen(self, self._fail(status))

    def _undecodable(self, key: EntryKey, *found: Any) -> Exception:
        return rescue.mark_unreadable(self, coding.undecodable(self, key, *found))

    def _decode(self, number: int | str, data: bytes, key: EntryKey) -> Any:
        try:
            return coding.decode(self, number, data, key)
        except errors.CodecError as error:
            if is_foreign(error):
                raise
            rescue.mark_unreadable(self, error)
            raise

    def _get_typed(self, *arguments: Any) -> Any:
        try:
            return coding.get_typed(self, *arguments)
        except errors.CodecError as error:
            if is_foreign(error):
                raise
            rescue.mark_unreadable(self, error)
            raise

    def _unreadable(self, error: Exception) -> None:
        rescue.unreadable(self, error)

    def _look_again(self, key: EntryKey) -> tuple[Any, int] | None:
        """The value and version of an entry whose value could not be read: MISSING and the version, if that is still so."""
        found = self._get_versioned(key)
        if found is None:
            return None
        version, codec, data = found
        try:
            return coding.decode(self, codec, data, key), version
        except errors.CodecError as error:
            if is_foreign(error):
                raise
            self._unreadable(error)
            return MISSING, version

    def _add_many_over_unreadable(self, pairs: dict[Any, Any], ttl: Any, tags: Any, done: int) -> int:
        """For add_many, which has found some entries, if it has not *done* all: replace those that cannot be read."""
        if done >= len(pairs):
            return 0
        found = [self._value_and_version(key) for key in pairs]
        unreadable = [key for key, one in zip(pairs, found) if one is not None and one[0] is MISSING]
        return sum([self._add_over_unreadable(key, pairs[key], ttl, tags) for key in unreadable])

    def _add_over_unreadable(self, key: EntryKey, value: _V, ttl: Any, tags: Any) -> bool:
        """For add, which has found an entry: replace it if its value cannot be read."""
        found = self._value_and_version(key)
        while found is not None and found[0] is MISSING:
            if self._cas(key, value, found[1], ttl=ttl, tags=tags):
                return True
            found = self._value_and_version(key)
        return found is None and self._add(key, value, ttl=ttl, tags=tags)


for _name in (
    "_compute", "add_many", "check", "clear", "clients", "compact", "delete_many", "describe", "destroy", "expire", "expire_due", "get_many", "info", "modify",
    "pop", "popitem", "put_many", "recover", "setdefault", "stats", "touch", "ttl", "update",
):  # fmt: skip
    setattr(Cache, _name, rescue.guarded(_name, getattr(Store, _name)))


def _near(
    cls: type[Cache[Any]],
    name: Any,
    backing: Any,
    *,
    prefixes: Iterable[str | bytes] = ("",),
    near_ttl: Duration = 60,
    bound: Duration = 1.0,
    on_partition: str = "bypass",
    max_stale: Duration | None = None,
    ttl: Duration | None = None,
    owner: Any = None,
    **options: Any,
) -> Any:
    """Open a near cache: a store of this host for the copies, and what is in front of it."""
    for option in ("codec", "create", "decoders", "on_error", "readonly"):
        if option in options:
            raise ValueError(f"a cache with a backing has no option {option}")
    config = near_config.parse(
        name, backing, prefixes=prefixes, near_ttl=near_ttl, bound=bound, on_partition=on_partition, max_stale=max_stale, ttl=ttl,
        store={"owner": owner, "backend": options.get("backend", "sysv")},
    )  # fmt: skip
    server = config.backing()
    server.check_server()  # before there is a store
    return near.NearCache(cls(name, owner=owner, **options), config, server)


def _attach(
    cls: type[Cache[Any]],
    key: tuple[Any, ...],
    place: tuple[str, bytes | None, int],
    options: dict[str, Any],
    uuid: bytes,
) -> Cache[Any]:
    """Unpickle a handle."""
    cache = cls.__new__(cls)
    backend, object, id = place
    rescue.attach(cache, Key(*key, backend=backend, object=object, id=id), Options(**options), uuid)
    return cache
