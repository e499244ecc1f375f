"""Many coroutines that wait: one thread for all of them, and nothing that stays when they end."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

import shmstore
from shmstore._core import ffi, lib
from shmstore._store import listening

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from forked_child import Child  # noqa: E402
from fresh_process import run  # noqa: E402
from store_programs import LONG  # noqa: E402

MANY = 2000


def threads():
    return len(os.listdir("/proc/self/task"))


def descriptors():
    """Without that of the listing."""
    return {
        fd: os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    }


def until(condition):
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def nothing_stays():
    gc.collect()
    before = threads(), descriptors()
    yield
    gc.collect()
    until(lambda: threads() <= before[0])  # one of a former test may have lingered
    assert descriptors().items() <= before[1].items()
    assert listening.ears == {}


async def begun(*coroutines):
    """Tasks that have begun to wait."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def test_one_thread_for_all(store):
    async def main():
        before = threads()
        tasks = await begun(*[store.wait_async(f"k{i}", timeout=LONG) for i in range(MANY)])
        assert threads() <= before + 1  # one of a former test lingers for a moment, and may serve again
        order = list(range(MANY))
        random.Random(5).shuffle(order)
        versions = {}
        for i in order:
            versions[i] = store.put(f"k{i}", i)
        assert await asyncio.gather(*tasks) == [versions[i] for i in range(MANY)]

    asyncio.run(main())


def test_each_is_told_of_its_key_alone(store):
    async def main():
        tasks = await begun(*[store.wait_async(f"k{i}", timeout=LONG) for i in range(MANY)])
        for i in range(0, MANY, 100):
            version = Child(store.put, f"k{i}", i).answer()
            assert await tasks[i] == version
        assert sum(task.done() for task in tasks) == MANY // 100
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(main())


def test_changes_that_pass_by_are_all_heard(store):
    """More rings than the log has, and waiters that come and go meanwhile."""

    async def follow(key, last):
        version, value = None, -1
        while value < last:
            version = await store.wait_async(key, after=version, timeout=LONG)
            value, version = store.get_versioned(key)
        return value

    def work():
        for round in range(50):
            for i in range(40):
                store.put(f"k{i}", round)

    async def main():
        tasks = await begun(*[follow(f"k{i}", 49) for i in range(40)])
        children = [Child(work) for _ in range(2)]
        assert await asyncio.gather(*tasks) == [49] * 40
        for child in children:
            child.answer()

    asyncio.run(main())


def test_cancelled(store):
    async def main():
        tasks = await begun(*[store.wait_async(f"k{i}") for i in range(MANY)])
        for task in tasks:
            task.cancel()
        assert {type(result) for result in await asyncio.gather(*tasks, return_exceptions=True)} == {
            asyncio.CancelledError
        }
        assert listening.ears == {}

    asyncio.run(main())


def test_loops_of_several_threads(store):
    def work(number):
        async def main():
            tasks = await begun(*[store.wait_async(f"{number} {i}", timeout=LONG) for i in range(50)])
            ready.wait()
            return await asyncio.gather(*tasks)

        results[number] = asyncio.run(main())

    results = {}
    ready = threading.Barrier(5)
    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    ready.wait()
    versions = {number: [store.put(f"{number} {i}", i) for i in range(50)] for number in range(4)}
    for worker in workers:
        worker.join()
    assert results == versions


def test_expiry_ends_a_wait(store):
    async def main():
        version = store.put("k", 1, ttl=0.05)
        assert await store.wait_async("k", after=version, timeout=LONG) == 0

    asyncio.run(main())


def test_read_only(store, make):
    reader = make(create=False, readonly=True)

    async def main():
        tasks = await begun(*[reader.wait_async(f"k{i}", timeout=LONG) for i in range(20)])
        versions = [store.put(f"k{i}", i) for i in range(20)]
        assert await asyncio.gather(*tasks) == versions

    asyncio.run(main())
    reader.close()


def test_many_stores():
    """More than one futex_waitv takes."""
    stores = [shmstore.Store(shmstore.PRIVATE, size="64K") for _ in range(140)]

    async def main():
        before = threads()
        tasks = await begun(*[store.wait_async("k", timeout=LONG) for store in stores])
        assert threads() <= before + 2
        versions = [store.put("k", 1) for store in reversed(stores)]
        assert await asyncio.gather(*tasks) == versions[::-1]

    asyncio.run(main())
    for store in stores:
        store.close()


def test_a_forked_child_waits_by_itself(store):
    async def main():
        tasks = await begun(store.wait_async("a", timeout=LONG), store.wait_async("b", timeout=LONG))
        child = Child(lambda: asyncio.run(store.wait_async("of the child", timeout=LONG)))
        version = store.put("of the child", 1)
        assert await asyncio.to_thread(child.answer) == version
        versions = [store.put("a", 1), store.put("b", 1)]
        assert await asyncio.gather(*tasks) == versions

    asyncio.run(main())


