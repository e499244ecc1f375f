"""One host of test_bound.py: an IPC namespace of its own with some workers, and a listener that is killed, stopped and cut off.

    python near_host.py url name host hosts workers cycles seed bound folder

Each process writes the numbers 1, 2, ... to a key of its own, and reads the keys of all processes of all hosts. It notes for each
call when it began and ended, by a clock that all processes of the machine share. The notes go to a file in *folder*. The key of the
process that disturbs is written seldom, and never read fresh, which would remove an old copy.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from near_support import is_running, wait_until

import shmstore

KEYS = "k{}:{}"
HOW = ("cut", "kill", "stop")


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Notes:
    """[kind, key, value, began, ended] of each call."""

    def __init__(self, cache, keys, seldom):
        self.cache = cache
        self.keys = keys
        self.seldom = seldom
        self.rows = []

    def read(self, random_):
        key, choice, began = random_.choice(self.keys), random_.random(), now()
        if choice < 0.85:
            found = {key: self.cache.get(key, 0)}
        elif choice < 0.9 and key not in self.seldom:
            found = {key: self.cache.get(key, 0, fresh=True)}
        else:
            found = dict.fromkeys(self.keys, 0)
            found.update(self.cache.get_many(self.keys))
        ended = now()
        self.rows += [["read", key, value, began, ended] for key, value in found.items()]

    def write(self, key, value, random_):
        began = now()
        if random_.random() < 0.5:
            self.cache[key] = value
        else:
            assert self.cache.incr(key) == value
        self.rows.append(["write", key, value, began, now()])

    def save(self, path):
        Path(path).write_text(json.dumps(self.rows))


def work(open_cache, keys, seldom, mine, seed, stop):
    random_, cache = random.Random(seed), open_cache()
    notes, value = Notes(cache, keys, seldom), 0
    while not os.path.exists(stop):
        for _ in range(20):
            notes.read(random_)
        if random_.random() < 0.5:
            value += 1
            notes.write(mine, value, random_)
    cache.close()
    return notes


def disturb(cache, url, how, random_, notes, mine, value):
    """When a read has found a copy, do something to the listener, and read on for a while. Return the last value that was written."""

    def is_hit():
        before = cache.stats().near_hits
        notes.read(random_)
        return cache.stats().near_hits > before

    wait_until(is_hit, "a read finds a copy")
    listener = cache.stats().listener
    if how == "cut":
        import redis

        redis.Redis.from_url(url).execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # those of all hosts
    elif is_running(listener):
        os.kill(listener, signal.SIGKILL if how == "kill" else signal.SIGSTOP)
    for _ in range(random_.randint(1, 2)):
        value += 1
        notes.write(mine, value, random_)  # at once: no connection that was cut is told of it
        end = time.monotonic() + random_.uniform(0.4, 0.7)
        while time.monotonic() < end:
            notes.read(random_)
    if how == "stop" and is_running(listener):
        os.kill(listener, signal.SIGCONT)
    return value


def main():
    url, name, host, hosts, workers, cycles, seed, bound, folder = sys.argv[1:]
    host, hosts, workers, cycles, seed, bound = (
        int(host),
        int(hosts),
        int(workers),
        int(cycles),
        int(seed),
        float(bound),
    )
    keys = [KEYS.format(h, w) for h in range(hosts) for w in range(workers + 1)]
    seldom = {KEYS.format(h, workers) for h in range(hosts)}
    stop = f"{folder}/stop-{host}"

    def open_cache():
        return shmstore.Cache(name, size="4M", backing=url, bound=bound)

    children = []
    for worker in range(workers):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                notes = work(
                    open_cache, keys, seldom, KEYS.format(host, worker), seed * 1000 + host * 100 + worker, stop
                )
                notes.save(f"{folder}/notes-{host}-{worker}")
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    cache = open_cache()
    notes, random_ = Notes(cache, keys, seldom), random.Random(seed * 1000 + host * 100 + 99)
    value = 0
    for cycle in range(cycles):
        value = disturb(cache, url, HOW[(cycle + host) % 3], random_, notes, KEYS.format(host, workers), value)
    Path(stop).touch()
    failed = [pid for pid in children if os.waitpid(pid, 0)[1] != 0]
    listener = cache.stats().listener
    cache.destroy()
    wait_until(lambda: not is_running(listener), "the listener ends with its store")
    notes.save(f"{folder}/notes-{host}-main")
    print(host, failed)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
