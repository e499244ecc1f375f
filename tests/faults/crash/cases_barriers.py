"""Cases of barriers: a party that dies breaks the barrier for the others, or was the last one, and then they pass."""

from __future__ import annotations

import os
import threading
from typing import Any

from cases import case

import shmstore
from shmstore._store.leases import unique_value


def barrier(store: Any, timeout: float | None = 0) -> Any:
    return store.barrier("barrier", 2, timeout=timeout)


def arrives(store: Any, _: Any) -> None:
    """The first party: the other one does not come within the time."""
    try:
        barrier(store).wait()
    except threading.BrokenBarrierError:
        return
    raise AssertionError("nobody else was there")


def one_waits(store: Any) -> None:
    """A party that has arrived, and died since: it is found dead, and never waited for."""
    pid = os.fork()
    if pid == 0:
        try:
            other = shmstore.Store(store.info().name, create=False)
            mine = unique_value(other)
            next(barrier(other)._steps(mine))  # up to where it waits
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert barrier(store).n_waiting == 1, "nobody waits"


def broken(store: Any) -> None:
    barrier(store).abort()


def usable(store: Any) -> None:
    """After a reset, whoever died where: it lets parties pass. And what it is before that is no state between two."""
    mine = barrier(store, 10)
    if not mine.broken and mine.n_waiting > 2:
        raise AssertionError(f"{mine.n_waiting} parties wait, of 2")
    mine.reset()
    passed = []
    parties = [threading.Thread(target=lambda: passed.append(barrier(store, 10).wait())) for _ in range(2)]
    for party in parties:
        party.start()
    for party in parties:
        party.join()
    if sorted(passed) != [0, 1]:
        raise AssertionError(f"of 2 parties, {passed} passed")


case("arrive at a barrier first", arrives, then=usable)
case("arrive beside a party of the dead", arrives, setup=one_waits, then=usable, sampled=False)
case("arrive at a broken barrier", arrives, setup=broken, then=usable, sampled=False)
case("break a barrier", lambda s, _: barrier(s).abort(), then=usable, sampled=False)
case(
    "break a barrier that a dead party waits at",
    lambda s, _: barrier(s).abort(),
    setup=one_waits,
    then=usable,
    sampled=False,
)
case("make a broken barrier new", lambda s, _: barrier(s).reset(), setup=broken, then=usable)
case(
    "make a barrier new that a dead party waits at",
    lambda s, _: barrier(s).reset(),
    setup=one_waits,
    then=usable,
    sampled=False,
)
case("pass a barrier of one", lambda s, _: s.barrier("barrier", 1).wait(), then=usable, sampled=False)
