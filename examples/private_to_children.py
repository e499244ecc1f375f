"""Share a store with the children of a process, and with no other process.

    python private_to_children.py

A private store has no name. No other program can find it, two runs of this program have different stores, and nothing
is left behind, however the processes end. Children get it by fork, or as an argument of a spawned process: a pickled
handle attaches to the same store.
"""

import multiprocessing
import os
import signal
import sys

import shmstore
from shmstore import Store


def spawned(store: Store[int], numbers: range) -> None:
    """Run by an interpreter of its own, which got the handle by pickle."""
    for number in numbers:
        store[f"square:{number}"] = number * number
        store.incr("done")


def forked(store: Store[int]) -> None:
    """Run by a forked child: the handle it inherited is that of a client of its own from the first call on."""
    store.wait("finished", timeout=30.0)
    total = sum(value for name, value in store.items() if isinstance(name, str) and name.startswith("square:"))
    store["total"] = total


def main(backend: str) -> None:
    with Store[int](shmstore.PRIVATE, backend=backend, size="1M") as store:
        pid = os.fork()
        if pid == 0:
            try:
                forked(store)
            finally:
                os._exit(0)
        try:
            spawn = multiprocessing.get_context("spawn")
            workers = [spawn.Process(target=spawned, args=(store, range(first, first + 10))) for first in (0, 10)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            store["finished"] = store["done"]
            os.waitpid(pid, 0)
            print(backend, "total:", store["total"])
            print(backend, "found by others:", store.info().uuid in {info.uuid for info in shmstore.stores()})
        finally:  # not necessary, but after Ctrl-C no process then continues to work or wait
            for worker in multiprocessing.active_children():
                worker.kill()
            store.destroy()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # through every "finally"
    try:
        for backend in sys.argv[1:] or ("sysv", "posix"):
            main(backend)
    except KeyboardInterrupt:
        sys.exit(130)
