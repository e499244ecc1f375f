"""Move a program from multiprocessing's shared memory to shmstore's by changing one import.

    python move_from_multiprocessing.py             with shmstore
    python move_from_multiprocessing.py --stdlib    with the standard library

Workers find primes in one shared block of bytes. Each works on its own part, and writes the number of primes that it
found to a shared list. Both ways print the same. The standard library's block is in /dev/shm, which has 64 MB in
Docker. Its resource tracker may remove the block when a process exits that only attached to it. A segment of shmstore
has neither limit.
"""

import multiprocessing
import signal
import sys
from multiprocessing import resource_tracker

if "--stdlib" in sys.argv:
    from multiprocessing import shared_memory
else:
    from shmstore import shared_memory

LIMIT = 200_000
WORKERS = 4
SIGNALS = {signal.SIGINT, signal.SIGTERM}


def begin() -> None:
    """In each worker, before it works."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the creator of the pool ends it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def sieve(block_name: str, list_name: str, worker: int) -> None:
    """Mark the multiples in the worker's part of the block, and count what is left."""
    block = shared_memory.SharedMemory(block_name)
    found = shared_memory.ShareableList(name=list_name)
    first, end = worker * LIMIT // WORKERS, (worker + 1) * LIMIT // WORKERS
    for number in range(2, int(LIMIT**0.5) + 1):
        start = max(number * number, -(-first // number) * number)
        count = len(range(start, end, number))
        block.buf[start:end:number] = b"\1" * count
    part = bytes(block.buf[first:end])
    found[worker] = part.count(0)
    block.close()
    found.shm.close()


def main() -> None:
    block = shared_memory.SharedMemory(create=True, size=LIMIT)
    try:
        found = shared_memory.ShareableList([0] * WORKERS)
        try:
            block.buf[:2] = b"\1\1"  # 0 and 1 are no primes
            spawn = multiprocessing.get_context("spawn")
            # a signal amid the making of a Pool would leave its threads running
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            with spawn.Pool(WORKERS, begin) as pool:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
                pool.starmap(sieve, [(block.name, found.shm.name, worker) for worker in range(WORKERS)])
            print(f"{sum(found)} primes below {LIMIT}: {list(found)}")
            print(f"the largest is {bytes(block.buf).rindex(0)}")
        finally:
            found.shm.close()
            found.shm.unlink()
    finally:
        block.close()
        block.unlink()
    print(f"kept by {shared_memory.__name__}")


if __name__ == "__main__":
    resource_tracker.ensure_running()  # a signal that comes while Python starts it would leave a semaphore behind
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # through every "finally"
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
