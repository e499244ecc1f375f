"""Barriers: all go on together, or all are told that they cannot."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from crowd import Crowd  # noqa: E402
from test_get_or_set import held  # noqa: E402


def arrived(barrier, number):
    deadline = time.monotonic() + 60
    while barrier.n_waiting < number:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def in_thread(function):
    """A thread, and the exceptions of the function in it."""
    errors = []

    def run():
        try:
            function()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


def test_rounds_of_processes(store):
    def work(crowd, number):
        barrier = store.barrier("b", 5, timeout=60)
        for round in range(10):
            store.incr(f"arrived {round}")
            crowd.note(f"{round}:{barrier.wait()}")
            assert store[f"arrived {round}"] == 5

    said = Crowd(5, work).end()
    assert sorted(said) == sorted(f"{round}:{number}" for round in range(10) for number in range(5))
    assert held(store) == []


def test_coroutines(store):
    async def main():
        return await asyncio.gather(*[store.barrier("b", 3).await_() for _ in range(3)])

    assert sorted(asyncio.run(main())) == [0, 1, 2] and held(store) == []


def test_one_party(store):
    calls = []
    assert store.barrier("b", 1, action=lambda: calls.append(1)).wait() == 0 and calls == [1]


def test_action_comes_first(store):
    calls, seen = [], []

    def work():
        store.barrier("b", 3, action=lambda: calls.append(1)).wait()
        seen.append(len(calls))

    threads = [in_thread(work)[0] for _ in range(3)]
    for thread in threads:
        thread.join()
    assert calls == [1] and seen == [1, 1, 1] and held(store) == []


def test_action_that_raises(store):
    def action():
        raise ZeroDivisionError

    make = lambda: store.barrier("b", 2, action=action)  # noqa: E731
    thread, errors = in_thread(lambda: make().wait())
    arrived(make(), 1)
    with pytest.raises(ZeroDivisionError):
        make().wait()
    thread.join()
    assert [type(error) for error in errors] == [threading.BrokenBarrierError] and make().broken


def test_timeout_breaks_it(store):
    barrier = store.barrier("b", 3)
    thread, errors = in_thread(barrier.wait)
    arrived(barrier, 1)
    with pytest.raises(threading.BrokenBarrierError, match="not all parties arrived"):
        barrier.wait(timeout=0.05)
    thread.join()
    assert len(errors) == 1 and barrier.broken and barrier.n_waiting == 0
    with pytest.raises(threading.BrokenBarrierError, match="reset"):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken and held(store) == []


def test_the_last_party_finds_that_another_one_died(store):
    """The others of a barrier for two: nobody else could have found it."""

    def work(crowd, number):
        store.barrier("b", 2).wait(600)

    crowd, barrier = Crowd(1, work), store.barrier("b", 2)
    arrived(barrier, 1)
    crowd.kill(next(iter(crowd.children)))
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(60)
    assert barrier.broken
    barrier.reset()
    crowd.end()


def test_death_breaks_it(store):
    barrier = store.barrier("b", 3)
    crowd = Crowd(1, lambda crowd, _: crowd.note("comes") or barrier.wait())
    pid, _ = crowd.next()
    thread, errors = in_thread(barrier.wait)
    arrived(barrier, 2)
    crowd.kill(pid)
    thread.join()
    assert len(errors) == 1 and barrier.broken
    barrier.reset()
    crowd.end()
    assert held(store) == []


def test_abort(store):
    barrier = store.barrier("b", 3)
    threads = [in_thread(barrier.wait) for _ in range(2)]
    arrived(barrier, 2)
    barrier.abort()
    for thread, errors in threads:
        thread.join()
        assert len(errors) == 1
    assert barrier.broken
    barrier.abort()
    barrier.reset()
    barrier.abort()
    assert barrier.broken
    barrier.reset()
    assert not barrier.broken


def test_reset_while_some_wait(store):
    barrier = store.barrier("b", 3)
    threads = [in_thread(barrier.wait) for _ in range(2)]
    arrived(barrier, 2)
    barrier.reset()
    again = [in_thread(barrier.wait) for _ in range(3)]
    for thread, errors in threads:
        thread.join()
        assert len(errors) == 1
    for thread, errors in again:
        thread.join()
        assert errors == []
    assert held(store) == []


def test_cancelled_party(store):
    async def main():
        barrier = store.barrier("b", 2)
        task = asyncio.create_task(barrier.await_())
        while barrier.n_waiting == 0:
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return barrier.broken

    assert asyncio.run(main())


def test_other_number_of_parties(store):
    thread, errors = in_thread(store.barrier("b", 2).wait)
    arrived(store.barrier("b", 2), 1)
    with pytest.raises(ValueError, match="has 2 parties now, not 3"):
        store.barrier("b", 3).wait()
    store.barrier("b", 2).wait()
    thread.join()
    assert errors == []


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (10_001, ValueError), (True, TypeError), ("2", TypeError)])
def test_wrong_number(store, n, error):
    with pytest.raises(error):
        store.barrier("b", n)
