"""The class NearCache: the calls of a Cache on a server, with copies of what was read in a store of this host.

The rules, each of which docs/model/near.pml finds necessary:

1. A hit reads the state first, then the copy. So a listener that goes on in between can only remove the copy.
2. A fetch puts a token where the copy is to be, asks the server, and exchanges the token for the copy. If the token is gone, the key was
   written meanwhile.
3. Whatever returns a value that it did not find in the store, and did not put there, deletes the entry before it returns: a fetch
   whose token is gone, and a read that goes past the copies. Otherwise the next read of this host could return an older value.
4. A write goes to the server, and then deletes the entry, also after an error.
"""

from __future__ import annotations

import time

from shmstore import errors
from shmstore._base.calls import through
from shmstore._base.durations import ttl_ns
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import late
from shmstore._base.record import Record
from shmstore._base.sentinels import DEFAULT, KEEP, MISSING
from shmstore._core import lib
from shmstore._store import computing, locks, many
from shmstore._store.failures import logger
from shmstore._store.keys import KEY_MAX, EntryKey, raw_key
from shmstore.near import fetching, scripts, state, values
from shmstore.near.config import Config
from shmstore.near.starting import ensure
from shmstore.near.state import STATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable
    from typing import Any

    from shmstore._base.durations import Duration
    from shmstore._base.sentinels import Default
    from shmstore._store.barriers import Barrier
    from shmstore.near.backing import Backing, Command
    from shmstore.store import Store
else:
    subprocess = late("subprocess")

__all__ = ["NearCache", "NearStats"]

shms_now = lib.shms_now
_WARM_UP = 5.0  # seconds that an opening waits for the listener, where gets need it


class NearStats(Record):
    """The figures of a near cache. Those of the listener are of this host, None if it was never there. The others are of this handle.

    near_hits: reads that found a copy. far_hits, misses: reads that asked the server, and found a value or none.
    passes: of these, reads that went past the copies: they were invalid, or the caller wanted a fresh value.
    valid: whether copies are valid now. staleness: the bound on the age of a copy now, in seconds; None if they are invalid.
    listener: its process id. age: seconds since it started. lag: seconds from its last beat to the answer. invalidations: keys
        that it was told. gaps: how often it may have missed something. problem: why it is not connected; None if it is.
    """

    __slots__ = (
        "near_hits", "far_hits", "misses", "passes", "valid", "staleness", "listener", "age", "lag", "invalidations", "gaps", "problem",
    )  # fmt: skip
    near_hits: int
    far_hits: int
    misses: int
    passes: int
    valid: bool
    staleness: float | None
    listener: int | None
    age: float | None
    lag: float | None
    invalidations: int | None
    gaps: int | None
    problem: str | None


