"""A thread that waits sleeps until something happens. It does not look now and then, and each thing that ends a wait wakes it.

In these tests a sleep lasts an hour, so only a wake-up ends it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

import shmstore
from shmstore._base.durations import LONGEST_SLICE
from shmstore._core import ffi, lib
from shmstore._store import leases, listening, waiting

sys.path.insert(0, str(Path(__file__).resolve().parent))
from forked_child import Child
from fresh_process import assert_quiet, run
from store_programs import LONG

SECOND = 10**9  # ns
HOUR = 3600 * SECOND
FUTEX, FUTEX_WAITV = {"x86_64": "202", "aarch64": "98"}.get(os.uname().machine), "449"

pytestmark = pytest.mark.skipif(
    not os.access("/proc/self/syscall", os.R_OK) or FUTEX is None,
    reason="system calls of threads are not to be seen here",
)


@pytest.fixture
def for_an_hour(monkeypatch):
    """All sleeps after the first short one. A handle of a former test that is closed meanwhile would wake all threads."""
    gc.collect()
    gc.disable()
    monkeypatch.setattr(waiting, "_SLICE", HOUR)
    monkeypatch.setattr(waiting, "LONGEST_SLICE", HOUR)
    monkeypatch.setattr(leases, "_TOLD", HOUR)
    monkeypatch.setattr(listening, "_EVERYTHING", float("inf"))
    yield
    gc.enable()


def until(condition):
    deadline = time.monotonic() + 2 * LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class Waiting:
    """A thread in a call that waits. It sleeps when this is made."""

    def __init__(self, function, *arguments, **options):
        self.outcome = None
        self.tid = 0
        self.thread = threading.Thread(target=self._run, args=(function, arguments, options), daemon=True)
        self.thread.start()
        until(lambda: self.tid and (self.sleeps() or not self.thread.is_alive()))

    def _run(self, function, arguments, options):
        self.tid = threading.get_native_id()
        try:
            self.outcome = function(*arguments, **options)
        except Exception as error:
            self.outcome = error

    def _call(self):
        try:
            return Path(f"/proc/self/task/{self.tid}/syscall").read_text().split()
        except OSError:  # it has ended
            return []

    def sleeps(self):
        """In a sleep of about an hour on shared memory: the thread's stack says until when."""
        call = self._call()
        if call[:1] == [FUTEX_WAITV]:
            end, now = call[4], time.monotonic()
        elif call[:1] == [FUTEX] and call[2] == "0x0":  # FUTEX_WAIT, not private
            end, now = call[4], 0
        else:
            return False
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            memory.seek(int(end, 16))
            seconds = int.from_bytes(memory.read(8), "little")
        return self._call() == call and seconds - now > HOUR / SECOND / 2

    def wake_ups(self):
        lines = Path(f"/proc/self/task/{self.tid}/status").read_text().splitlines()
        return [line for line in lines if "ctxt_switches" in line]

    def end(self):
        self.thread.join(2 * LONG)
        assert not self.thread.is_alive()
        return self.outcome


class Holder:
    """A process that holds guards of a store, and lives on without the store when it is told so."""

    def __init__(self, key, *make_guards):
        self.read, write = os.pipe()
        read, self.write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                store = shmstore.Store(key, create=False)
                for make_guard in make_guards:
                    assert make_guard(store).acquire()
                os.write(write, b".")
                os.read(read, 1)
                store.close()
                os.write(write, b".")
                signal.pause()
            finally:
                os._exit(1)
        os.close(write)
        os.close(read)
        assert os.read(self.read, 1) == b"."

    def leave(self):
        os.write(self.write, b".")
        assert os.read(self.read, 1) == b"."

    def kill(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.read)
            os.close(self.write)
        self.pid = 0


@pytest.fixture
def hold(key, make):
    make()
    holders = []

    def made(*make_guards):
        holders.append(Holder(key, *make_guards))
        return holders[-1]

    yield made
    for holder in holders:
        holder.kill()


