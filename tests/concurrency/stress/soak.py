"""Six processes put, get and delete values that prove themselves, while a seventh kills and restarts one of them every
50 ms: a program, and what test_soak.py runs.

    python tests/concurrency/stress/soak.py [--seconds 600] [--kill-every 0.05] [--processes 6] [--size 32M] [--key NAME]

Prints a line every ten seconds and the figures at the end, and fails if there was any error, torn value or leak. The
pause of a process is the longest time between the beginning of one call and the beginning of the next: on a machine
with more processes than processors most of it is the scheduler's, so compare it with --kill-every 0.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import random
import signal
import sys
import time

import shmstore

NAMES = 400
SIZES = (0, 40, 40, 200, 200, 1000, 5000, 40_000)
FEW = (300_000,)  # one in 256
PLACE = 5  # words of each worker: calls, longest pause in ns, faults, hits, refused for want of room


def value_of(name: str, rng: random.Random) -> bytes:
    size = rng.choice(FEW if not rng.getrandbits(8) else SIZES)
    body = rng.randbytes(16) * (size // 16)
    return hashlib.md5(name.encode() + body).digest() + body


def fault_of(name: str, value: bytes) -> str | None:
    if hashlib.md5(name.encode() + value[16:]).digest() == value[:16]:
        return None
    return f"{name}: {len(value)} bytes that nobody put, {value[:32].hex()}"


def work(key: str, seed: str, place: memoryview, faults: int) -> None:
    """Until killed. What it counts is in shared memory, a word at a time, so it outlives it: sums of all who had this
    place."""
    store = shmstore.Store(key, create=False)
    rng = random.Random(seed)
    now = last = time.monotonic_ns()
    while True:
        name = f"name{rng.randrange(NAMES)}"
        choice = rng.getrandbits(4)
        try:
            if choice < 7:
                found = store.get(name)
                if found is not None:
                    place[3] += 1
                    if fault := fault_of(name, found):
                        os.write(faults, f"{fault}\n".encode())
                        place[2] += 1
            elif choice < 10:
                store.delete(name)
            else:
                store.put(name, value_of(name, rng), ttl=0.05 if choice == 10 else None)
        except shmstore.StoreFull:
            place[4] += 1
        except Exception as error:
            os.write(faults, f"{type(error).__name__}: {error}\n".encode())
            place[2] += 1
        place[0] += 1
        now, last = time.monotonic_ns(), now
        if now - last > place[1]:
            place[1] = now - last


CLASSES = [16 * i for i in range(3, 17)] + [eighths << shift for shift in range(5, 10) for eighths in range(9, 17)]


def capacity_for(length: int) -> int:
    """Of the smallest block that holds so many bytes (docs/format.md, size classes)."""
    return next((size for size in CLASSES if size >= length), -(-length // 4096) * 4096)


def needed(store: shmstore.Store) -> tuple[int, int]:
    """Bytes of the blocks that the live entries need, and how many entries there are."""
    total = entries = 0
    for name, value in store.items():
        head = 2 if len(value) < 256 else 3 if len(value) < 65536 else 5
        length = 40 + len(name) + head + len(value) + (63 if head + len(value) >= 4096 else 0)
        total += capacity_for(length)
        entries += 1
    return total, entries


def close_books(store: shmstore.Store) -> tuple[list[str], dict[str, int]]:
    """What is wrong with the store that the dead left behind."""
    problems = []
    recovered = store.recover()
    store.check()
    for name in store:
        value = store.get(name)
        if value is not None and (fault := fault_of(name, value)):
            problems.append(fault)
    time.sleep(0.06)  # the last ones with a time to live
    for i in range(5000):  # each put looks at a handful of due words
        store["sweeper"] = b""
        if store.stats().entries == len(store):
            break
    store.delete("sweeper")
    need, entries = needed(store)
    stats = store.stats()
    # When no page is free, an entry takes a block of up to twice the size.
    if not need <= stats.bytes_used <= 2 * need or stats.entries != entries or stats.zombies:
        problems.append(f"{entries} entries need {need} bytes; {stats}")
    left = [client for client in store.clients() if not client.is_me]
    if left:
        problems.append(f"places of the dead that nobody freed: {left}")
    store.clear()
    store.check()
    if store.stats().bytes_used:
        problems.append(f"leaked: an empty store uses {store.stats().bytes_used} bytes")
    return problems, {"recovered at the end": recovered, "entries": entries, "needed": need, "used": stats.bytes_used}


def soak(key: str, seconds: float, kill_every: float = 0.05, processes: int = 6, size: str = "32M", seed: str = "1"):
    """Problems (none is good) and figures."""
    words = memoryview(mmap.mmap(-1, 8 * PLACE * processes)).cast("Q")
    places = [words[place * PLACE : (place + 1) * PLACE] for place in range(processes)]
    faults_read, faults = os.pipe()
    os.set_blocking(faults_read, False)
    rng = random.Random(seed)
    shmstore.Store(key, create=True, size=size).close()
    started = 0

    def start(place: int) -> int:
        nonlocal started
        started += 1
        pid = os.fork()
        if pid == 0:
            try:
                work(key, f"{seed}/{started}", places[place], faults)
            finally:
                os._exit(1)
        return pid

    # The children are forked by a process that never opens the store, so that they are as unrelated as can be.
    pids = [start(place) for place in range(processes)]
    began = told = time.monotonic()
    kills, problems, in_registry, following = 0, [], 0, began
    header = shmstore.Store(key, readonly=True)
    try:
        while (now := time.monotonic()) - began < seconds and not problems:
            time.sleep(max(0, following - now))
            following = max(following + (kill_every or 0.5), now)
            if kill_every:
                place = rng.randrange(processes)
                os.kill(pids[place], signal.SIGKILL)
                status = os.waitstatus_to_exitcode(os.waitpid(pids[place], 0)[1])
                if status != -signal.SIGKILL:
                    problems.append(f"a worker ended by itself with {status}")
                kills += 1
                pids[place] = start(place)
            in_registry = max(in_registry, header.stats().clients)
            if now - told >= 10:
                told = now
                print(f"{now - began:6.0f} s, {kills} kills, {header.stats()}", flush=True)
            try:
                problems += os.read(faults_read, 1 << 16).decode(errors="replace").splitlines()
            except BlockingIOError:
                pass
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    elapsed = time.monotonic() - began
    takeovers, full = header.stats().takeovers, header.info().max_clients
    header.close()
    with shmstore.Store(key, create=False) as store:
        more, figures = close_books(store)
    figures = {
        "seconds": round(elapsed), "kills": kills, "calls": sum(c[0] for c in places), "hits": sum(c[3] for c in places),
        "refused, full": sum(c[4] for c in places), "faults": sum(c[2] for c in places),
        "longest pause, ms": round(max(c[1] for c in places) / 1e6, 1), "takeovers": takeovers,
        "most in the registry": f"{in_registry} of {full}", **figures,
    }  # fmt: skip
    return problems + more, figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kill-every", type=float, default=0.05)
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--size", default="32M")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--key", default=f"soak-{os.getpid()}")
    arguments = parser.parse_args()
    try:
        problems, figures = soak(**vars(arguments))
    finally:
        shmstore.destroy(arguments.key)
    print(json.dumps(figures))
    print("\n".join(problems[:50]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
