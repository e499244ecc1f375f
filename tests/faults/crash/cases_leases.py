"""Cases of locks, leases and semaphores: whoever dies where, the next one that needs it has it at once."""

from __future__ import annotations

import os
from typing import Any

from cases import case
from raw_segment import sleepers

import shmstore
from shmstore._store.keys import KeptKey


def free(*names: str) -> Any:
    """After a death: each of these guards lets a survivor in without waiting."""

    def check(store: Any) -> None:
        for name in names:
            with guard(store, name, timeout=0) as held:
                if not held:
                    raise AssertionError(f"{name} is still held")

    return check


def guard(store: Any, name: str, **options: Any) -> Any:
    if name == "semaphore":
        return store.semaphore("two", 2, **options)
    return store.lease("absent", **options) if name == "lease" else store.lock("lock", **options)


def taken(name: str) -> Any:
    def prepare(store: Any) -> Any:
        taken = guard(store, name)
        taken.acquire()
        return taken

    return prepare


def left_by_the_dead(name: str) -> Any:
    """A process that ended within the guard."""

    def setup(store: Any) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                other = shmstore.Store(store.info().name, create=False)
                guard(other, name).acquire()
                if name == "semaphore":
                    guard(other, name).acquire()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert list(store._walk(b"", 64)), "nothing was left"

    return setup


def half_taken(store: Any) -> Any:
    """One of the two places is this victim's own already."""
    return taken("semaphore")(store)


case("take a lock", lambda s, _: s.lock("lock").acquire(), then=free("lock"))
case("release a lock", lambda s, lock: lock.release(), prepare=taken("lock"), then=free("lock"))
case(
    "take over a lock of the dead",
    lambda s, _: s.lock("lock").acquire(),
    setup=left_by_the_dead("lock"),
    then=free("lock"),
)
case("leave with a lock", lambda s, _: s.close(), prepare=taken("lock"), setup=sleepers, then=free("lock"))
case(
    "wait for a lock",
    lambda s, _: s.lock("lock").acquire(timeout=0.003),
    prepare=taken("lock"),
    then=free("lock"),
    sampled=False,
)
case("draw a token", lambda s, lock: next(iter(lock._acquired)).token, prepare=taken("lock"), then=free("lock"), sampled=False,
     tidy=lambda s: s.delete(KeptKey(b"tokens:")))  # fmt: skip
case("take a place of a semaphore", lambda s, _: guard(s, "semaphore").acquire(), then=free("semaphore", "semaphore"))
case(
    "take the last place",
    lambda s, _: guard(s, "semaphore").acquire(),
    prepare=half_taken,
    then=free("semaphore"),
    sampled=False,
)
case(
    "leave a semaphore",
    lambda s, place: place.release(),
    prepare=taken("semaphore"),
    then=free("semaphore"),
    sampled=False,
)
case("take over a place of the dead", lambda s, _: guard(s, "semaphore").acquire(), setup=left_by_the_dead("semaphore"),
     then=free("semaphore"), sampled=False)  # fmt: skip
case("get or set", lambda s, _: s.get_or_set("absent", lambda: 5), then=free("lease"), changes={"absent": [5]})
case("get or set after a death", lambda s, _: s.get_or_set("absent", lambda: 5), setup=left_by_the_dead("lease"),
     then=free("lease"), changes={"absent": [5]}, sampled=False)  # fmt: skip