def test_coroutines_that_a_forked_child_drops_stay_with_the_parent(store):
    async def main():
        tasks = await begun(store.wait_async("a", timeout=LONG))

        def drop():
            tasks[0].get_coro().close()

        Child(drop).answer()
        version = store.put("a", 1)
        assert await tasks[0] == version

    asyncio.run(main())


def test_a_loop_that_is_closed_before_its_waits_end(store):
    loop = asyncio.new_event_loop()
    coroutine = store.wait_async("never")
    task = loop.create_task(coroutine)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    coroutine.close()
    task._log_destroy_pending = False
    del task, coroutine


def test_overwritten_bells(store):
    """Whatever is in these words, each change is heard of within a second or so."""
    header, shaken = lib.shms_memory(store._handle, ffi.new("uint64_t *")), random.Random(3)
    place = 1408  # docs/format.md

    async def main():
        for round in range(3):
            tasks = await begun(*[store.wait_async(f"{round} {i}", timeout=LONG) for i in range(20)])
            header[place : place + 4] = list(shaken.randbytes(4))
            header[place + 64 : place + 576] = list(shaken.randbytes(512))
            versions = [store.put(f"{round} {i}", i) for i in range(20)]
            assert await asyncio.gather(*tasks) == versions

    asyncio.run(main())
    header[place : place + 576] = [0] * 576


def test_a_writer_that_dies_before_its_ring(store):
    """Its bucket has changed, and nobody is told."""

    async def main():
        tasks = await begun(store.wait_async("k", timeout=LONG))
        rings = ffi.new("uint32_t *")
        lib.shms_heard(store._handle, rings, ffi.new("uint32_t[64]"))
        child = Child(without_a_ring, store)
        version = child.answer()
        assert await tasks[0] == version

    asyncio.run(main())


def without_a_ring(store):
    """As if it had ended before: the bell is put back to where it was."""
    memory = lib.shms_memory(store._handle, ffi.new("uint64_t *"))
    before = bytes(memory[1408:1412])
    word = ctypes.c_uint32.from_address(int(ffi.cast("uintptr_t", memory)) + 1408)
    word.value &= ~1  # nobody is woken
    version = store.put("k", 1)
    memory[1408:1412] = list(before)
    return version


# ---- deaths


def holder(make_guard, said):
    with make_guard():
        os.write(said, b".")
        signal.pause()


@pytest.fixture
def held(store):
    """A lock that a child holds, and its process id."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            holder(lambda: store.lock("x"), write)
        finally:
            os._exit(1)
    os.close(write)
    assert os.read(read, 1) == b"."
    os.close(read)
    yield pid
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass


@pytest.mark.parametrize("announced", [True, False])
def test_a_death_ends_the_wait_for_a_lock(store, held, monkeypatch, announced):
    if not announced:
        monkeypatch.delattr(os, "pidfd_open")

    async def acquire():
        async with store.lock("x") as mine:
            return mine.token

    async def main():
        tasks = await begun(*[acquire() for _ in range(20)])
        os.kill(held, signal.SIGKILL)
        os.waitpid(held, 0)
        tokens = await asyncio.gather(*tasks)
        assert len({*tokens}) == 20

    asyncio.run(main())


def test_a_wait_for_a_lock_that_is_cancelled(store, held):
    async def main():
        tasks = await begun(*[store.lock("x").aacquire() for _ in range(20)])
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert listening.ears == {}

    asyncio.run(main())


# ---- an old kernel

OLD_KERNEL = """
import asyncio, errno, os, sys
sys.path.insert(0, sys.argv[1])
import shmstore
from seccomp_faults import Refusal, install
install((Refusal("futex_waitv", errno.ENOSYS),))
stores = [shmstore.Store(shmstore.PRIVATE, size="64K") for _ in range(5)]
async def main():
    tasks = [asyncio.ensure_future(store.wait_async(str(i), timeout=60)) for store in stores for i in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    print(len(os.listdir("/proc/self/task")))
    versions = [store.put(str(i), 1) for store in stores for i in range(20)]
    assert await asyncio.gather(*tasks) == versions
asyncio.run(main())
while len(os.listdir("/proc/self/task")) > 1:
    pass
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the filter knows the numbers of x86-64")
def test_a_kernel_without_futex_waitv():
    """Each store has a thread then."""
    done = run(OLD_KERNEL, HERE.parents[1] / "faults" / "crash")
    assert (done.stdout, done.stderr) == ("6\n", "")
