"""Barriers between processes, as threading.Barrier has them between threads.

The entry of a barrier is there while somebody waits: a state, the number of parties, a round, and a seat for each that has
arrived. The round is the seat of the first that arrived. The last one deletes the entry, so whoever waits in that round finds
it gone, or in another round, and goes on. A broken barrier keeps its entry until reset().
"""

from __future__ import annotations

from threading import BrokenBarrierError

from shmstore._base.calls import through
from shmstore._base.durations import timeout_ns
from shmstore._base.sentinels import DEFAULT
from shmstore._store import leases
from shmstore._store.keys import kept_key
from shmstore._store.leases import ADD, CAS, COMPUTE, OWNER, RAW, Busy, Result, owner_of, unique_value
from shmstore.codecs.error_path import type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shmstore._base.durations import Duration
    from shmstore._base.sentinels import Default
    from shmstore._store.keys import EntryKey
    from shmstore._store.leases import Steps
    from shmstore.store import Store

__all__ = ["Barrier"]

_FILLING, _BROKEN, _RESETTING = b"f", b"b", b"r"
_SEAT = OWNER + 8
_HEAD = 1 + 4 + _SEAT  # state, parties, round
_MOST = 10_000


class _Round:
    """The entry as it was at one moment."""

    __slots__ = ("round", "seats", "state", "version")

    def __init__(self, value: bytes, version: int) -> None:
        self.state = value[:1]
        self.round = value[5:_HEAD]
        self.seats = [value[at : at + _SEAT] for at in range(_HEAD, len(value), _SEAT)]
        self.version = version


