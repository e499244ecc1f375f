"""Compare caches that are full: ``python -m benchmarks.cache``.

Two processes ask for keys after Zipf's law. Ten times as many keys exist as fit. Nine of ten operations get a value, and put
it if it is absent; one of ten puts a new value. All contestants may use the same memory; a cache in each process gets half
of it. A contestant that is not installed is left out.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from typing import Any, Protocol

from msgpack import packb, unpackb  # type: ignore[import-untyped]

import shmstore
from benchmarks._bars import Bar
from benchmarks._guard import resources
from benchmarks._measure import Sample
from benchmarks._run import Report, Row, Setting, parser, run
from benchmarks._servers import Missing, start
from benchmarks._shmstore import destroyed
from benchmarks._workers import Stop, Work, side_by_side

MEMORY = 8 << 20
VALUE = "v" * 200
ENTRY = 320  # bytes of an entry, about: what decides how many keys there are
PROCESSES = 2
BATCH = 100  # operations between two looks at the flag


class Cache(Protocol):
    def get(self, key: str) -> Any: ...

    def set(self, key: str, value: Any) -> object: ...


class Ours:
    def __init__(self, stack: ExitStack, processes: int) -> None:
        self._cache = stack.enter_context(destroyed(lambda key: shmstore.Cache[Any](key, size=MEMORY)))
        self.get, self.set = self._cache.get, self._cache.put


class DiskCache:
    def __init__(self, stack: ExitStack, processes: int) -> None:
        import tempfile

        import diskcache

        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="shmstore-bench-"))
        self._cache = diskcache.Cache(folder, size_limit=MEMORY, eviction_policy="least-recently-used")
        stack.callback(self._cache.close)
        self.get, self.set = self._cache.get, self._cache.set


class Redis:
    def __init__(self, stack: ExitStack, processes: int) -> None:
        import redis

        self._socket = start(
            stack, "redis-server", "--port", "0", "--unixsocket", "{socket}", "--save", "", "--appendonly", "no",
            "--maxmemory", str(MEMORY), "--maxmemory-policy", "allkeys-lru",
        )  # fmt: skip
        self._client = redis.Redis(unix_socket_path=self._socket)
        stack.callback(self._client.close)

    def get(self, key: str) -> Any:
        body = self._client.get(key)
        return None if body is None else unpackb(body)

    def set(self, key: str, value: Any) -> None:
        self._client.set(key, packb(value))


class Memcached:
    def __init__(self, stack: ExitStack, processes: int) -> None:
        import getpass

        from pymemcache.client.base import Client

        path = start(stack, "memcached", "-s", "{socket}", "-m", str(MEMORY >> 20), "-u", getpass.getuser())
        self._connect: Callable[[], Any] = lambda: Client(path)
        self._client: Any = None

    def get(self, key: str) -> Any:
        self._client = self._client or self._connect()
        body = self._client.get(key)
        return None if body is None else unpackb(body)

    def set(self, key: str, value: Any) -> None:
        self._client = self._client or self._connect()
        self._client.set(key, packb(value), noreply=False)


class CacheTools:
    """A dict with an order in each process."""

    def __init__(self, stack: ExitStack, processes: int) -> None:
        import cachetools

        cache = cachetools.LRUCache[str, Any](maxsize=MEMORY // processes // ENTRY)
        self.get, self.set = cache.get, cache.__setitem__


CONTESTANTS: dict[str, type] = {
    "shmstore.Cache": Ours, "cachetools, one each": CacheTools, "memcached": Memcached, "Redis": Redis, "diskcache": DiskCache,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    return run("cache", play, parser("cache", __doc__, "5, quick 1").parse_args(argv))


def play(setting: Setting, report: Report) -> None:
    keys = 10 * MEMORY // ENTRY
    weights = list(accumulate(1 / n for n in range(1, keys + 1)))
    speed = Row("cache speed", "operations of two processes on a full cache", "per second", {})
    hits = Row("cache hits", "hits", "of 100 gets", {})
    cores = [setting.cores[number % len(setting.cores)] for number in range(PROCESSES)]
    contestants = dict(CONTESTANTS)
    for number in range(rounds := setting.rounds(5, quick=1)):
        for who, kind in tuple(contestants.items()):
            report.progress(f"{who}: round {number + 1} of {rounds}")
            with resources() as stack:
                try:
                    cache = kind(stack, PROCESSES)
                except (ImportError, Missing) as why:
                    report.note(f"{who} is left out: {why}")
                    del contestants[who]
                    continue
                seconds = 0.3 if setting.quick else 3.0
                jobs = [(asking(cache, weights, setting.rng.random(), seconds), core) for core in cores]
                found = side_by_side(jobs, seconds=2 * seconds)
            speed.samples.setdefault(who, Sample()).rounds.append(sum(per_second for per_second, _ in found))
            hits.samples.setdefault(who, Sample()).rounds.append(sum(share for _, share in found) / len(found))
    report.add(speed, hits)
    cells = [[who, f"{speed.median(who):,.0f}", f"{hits.median(who):.1f}"] for who in speed.samples]
    report.table(f"A full cache of {MEMORY >> 20} MB, {keys:,} keys", ("", ">operations/s", ">hits of 100"), cells)
    ours, theirs = speed.median("shmstore.Cache") or 0, speed.median("Redis")
    report.bars.append(
        Bar("operations, of Redis's", ours / theirs if theirs else None, least=10, why="Redis is not installed")
    )


def asking(cache: Cache, weights: Sequence[float], seed: float, warm_up: float) -> Any:
    @contextmanager
    def job() -> Iterator[Work]:
        rng = random.Random(seed)
        numbers = range(len(weights))
        names = [f"key:{number}" for number in rng.choices(numbers, cum_weights=weights, k=200_000)]
        writes = [rng.random() < 0.1 for _ in names]

        def work(stop: Stop) -> tuple[float, float]:
            at = done = gets = found = 0
            end, began = time.perf_counter() + warm_up, 0.0
            while not stop:
                for _ in range(BATCH):
                    name = names[at]
                    if writes[at]:
                        cache.set(name, VALUE)
                    else:
                        gets += 1
                        if cache.get(name) is None:
                            cache.set(name, VALUE)
                        else:
                            found += 1
                    at = (at + 1) % len(names)
                done += BATCH
                if not began and time.perf_counter() > end:  # it is full by now
                    done, gets, found, began = 0, 0, 0, time.perf_counter()
            return done / (time.perf_counter() - began), 100 * found / max(1, gets)

        yield work

    return job


if __name__ == "__main__":
    sys.exit(main())