GUARDS = [lambda s: s.lock("x"), lambda s: s.lease("x"), lambda s: s.semaphore("x", 1)]
each_guard = pytest.mark.parametrize("make_guard", GUARDS, ids=["lock", "lease", "semaphore"])
needs_waitv = pytest.mark.skipif(tuple(map(int, os.uname().release.split(".")[:2])) < (5, 16), reason="no futex_waitv")
needs_pidfd = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no pidfd")


# ---- nothing happens


def bucket_of(store, key):
    raw, kind = store._raw_key(key)
    answer = ffi.new("struct shms_announced *")
    lib.shms_announce(store._handle, raw, len(raw), kind, False, 0, answer)
    return answer.bucket


def other_things(store, awaited):
    """Keys of other buckets are awaited and changed, and tags evicted that no awaited entry has."""
    bucket = bucket_of(store, awaited)
    keys = [key for key in map(str, range(1000)) if bucket_of(store, key) != bucket]
    other = Waiting(store.wait, keys[0], timeout=None)
    for key in keys[1:]:
        store.put(key, 1, tags=["t"])
    store.evict_tag("t")
    store[keys[0]] = 1
    assert other.end()
    store.expire_due()


def test_nothing_wakes_a_waiting_thread(store, for_an_hour):
    waiter = Waiting(store.wait, "awaited", timeout=None)
    before = waiter.wake_ups()
    other_things(store, "awaited")
    assert waiter.sleeps() and waiter.wake_ups() == before
    version = store.put("awaited", 1)
    assert waiter.end() == version


@needs_pidfd
@each_guard
def test_nothing_wakes_a_thread_that_waits_for_a_lock(store, hold, make_guard, for_an_hour):
    holder = hold(make_guard)
    waiter = Waiting(make_guard(store).acquire)
    before = waiter.wake_ups()
    other_things(store, make_guard(store)._key)
    assert waiter.sleeps() and waiter.wake_ups() == before
    holder.kill()
    assert waiter.end() is True


def test_an_hour_of_waiting_has_few_sleeps(store, monkeypatch):
    now, naps = lib.shms_now(), []

    class Passing:
        """Sleeps end at once, and the time has passed."""

        def __getattr__(self, name):
            return getattr(lib, name)

        def shms_now(self):
            return now + sum(naps)

        def shms_w_wait(self, *arguments):
            naps.append(arguments[6])
            return lib.SHMS_AGAIN

    monkeypatch.setattr(waiting, "lib", Passing())
    with pytest.raises(TimeoutError):
        store.wait("absent", timeout=3600)
    assert len(naps) < 75 and max(naps) == LONGEST_SLICE
    assert all(nap <= 2 * sum(naps[:number]) for number, nap in enumerate(naps) if number)


def test_an_hour_of_waiting_for_a_lock_has_few_sleeps(monkeypatch):
    now, naps = 1, []

    class Passing:
        SHMS_AGAIN = lib.SHMS_AGAIN
        shms_pokes_now, shms_unwatch = lib.shms_pokes_now, lib.shms_unwatch

        def shms_now(self):
            return now + sum(naps)

        def shms_watch(self, handle, owner, length, watch):
            watch[0] = 2**32 - 1

    class Held:
        _handle = 0

        def _is_gone(self, owner, closely):
            return False

        def _wait_slice(self, key, version, nanoseconds, pokes, owners):
            naps.append(nanoseconds)
            return False

    monkeypatch.setattr(leases, "lib", Passing())
    leases.await_change(Held(), leases.Busy(None, 1, [bytes(16)]), HOUR)
    assert sum(naps) == HOUR and len(naps) < 75 and max(naps) == LONGEST_SLICE


# ---- what ends a wait


@needs_waitv
def test_an_eviction_wakes(store, for_an_hour):
    version = store.put("a", 1, tags=["t"])
    waiters = [Waiting(store.wait, "a", after=version, timeout=None) for _ in range(3)]
    Child(store.evict_tag, "t").answer()
    assert [waiter.end() for waiter in waiters] == [0, 0, 0]


