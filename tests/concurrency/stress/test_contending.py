"""Threads of several processes contend for a lock, a lease and a semaphore, and processes are killed with what they hold.

Two are never inside, and each death lets the others go on: the kernel tells their waiting threads (csrc/api/deaths.c).
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import traceback

import pytest

import shmstore

PROCESSES, THREADS, PATIENCE = 4, 3, 300
GUARDS = (lambda store: store.lock("x"), lambda store: store.lease("x"), lambda store: store.semaphore("x", 2))


def contend(store, number, rng):
    """One thread, for ever."""
    while True:
        which = rng.randrange(len(GUARDS))
        with GUARDS[which](store):
            if which < 2:
                store[f"inside {which}"] = (os.getpid(), number)
            time.sleep(rng.choice((0, 0.001, 0.01, 0.02)))  # most waits are longer than a brief one, too
            if which < 2 and store[f"inside {which}"] != (os.getpid(), number):
                store.incr("two inside")
            store.incr(f"turns {which}")


def run(store, number, rng):
    try:
        contend(store, number, rng)
    except BaseException:
        os.write(2, traceback.format_exc().encode())
        os._exit(1)


def started(key, seed):
    pid = os.fork()
    if pid == 0:
        try:
            store = shmstore.Store(key, create=False)
            for number in range(1, THREADS):
                rng = random.Random(f"{seed}/{number}")
                threading.Thread(target=run, args=(store, number, rng), daemon=True).start()
            run(store, 0, random.Random(f"{seed}/0"))
        finally:
            os._exit(1)
    return pid


def turns(store):
    return [store.get(f"turns {which}", 0) for which in range(len(GUARDS))]


@pytest.mark.parametrize("kills", [10, pytest.param(400, marks=pytest.mark.slow)])
def test_deaths_of_those_inside(make, key, kills):
    store, seed = make(), random.getrandbits(30)
    children = [started(key, f"{seed}/{number}") for number in range(PROCESSES)]
    rng = random.Random(seed)
    try:
        for kill in range(kills):
            victim = rng.randrange(PROCESSES)
            os.kill(children[victim], signal.SIGKILL)
            assert os.waitpid(children[victim], 0)[1] == signal.SIGKILL
            before, deadline = turns(store), time.monotonic() + PATIENCE
            while any(now <= then for now, then in zip(turns(store), before, strict=True)):
                assert time.monotonic() < deadline, f"no one goes on: {before} after {kill} kills, seed {seed}"
                time.sleep(0.005)
            children[victim] = started(key, f"{seed}/{PROCESSES + kill}")
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        statuses = [os.waitpid(pid, 0)[1] for pid in children]
    assert statuses == [signal.SIGKILL] * PROCESSES  # none had failed
    assert "two inside" not in store
    store.recover()
    store.check()
    for guard in GUARDS:
        assert guard(store).acquire(blocking=False)
