"""Locks, leases and semaphores: exclusion among processes, threads and coroutines, also when a holder dies."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from pathlib import Path

import pytest

import shmstore

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from crowd import Crowd  # noqa: E402
from forked_child import Child  # noqa: E402
from test_get_or_set import held  # noqa: E402


@pytest.fixture(params=["lock", "reentrant", "lease", "semaphore"])
def guard(request, store):
    """A function that makes what excludes all others."""
    return {
        "lock": lambda **options: store.lock("x", **options),
        "reentrant": lambda **options: store.lock("x", reentrant=True, **options),
        "lease": lambda **options: store.lease("x", **options),
        "semaphore": lambda **options: store.semaphore("x", 1, **options),
    }[request.param]


def elsewhere(function, *args):
    """In another process: a re-entrant lock is free for this thread."""
    return Child(function, *args).answer()


def test_held_within_the_block(store, guard):
    with guard() as one:
        assert one and one.is_held() and len(held(store)) == 1
        assert not elsewhere(lambda: guard().acquire(timeout=0))
        assert guard().holders() == [os.getpid()]
    assert not one.is_held() and held(store) == [] and guard().holders() == []
    assert elsewhere(lambda: guard().acquire(timeout=0))


def test_timeout_of_zero_is_falsy(guard):
    def attempt():
        with guard(timeout=0) as one:
            return bool(one)

    with guard():
        assert elsewhere(attempt) is False
    assert elsewhere(attempt) is True


def test_timeout(guard):
    def attempt():
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=rf"'x' was not free within 0.1 s; held by process {os.getppid()}"):
            with guard(timeout=0.1):
                pytest.fail("it is held")
        assert not guard().acquire(timeout=0.05) and not guard().acquire(False)
        return time.monotonic() - began >= 0.1

    with guard():
        assert elsewhere(attempt)


def test_by_hand(store, guard):
    one = guard()
    assert one.acquire() and len(held(store)) == 1
    one.release()
    with pytest.raises(RuntimeError, match="'x' is not held"):
        one.release()
    assert held(store) == []


def test_exception_releases(store, guard):
    with pytest.raises(ZeroDivisionError), guard():
        raise ZeroDivisionError
    assert held(store) == []


def test_exclusion(store, guard):
    """A counter that is not atomic loses nothing."""
    store["n"] = 0

    def work(crowd, number):
        for _ in range(20):
            with guard():
                n = store["n"]
                time.sleep(0.0005)
                store["n"] = n + 1

    Crowd(6, work).end()
    assert store["n"] == 120 and held(store) == []


def test_exclusion_of_threads(store, guard):
    one, inside, most = guard(), [], []

    def work():
        for _ in range(20):
            with one:
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0002)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 120 and set(most) == {1} and held(store) == []


def test_exclusion_of_coroutines(store, guard):
    inside = []

    async def work(one):
        for _ in range(5):
            async with one:
                inside.append(1)
                assert len(inside) == 1
                await asyncio.sleep(0.001)
                inside.pop()

    async def main():
        one = guard()
        await asyncio.gather(*[work(one if n % 2 else guard()) for n in range(10)])

    asyncio.run(main())
    assert held(store) == []


def test_async_timeout(guard):
    async def main():
        async with guard():
            other = asyncio.create_task(attempt())
            return await other

    async def attempt():
        with pytest.raises(TimeoutError):
            async with guard(timeout=0.05):
                pytest.fail("it is held")
        async with guard(timeout=0) as one:
            return one, await guard().aacquire(timeout=0)

    assert asyncio.run(main()) == (None, False)


def test_death_releases(store, guard):
    def work(crowd, number):
        with guard():
            crowd.note("holds")
            time.sleep(600)

    crowd = Crowd(1, work)
    pid, _ = crowd.next()
    assert guard().holders() == [pid]
    killer = threading.Timer(0.1, crowd.kill, (pid,))
    killer.start()
    with guard(timeout=60) as one:
        assert one.is_held()
    killer.join()
    assert crowd.end() == [] and held(store) == []


def test_recover_releases(store, guard):
    """What dead processes held is gone, though nobody waits for it."""

    def work():
        guard().acquire()
        store.lock(b"other").acquire()
        store.semaphore("s", 3).acquire()

    elsewhere(work)
    places = store.semaphore("s", 3)
    places.acquire()
    assert len(held(store)) == 3
    store.recover()
    assert held(store) == [b"semaphore:s"] and len(store._value_and_version(places._key)[0]) == 4 + 24
    places.release()


def test_unreaped_death_releases(guard):
    """A zombie still has a process id."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        guard().acquire()
        os.write(write, b"1")
        os._exit(0)
    os.read(read, 1)
    with guard(timeout=60):
        pass
    os.waitpid(pid, 0)


