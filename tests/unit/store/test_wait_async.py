"""wait_async: the same answers as wait, a loop that goes on meanwhile, and no thread that stays."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path

import pytest

import shmstore
import shmstore.store
from shmstore._store import listening

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from store_programs import LONG, elsewhere, finished  # noqa: E402


@pytest.fixture
def no_thread_stays():
    before = threading.active_count()
    yield
    assert threading.active_count() <= before and listening.ears == {}


def test_async_results(store, no_thread_stays):
    async def main():
        version = store.put("k", 1)
        assert await store.wait_async("k") == version
        task = asyncio.create_task(store.wait_async("k", after=version, timeout=LONG))
        await asyncio.sleep(0.03)
        newer = store.put("k", 2)
        assert await task == newer
        task = asyncio.create_task(store.wait_async("k", after=newer, timeout=LONG))
        await asyncio.sleep(0.03)
        store.delete("k")
        assert await task == 0
        task = asyncio.create_task(store.wait_async("new", timeout=LONG, spin=0.001))
        finished(await asyncio.to_thread(elsewhere, store, "store.put('new', 1)"))
        assert await task == store.get_versioned("new")[1]

    asyncio.run(main())


def test_async_timeout(store, no_thread_stays):
    async def main():
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="'never' was not there"):
            await store.wait_async("never", timeout=0.1)
        assert 0.09 <= time.monotonic() - began
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(store.wait_async("never"), 0.05)
        with pytest.raises(ValueError):
            await store.wait_async("never", timeout=-1)
        with pytest.raises(TypeError):
            await store.wait_async(5)

    asyncio.run(main())


def test_async_cancel(store, no_thread_stays):
    async def main():
        tasks = [asyncio.create_task(store.wait_async("never")) for _ in range(10)]
        await asyncio.sleep(0.03)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 10
        assert store.incr("n") == 1

    asyncio.run(main())


def test_async_waits_do_not_block_the_loop(store, no_thread_stays):
    async def main():
        ticks, worst = 0, 0.0

        async def tick():
            nonlocal ticks, worst
            while True:
                began = time.monotonic()
                await asyncio.sleep(0.005)
                worst = max(worst, time.monotonic() - began - 0.005)
                ticks += 1

        ticker = asyncio.create_task(tick())
        waits = [asyncio.create_task(store.wait_async(f"k{i % 20}", timeout=LONG)) for i in range(80)]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in waits)
        during = ticks
        versions = {i: store.put(f"k{i}", i) for i in range(20)}
        assert await asyncio.gather(*waits) == [versions[i % 20] for i in range(80)]
        ticker.cancel()
        print(f"{during} ticks of 5 ms in 0.3 s with 80 waits, the latest {1e3 * worst:.1f} ms late")
        assert during >= 1  # 50 on an idle machine; a blocked loop would not tick at all

    asyncio.run(main())


def test_async_end_of_the_store(store, make, no_thread_stays):
    async def main():
        handle = make(create=False)
        closed = [asyncio.create_task(handle.wait_async("never")) for _ in range(3)]
        destroyed = [asyncio.create_task(store.wait_async("never")) for _ in range(3)]
        await asyncio.sleep(0.03)
        handle.close()
        results = await asyncio.gather(*closed, return_exceptions=True)
        assert [type(result) for result in results] == [shmstore.StoreClosed] * 3
        store.destroy()
        results = await asyncio.gather(*destroyed, return_exceptions=True)
        assert [type(result) for result in results] == [shmstore.StoreDestroyed] * 3

    asyncio.run(main())


def test_a_loop_that_ends_before_its_waits(store, no_thread_stays):
    """asyncio.run cancels what is left; and nothing is said."""

    async def main():
        for _ in range(3):
            asyncio.create_task(store.wait_async("never"))
        await asyncio.sleep(0.03)

    asyncio.run(main())
    assert (
        finished(
            elsewhere(
                store,
                """
import asyncio
async def main():
    tasks = [asyncio.create_task(store.wait_async("never")) for _ in range(5)]
    await asyncio.sleep(0.03)
asyncio.run(main())
""",
            )
        )
        == ""
    )
    store.recover()
    store.check()
