"""Time locks and memoized functions beside others: ``python -m benchmarks.coordination``.

A lock is taken and released by one process, and by two at once that do nothing else. A hit of a memoized function is compared
with a get and making its key. Waiters sleep for a lock that is held, and the time that the processor spends on them is
counted. Ten thousand coroutines sleep for as many keys, and another process puts some of them.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import importlib
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import shmstore
from benchmarks._bars import Bar
from benchmarks._guard import resources
from benchmarks._measure import Contestant, Sample, measure
from benchmarks._run import Report, Row, Setting, parser, run
from benchmarks._servers import Missing, start

HIT = 1.5  # times get plus making the key
IDLE, WAKE = 1.0, 1.0  # percent of a core for all that wait; ms until the awaited key is seen
OURS, HITS = "shmstore", "get, and shmstore.key"


def main(argv: Sequence[str] | None = None) -> int:
    return run(
        "coordination",
        play,
        parser("coordination", (__doc__ or "").partition("\n\n")[0], "31, quick 3").parse_args(argv),
    )


def play(setting: Setting, report: Report) -> None:
    with resources() as stack:
        store = shmstore.Store[Any](shmstore.PRIVATE, size="16M")
        stack.callback(store.close)
        locks = _locks(stack, store, report)
        _alone(setting, report, locks)
        _together(setting, report, locks)
        _memoized(setting, report, stack, store)
        _asleep(setting, report, store)
        _listening(setting, report, store)


def _locks(stack: ExitStack, store: Any, report: Report) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """How each is taken and released. What they hold works in forked children, too."""
    ours, theirs = store.lock("lock"), multiprocessing.get_context("fork").Lock()
    file = stack.enter_context(tempfile.TemporaryFile())

    def lock_file() -> None:
        fcntl.lockf(file, fcntl.LOCK_EX)

    def unlock_file() -> None:
        fcntl.lockf(file, fcntl.LOCK_UN)

    found: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        OURS: (ours.acquire, ours.release),
        "multiprocessing.Lock": (theirs.acquire, theirs.release),
        "fcntl.lockf": (lock_file, unlock_file),
    }
    try:
        redis = importlib.import_module("redis")
        path = start(
            stack, "redis-server", "--port", "0", "--unixsocket", "{socket}", "--save", "", "--appendonly", "no"
        )
        client = redis.Redis(unix_socket_path=path)
        stack.callback(client.close)
        lock = redis.lock.Lock(client, "lock", timeout=60, sleep=0.001)
        found["Redis"] = (lock.acquire, lock.release)
    except (ImportError, Missing) as error:
        report.note(f"without Redis: {error}")
    return found


def _alone(setting: Setting, report: Report, locks: dict[str, Any]) -> None:
    def loop(acquire: Callable[[], Any], release: Callable[[], Any]) -> Callable[[Sequence[Any]], None]:
        def run(arguments: Sequence[Any]) -> None:
            for _ in arguments:
                acquire()
                release()

        return run

    report.progress("locks, alone")
    contestants = [Contestant(name, loop(*calls), range(200)) for name, calls in locks.items()]
    samples = measure(contestants, rounds=setting.rounds(31), batch=200, rng=setting.rng, servers=True)
    _tell(report, Row("lock", "acquire and release a lock, alone", "ns", samples), "Locks, alone", 1e-3, "µs")


def _together(setting: Setting, report: Report, locks: dict[str, Any]) -> None:
    row = Row("lock of two", "acquire and release a lock, two processes at once", "per second", {})
    for number in range(rounds := setting.rounds(7, quick=1)):
        report.progress(f"locks, two processes: round {number + 1} of {rounds}")
        for name, (acquire, release) in locks.items():
            work = functools.partial(_pace, acquire, release, 0.05 if setting.quick else 0.4)
            pace = sum(_in_children(2, work))
            row.samples.setdefault(name, Sample()).rounds.append(pace)
    _tell(report, row, "Locks, two processes at once", 1, "per second, together", ",.0f")


def _pace(acquire: Callable[[], Any], release: Callable[[], Any], seconds: float) -> float:
    began, turns = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        acquire()
        release()
        turns += 1
    return turns / (time.perf_counter() - began)


def _in_children(count: int, work: Callable[[], float]) -> list[float]:
    """What each of *count* forked children returns."""
    out, into = os.pipe()
    children = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            try:
                os.write(into, f"{work()}\n".encode())
            finally:
                os._exit(0)
        children.append(pid)
    os.close(into)
    for pid in children:
        os.waitpid(pid, 0)
    with open(out) as answers:
        return [float(line) for line in answers]


def _memoized(setting: Setting, report: Report, stack: ExitStack, store: Any) -> None:
    def report_of(customer: int, currency: str = "eur") -> dict[str, Any]:
        return {"customer": customer, "currency": currency, "total": 42}

    functions: dict[str, Callable[[int], Any]] = {OURS: store.memoize(ttl=3600)(report_of)}
    functions["functools.lru_cache"] = functools.lru_cache(maxsize=None)(report_of)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="shmstore-bench-"))
    try:
        cache = stack.enter_context(importlib.import_module("diskcache").Cache(folder))
        functions["diskcache"] = cache.memoize()(report_of)
    except ImportError as error:
        report.note(f"without diskcache: {error}")
    try:
        functions["joblib"] = importlib.import_module("joblib").Memory(folder, verbose=0).cache(report_of)
    except ImportError as error:
        report.note(f"without joblib: {error}")
    numbers = range(100)
    for function in functions.values():
        for number in numbers:
            function(number)
    prefix, get, key = functions[OURS].cache_key(0).partition("(")[0], store.get, shmstore.key  # type: ignore[attr-defined]
    functions[HITS] = lambda number: get(prefix + key(number, "eur"))

    def loop(function: Callable[[int], Any]) -> Callable[[Sequence[int]], None]:
        def run(numbers: Sequence[int]) -> None:
            for number in numbers:
                function(number)

        return run

    report.progress("memoized functions")
    contestants = [Contestant(name, loop(function), numbers) for name, function in functions.items()]
    samples = measure(contestants, rounds=setting.rounds(31), batch=100, rng=setting.rng, servers=True)
    row = Row("memoized hit", "a hit of a memoized function", "ns", samples)
    _tell(report, row, "A hit of a memoized function", 1e-3, "µs")
    report.bars.append(Bar("memoize: a hit, of get and making the key", row.ratio(OURS, HITS) or 0, most=HIT))


def _asleep(setting: Setting, report: Report, store: Any) -> None:
    """Waiters in this process; what a core spends on each of them."""
    count, seconds = (4, 0.5) if setting.quick else (20, 5.0)
    report.progress("waiters asleep")
    held = store.lock("held")
    held.acquire()
    threads = [threading.Thread(target=lambda: store.lock("held").acquire(timeout=seconds)) for _ in range(count)]
    before = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    share = (time.process_time() - before) / seconds / count
    held.release()
    row = Row("asleep", "a waiter for a lock that is held", "% of a core", {OURS: Sample([share * 100])})
    _tell(report, row, "Waiters asleep", 1, "% of a core for each", ".3f")


def _listening(setting: Setting, report: Report, store: Any) -> None:
    """Coroutines of one event loop, each waiting for a key of its own; what a core spends on all of them, and how long after
    another process's put the loop has the answer."""
    count, seconds, puts = (200, 0.5, 20) if setting.quick else (10_000, 10.0, 1000)
    report.progress(f"{count} coroutines asleep")
    share, delays = asyncio.run(_sleep_and_wake(store, count, seconds, puts))
    title = f"{count:,} coroutines that wait for as many keys"
    idle = Row("coroutines asleep", title, "% of a core, all together", {OURS: Sample([share * 100])})
    _tell(report, idle, "Coroutines asleep", 1, "% of a core for all", ".3f")
    wake = Row("wake-up", "from a put in another process to the coroutine that waited", "ns", {OURS: Sample(delays)})
    delays.sort()
    wake.about = {"p99": delays[len(delays) * 99 // 100], "max": delays[-1]}
    _tell(report, wake, f"Wake-up of one of {count:,} coroutines", 1e-6, "ms, the median", ".3f")
    if not setting.quick:
        report.bars.append(Bar("10,000 coroutines asleep", share * 100, most=IDLE, unit="% of a core"))
        report.bars.append(Bar("the wake-up of one of them, p99", wake.about["p99"] / 1e6, most=WAKE, unit="ms"))


async def _sleep_and_wake(store: Any, count: int, seconds: float, puts: int) -> tuple[float, list[float]]:
    """The share of a core that the sleepers take, and ns of each wake-up. The put says when it began."""
    waits = [asyncio.ensure_future(store.wait_async(f"wait {number}")) for number in range(count)]
    await asyncio.sleep(1)
    before, spent = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    share = (time.process_time() - spent) / (time.perf_counter() - before)
    awaited = range(0, count, count // puts)
    pid = os.fork()
    if pid == 0:
        try:
            for number in awaited:
                time.sleep(0.002)
                store.put(f"wait {number}", time.perf_counter_ns())
        finally:
            os._exit(0)
    delays = []
    for number in awaited:
        await waits[number]
        delays.append(float(time.perf_counter_ns() - store[f"wait {number}"]))
    os.waitpid(pid, 0)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    return share, delays


def _tell(report: Report, row: Row, title: str, scale: float, unit: str, form: str = ",.2f") -> None:
    report.add(row)
    cells = [[name, f"{(row.median(name) or 0) * scale:{form}}"] for name in row.samples]
    report.table(title, ("", f">{unit}"), cells)


if __name__ == "__main__":
    raise SystemExit(main())
