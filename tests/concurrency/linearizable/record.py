"""Let processes times threads work on a few keys of a store, and record what they did: a program.

    python record.py KEY DIRECTORY [--operations N] [--processes P] [--threads T] [--keys K] [--kill-every SECONDS] [--seed S]
                     [--mortal] [--ends namespace|tag]

Writes DIRECTORY/<process>.<thread>.log (history.py) and DIRECTORY/deaths.json: when each killed process was known to be
dead. Prints a line of figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import pathlib
import random
import signal
import sys
import threading
import time

import history as h

import shmstore

SHORT_LIVES = (0.00005, 0.0004, 0.002, 0.02)  # seconds
KINDS = (
    [h.GET] * 8 + [h.GET_VERSIONED] * 8 + [h.CONTAINS] * 2 + [h.PUT] * 9 + [h.ADD] * 5 + [h.REPLACE] * 4 + [h.CAS] * 8
    + [h.INCR] * 4 + [h.DELETE] * 2 + [h.POP] * 2 + [h.SETDEFAULT] * 2 + [h.TOUCH] * 2 + [h.MODIFY] * 2
    + [h.DELETE_VERSION] * 3 + [h.GET_TOUCH] * 2 + [h.INCR_PRESENT] * 1
)  # fmt: skip
# Nearly everything expires within a few calls, and is touched, counted and added anew about then.
MORTAL_KINDS = (
    [h.GET] * 11 + [h.CONTAINS] * 2 + [h.PUT] * 7 + [h.ADD] * 10 + [h.REPLACE] * 3 + [h.GET_VERSIONED] * 4 + [h.CAS] * 3
    + [h.INCR] * 4 + [h.DELETE] * 1 + [h.POP] * 1 + [h.SETDEFAULT] * 1 + [h.TOUCH] * 9 + [h.MODIFY] * 1
    + [h.DELETE_VERSION] * 1 + [h.GET_TOUCH] * 5 + [h.INCR_PRESENT] * 1
)  # fmt: skip
WITH_A_TTL = (h.PUT, h.ADD, h.REPLACE, h.CAS, h.TOUCH, h.GET_TOUCH, h.INCR)
MORTAL_LIVES = (0.000003, 0.00001, 0.00003, 0.0001)
assert len(KINDS) == len(MORTAL_KINDS) == 64


def call(store, key, kind, value, extra, ttl, tags):
    """Do it; return value, version, outcome. *tags*: those of what is stored, as options."""
    if kind == h.CLEAR:
        store.evict_tag(*tags["tags"]) if tags else store.clear()
        return 0, 0, h.YES
    if kind == h.GET:
        found = store.get(key)
        return (0, 0, h.NO) if found is None else (h.value_of(found), 0, h.YES)
    if kind == h.GET_VERSIONED:
        try:
            found, version = store.get_versioned(key)
        except KeyError:
            return 0, 0, h.NO
        return h.value_of(found), version, h.YES
    if kind == h.CONTAINS:
        return 0, 0, h.YES if key in store else h.NO
    if kind == h.PUT:
        return 0, store.put(key, h.stored(value), ttl=ttl, **tags), h.YES
    if kind == h.ADD:
        return 0, 0, h.YES if store.add(key, h.stored(value), ttl=ttl, **tags) else h.NO
    if kind == h.REPLACE:
        return 0, 0, h.YES if store.replace(key, h.stored(value), ttl=ttl, **tags) else h.NO
    if kind == h.CAS:
        return 0, 0, h.YES if store.cas(key, h.stored(value), extra, ttl=ttl, **tags) else h.NO
    if kind == h.INCR or kind == h.INCR_PRESENT:
        try:
            return store.incr(key, extra, initial=value, create=kind == h.INCR, ttl=ttl, **tags), 0, h.YES
        except TypeError:
            return 0, 0, h.RAISED
        except KeyError:
            return 0, 0, h.NO
    if kind == h.DELETE_VERSION:
        return 0, 0, h.YES if store.delete(key, extra) else h.NO
    if kind == h.GET_TOUCH:
        found = store.get(key, touch=ttl)
        return (0, 0, h.NO) if found is None else (h.value_of(found), 0, h.YES)
    if kind == h.DELETE:
        return 0, 0, h.YES if store.delete(key) else h.NO
    if kind == h.POP:
        found = store.pop(key, None)
        return (0, 0, h.NO) if found is None else (h.value_of(found), 0, h.YES)
    if kind == h.SETDEFAULT:
        return h.value_of(store.setdefault(key, h.stored(value))), 0, h.YES
    if kind == h.TOUCH:
        return 0, 0, h.YES if store.touch(key, ttl) else h.NO
    seen = [0]

    def change(old):
        seen[0] = old
        return h.stored(value)

    store.modify(key, change, 0, **tags)
    return h.value_of(seen[0]) if seen[0] else 0, 0, h.YES


def kinds_of(mortal, ends):
    kinds = list(MORTAL_KINDS if mortal else KINDS)
    if ends:
        kinds[:2] = [h.CLEAR] * 2
    if ends == "tag":  # setdefault() gives no tags
        kinds = [h.ADD if kind == h.SETDEFAULT else kind for kind in kinds]
    return kinds


def work(store, path, who, seed, keys, operations, mortal, ends):
    """One thread."""
    log = log_of(path, operations)
    bits = random.Random(seed).getrandbits
    known = [0] * len(keys)  # the last version seen of each
    now = time.monotonic_ns
    asked, answered, size, half = h.ASKED.pack_into, h.ANSWERED.pack_into, h.RECORD.size, h.ASKED.size
    kinds, lives = kinds_of(mortal, ends), MORTAL_LIVES if mortal else SHORT_LIVES
    tags = {"tags": ["t"]} if ends == "tag" else {}
    for n in range(operations):
        chance = bits(40)
        kind, k = kinds[chance & 63], (chance >> 6 & 0xFF) % len(keys)
        chance >>= 14
        extra, value, ttl = 0, who << 44 | (n + 1) << 16, None
        if kind == h.CAS:
            extra = 0 if not chance & 7 else known[k]
        elif kind == h.DELETE_VERSION:
            extra = known[k]
        elif kind in (h.INCR, h.INCR_PRESENT):
            extra = 1 + (chance & 1)
        if kind not in (h.INCR, h.INCR_PRESENT) and not chance >> 3 & 3:
            value |= h.PADDED
        if kind in WITH_A_TTL and (mortal or not chance >> 5 & 3):
            ttl = lives[chance >> 7 & 3]
        at = n * size
        start = now()
        asked(log, at, value, extra, int(ttl * 1e9) if ttl else 0, start, k, kind)
        try:
            result, version, outcome = call(store, keys[k], kind, value, extra, ttl, tags)
        except Exception as error:
            print(f"{h.NAMES[kind]}({keys[k]!r}): {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            result, version, outcome = 0, 0, h.ERROR
        end = now()
        if result == -1:
            outcome = h.TORN
        if version:
            known[k] = version
        answered(log, at + half, result, version, outcome, end)


def log_of(path, operations):
    with open(path, "w+b") as file:  # sparse: what is not used costs nothing
        file.truncate(operations * h.RECORD.size)
        return mmap.mmap(file.fileno(), 0)


def process(arguments, number, operations):
    """A forked worker: never returns."""
    code = 1
    try:
        store = shmstore.Store(arguments.key, create=False)
        if arguments.ends == "namespace":
            store = store.namespace("keys")
        keys = [f"key{i}" for i in range(arguments.keys)]
        sys.setswitchinterval(0.0005)

        def run(t):
            who = number * arguments.threads + t + 1
            path = arguments.directory / f"{number}.{t}.log"
            work(store, path, who, f"{arguments.seed}/{who}", keys, operations, arguments.mortal, arguments.ends)

        threads = [threading.Thread(target=run, args=(t,)) for t in range(1, arguments.threads)]
        for thread in threads:
            thread.start()
        run(0)
        for thread in threads:
            thread.join()
        code = 0
    finally:
        os._exit(code)


def recorded(directory, number):
    """Operations of this process, which has ended."""
    return sum(len(h.load(path)) // h.RECORD.size for path in directory.glob(f"{number}.*.log"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("key")
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--operations", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keys", type=int, default=4)
    parser.add_argument("--kill-every", type=float, default=0)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--mortal", action="store_true")
    parser.add_argument("--ends", choices=["namespace", "tag"])
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    each = -(-arguments.operations // (arguments.processes * arguments.threads))
    if arguments.kill_every:
        each = arguments.operations  # no process finishes before it is killed
    deaths, living, started, done = {}, {}, 0, 0
    began = following = time.monotonic()

    def start():
        nonlocal started
        pid = os.fork()
        if pid == 0:
            process(arguments, started, each)
        living[pid] = started
        started += 1

    for _ in range(arguments.processes):
        start()
    failed = 0
    while living and not failed:
        if not arguments.kill_every:
            pid, status = os.wait()
            failed |= status
            done += recorded(arguments.directory, living.pop(pid))
            continue
        following += arguments.kill_every
        time.sleep(max(0, following - time.monotonic()))
        victim = rng.choice(list(living))
        os.kill(victim, signal.SIGKILL)
        _, status = os.waitpid(victim, 0)
        dead = time.monotonic_ns()
        number = living.pop(victim)
        if os.WIFSIGNALED(status):
            deaths[number] = dead
        else:
            failed |= status  # it had come to its end
        done += recorded(arguments.directory, number)
        if done < arguments.operations:
            start()
    for pid in living:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    (arguments.directory / "deaths.json").write_text(json.dumps(deaths))
    print(json.dumps({"operations": done, "seconds": round(time.monotonic() - began, 1), "processes": started,
                      "kills": len(deaths)}))  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
