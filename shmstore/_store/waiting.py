"""Waiting for a key to change: asleep on a futex, without the GIL."""

from __future__ import annotations

from shmstore._base.calls import set_result
from shmstore._base.durations import seconds, timeout_ns
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import late
from shmstore._core import ffi, lib
from shmstore._store.control import revalidate
from shmstore._store.failures import no_version
from shmstore._store.keys import EntryKey, raw_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import threading
    import weakref
    from typing import Any

    from shmstore._base.durations import Duration
    from shmstore.store import Store
else:
    asyncio, threading, weakref = late("asyncio"), late("threading"), late("weakref")

# ns: between two looks at what no process announces: a removal by the kernel, a close in another thread. A signal interrupts.
_SLICE, _LONGEST_SLICE = 100_000_000, 1_000_000_000
_SPINNING_SLICE = 20_000_000  # nothing wakes a process that spins


def wait(
    store: Store[Any],
    key: EntryKey,
    after: int | None,
    timeout: Duration | None,
    spin: Duration,
    stop: Any,
    passed: int = 0,
) -> int:
    """Wait in slices. *passed*: ns that wait() has waited already."""
    if after is not None and (type(after) is bool or not isinstance(after, int) or not 0 <= after < 2**64):
        raise no_version(store, "wait", key, after)
    raw, kind = raw_key(f"store {store._key.shown}", key)
    left = max(0, timeout_ns(timeout, "timeout") - passed)
    spinning = max(0, timeout_ns(spin, "spin") - passed)
    end = lib.shms_now() + left
    version = ffi.new("uint64_t *")
    long = _SLICE
    while True:
        status = lib.shms_usable(store._handle)  # also makes a forked child a client, with the lock held
        if status:
            store._reopen(status)
            continue
        nap = max(1, min(_SPINNING_SLICE if spinning else long, left))
        long = min(2 * long, _LONGEST_SLICE)
        status = lib.shms_w_wait(
            store._handle, raw, len(raw), kind, after is not None, after or 0, nap, min(spinning, nap), version
        )
        if status == lib.SHMS_OK:
            return int(version[0])
        if status == lib.SHMS_FORKED:
            continue
        if status in (lib.SHMS_DESTROYED, lib.SHMS_CLOSED):
            store._reopen(status)
            continue
        if status != lib.SHMS_AGAIN:
            raise store._fail(status)
        revalidate(store)
        left = end - lib.shms_now()
        spinning = max(0, spinning - nap)
        if stop is not None and stop():
            return 0
        if left <= 0:
            what = "was not there" if after is None else "did not change"
            limit = seconds(timeout_ns(timeout, "timeout"))
            raise TimeoutError(f"store {store._key.shown}: {key!r} {what} within {limit}")


async def wait_async(
    store: Store[Any], key: EntryKey, *, after: int | None = None, timeout: Duration | None = None, spin: Duration = 0.0
) -> int:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[int, BaseException | None]] = loop.create_future()
    awaited = threading.Event()  # only this frame refers to it: the sleeper stops when it is gone
    is_awaited = weakref.ref(awaited)

    def sleeper() -> None:
        result, error = 0, None
        try:
            result = wait(store, key, after, timeout, spin, lambda: is_awaited() is None)
        except BaseException as e:
            error = e
        try:
            loop.call_soon_threadsafe(set_result, done, (result, error))
        except RuntimeError as e:
            if is_foreign(e):
                raise
            # the loop has ended, and with it the waiting task

    try:
        threading.Thread(target=sleeper, name="shmstore-wait", daemon=True).start()
        version, error = await done
        if error is not None:
            raise error
        return version
    finally:
        del awaited  # a traceback may keep the frame; an exception that strikes before this does not keep it for long
