"""Locks, leases and semaphores: what `with` takes. Each is an entry of the store's own (leases.py).

A lock has an entry while it is held. The entry of a semaphore has a seat for each holder; the last holder deletes it. So a lock
that is not held leaves nothing, and the next process that needs a lock of a dead process takes it over.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident

from shmstore import errors
from shmstore._base.calls import GuardCalls, through
from shmstore._base.durations import seconds, timeout_ns
from shmstore._base.sentinels import DEFAULT
from shmstore._store import computing, green, leases
from shmstore._store.keys import KeptKey, kept_key
from shmstore._store.leases import ADD, CAS, OWNER, RAW, Busy, Held, Result, owner_of, unique_value
from shmstore.codecs.error_path import type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from shmstore._base.durations import Duration
    from shmstore._base.sentinels import Default
    from shmstore._store.keys import EntryKey
    from shmstore._store.leases import Steps
    from shmstore.store import Store

__all__ = ["Lease", "Lock", "Semaphore"]


class _Guard(GuardCalls):
    """What can be acquired and released, by hand or by `with` and `async with`.

    A signal handler may raise at any instruction, also after the entry was added. So acquiring makes the value of the entry
    first, and after an exception it abandons the entry that has this value. Releasing is in C: release(), __exit__ and __aexit__
    find what is held, and call _leave until it has ended (csrc/python/through.c).
    """

    __slots__ = ("__weakref__", "_acquired", "_entered", "_key", "_store", "_timeout", "name")

    _WHAT = ""
    _HELD: type[Held] = Held

    def __init__(self, store: Store[Any], name: EntryKey, timeout: Duration | None) -> None:
        timeout_ns(timeout, "timeout")
        self._store = store
        self._timeout = timeout
        self._key = kept_key(self._WHAT, name, f"store {store._key.shown}")
        # What _new() made, and what is held by it: that, or what a reentrant lock holds already. One step adds or removes it.
        self._acquired: dict[Held, Held] = {}
        self._entered: dict[Held, tuple[Any, Held | None]] = {}  # with the thread or task
        self.name = name

    def _new(self) -> Held:
        return self._HELD(self._store, self._key, unique_value(self._store))

    def _steps(self, new: Held) -> Steps:
        return leases.take(new)

    def acquire(self, blocking: bool = True, timeout: Duration | None | Default = DEFAULT) -> bool:
        """Whether it was acquired, within the time. The default is the timeout of the object; without *blocking*, 0."""
        left, new = self._left_of(blocking, timeout), self._new()
        try:
            acquired = self._acquire(new, leases.run(self._store, self._steps(new), left))
        except BaseException:
            through(self._abandon, new)
            raise
        return acquired

    async def aacquire(self, blocking: bool = True, timeout: Duration | None | Default = DEFAULT) -> bool:
        """The same for a coroutine."""
        left, new = self._left_of(blocking, timeout), self._new()
        try:
            acquired = self._acquire(new, await leases.arun(self._store, self._steps(new), left))
        except BaseException:
            through(self._abandon, new)
            raise
        return acquired

    def _acquire(self, new: Held, held: Held | None) -> bool:
        if held is not None:
            self._acquired[new] = held
        return held is not None

    def _left_of(self, blocking: bool, timeout: Any) -> int:
        return timeout_ns(self._timeout if timeout is DEFAULT else timeout, "timeout") if blocking else 0

    # ---- with

    def __enter__(self) -> Held | None:
        new = self._new()
        try:
            held = self._enter(new, leases.run(self._store, self._steps(new), self._left_of(True, DEFAULT)))
        except BaseException:
            through(self._abandon, new)
            raise
        return held

    async def __aenter__(self) -> Held | None:
        new = self._new()
        try:
            held = self._enter(new, await leases.arun(self._store, self._steps(new), self._left_of(True, DEFAULT)))
        except BaseException:
            through(self._abandon, new)
            raise
        return held

    def _enter(self, new: Held, held: Held | None) -> Held | None:
        if held is None and self._left_of(True, DEFAULT):
            raise TimeoutError(self._not_within())
        self._entered[new] = _me(), held
        return held

    async def _left(self) -> Literal[False]:
        """What __aexit__ returns."""
        return False

    # ---- the ways out. Each may be cut off anywhere, and called again.

    def _acquired_last(self) -> tuple[Held, Held]:
        acquired = self._acquired.copy()  # in one step: other threads enter and leave
        if not acquired:
            raise RuntimeError(f"store {self._store._key.shown}: {self._key!r} is not held by this object")
        last = acquired.popitem()
        self._may_release(last[1])
        return last

    def _entered_last(self) -> tuple[Held, Held | None]:
        entered, me = self._entered.copy(), _me()
        last = new, (who, held) = entered.popitem()
        while who != me and entered:
            new, (who, held) = entered.popitem()
        if who != me:  # another task leaves than the one that entered
            new, (_, held) = last
        return new, held

    def _leave(self, new: Held, held: Held | None) -> None:
        try:
            if held is not None:
                self._let_go(new, held)
        finally:
            if self._acquired.pop(new, None) is None:
                self._entered.pop(new, None)

    def _may_release(self, held: Held) -> None:
        """Any thread may."""

    def _let_go(self, new: Held, held: Held) -> None:
        if not held.release() and held.pid == os.getpid():
            raise errors.LeaseLost(
                f"store {self._store._key.shown}: {self._key!r} was taken over: this process was held for dead, or the entry was "
                "overwritten; what was done meanwhile may have been done twice"
            )

    def _abandon(self, new: Held) -> None:
        self._acquired.pop(new, None)
        self._entered.pop(new, None)
        new.release()

    # ---- what it tells

    def _owners(self) -> list[bytes]:
        found = self._store._value_and_version(self._key)
        return [] if found is None else [owner_of(found[0])]

    def holders(self) -> list[int]:
        """The process ids of those that hold it and live, each in its own pid namespace."""
        return [_pid(owner) for owner in self._owners() if not self._store._is_gone(owner, True)]

    def _not_within(self) -> str:
        limit = seconds(timeout_ns(self._timeout, "timeout"))
        holders = ", ".join(map(str, self.holders()))
        held = f"process {holders}" if holders else "another process"
        return f"store {self._store._key.shown}: {self._key!r} was not free within {limit}; held by {held}"

    def __repr__(self) -> str:
        return f"<shmstore.{type(self).__name__} {self.name!r} of store {self._store._key.shown}>"


def _pid(owner: bytes) -> int:
    return int.from_bytes(owner[:8], "little") & 0x3FFFFF  # layout.h: the owner word


def _me() -> Any:
    """This thread, and this task or green thread if an event loop or a hub runs in it."""
    events: Any = sys.modules.get("asyncio")
    loop = events._get_running_loop() if events is not None else None
    return get_ident(), id(events.current_task(loop)) if loop is not None else green.current()


class Lock(_Guard):
    """A lock that one holder has at a time, among all processes, threads and coroutines: Store.lock() makes it.

    with lock as held: ...         *held* is falsy if it was not acquired; held.token is its fencing token
    acquire, aacquire, release     by hand
    locked, holders                what is so now
    """

    __slots__ = ("_reentrant",)

    _WHAT = "lock"

    def __init__(
        self, store: Store[Any], name: EntryKey, timeout: Duration | None = None, reentrant: bool = False
    ) -> None:
        super().__init__(store, name, timeout)
        self._reentrant = reentrant

    def locked(self) -> bool:
        """Whether a living process holds it."""
        return bool(self.holders())

    def _steps(self, new: Held) -> Steps:
        return self._again(new) if self._reentrant else leases.take(new)

    def _again(self, new: Held) -> Steps:
        """Take it, or enter once more what this thread or task holds already, through any object."""
        place = self._place()
        hold = _reentrant.get(place)
        if hold is not None and hold[0].is_held():
            hold[1][new] = None
            yield Result(hold[0])
        while (busy := leases.attempt(new)) is not None:
            yield busy
        _reentrant[place] = new, {new: None}
        yield Result(new)

    def _place(self) -> tuple[Any, ...]:
        return os.getpid(), self._store._uuid, self._store._options.namespace, self._key, _me()

    def _may_release(self, held: Held) -> None:
        hold = _reentrant.get(self._place())
        if self._reentrant and (hold is None or hold[0] is not held):
            raise RuntimeError(f"store {self._store._key.shown}: {self._key!r} is held by another thread or task")

    def _let_go(self, new: Held, held: Held) -> None:
        place = self._place() if self._reentrant else None
        hold = _reentrant.get(place)
        if hold is None or hold[0] is not held:
            super()._let_go(new, held)
            return
        hold[1].pop(new, None)
        if not hold[1]:
            try:
                super()._let_go(new, held)
            finally:
                _reentrant.pop(place, None)

    def _abandon(self, new: Held) -> None:
        for place, hold in list(_reentrant.items()):
            hold[1].pop(new, None)
            if hold[0] is new:
                _reentrant.pop(place, None)
        super()._abandon(new)


# What this process holds, and what has entered it, by store, lock, and thread or task.
_reentrant: dict[Any, tuple[Held, dict[Held, None]]] = {}


class Lease(Lock):
    """The right to compute the value of a key: Store.lease() makes it. get_or_set() takes the same lease."""

    __slots__ = ()

    _WHAT = "lease"

    def _enter(self, new: Held, held: Held | None) -> Held | None:
        if super()._enter(new, held) is not None:
            computing.enter(computing.place(self._store, self._key))
        return held

    def _leave(self, new: Held, held: Held | None) -> None:
        computing.leave(computing.place(self._store, self._key))
        super()._leave(new, held)

    def _abandon(self, new: Held) -> None:
        computing.leave(computing.place(self._store, self._key))
        super()._abandon(new)


# ---- semaphores


class _Seat(Held):
    """One of the places of a semaphore."""

    __slots__ = ()

    def _is_in(self, value: bytes) -> bool:
        return self.value in _seats(value)

    def _give_up(self) -> bool:
        store = self._store
        while (found := store._value_and_version(self.key)) is not None and self._is_in(found[0]):
            if _exchange(store, self.key, found, [seat for seat in _seats(found[0]) if seat != self.value]):
                return True
        return False


_HEAD, _SEAT = 4, OWNER + 8  # bytes: the number of places; a value as that of a lease


def _seats(value: bytes) -> list[bytes]:
    return [value[at : at + _SEAT] for at in range(_HEAD, len(value), _SEAT)]


def _exchange(store: Store[Any], key: KeptKey, found: tuple[bytes, int], seats: list[bytes]) -> int:
    """The version that the entry has now, or True; 0 if another process has changed it meanwhile."""
    if not seats:
        return store.delete(key, found[1])
    return store._put_if_(key, found[0][:_HEAD] + b"".join(seats), None, CAS, found[1], False, RAW)


def _take_seat(new: Held, places: int) -> Steps:
    store, key, head = new._store, new.key, places.to_bytes(_HEAD, "little")
    while True:
        found = store._value_and_version(key)
        if found is None:
            if store._put_if_(key, head + new.value, None, ADD, 0, False, RAW):
                break
            continue
        if found[0][:_HEAD] != head:
            there = int.from_bytes(found[0][:_HEAD], "little")
            raise ValueError(f"store {store._key.shown}: {key!r} has {there} places now, not {places}")
        seats = _seats(found[0])
        if len(seats) >= places:
            seats = [seat for seat in seats if not store._is_gone(owner_of(seat), False)]
        if len(seats) >= places:
            yield Busy(key, found[1], [owner_of(seat) for seat in seats])
        elif _exchange(store, key, found, [*seats, new.value]):
            break
    yield Result(new)


class Semaphore(_Guard):
    """A semaphore that *n* holders have at a time: Store.semaphore() makes it. All that use it give the same *n*.

    with semaphore as held: ...    *held* is falsy if it was not acquired
    acquire, aacquire, release     by hand
    holders                        the processes of those inside
    """

    __slots__ = ("_n",)

    _WHAT = "semaphore"
    _HELD = _Seat

    def __init__(self, store: Store[Any], name: EntryKey, n: int, timeout: Duration | None = None) -> None:
        if isinstance(n, bool) or not isinstance(n, int):
            raise TypeError(f"n is an int, not {type_name(type(n))}")
        if not 1 <= n <= _MOST:
            raise ValueError(f"n is 1 to {_MOST}, not {n}")
        super().__init__(store, name, timeout)
        self._n = n

    def _steps(self, new: Held) -> Steps:
        return _take_seat(new, self._n)

    def _owners(self) -> list[bytes]:
        found = self._store._value_and_version(self._key)
        return [] if found is None else [owner_of(seat) for seat in _seats(found[0])]


_MOST = 10_000  # each acquisition writes all seats


def release_dead(store: Store[Any], raw: bytes) -> None:
    """Give up what dead processes hold of the lock, lease or semaphore with this key. A barrier is for those that wait."""
    key, what = KeptKey(raw), raw.partition(b":")[0].removesuffix(b"-b")
    found = store._value_and_version(key)
    if found is None:
        return
    if what in (b"lock", b"lease") and store._is_gone(owner_of(found[0]), True):
        store.delete(key, found[1])
    if what == b"semaphore":
        seats = _seats(found[0])
        living = [seat for seat in seats if not store._is_gone(owner_of(seat), True)]
        if living != seats:
            _exchange(store, key, found, living)
