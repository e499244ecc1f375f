"""get_or_set: one computation for a key at a time, among all processes, threads and coroutines.

A caller that finds no value takes the lease of the key (leases.py), looks again, computes, puts and releases. The others
sleep on the lease and look at the value when they wake. So after an exception, or a death, the next one computes.

*stale* is part of an entry's time to live: its last seconds. An entry that has no more left is due. So a plain get knows
nothing of it. For *early*, the entry also says how long its computation took.

A computation that asks for its own key, in the same thread, task or a task that it started, computes without a lease.
"""

from __future__ import annotations

import os
from _contextvars import ContextVar
from math import log
from random import random

from shmstore._base.calls import through
from shmstore._base.durations import FOREVER, check_ttl, ttl_ns
from shmstore._base.sentinels import DEFAULT, KEEP, MISSING
from shmstore._core import lib
from shmstore._store import leases
from shmstore._store.keys import kept_key
from shmstore._store.leases import COMPUTE, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shmstore._store.keys import EntryKey, KeptKey
    from shmstore._store.leases import Steps
    from shmstore.store import Store

__all__ = ["Plan", "aget_or_set", "enter", "get_or_set", "is_computing", "leave", "lease_key", "place"]

_computing: ContextVar[frozenset[Any]] = ContextVar("shmstore_computing", default=frozenset())


class Plan:
    """When a value is due: *ttl* is that of put(), *stale* in seconds, *early* a factor, 0: never before the time. *tags*: those
    of the entry."""

    __slots__ = ("early", "plain", "stale", "tags", "ttl")

    def __init__(self, store: Store[Any], ttl: Any, stale: Any, early: Any, tags: Any = ()) -> None:
        self.tags = tags
        check_ttl(ttl)
        if ttl is KEEP:
            raise TypeError("ttl is that of a new value; there is none to keep")
        self.stale = 0.0 if stale is None else ttl_ns(stale, "stale") / 1e9
        if early is not None and (not isinstance(early, (bool, int, float)) or not early >= 0):
            raise ValueError(f"early is a factor, 0 or more, or True for 1.0, not {early!r}")
        self.early = float(early or 0)
        self.plain = not self.stale and not self.early
        if not self.plain:
            ttl = store._options.ttl if ttl is DEFAULT else ttl
            if ttl is None:
                raise ValueError("stale and early are about what expires: give a ttl, too")
            ttl = ttl_ns(ttl) / 1e9 + self.stale
        self.ttl = ttl

    def with_tags(self, tags: Any) -> Plan:
        plan = Plan.__new__(Plan)
        plan.early, plan.plain, plan.stale, plan.tags, plan.ttl = self.early, self.plain, self.stale, tags, self.ttl
        return plan

    def is_due(self, store: Store[Any], key: EntryKey, left: float | None) -> bool:
        """XFetch (Vattani, Chierichetti, Lowenstein: Optimal probabilistic cache stampede prevention, 2015): the longer a
        computation takes, the earlier some process is likely to do it."""
        if left is None:
            return False
        left -= self.stale
        return left <= 0 or (self.early > 0 and left <= store._cost(key) * self.early * -log(1 - random()))


def place(store: Store[Any], lease: KeptKey) -> tuple[Any, ...]:
    return os.getpid(), store._uuid, store._options.namespace, lease


def is_computing(store: Store[Any], lease: KeptKey) -> bool:
    """Whether this thread or task computes the value of this place."""
    return place(store, lease) in _computing.get()


def enter(here: tuple[Any, ...]) -> None:
    """From now on this thread or task computes the value of this place."""
    _computing.set(_computing.get() | {here})


def leave(here: tuple[Any, ...]) -> None:
    _computing.set(_computing.get() - {here})


def lease_key(store: Store[Any], key: EntryKey) -> KeptKey:
    return kept_key("lease", key, f"store {store._key.shown}")


def _look(store: Store[Any], key: EntryKey, plan: Plan) -> tuple[Any, int, bool]:
    """The value, its version and whether it is due; MISSING."""
    if plan.plain:
        return store.get(key, MISSING), 0, False
    found = store._value_and_life(key)
    return (MISSING, 0, True) if found is None else (found[0], found[2], plan.is_due(store, key, found[1]))


class _Computation:
    """What one caller holds while it computes, or waits for that."""

    __slots__ = ("held", "here")

    def __init__(self, store: Store[Any], key: EntryKey) -> None:
        lease = lease_key(store, key)
        self.here = place(store, lease)
        self.held = leases.Held(store, lease, leases.unique_value(store))

    def end(self) -> None:
        leave(self.here)
        self.held.release()

    def _steps(self, store: Store[Any], key: EntryKey, plan: Plan, seen: tuple[Any, int, bool]) -> Steps:
        """From what a look has *seen* on: no value, or one that is due."""
        value, version, due = seen
        if self.here in _computing.get():
            taken = store._generations(plan.tags)
            value = yield COMPUTE
            store.put(key, value, ttl=plan.ttl, tags=taken)
            yield Result(value)
        while (busy := leases.attempt(self.held)) is not None:
            if value is not MISSING:
                yield Result(value)  # stale, while another one computes
            yield busy
            value, version, due = _look(store, key, plan)
            if value is not MISSING and not due:
                yield Result(value)
        found, now_version, _ = _look(store, key, plan)  # another one may have put it before this one had the lease
        if found is not MISSING and (plan.plain or now_version != version):
            yield Result(found)
        taken = store._generations(plan.tags)  # what is evicted while the function runs is evicted
        enter(self.here)
        start = lib.shms_now()
        value = yield COMPUTE
        if plan.early:
            store._put_with_cost(key, value, plan.ttl, lib.shms_now() - start, taken)
        else:
            store.put(key, value, ttl=plan.ttl, tags=taken)
        yield Result(value)


def get_or_set(store: Store[Any], key: EntryKey, function: Callable[[], Any], plan: Plan) -> Any:
    seen = _look(store, key, plan)
    if seen[0] is not MISSING and not seen[2]:
        return seen[0]
    computation = _Computation(store, key)
    try:
        value = leases.run(store, computation._steps(store, key, plan, seen), FOREVER, function)
    finally:
        through(computation.end)
    return value


async def aget_or_set(store: Store[Any], key: EntryKey, function: Callable[[], Any], plan: Plan) -> Any:
    seen = _look(store, key, plan)
    if seen[0] is not MISSING and not seen[2]:
        return seen[0]
    computation = _Computation(store, key)
    try:
        value = await leases.arun(store, computation._steps(store, key, plan, seen), FOREVER, function)
    finally:
        through(computation.end)
    return value