def test_end_of_the_handle_releases(guard, key):
    def work():
        other = shmstore.Store(key)
        assert other.lock("y").acquire() and other.semaphore("z", 1).acquire()

    elsewhere(work)
    with shmstore.Store(key) as store:
        assert store.lock("y", timeout=60).acquire() and store.semaphore("z", 1, timeout=60).acquire()


def test_forked_child_holds_nothing(store, guard):
    with guard() as one:
        assert elsewhere(lambda: (one.is_held(), one.release())) == (False, False)
        assert one.is_held()


def test_names_are_not_keys(store, guard):
    store["x"] = 1
    with guard():
        assert list(store) == ["x"] and len(store) == 1 and bool(store) and dict(store) == {"x": 1}
        assert store.keys("").isdisjoint({"y"}) and store.clear() == 1
        assert len(store) == 0 and not store
        with pytest.raises(KeyError):
            store.popitem()
        assert not elsewhere(lambda: guard().acquire(timeout=0))


def test_lost_entry_is_told(store):
    lock = store.lock("x")
    with pytest.raises(shmstore.LeaseLost, match="'x' was taken over"), lock as one:
        store.delete(one.key)
        assert not one.is_held()
        with pytest.raises(shmstore.LeaseLost):
            one.token  # noqa: B018
    assert held(store) == [b"tokens:"]


def test_closed_within_the_block(make, guard, store):
    with guard():
        store.close()


def test_read_only_handle(store, make):
    reader = make(readonly=True)
    with pytest.raises(shmstore.ReadOnlyStore):
        reader.lock("x").acquire()


def test_full_store(make):
    store = make()
    n = 0
    for length in (4000, 100, 20, 1):
        with pytest.raises(shmstore.StoreFull):
            while True:
                store[f"k{n}"] = "x" * length
                n += 1
    with pytest.raises(shmstore.StoreFull, match="lock 'x'"):
        store.lock("x").acquire()
    store.clear()
    with store.lock("x"):
        pass


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda store: store.lock(5), TypeError), (lambda store: store.lock("x" * 40000), shmstore.InvalidKey),
        (lambda store: store.lock("x", timeout=-1), ValueError), (lambda store: store.lease(None), TypeError),
        (lambda store: store.semaphore("x", 0), ValueError), (lambda store: store.semaphore("x", 10_001), ValueError),
        (lambda store: store.semaphore("x", True), TypeError), (lambda store: store.semaphore("x", "2"), TypeError),
    ],
)  # fmt: skip
def test_wrong_arguments(store, call, error):
    with pytest.raises(error):
        call(store)


# ---- locks


def test_fencing_tokens_grow(store):
    def token(name):
        with store.lock(name) as one:
            assert one.token == one.token
            return one.token

    tokens = [token(name) for name in "aabab"] + [elsewhere(token, "a")] + [token("a")]
    assert tokens == sorted(set(tokens))


def test_fencing_token_after_a_death(store):
    def work(crowd, number):
        with store.lock("x") as one:
            crowd.note(str(one.token))
            time.sleep(600)

    crowd = Crowd(1, work)
    pid, text = crowd.next()
    crowd.kill(pid)
    with store.lock("x") as one:
        assert one.token > int(text)
    crowd.end()


