"""Leases: entries of the store's own that name their owner, so that a waiter can prove the owner's death.

The value of a lease is the owner, as the engine names a client, and a number that this process gives to no other lease.
A lease is taken by adding the entry, released by deleting it, and taken over by cas, once the owner has left or is proved
dead. So a kill at any instruction leaves a free lease, or one that any process may take over.

Waiters sleep on the entry, as wait() does. The kernel tells them when the owner's process ends: event loops by a descriptor
(listening.py), and threads by a thread of C code (csrc/api/deaths.c). An owner that leaves wakes them itself. An owner that calls
exec does neither. So threads also look at the owner: after a second, then after twice as long each time, and once a minute at
last. Where the kernel cannot tell of a death, they look after 5 ms, then less often, down to ten times a second.

The steps of a caller that waits are written once, as a generator. It yields a Busy to wait for, COMPUTE where the caller's
function is to run, and at the end a Result. ``run`` drives it for threads, and ``arun`` for coroutines.
"""

from __future__ import annotations

import os
from itertools import count
from time import time_ns

from shmstore import errors
from shmstore._base.calls import through
from shmstore._base.durations import LONGEST_SLICE
from shmstore._base.foreign import is_foreign
from shmstore._core import ffi, lib
from shmstore._store.green import hub_ear, wait_in_hub
from shmstore._store.keys import KeptKey
from shmstore._store.listening import wait_in_loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import Any

    from shmstore.store import Store

    Steps = Generator[Any, Any, None]  # yields a Busy, COMPUTE or a Result

__all__ = ["COMPUTE", "Busy", "Held", "Result", "arun", "attempt", "owner_of", "run", "take", "unique_value"]

RAW, ADD, CAS = lib.SHMS_CODEC_RAW, 1, 3  # the codec, and modes of _put_if_
COMPUTE = None
OWNER = 16  # bytes
_BRIEF = 5_000_000  # ns: most locks are released within this, so nothing is prepared for a longer wait
# ns between two looks at the owner: if its death is told, and if it is not
_TOLD, _LONGEST_TOLD = 1_000_000_000, LONGEST_SLICE
_UNTOLD, _LONGEST_UNTOLD = 10_000_000, 100_000_000
_CLOSELY = 10  # of the latter, each so many by all means; the others by the process id alone
_OWNERS_MAX = 64  # csrc/engine/wait.h: SHMS_OWNERS_MAX
_numbers = count(1)


class Busy:
    """What a caller waits for: the entry *key* has another version than this, or one of the owners is gone."""

    __slots__ = ("key", "owners", "version")

    def __init__(self, key: KeptKey, version: int, owners: Sequence[bytes]) -> None:
        self.key = key
        self.version = version
        self.owners = owners