class NearCache:
    """What ``shmstore.Cache(name, backing=...)`` returns: the server's values, with copies in shared memory of this host.

    One key:        get, [], in, put, []=, add, replace, delete, del, touch, ttl
    Counters:       incr, decr
    Together:       get_versioned, cas
    Many keys:      get_many, put_many, delete_many
    One at a time:  get_or_set, lease, lock, semaphore, barrier: among the processes of this host
    The cache:      stats, close, destroy

    **The server has the truth.** A write is done when the server has it. Then the next read on this host returns it, or something newer.
    Other hosts read it once their listener has heard of it, after a millisecond or less as a rule. They never read an older value
    later than *bound* seconds after the write. If the listener cannot prove that, reads do what *on_partition* says.

    Keys are str or bytes, and "a" and b"a" are the same key: a server has no types of keys.
    """

    __slots__ = (
        "__weakref__", "_backing", "_config", "_digest", "_get", "_look_at", "_prefixes", "_store", "far_hits", "misses",
        "near_hits", "passes",
    )  # fmt: skip

    def __init__(self, store: Store[Any], config: Config, backing: Backing) -> None:
        self._store = store
        self._config = config
        self._backing = backing
        self._get: Callable[..., Any] = store.get
        self._prefixes = config.prefixes
        self._digest = config.digest
        self._look_at = 0.0
        self.near_hits = self.far_hits = self.misses = self.passes = 0
        self._need_listener()
        if config.on_partition in ("miss", "raise"):
            end = time.monotonic() + _WARM_UP
            while fetching.valid_state(self) is None and time.monotonic() < end:
                time.sleep(0.01)
                self._need_listener()

    # ---- reading

    def get(self, key: EntryKey, default: Any = None, *, fresh: bool = False) -> Any:
        """Return the value, or *default* if the key is absent.

        fresh: ask the server, whatever copy there is. Otherwise the value was the server's at some moment after *bound* seconds
            before this call began.

        Raises: BackingUnavailable, BackingError.
        """
        raw = self._raw(key)
        if fresh or not raw.startswith(self._prefixes):
            return fetching.pass_by(self, raw, default)
        get = self._get
        found = get(STATE)
        now = shms_now()
        if found is not None and now < found[2] and found[0] == self._digest:  # rule 1
            entry = get(raw)
            if type(entry) is list and len(entry) == 3 and entry[0] == found[1] and now < entry[1]:  # state.is_copy
                self.near_hits += 1
                return entry[2]
            return fetching.fetch(self, raw, found[1], default)
        return fetching.without_proof(self, raw, found, now, default)

    def __getitem__(self, key: EntryKey) -> Any:
        value = self.get(key, MISSING)
        if value is MISSING:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        return self.get(key, MISSING) is not MISSING  # type: ignore[arg-type]

    def get_many(self, keys: Iterable[EntryKey], *, fresh: bool = False) -> dict[EntryKey, Any]:
        """Return a dict of the keys that are present and their values. Not a snapshot. Keys that have no copy are asked for together."""
        raws = {key: self._raw(key) for key in many._several(self._store, "get_many", keys)}
        return fetching.get_many(self, raws, fresh)

    def get_versioned(self, key: EntryKey) -> tuple[Any, int]:
        """Return the value and its version, as the server has them now. The version is a hash of the value: for cas()."""
        raw = self._raw(key)
        body = fetching.ask(self, raw, key)
        if body is None:
            raise KeyError(key)
        return values.decode(body), values.version_of(body)

    def ttl(self, key: EntryKey) -> float | None:
        """Return the number of seconds until the entry expires, None: never. The server is asked."""
        raw = self._raw(key)
        left = self._backing.checked(self._backing.read(("PTTL", raw))[0], key)
        if left == -2:
            raise KeyError(key)
        return left / 1e3 if left >= 0 else None

    # ---- writing: rule 4

    def put(self, key: EntryKey, value: Any, *, ttl: Duration | None | Default = DEFAULT) -> int:
        """Store the value on the server, and return its version.

        ttl: seconds to live, None: no limit, KEEP: as the entry has it. The default is that of the cache.

        Raises: CodecError, BackingUnavailable, OutcomeUnknown, BackingError.
        """
        raw, body = self._raw(key), values.encode(value)
        self._write(key, [raw], ("SET", raw, body, *self._life(ttl)))
        return values.version_of(body)

    def __setitem__(self, key: EntryKey, value: Any) -> None:
        self.put(key, value)

    def add(self, key: EntryKey, value: Any, *, ttl: Duration | None | Default = DEFAULT) -> bool:
        """Store the value if the key is absent, and return whether it was."""
        raw = self._raw(key)
        return self._write(key, [raw], ("SET", raw, values.encode(value), "NX", *self._life(ttl)))[0] is not None

    def replace(self, key: EntryKey, value: Any, *, ttl: Duration | None | Default = DEFAULT) -> bool:
        """Store the value if the key is present, and return whether it was."""
        raw = self._raw(key)
        return self._write(key, [raw], ("SET", raw, values.encode(value), "XX", *self._life(ttl)))[0] is not None

    def cas(self, key: EntryKey, value: Any, version: int, *, ttl: Duration | None | Default = DEFAULT) -> bool:
        """Store the value if the entry has this version, 0: if it is absent. Return whether it was stored.

        The version of an equal value is the same, so a value that was changed and changed back is not noticed.
        """
        if not version:
            return self.add(key, value, ttl=ttl)
        raw = self._raw(key)
        command = scripts.cas(raw, version, values.encode(value), self._life(ttl))
        return bool(self._write(key, [raw], command)[0])

    def delete(self, key: EntryKey) -> bool:
        """Remove the entry, and return whether there was one."""
        raw = self._raw(key)
        return bool(self._write(key, [raw], ("DEL", raw))[0])

    def __delitem__(self, key: EntryKey) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def touch(self, key: EntryKey, ttl: Duration | None | Default = DEFAULT) -> bool:
        """Set the time to live, None: no limit. Return whether the key is present. Each call is a write that all hosts are told of."""
        raw, life = self._raw(key), self._new_life(ttl)
        command = ("PEXPIRE", raw, life[1]) if life else scripts.persist(raw)
        return bool(self._write(key, [raw], command)[0])

    def incr(
        self,
        key: EntryKey,
        by: int = 1,
        *,
        initial: int = 0,
        create: bool = True,
        ttl: Duration | None | Default = DEFAULT,
    ) -> int:
        """Add to a counter, and return the sum. An absent key starts at *initial*, with this time to live.

        Raises: TypeError: the value is no int. OverflowError. KeyError: it is absent, and *create* is false. OutcomeUnknown: do not
            simply call it again, it may have been counted.
        """
        raw, life = self._raw(key), self._new_life(ttl)
        for argument, name in ((by, "by"), (initial, "initial")):
            if isinstance(argument, bool) or not isinstance(argument, int):
                raise TypeError(f"{name} is an int, not {type(argument).__name__}")
            if not -(2**63) <= argument < 2**63:
                raise OverflowError(f"{name} has more than 64 bits, sign included; the value was not changed")
        plain = create and not initial and not life
        command = ("INCRBY", raw, by) if plain else scripts.incr(raw, by, initial, create, life)
        answer = self._write(key, [raw], command)[0]
        if answer is None:
            raise KeyError(key)
        return int(answer)

    def decr(
        self,
        key: EntryKey,
        by: int = 1,
        *,
        initial: int = 0,
        create: bool = True,
        ttl: Duration | None | Default = DEFAULT,
    ) -> int:
        """Subtract from a counter. Otherwise as :meth:`incr`."""
        return self.incr(key, -by, initial=initial, create=create, ttl=ttl)

    def put_many(self, items: Any, *, ttl: Duration | None | Default = DEFAULT) -> int:
        """Store many values from a mapping or from pairs, and return their number. Each put is atomic, not all together."""
        life = self._life(ttl)
        pairs = {
            self._raw(key): values.encode(value) for key, value in many.pairs_of(self._store, "put_many", items).items()
        }
        if pairs:
            self._write(None, list(pairs), *[("SET", raw, body, *life) for raw, body in pairs.items()])
        return len(pairs)

    def delete_many(self, keys: Iterable[EntryKey]) -> int:
        """Remove the entries with these keys, and return how many there were."""
        raws = [self._raw(key) for key in many._several(self._store, "delete_many", keys)]
        return sum(self._write(None, raws, *[("DEL", raw) for raw in raws])) if raws else 0

    def _write(self, key: object, raws: list[bytes], *commands: Command) -> list[Any]:
        try:
            answers = self._backing.write(*commands)
        except errors.OutcomeUnknown as error:
            if is_foreign(error):
                raise
            error.failed = tuple(raws)
            raise
        finally:
            through(self._store.delete_many, [raw for raw in raws if self._config.has_copies(raw)])
        return [self._backing.checked(answer, key if key is not None else raw) for answer, raw in zip(answers, raws)]

    def _new_life(self, ttl: Any) -> tuple[Any, ...]:
        if ttl is KEEP:
            raise TypeError("ttl is that of a new value or counter; there is none to keep")
        return self._life(ttl)

    def _life(self, ttl: Any) -> tuple[Any, ...]:
        """The time to live as arguments of SET."""
        if ttl is KEEP:
            return ("KEEPTTL",)
        ns = ttl_ns(self._config.ttl if ttl is DEFAULT else ttl)
        return ("PX", max(1, ns // 1_000_000)) if ns else ()

    # ---- one at a time, among the processes of this host

    def get_or_set(
        self, key: EntryKey, function: Callable[[], Any], *, ttl: Duration | None | Default = DEFAULT
    ) -> Any:
        """Return the value. If the key is absent, store ``function()`` and return it. One caller of this host computes at a time."""
        value = self.get(key, MISSING)
        if value is not MISSING:
            return value
        lease = self.lease(key)
        if computing.is_computing(self._store, lease._key):
            return self._computed(key, function, ttl)
        with lease:
            value = self.get(key, MISSING)
            return value if value is not MISSING else self._computed(key, function, ttl)

    def _computed(self, key: EntryKey, function: Callable[[], Any], ttl: Any) -> Any:
        value = function()
        self.put(key, value, ttl=ttl)
        return value

    def lease(self, key: EntryKey, *, timeout: Duration | None = None) -> locks.Lease:
        """Return the lease of a key: the right of this host's processes to compute its value."""
        return self._store.lease(self._raw(key), timeout=timeout)

    def lock(self, name: EntryKey, *, timeout: Duration | None = None, reentrant: bool = False) -> locks.Lock:
        """Return a lock of this host: processes of other hosts may hold the lock of the same name."""
        return self._store.lock(name, timeout=timeout, reentrant=reentrant)

    def semaphore(self, name: EntryKey, n: int, *, timeout: Duration | None = None) -> locks.Semaphore:
        """Return a semaphore of this host."""
        return self._store.semaphore(name, n, timeout=timeout)

    def barrier(
        self, name: EntryKey, n: int, *, timeout: Duration | None = None, action: Callable[[], object] | None = None
    ) -> Barrier:
        """Return a barrier of this host."""
        return self._store.barrier(name, n, timeout=timeout, action=action)

    # ---- the cache

    def stats(self) -> NearStats:
        """Return the figures of the near cache."""
        found, now = fetching.valid_state(self), lib.shms_now()
        report = self._store.get(state.REPORT) or {}
        return NearStats(
            near_hits=self.near_hits, far_hits=self.far_hits, misses=self.misses, passes=self.passes, valid=found is not None,
            staleness=(now - found[2] + self._config.bound) / 1e9 if found else None,
            listener=report.get("pid"), age=time.time() - report["since"] if report else None, lag=report.get("lag"),
            invalidations=report.get("invalidations"), gaps=report.get("gaps"), problem=report.get("problem"),
        )  # fmt: skip

    def close(self) -> None:
        """Detach from the store and the server. When no process is attached any more, the listener ends after some seconds."""
        self._store.close()
        self._backing.close()

    @property
    def closed(self) -> bool:
        return self._store.closed

    def __enter__(self) -> NearCache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def destroy(self) -> None:
        """Remove the copies and the listener of this host. The server keeps its values."""
        self._store.destroy()

    def __repr__(self) -> str:
        return f"<shmstore.NearCache {self._store._key.shown} of {self._config.address.identity()}>"

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and hasattr(type(self._store), name):
            raise AttributeError(
                f"a cache with a backing has no {name}(): a server cannot promise what a local store does there"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __reduce__(self) -> Any:
        raise TypeError("a cache with a backing cannot be pickled; open it in the other process")

    def _raw(self, key: EntryKey) -> bytes:
        if type(key) is str and key.isascii() and len(key) <= KEY_MAX:  # by far the most
            return key.encode()
        return raw_key(f"store {self._store._key.shown}", key)[0]

    def _need_listener(self) -> None:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + 0.1
            try:
                ensure(self._store, self._config.for_listener())
            except (OSError, subprocess.SubprocessError, errors.ShmStoreError) as error:
                if is_foreign(error):
                    raise
                log = logger()
                if log is not None:
                    log.warning("shmstore %s: no listener can be started: %s", self._store._key.shown, error)
