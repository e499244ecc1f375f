"""Waiting for a key to change: asleep on a futex, without the GIL.

Whatever ends a wait wakes the sleeper, with few exceptions (csrc/engine/wait.c, docs/design.md). For these, a sleep ends after a
tenth of a second, the next one after twice that time, and so on, up to a minute.
"""

from __future__ import annotations

from shmstore._base.durations import LONGEST_SLICE, seconds, timeout_ns
from shmstore._core import ffi, lib
from shmstore._store.control import revalidate
from shmstore._store.failures import no_version
from shmstore._store.green import hub_ear, wait_in_hub
from shmstore._store.keys import EntryKey, raw_key
from shmstore._store.listening import TIME_IS_UP, wait_in_loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shmstore._base.durations import Duration
    from shmstore.store import Store

# ns: the first sleep, and the longest one of a handle that nobody can wake (csrc/engine/wait.c). Each is twice the one before.
_SLICE, _LONGEST_UNTOLD = 100_000_000, 1_000_000_000
_SPINNING_SLICE = 20_000_000  # nothing wakes a process that spins


def wait(
    store: Store[Any],
    key: EntryKey,
    after: int | None,
    timeout: Duration | None,
    spin: Duration,
    passed: int = 0,
) -> int:
    """Wait in slices. *passed*: ns that wait() has waited already."""
    _check(store, key, after)
    left = max(0, timeout_ns(timeout, "timeout") - passed)
    ear = hub_ear()
    if ear is not None:
        found = wait_in_hub(ear, store, key, after, left)
        if found == TIME_IS_UP:
            raise _too_late(store, key, after, timeout)
        return found
    spinning = max(0, timeout_ns(spin, "spin") - passed)
    end = lib.shms_now() + left
    version = ffi.new("uint64_t *")
    long, longest = _SLICE, _LONGEST_UNTOLD if store._options.readonly else LONGEST_SLICE
    while True:
        status = lib.shms_usable(store._handle)  # also makes a forked child a client, with the lock held
        if status:
            store._reopen(status)
            continue
        raw, kind = store._raw_key(key)  # of a namespace it depends on the store, which a cache may have opened anew
        nap = max(1, min(_SPINNING_SLICE if spinning else long, left))
        long = min(2 * long, longest)
        status = lib.shms_w_wait(
            store._handle, raw, len(raw), kind, after is not None, after or 0, nap, min(spinning, nap), version
        )
        if status == lib.SHMS_OK:
            return int(version[0])
        if status == lib.SHMS_FORKED:
            continue
        if status in (lib.SHMS_DESTROYED, lib.SHMS_CLOSED, lib.SHMS_SUPERSEDED):
            store._reopen(status)
            continue
        if status != lib.SHMS_AGAIN:
            raise store._fail(status)
        revalidate(store)
        left = end - lib.shms_now()
        spinning = max(0, spinning - nap)
        if left <= 0:
            raise _too_late(store, key, after, timeout)


async def wait_async(
    store: Store[Any], key: EntryKey, *, after: int | None = None, timeout: Duration | None = None, spin: Duration = 0.0
) -> int:
    _check(store, key, after)
    left = timeout_ns(timeout, "timeout")
    timeout_ns(spin, "spin")  # a loop that spins would run nothing else
    version = await wait_in_loop(store, key, after, left)
    if version == TIME_IS_UP:
        raise _too_late(store, key, after, timeout)
    return version


def _check(store: Store[Any], key: EntryKey, after: Any) -> None:
    if after is not None and (type(after) is bool or not isinstance(after, int) or not 0 <= after < 2**64):
        raise no_version(store, "wait", key, after)
    raw_key(f"store {store._key.shown}", key)  # is it a key at all?


def _too_late(store: Store[Any], key: EntryKey, after: int | None, timeout: Duration | None) -> TimeoutError:
    what = "was not there" if after is None else "did not change"
    limit = seconds(timeout_ns(timeout, "timeout"))
    return TimeoutError(f"store {store._key.shown}: {key!r} {what} within {limit}")
