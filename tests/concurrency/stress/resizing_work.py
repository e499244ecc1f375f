"""Four writers, four readers and a process that resizes, each killed now and then and started again.

Arguments: the name of the store, its backend, "Store" or "Cache", seconds, resizes, seconds between two kills. Prints the figures as JSON.

A second store keeps the books. A writer notes there which number it is going to write, writes it, and then notes that it was
acknowledged. So what a reader finds lies between the number that was acknowledged before it looked, and the one that was
announced when it had looked.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable

import shmstore

KEYS, WRITERS, READERS = 300, 4, 4
SIZES = ("8M", "12M", "16M", "10M")


def write(number: int, name: str, backend: str, kind: type) -> None:
    chance, books = random.Random(os.getpid()), shmstore.Store(name + "-books")
    store = kind(name, backend=backend, timeout=60)
    while True:
        key = f"{number}:{chance.randrange(KEYS)}"
        value = books.get(key, 0) + 1
        books["announced " + key] = value
        store.put(key, (value, "x" * chance.choice((5, 50, 500, 3000))))
        books[key] = value
        books.incr("writes")


def read(number: int, name: str, backend: str, kind: type) -> None:
    chance, books = random.Random(os.getpid()), shmstore.Store(name + "-books")
    store = kind(name, backend=backend, timeout=60, readonly=number % 2 == 0)
    while True:
        key = f"{chance.randrange(WRITERS)}:{chance.randrange(KEYS)}"
        acknowledged = books.get(key, 0)
        found = store.get(key, (0, ""))[0]
        if not acknowledged <= found <= books.get("announced " + key, 0):
            raise AssertionError(f"{key} has number {found}, and {acknowledged} was acknowledged before")
        books.incr("reads")


def resize(number: int, name: str, backend: str, kind: type) -> None:
    chance, books = random.Random(os.getpid()), shmstore.Store(name + "-books")
    store = kind(name, backend=backend, timeout=60)
    while True:
        store.resize(chance.choice(SIZES))
        books.incr("resizes")
        time.sleep(books["pause"])


def start(work: Callable[..., None], *arguments: object) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        work(*arguments)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def main(name: str, backend: str, kind_name: str, seconds: float, resizes: int, between: float) -> int:
    kind = getattr(shmstore, kind_name)
    store, books = kind(name, size="8M", backend=backend, timeout=60), shmstore.Store(name + "-books", size="8M")
    books["pause"] = seconds / resizes / 4
    chance, failed, kills = random.Random(1), 0, 0
    work = [(write, n) for n in range(WRITERS)] + [(read, n) for n in range(READERS)] + [(resize, 0)]
    running = {start(what, n, name, backend, kind): (what, n) for what, n in work}
    end, next_kill = time.monotonic() + seconds, time.monotonic() + between
    while not failed and (time.monotonic() < end or books.get("resizes", 0) < resizes):
        time.sleep(0.01)
        if time.monotonic() >= next_kill:
            next_kill += between
            # every second time the process that resizes, which is one of nine
            victim = chance.choice([pid for pid in running if (kills % 2 == 0) == (running[pid][0] is resize)])
            os.kill(victim, signal.SIGKILL)
            failed += os.waitpid(victim, 0)[1] != signal.SIGKILL
            what, n = running.pop(victim)
            running[start(what, n, name, backend, kind)] = what, n
            kills += 1
        failed += os.waitpid(-1, os.WNOHANG)[0] != 0
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    for pid in running:
        os.waitpid(pid, 0)
    store.recover()
    store.check()
    lost = [
        key for key in books if key[0].isdigit()
        and not books[key] <= store.get(key, (0, ""))[0] <= books["announced " + key]
    ]  # fmt: skip
    figures = {
        "kills": kills,
        "failed": failed,
        "lost": len(lost),
        "entries": len(store),
        "clients": store.stats().clients,
    }
    print(json.dumps({**figures, **{what: books.get(what, 0) for what in ("writes", "reads", "resizes")}}))
    for one in (store, books):
        one.destroy()
        one.close()
    return 1 if failed or lost else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4], float(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6])))