def test_tokens_are_not_evicted(key):
    with shmstore.Cache(key, size="64K") as cache:
        with cache.lock("x") as one:
            first = one.token
        for n in range(3000):
            cache[f"k{n}"] = "x" * 100
        with cache.lock("x") as one:
            assert one.token == first + 1


def test_reentrant(store):
    with store.lock("x", reentrant=True) as outer:
        with store.lock("x", reentrant=True) as inner:
            assert inner is outer
        assert outer.is_held()
        results = []
        thread = threading.Thread(target=lambda: results.append(store.lock("x", reentrant=True).acquire(timeout=0)))
        thread.start()
        thread.join()
        assert results == [False]
    assert held(store) == []


def test_reentrant_by_hand(store):
    lock = store.lock("x", reentrant=True)
    assert lock.acquire() and lock.acquire()
    lock.release()
    assert lock.locked()
    lock.release()
    assert not lock.locked()


def test_reentrant_lock_of_another_thread(store):
    lock = store.lock("x", reentrant=True)
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    thread.join()
    with pytest.raises(RuntimeError, match="held by another thread"):
        lock.release()
    assert lock.locked()


def test_any_thread_releases_a_plain_lock(store):
    lock = store.lock("x")
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    thread.join()
    lock.release()
    assert held(store) == []


def test_reentrant_tasks(store):
    """Two tasks of one thread are two holders."""
    inside = []

    async def work():
        async with store.lock("x", reentrant=True), store.lock("x", reentrant=True):
            inside.append(1)
            assert len(inside) == 1
            await asyncio.sleep(0.001)
            inside.pop()

    async def main():
        await asyncio.gather(*[work() for _ in range(5)])

    asyncio.run(main())
    assert held(store) == []


def test_plain_lock_is_not_reentrant(store):
    with store.lock("x"), store.lock("x", timeout=0) as one:
        assert one is None


def test_left_by_another_task(store):
    async def main():
        lock = store.lock("x")
        await asyncio.create_task(lock.__aenter__())
        await asyncio.create_task(lock.__aexit__(None, None, None))

    asyncio.run(main())
    assert held(store) == []


def test_lease_is_that_of_get_or_set(store):
    with store.lease("k"):
        assert store.get_or_set("k", lambda: 1) == 1  # this thread has it
        del store["k"]
        task = threading.Thread(target=lambda: store.get_or_set("k", lambda: 2))
        task.start()
        task.join(0.1)
        assert task.is_alive() and "k" not in store
    task.join(60)
    assert store["k"] == 2


# ---- semaphores


def test_semaphore_has_places(store):
    inside = []
    threads = []

    def work():
        with store.semaphore("s", 3):
            inside.append(1)
            assert len(inside) <= 3
            time.sleep(0.01)
            inside.pop()

    for _ in range(12):
        threads.append(threading.Thread(target=work))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert held(store) == []


def test_semaphore_of_processes(store):
    def work(crowd, number):
        for _ in range(5):
            with store.semaphore("s", 3):
                assert store.incr("inside") <= 3
                time.sleep(0.002)
                store.decr("inside")

    Crowd(8, work).end()
    assert store["inside"] == 0 and held(store) == []


def test_places_of_dead_processes(store):
    def work(crowd, number):
        with store.semaphore("s", 3):
            crowd.note("holds")
            time.sleep(600)

    crowd = Crowd(3, work)
    pids = [crowd.next()[0] for _ in range(3)]
    assert not store.semaphore("s", 3).acquire(timeout=0)
    for pid in pids[:2]:
        crowd.kill(pid)
    one, other = store.semaphore("s", 3, timeout=60), store.semaphore("s", 3, timeout=60)
    assert one.acquire() and other.acquire() and not other.acquire(timeout=0)
    crowd.kill(pids[2])
    assert other.acquire()
    other.release()
    other.release()
    one.release()
    crowd.end()


def test_other_number_of_places(store):
    with store.semaphore("s", 3):
        with pytest.raises(ValueError, match="has 3 places now, not 4"):
            store.semaphore("s", 4).acquire()
    with store.semaphore("s", 4):
        pass