class Barrier:
    """A barrier for *n* parties, in any processes: Store.barrier() makes it. All that use it give the same *n*.

    wait, await_            until all have arrived
    abort, reset            break it; make it new
    n_waiting, broken       what is so now
    """

    __slots__ = ("__weakref__", "_action", "_key", "_store", "_timeout", "name", "parties")

    def __init__(
        self,
        store: Store[Any],
        name: EntryKey,
        n: int,
        timeout: Duration | None = None,
        action: Callable[[], object] | None = None,
    ) -> None:
        if isinstance(n, bool) or not isinstance(n, int):
            raise TypeError(f"n is an int, not {type_name(type(n))}")
        if not 1 <= n <= _MOST:
            raise ValueError(f"n is 1 to {_MOST}, not {n}")
        timeout_ns(timeout, "timeout")
        self._store = store
        self._key = kept_key("barrier", name, f"store {store._key.shown}")
        self._timeout = timeout
        self._action = action
        self.name = name
        self.parties = n

    def wait(self, timeout: Duration | None | Default = DEFAULT) -> int:
        """Wait until all parties have called this, and return a number from 0 on, another one for each of them.

        The last one that arrives calls the barrier's action first. If a party dies while it waits, if the time is over for
        one, or on abort() and reset(), all that wait raise BrokenBarrierError, which is that of the module threading.
        """
        left, mine = self._left(timeout), unique_value(self._store)
        try:
            number = self._end(leases.run(self._store, self._steps(mine), left, self._action))
        except BaseException:
            through(self._leave, mine)
            raise
        return number

    async def await_(self, timeout: Duration | None | Default = DEFAULT) -> int:
        """The same for a coroutine."""
        left, mine = self._left(timeout), unique_value(self._store)
        try:
            number = self._end(await leases.arun(self._store, self._steps(mine), left, self._action))
        except BaseException:
            through(self._leave, mine)
            raise
        return number

    def _left(self, timeout: Any) -> int:
        return timeout_ns(self._timeout if timeout is DEFAULT else timeout, "timeout")

    def _end(self, number: int | None) -> int:
        if number is None:
            raise self._broken("not all parties arrived within the time")
        return number

    def _leave(self, mine: bytes) -> None:
        """After an error. If this party has arrived, the others can wait for it no longer."""
        while (now := self._now()) is not None and mine in now.seats:
            others = [seat for seat in now.seats if seat != mine]
            self._put(now, _BROKEN if now.state == _FILLING else now.state, others)

    def _broken(self, why: str = "a party died, gave up or aborted it") -> Exception:
        return BrokenBarrierError(f"store {self._store._key.shown}: {self._key!r}: {why}; reset() makes it new")

    def _steps(self, mine: bytes) -> Steps:
        store, key = self._store, self._key
        while True:  # arrive
            now = self._now()
            if now is None:
                if self.parties == 1:
                    if self._action is not None:
                        yield COMPUTE
                    yield Result(0)
                if store._put_if_(key, self._head(_FILLING, mine) + mine, None, ADD, 0, False, RAW):
                    number, round = 0, mine
                    break
            elif now.state == _BROKEN:
                raise self._broken()
            elif now.state == _RESETTING:
                if all([store._is_gone(owner_of(seat), False) for seat in now.seats]):
                    store.delete(key, now.version)
                else:
                    yield Busy(key, now.version, [owner_of(seat) for seat in now.seats])
            elif len(now.seats) + 1 == self.parties and self._any_gone(now):
                self._put(now, _BROKEN, now.seats)  # a party that nobody watched, for it was alone
            elif len(now.seats) + 1 < self.parties or self._action is not None:
                number, round = len(now.seats), now.round
                if self._put(now, _FILLING, [*now.seats, mine]):
                    break
            elif store.delete(key, now.version):
                yield Result(len(now.seats))
        if number + 1 == self.parties:
            yield COMPUTE
            now = self._now()
            if now is not None and now.round == round and now.state == _FILLING:
                store.delete(key, now.version)
        while (now := self._now()) is not None and now.round == round:
            if now.state != _FILLING:
                raise self._broken()
            if self._any_gone(now):
                self._put(now, _BROKEN, now.seats)
            else:
                yield Busy(key, now.version, [owner_of(seat) for seat in now.seats])
        yield Result(number)

    def _any_gone(self, now: _Round) -> bool:
        return any([self._store._is_gone(owner, False) for owner in {owner_of(seat) for seat in now.seats}])

    # ---- the entry

    def _now(self) -> _Round | None:
        found = self._store._value_and_version(self._key)
        if found is None:
            return None
        there = int.from_bytes(found[0][1:5], "little")
        if there != self.parties:
            raise ValueError(
                f"store {self._store._key.shown}: {self._key!r} has {there} parties now, not {self.parties}"
            )
        return _Round(*found)

    def _head(self, state: bytes, round: bytes) -> bytes:
        return state + self.parties.to_bytes(4, "little") + round

    def _put(self, now: _Round, state: bytes, seats: list[bytes]) -> int:
        """Without seats, a barrier that is being reset is gone. 0: another process has changed it meanwhile."""
        if state == _RESETTING and not seats:
            return self._store.delete(self._key, now.version)
        value = self._head(state, now.round) + b"".join(seats)
        return self._store._put_if_(self._key, value, None, CAS, now.version, False, RAW)

    # ---- what it tells, and breaking it

    @property
    def n_waiting(self) -> int:
        """How many wait now."""
        now = self._now()
        return len(now.seats) if now is not None and now.state == _FILLING else 0

    @property
    def broken(self) -> bool:
        """Whether it is broken, and needs a reset()."""
        now = self._now()
        return now is not None and now.state == _BROKEN

    def abort(self) -> None:
        """Break it: all that wait, and all that come until reset(), raise BrokenBarrierError."""
        mine = unique_value(self._store)
        while True:
            now = self._now()
            if now is None:
                if self._store._put_if_(self._key, self._head(_BROKEN, mine), None, ADD, 0, False, RAW):
                    return
            elif self._put(now, _BROKEN, now.seats):
                return

    def reset(self) -> None:
        """Make it new. All that wait raise BrokenBarrierError."""
        while (now := self._now()) is not None:
            waiting = [seat for seat in now.seats if not self._store._is_gone(owner_of(seat), False)]
            if self._put(now, _RESETTING, waiting):
                return

    def __repr__(self) -> str:
        return f"<shmstore.Barrier {self.name!r} for {self.parties} of store {self._store._key.shown}>"
