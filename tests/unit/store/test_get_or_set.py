"""get_or_set and aget_or_set: one computation at a time, whatever happens to the one that computes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

import shmstore
from shmstore._store import leases, listening

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from crowd import Crowd  # noqa: E402
from forked_child import Child  # noqa: E402

LEASES = 64  # the kind of keys that walks do not show


def held(store):
    """The locks and leases that are there."""
    return list(store._walk(b"", LEASES))


def test_value_is_computed_once(store):
    calls = []
    for _ in range(3):
        assert store.get_or_set("k", lambda: calls.append(1) or 7) == 7
    assert calls == [1] and store["k"] == 7 and held(store) == []


@pytest.mark.parametrize("value", [None, False, 0, "", [], {"a": None}])
def test_none_and_false_are_stored_values(store, value):
    calls = []
    for _ in range(2):
        assert store.get_or_set("k", lambda: calls.append(1) or value) == value
    assert calls == [1]


def test_str_and_bytes_keys_differ(store):
    assert store.get_or_set("k", lambda: 1) == 1
    assert store.get_or_set(b"k", lambda: 2) == 2


def test_longest_key(store):
    longest = "k" * 32768
    assert store.get_or_set(longest, lambda: 1) == 1 == store[longest]
    with pytest.raises(shmstore.InvalidKey, match="32769 bytes"):
        store.get_or_set(longest + "k", lambda: 1)


def test_ttl_is_that_of_put(store):
    store.get_or_set("k", int, ttl=60)
    assert 59 < store.ttl("k") <= 60
    store.get_or_set("forever", int)
    assert store.ttl("forever") is None


def test_exception_reaches_its_caller_and_the_next_one_tries(store):
    with pytest.raises(ZeroDivisionError):
        store.get_or_set("k", lambda: 1 / 0)
    assert "k" not in store and held(store) == []
    assert store.get_or_set("k", lambda: 1) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, StopIteration, GeneratorExit, SystemExit])
def test_unusual_exceptions(store, error):
    def function():
        raise error

    with pytest.raises(error):
        store.get_or_set("k", function)
    assert held(store) == []


def test_stop_iteration_of_a_signal_handler(store, monkeypatch):
    """It may strike anywhere; in a generator Python would make a RuntimeError of it."""

    def strike(*_):
        raise StopIteration("by a handler")

    monkeypatch.setattr(leases, "unique_value", strike)
    with pytest.raises(StopIteration, match="by a handler"):
        store.get_or_set("k", int)


def test_value_that_cannot_be_stored(store):
    with pytest.raises(shmstore.CodecError, match="'k'"):
        store.get_or_set("k", object)
    assert held(store) == []


def test_recursion_computes_for_itself(store):
    def outer():
        return store.get_or_set("k", lambda: 1) + 1

    assert store.get_or_set("k", outer) == 2 == store["k"]
    assert held(store) == []


def test_other_keys_inside(store):
    def fibonacci(n):
        return n if n < 2 else sum(store.get_or_set(f"fib:{m}", lambda m=m: fibonacci(m)) for m in (n - 1, n - 2))

    assert store.get_or_set("fib:30", lambda: fibonacci(30)) == 832040
    assert len(store) == 31


def test_read_only_handle(store, make):
    store["k"] = 1
    reader = make(readonly=True)
    assert reader.get_or_set("k", lambda: 2) == 1
    with pytest.raises(shmstore.ReadOnlyStore):
        reader.get_or_set("other", pytest.fail)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"ttl": -1}, ValueError, "ttl is more than 0"),
        ({"ttl": "1"}, TypeError, "ttl is a number"),
        ({"ttl": shmstore.KEEP}, TypeError, "none to keep"),
        ({"ttl": 1, "stale": 0}, ValueError, "stale is more than 0"),
        ({"stale": 1}, ValueError, "give a ttl"),
        ({"early": 1}, ValueError, "give a ttl"),
        ({"ttl": 1, "early": -1}, ValueError, "early is a factor"),
        ({"ttl": 1, "early": "1"}, ValueError, "early is a factor"),
    ],
)
def test_wrong_options(store, options, error, words):
    with pytest.raises(error, match=words):
        store.get_or_set("k", pytest.fail, **options)


# ---- a crowd


def test_stampede_of_processes(store):
    """64 processes ask for one key at once."""

    def work(crowd, number):
        def compute():
            crowd.note("computes")
            time.sleep(0.2)
            return {"answer": 42}

        assert store.get_or_set("k", compute) == {"answer": 42}

    assert Crowd(64, work).end() == ["computes"]
    assert held(store) == [] and len(store) == 1


@pytest.mark.parametrize("ending", [signal.SIGKILL, None])
def test_stampede_whose_process_ends(store, ending):
    """The one that computes is killed half way, or raises: one of the others takes over, and only one."""
    release, go = os.pipe()

    def work(crowd, number):
        def compute():
            crowd.note("computes")
            if os.read(release, 1) == b"1":
                raise OSError("half way")
            return 42

        try:
            assert store.get_or_set("k", compute) == 42
        except OSError:
            crowd.note("failed")

    crowd = Crowd(64, work)
    pid, text = crowd.next()
    assert text == "computes"
    if ending is not None:
        crowd.kill(pid)  # it waits for what to do
        rest = ["computes"]
    else:
        os.write(go, b"1")
        notes = dict([crowd.next(), crowd.next()])  # the next one may compute before the first has noted
        assert notes.pop(pid) == "failed" and list(notes.values()) == ["computes"]
        rest = []
    os.write(go, b"2")
    assert crowd.end() == rest
    os.close(release)
    os.close(go)
    assert held(store) == []


def test_stampede_of_threads(store):
    calls, results = [], []

    def compute():
        calls.append(1)
        time.sleep(0.1)
        return 42

    threads = [threading.Thread(target=lambda: results.append(store.get_or_set("k", compute))) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1] and results == [42] * 64


def test_stampede_of_coroutines(store):
    calls, before = [], threading.active_count()

    async def compute():
        calls.append(1)
        await asyncio.sleep(0.1)
        return 42

    async def main():
        assert await asyncio.gather(*[store.aget_or_set("k", compute) for _ in range(1000)]) == [42] * 1000
        assert threading.active_count() <= before  # that of an earlier test may just end

    asyncio.run(main())
    assert calls == [1] and held(store) == []


def test_coroutines_beside_another_process(store):
    """A process computes; the coroutines of this one wait for it, and take over when it is killed."""
    crowd = Crowd(1, lambda crowd, _: store.get_or_set("k", lambda: crowd.note("computes") or time.sleep(600)))
    pid, _ = crowd.next()

    async def main():
        tasks = [asyncio.create_task(store.aget_or_set("k", lambda: 7)) for _ in range(10)]
        await asyncio.sleep(0.05)
        crowd.kill(pid)
        assert await asyncio.gather(*tasks) == [7] * 10

    asyncio.run(main())
    crowd.end()


def test_hit_does_not_suspend(store):
    store["k"] = 1
    coroutine = store.aget_or_set("k", pytest.fail)
    with pytest.raises(StopIteration) as done:  # without any event loop
        coroutine.send(None)
    assert done.value.value == 1


def test_plain_function_in_a_coroutine(store):
    assert asyncio.run(store.aget_or_set("k", lambda: 5)) == 5 == store["k"]


def test_exception_in_a_coroutine(store):
    async def fails():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(store.aget_or_set("k", fails))
    assert held(store) == []


def test_cancelled_computation(store):
    async def main():
        task = asyncio.create_task(store.aget_or_set("k", lambda: asyncio.sleep(600)))
        await asyncio.sleep(0.01)
        assert len(held(store)) == 1
        other = asyncio.create_task(store.aget_or_set("k", lambda: 3))
        await asyncio.sleep(0.01)
        task.cancel()
        assert await other == 3
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert held(store) == []


def test_cancelled_waiter(store):
    async def main():
        with store.lease("k"):
            task = asyncio.create_task(waiter())
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert listening.ears == {}

    async def waiter():
        async with store.lease("k"):
            pytest.fail("it is held")

    asyncio.run(main())
    assert held(store) == []


def test_recursion_in_a_child_task(store):
    """What the computation awaits may ask for the same key in a task of its own."""

    async def outer():
        return await asyncio.create_task(store.aget_or_set("k", lambda: 1)) + 1

    assert asyncio.run(asyncio.wait_for(store.aget_or_set("k", outer), 60)) == 2


def test_forked_child_does_not_release(store):
    """A computation that forks: the child leaves the block, and the parent still holds the lease."""

    def compute():
        pid = os.fork()
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
            assert len(held(store)) == 1
        return 1

    parent = os.getpid()
    try:
        store.get_or_set("k", compute)
    finally:
        if os.getpid() != parent:
            os._exit(0)
    assert held(store) == []


# ---- stale and early


def test_stale_value_while_one_computes(store):
    assert store.get_or_set("fresh", lambda: "new", ttl=60, stale=600) == "new" and 659 < store.ttl("fresh") <= 660
    assert store.get_or_set("k", lambda: "old", ttl=0.05, stale=600) == "old"
    time.sleep(0.1)
    assert store.get("k") == "old"

    def compute():
        child = Child(lambda: (store.get_or_set("k", pytest.fail, ttl=600, stale=600), store.get("k")))
        assert child.answer() == ("old", "old")
        return "new"

    assert store.get_or_set("k", compute, ttl=600, stale=600) == "new" == store["k"]
    assert store.get_or_set("k", pytest.fail, ttl=600, stale=600) == "new"


def test_stale_value_whose_process_died(store):
    store.get_or_set("k", lambda: "old", ttl=0.01, stale=600)
    time.sleep(0.05)
    compute = lambda crowd: crowd.note("computes") or time.sleep(600)  # noqa: E731
    crowd = Crowd(1, lambda crowd, _: store.get_or_set("k", lambda: compute(crowd), ttl=1, stale=600))
    pid, _ = crowd.next()
    assert store.get_or_set("k", pytest.fail, ttl=1, stale=600) == "old"
    crowd.kill(pid)
    assert store.get_or_set("k", lambda: "new", ttl=1, stale=600) == "new"
    crowd.end()


def test_exception_leaves_the_stale_value(store):
    store.get_or_set("k", lambda: "old", ttl=0.01, stale=600)
    time.sleep(0.05)
    with pytest.raises(ZeroDivisionError):
        store.get_or_set("k", lambda: 1 / 0, ttl=0.01, stale=600)
    assert store["k"] == "old"


def test_ttl_of_the_handle(make):
    store = make(ttl=100)
    store.get_or_set("k", int, stale=50)
    assert 149 < store.ttl("k") <= 150


def test_value_without_expiry_is_never_due(store):
    store["k"] = 1
    assert store.get_or_set("k", pytest.fail, ttl=1, stale=1, early=1) == 1


def test_early(store):
    """The probability follows from the time that the computation took (XFetch): exp(-left / (cost * early))."""

    def compute():
        time.sleep(0.02)
        return 1

    store.get_or_set("k", compute, ttl=600, early=1)
    assert 0.02 <= store._cost("k") < 10 and store["k"] == 1
    assert store.get_or_set("k", pytest.fail, ttl=600, early=0.001) == 1
    calls = []
    for _ in range(200):  # 600 seconds are left, and exp(-600 / 60000) is 0.99
        store.get_or_set("k", lambda: calls.append(1), ttl=600, early=600 * 100 / store._cost("k"))
    assert len(calls) > 150


def test_cost_beside_the_name_of_a_codec(make):
    class Reversed:
        name = "reversed"

        def encode(self, value):
            return value.encode()[::-1]

        def decode(self, data):
            return bytes(data)[::-1].decode()

    store = make(codec=Reversed())
    assert store.get_or_set("k", lambda: "abc", ttl=60, early=1) == "abc" == store["k"]
    assert store._cost("k") > 0 and store.describe("k").codec == "reversed"
    store["k"] = "plain"
    assert store._cost("k") == 0 and store["k"] == "plain"


# ---- in a cache


def test_lease_is_not_evicted(key, make):
    with shmstore.Cache(key + "-cache", size="64K") as cache:
        try:

            def compute():
                for n in range(5000):
                    cache[f"other:{n}"] = "x" * 100
                assert len(held(cache)) == 1 and cache.stats().evictions
                return 42

            assert cache.get_or_set("k", compute) == 42
            assert held(cache) == [] and cache.check() == 0
        finally:
            cache.destroy()