@needs_waitv
def test_an_eviction_of_another_tag_does_not_end_the_wait(store, for_an_hour):
    version = store.put("a", 1, tags=["t"])
    waiter = Waiting(store.wait, "a", after=version, timeout=None)
    store.evict_tag("another")
    until(waiter.sleeps)
    version = store.put("a", 2)
    assert waiter.end() == version


@needs_waitv
@pytest.mark.parametrize("all_namespaces", [False, True])
def test_a_clear_of_a_namespace_wakes(store, for_an_hour, all_namespaces):
    users = store.namespace("users")
    version = users.put("a", 1)
    waiter = Waiting(users.wait, "a", after=version, timeout=None)
    Child((store if all_namespaces else users).clear).answer()
    assert waiter.end() == 0


def test_an_eviction_wakes_coroutines(store, for_an_hour):
    version = store.put("a", 1, tags=["t"])

    async def main():
        tasks = [asyncio.ensure_future(store.wait_async("a", after=version, timeout=None)) for _ in range(3)]
        another = asyncio.ensure_future(store.wait_async("b", timeout=None))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        Child(store.evict_tag, "t").answer()
        assert await asyncio.wait_for(asyncio.gather(*tasks), 2 * LONG) == [0, 0, 0]
        assert not another.done()
        another.cancel()

    asyncio.run(main())


@needs_pidfd
@each_guard
def test_a_death_wakes(store, hold, make_guard, for_an_hour):
    holder = hold(make_guard)
    waiters = [Waiting(make_guard(store).acquire) for _ in range(3)]
    holder.kill()
    until(lambda: not all(waiter.thread.is_alive() for waiter in waiters))
    ended = [waiter for waiter in waiters if not waiter.thread.is_alive()]
    assert [waiter.outcome for waiter in ended] == [True]
    store.destroy()
    assert all(waiter is ended[0] or isinstance(waiter.end(), shmstore.StoreDestroyed) for waiter in waiters)


@needs_pidfd
def test_a_death_of_one_of_several(store, hold, for_an_hour):
    holders = [hold(lambda s: s.semaphore("x", 3)) for _ in range(3)]
    waiter = Waiting(store.semaphore("x", 3).acquire)
    holders[1].kill()
    assert waiter.end() is True


@needs_pidfd
def test_a_death_breaks_a_barrier(store, key, for_an_hour):
    read, write = os.pipe()

    def party():
        other = shmstore.Store(key, create=False)
        threading.Thread(
            target=lambda: os.write(write, b".") if until(lambda: other.barrier("b", 3).n_waiting) is None else None
        ).start()
        other.barrier("b", 3).wait()

    child = Child(party)
    assert os.read(read, 1) == b"."
    waiter = Waiting(store.barrier("b", 3).wait)
    os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    for fd in (read, write, child.read):
        os.close(fd)
    assert isinstance(waiter.end(), threading.BrokenBarrierError)


@needs_pidfd
@each_guard
def test_an_owner_that_leaves_wakes(store, hold, make_guard, for_an_hour):
    """Its process lives."""
    holder = hold(make_guard)
    waiter = Waiting(make_guard(store).acquire)
    holder.leave()
    assert waiter.end() is True


def test_an_owner_that_leaves_wakes_coroutines(store, hold, for_an_hour):
    holder = hold(lambda s: s.lock("x"))

    async def main():
        task = asyncio.ensure_future(store.lock("x").aacquire())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        holder.leave()
        assert await asyncio.wait_for(task, 2 * LONG) is True

    asyncio.run(main())


@pytest.mark.parametrize("tagged", [False, True])
def test_closing_the_handle_wakes(key, make, for_an_hour, tagged):
    make()
    store = shmstore.Store(key, create=False)
    version = store.put("a", 1, tags=["t"] if tagged else [])
    waiter = Waiting(store.wait, "a", after=version, timeout=None)
    store.close()
    assert isinstance(waiter.end(), shmstore.StoreClosed)


