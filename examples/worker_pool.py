"""Let the workers of two pools share one cache.

    python worker_pool.py

A `multiprocessing.Pool` computes. Then a `ProcessPoolExecutor`, whose workers are other processes that start in another
way, finds all results. Each worker opens the store once, by its name, when it starts.
"""

import multiprocessing
import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import resource_tracker

import shmstore

NUMBERS = range(1, 400)
SIGNALS = {signal.SIGINT, signal.SIGTERM}

store: shmstore.Store[int]  # of this worker


def open_store(name: str) -> None:
    global store
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the creator of the pool ends it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    store = shmstore.Store(name, create=False)


def collatz(start: int) -> int:
    """Count the steps from a number to 1, unless some worker of some pool has done so before."""
    name = f"collatz:{start}"
    steps: int | None = store.get(name)
    if steps is None:
        steps, number = 0, start
        while number != 1:
            number = 3 * number + 1 if number % 2 else number // 2
            steps += 1
        store[name] = steps
        store.incr("computed")
    return steps


def main() -> None:
    name = f"worker-pool-{os.getpid()}"
    with shmstore.Store[int](name, create=True, size="4M") as cache:
        try:
            # a signal amid the making of a Pool would leave its threads running
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            with multiprocessing.Pool(3, open_store, (name,)) as pool:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
                first = pool.map(collatz, NUMBERS)
            print(f"Pool: {cache['computed']} of {len(NUMBERS)} computed")

            cache["computed"] = 0
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(3, spawn, initializer=open_store, initargs=(name,)) as executor:
                second = list(executor.map(collatz, NUMBERS, chunksize=20))
            print(f"ProcessPoolExecutor: {cache['computed']} of {len(NUMBERS)} computed")

            assert first == second
            longest = max(NUMBERS, key=lambda number: cache[f"collatz:{number}"])
            print(f"the longest way to 1 starts at {longest}: {cache[f'collatz:{longest}']} steps")
        finally:
            cache.destroy()


if __name__ == "__main__":
    resource_tracker.ensure_running()  # a signal that comes while Python starts it would leave a semaphore behind
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # through every "finally"
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