class Result:
    """What the steps of a caller end with."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Held:
    """A lease that this process holds, or tries to take: its entry has the *value*."""

    __slots__ = ("_store", "_token", "key", "pid", "value", "version")

    def __init__(self, store: Store[Any], key: KeptKey, value: bytes) -> None:
        self._store = store
        self._token: int | None = None
        self.key = key
        self.pid = os.getpid()
        self.value = value
        self.version = 0  # of the entry; 0: not known, or not the same all the time

    def _is_in(self, value: bytes) -> bool:
        return value == self.value

    def is_held(self) -> bool:
        """Whether no other process has taken it over. A forked child does not hold what its parent holds."""
        found = self._store._value_and_version(self.key)
        return found is not None and self._is_in(found[0]) and self._store._owner() == owner_of(self.value)

    @property
    def token(self) -> int:
        """The fencing token: a number that is greater than those of all former holders.

        Whatever the holder writes to can refuse a token that is smaller than one that it has seen: its writer was held for
        dead, and lost the lock. The number is drawn when it is first asked for, while the lock is held.

        Raises: LeaseLost if it is not held any more.
        """
        if self._token is None:
            token = self._store.incr(TOKENS, initial=_first_token(), ttl=None)
            if not self.is_held():
                raise errors.LeaseLost(f"store {self._store._key.shown}: {self.key!r} is not held any more")
            self._token = token
        return self._token

    def release(self) -> bool:
        """False: it is not held, or not by this process."""
        try:
            return self._store._owner() == owner_of(self.value) and self._give_up()
        except (errors.StoreClosed, errors.StoreDestroyed) as error:  # it ended with the client, or with the store
            if is_foreign(error):
                raise
            return True

    def _give_up(self) -> bool:
        if self.version:
            return self._store.delete(self.key, self.version)
        found = self._store._value_and_version(self.key)
        return found is not None and found[0] == self.value and self._store.delete(self.key, found[1])


TOKENS = KeptKey(b"tokens:")


def _first_token() -> int:
    """Greater than the tokens of a former store of this name, unless those were more than a million in a second."""
    return time_ns() // 1000


def owner_of(value: bytes) -> bytes:
    return value[:OWNER]


def unique_value(store: Store[Any]) -> bytes:
    return store._owner() + next(_numbers).to_bytes(8, "little")


def attempt(held: Held) -> Busy | None:
    """Take the lease, if it is free or its owner is gone. Otherwise say what to wait for.

    An exception of a signal handler may come when the entry is there already: so callers release, whatever happens.
    """
    store, key, value = held._store, held.key, held.value
    while not (version := store._put_if_(key, value, None, ADD, 0, False, RAW)):
        found = store._value_and_version(key)
        if found is None:
            continue
        holder, seen = found
        if not store._is_gone(owner_of(holder), True):
            return Busy(key, seen, (owner_of(holder),))
        if version := store._put_if_(key, value, None, CAS, seen, False, RAW):
            break
    held.version = version
    return None


def take(held: Held) -> Steps:
    while (busy := attempt(held)) is not None:
        yield busy
    yield Result(held)


# ---- waiting


def await_change(store: Store[Any], busy: Busy, left: int) -> None:
    """Wait for at most *left* ns."""
    ear = hub_ear()
    if ear is not None:
        wait_in_hub(ear, store, busy.key, busy.version, left, busy.owners)
        return
    owners = {*busy.owners}
    names = b"".join(owners) if len(owners) <= _OWNERS_MAX else b""
    end = lib.shms_now() + left
    if store._wait_slice(busy.key, busy.version, min(_BRIEF, left), lib.shms_pokes_now(), names):
        return
    watches = ffi.new("uint32_t[]", _OWNERS_MAX)  # C writes it: no exception of a signal handler comes in between
    try:
        _await_told(store, busy, owners, names, end, watches)
    finally:
        through(_unwatch, watches)


def _await_told(store: Store[Any], busy: Busy, owners: set[bytes], names: bytes, end: int, watches: Any) -> None:
    for number, owner in enumerate(owners if names else ()):
        lib.shms_watch(store._handle, owner, len(owner), watches + number)
    is_told = bool(names) and all(watches[0 : len(owners)])
    nap, longest = (_TOLD, _LONGEST_TOLD) if is_told else (_UNTOLD, _LONGEST_UNTOLD)
    looks = 0
    while True:
        pokes = lib.shms_pokes_now()  # before the look at the owners: a death after it is told
        looks += 1
        if any([store._is_gone(owner, is_told or looks % _CLOSELY == 0) for owner in owners]):
            return
        left = end - lib.shms_now()
        if left <= 0 or store._wait_slice(busy.key, busy.version, min(nap, left), pokes, names):
            return
        nap = min(2 * nap, longest)


def _unwatch(watches: Any) -> None:
    for number in range(_OWNERS_MAX):
        lib.shms_unwatch(watches + number)


def _advance(steps: Steps, answer: Any = None) -> Any:
    """What the caller is to do next. A generator makes a RuntimeError of a StopIteration, which a signal handler may raise."""
    try:
        return steps.send(answer)
    except RuntimeError as error:
        if is_foreign(error):
            raise
        if isinstance(error.__cause__, StopIteration):
            raise error.__cause__ from None
        raise


def run(store: Store[Any], steps: Steps, left: int, function: Callable[[], Any] | None = None) -> Any:
    """Go through the steps of a caller that may wait for *left* ns in all. None: that was not long enough.

    Steps hold nothing that has to be given up at their end: a generator would swallow a GeneratorExit of a signal handler then.
    """
    end = 0
    request = _advance(steps)
    while type(request) is not Result:
        answer = None
        if request is COMPUTE:
            answer = function()  # type: ignore[misc]
        elif left <= 0:
            return None
        else:
            end = end or lib.shms_now() + left
            await_change(store, request, left)
            left = end - lib.shms_now()
        request = _advance(steps, answer)
    return request.value


async def arun(store: Store[Any], steps: Steps, left: int, function: Callable[[], Any] | None = None) -> Any:
    """The same for a coroutine. *function* may return an awaitable."""
    end = 0
    request = _advance(steps)
    while type(request) is not Result:
        answer = None
        if request is COMPUTE:
            answer = function()  # type: ignore[misc]
            if hasattr(type(answer), "__await__"):
                answer = await answer
        elif left <= 0:
            return None
        else:
            end = end or lib.shms_now() + left
            await wait_in_loop(store, request.key, request.version, left, request.owners)
            left = end - lib.shms_now()
        request = _advance(steps, answer)
    return request.value