@needs_pidfd
def test_closing_the_handle_wakes_what_waits_for_a_lock(key, hold, for_an_hour):
    hold(lambda s: s.lock("x"))
    store = shmstore.Store(key, create=False)
    waiter = Waiting(store.lock("x").acquire)
    store.close()
    assert isinstance(waiter.end(), shmstore.StoreClosed)


def test_destroying_the_store_wakes(key, make, for_an_hour):
    store = make()
    waiter = Waiting(store.wait, "a", timeout=None)
    Child(store.destroy).answer()
    assert isinstance(waiter.end(), shmstore.StoreDestroyed)


def test_a_wait_goes_on_after_a_resize(store, for_an_hour):
    waiter = Waiting(store.wait, "a", timeout=None)
    Child(store.resize, 2 * store.info().size).answer()
    until(lambda: waiter.sleeps())
    version = store.put("a", 1)
    assert waiter.end() == version


# ---- what is left


def pidfds():
    links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    return len([link for link in links if "pidfd" in link])


@needs_pidfd
def test_nothing_stays_of_the_wait_for_a_death(store, hold, for_an_hour):
    holder = hold(lambda s: s.lock("x"))
    before, threads = pidfds(), len(os.listdir("/proc/self/task"))
    waiters = [Waiting(store.lock("x").acquire) for _ in range(5)]
    assert pidfds() == before + 1
    holder.leave()
    until(lambda: not all(waiter.thread.is_alive() for waiter in waiters))
    store.close()
    for waiter in waiters:
        waiter.end()
    assert pidfds() == before
    until(lambda: len(os.listdir("/proc/self/task")) <= threads)


@needs_pidfd
def test_an_exception_leaves_no_watch(store, hold, monkeypatch):
    hold(lambda s: s.lock("x"))
    before, is_gone = pidfds(), store._is_gone

    def strikes(self, owner, closely):
        if pidfds() > before:
            raise KeyboardInterrupt
        return is_gone(owner, closely)

    monkeypatch.setattr(shmstore.Store, "_is_gone", strikes, raising=False)
    with pytest.raises(KeyboardInterrupt):
        store.lock("x").acquire()
    assert pidfds() == before


@needs_pidfd
def test_a_forked_child_watches_by_itself(store, hold, for_an_hour):
    holder = hold(lambda s: s.lock("x"), lambda s: s.lock("y"))
    waiter = Waiting(store.lock("x").acquire)
    read, write = os.pipe()

    def acquire():
        inherited = pidfds()
        os.write(write, b".")
        return store.lock("y").acquire(timeout=2 * LONG), inherited

    child = Child(acquire)
    assert os.read(read, 1) == b"."
    holder.kill()
    assert child.answer() == (True, 0)
    assert waiter.end() is True
    os.close(read)
    os.close(write)


# ---- an old kernel

OLD_KERNEL = """
import errno, os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
import shmstore
from seccomp_faults import Refusal, install
install((Refusal("futex_waitv", errno.ENOSYS), Refusal("pidfd_open", errno.ENOSYS)))
store = shmstore.Store(shmstore.PRIVATE, size="64K")
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    store.lock("x").acquire()
    os.write(write, b".")
    signal.pause()
os.read(read, 1)
version = store.put("a", 1, tags=["t"])
answers = []
threads = [
    threading.Thread(target=lambda: answers.append(store.wait("a", after=version, timeout=600))),
    threading.Thread(target=lambda: answers.append(store.lock("x").acquire(timeout=600))),
]
for thread in threads:
    thread.start()
threads[0].join(0.3)
store.evict_tag("t")
threads[0].join()
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
threads[1].join()
assert answers == [0, True], answers
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the filter knows the numbers of x86-64")
def test_a_kernel_that_tells_neither_of_evictions_nor_of_deaths():
    """Waiters look by themselves."""
    assert_quiet(run(OLD_KERNEL, Path(__file__).resolve().parents[2] / "faults" / "crash"))
