"""Time a reader beside a process that floods the store, and beside a thread: ``python -m benchmarks.readers``."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing.shared_memory import SharedMemory
from typing import Any

from benchmarks._bars import Bar
from benchmarks._beside import Shared, burning, paces, reading, writing
from benchmarks._floor import remove
from benchmarks._guard import fresh_name, resources
from benchmarks._lmdb import HOW_TO_GET_IT, INSTALLED, Lmdb
from benchmarks._measure import Sample, tail
from benchmarks._objects import small_objects
from benchmarks._run import Report, Row, Setting, parser, run
from benchmarks._shmstore import Ours
from benchmarks._threads import Computing, gets, speed_beside

WRITER, BURNER, ALONE = "beside a writer", "beside a busy core", "alone"
HOT = 100  # keys, for the rows where reader and writer meet all the time
LARGE = 64 << 20
PERCENTS = (1, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100)

Samples = dict[str, Sample]


def main(argv: Sequence[str] | None = None) -> int:
    return run("readers", play, parser("readers", __doc__, "11, quick 1").parse_args(argv))


def play(setting: Setting, report: Report) -> None:
    if len(setting.cores) > 1:
        for hot in (False, True):
            beside_a_process(setting, report, hot)
    else:
        report.note("one core only: nothing to say about readers beside writers")
    beside_a_thread(setting, report)


# ---- beside another process --------------------------------------------------------------------------------


def beside_a_process(setting: Setting, report: Report, hot: bool) -> None:
    objects = small_objects()
    if hot:
        objects = dict(list(objects.items())[:HOT])
    speeds: Samples = defaultdict(Sample)
    writers: Samples = defaultdict(Sample)
    each: dict[str, list[int]] = defaultdict(list)
    tails: dict[str, Samples] = defaultdict(lambda: defaultdict(Sample))
    with resources() as stack:
        contestants = _contestants(stack, objects, hot)
        for number in range(rounds := setting.rounds(11, quick=1)):
            report.progress(f"reader beside writer, {len(objects)} keys: round {number + 1} of {rounds}")
            turns = [(who, beside, one_by_one) for who in contestants for beside in (WRITER, BURNER, ALONE)
                     for one_by_one in (False, True)]  # fmt: skip
            for who, beside, one_by_one in setting.rng.sample(turns, len(turns)):
                shared, values = contestants[who]
                jobs = [reading(shared, list(values), one_by_one=one_by_one)]
                if beside != ALONE:
                    jobs.append(writing(shared, values) if beside == WRITER else burning)
                reader, *found = paces(list(zip(jobs, setting.cores)), 0.05 if setting.quick else 0.4)
                key = f"{who} {beside}"
                if one_by_one:
                    each[key] += reader.each
                    for at, ns in tail(reader.each).items():
                        tails[at][key].rounds.append(ns)
                else:
                    speeds[key].rounds.append(reader.per_second)
                    if beside == WRITER:
                        writers[who].rounds.append(found[0].per_second)
    keys = f"{len(objects):,} keys"
    mark = "_hot" if hot else ""
    speed = Row(f"reader{mark}", f"reader, {keys}", "gets per second", speeds)
    writer = Row(f"writer{mark}", f"writer beside a reader, {keys}", "puts per second", writers)
    latencies = {at: Row(f"latency{mark}_{at}", f"get, {keys}, {at}", "ns", samples) for at, samples in tails.items()}
    histogram = {key: _quantiles(took) for key, took in each.items()}
    latencies["p50"].about["quantiles_ns"] = histogram
    report.add(speed, writer, *latencies.values())
    _show(report, keys, speed, writer, latencies)
    _bars(report, keys, speed, writer, latencies["p99.9"], against_lmdb=not hot)


def _contestants(stack: ExitStack, objects: dict[str, Any], hot: bool) -> dict[str, tuple[Shared, dict[Any, Any]]]:
    found: dict[str, tuple[Shared, dict[Any, Any]]] = {"shmstore": (Ours(stack, objects), objects)}
    if INSTALLED and not hot:
        # While a reader that lost its core keeps its snapshot, no page that a writer frees is used again.
        lmdb = Lmdb(stack, objects, size=1 << 30)
        lmdb.close()
        found["lmdb"] = (lmdb, {name.encode(): value for name, value in objects.items()})
    return found


def _quantiles(took: Sequence[int]) -> dict[str, int]:
    """What a plot needs of some million figures."""
    ordered = sorted(took)
    return {f"{percent:g}": ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] for percent in PERCENTS}


def _show(report: Report, keys: str, speed: Row, writer: Row, latencies: dict[str, Row]) -> None:
    cells = []
    for key in speed.samples:
        at = [f"{(row.median(key) or 0) / 1000:,.2f}" for row in latencies.values()]
        puts = writer.median(key.split()[0]) if key.endswith(WRITER) else None
        cells.append([key, f"{speed.median(key):,.0f}", *at, f"{puts:,.0f}" if puts else ""])
    header = ("reader", ">gets/s", *(f">{at} µs" for at in latencies), ">writer's puts/s")
    report.table(f"One reader, {keys}; medians of rounds", header, sorted(cells))


def _bars(report: Report, keys: str, speed: Row, writer: Row, slow: Row, *, against_lmdb: bool) -> None:
    us, busy = f"shmstore {WRITER}", f"shmstore {BURNER}"
    report.bars += [
        Bar(
            f"reader beside a writer, {keys}: its gets/s, of those beside a busy core",
            speed.ratio(us, busy),
            least=0.9,
        ),
        Bar(f"reader beside a writer, {keys}: its p99.9, of that beside a busy core", slow.ratio(us, busy), most=2),
    ]
    if against_lmdb:
        ratio, why = writer.ratio("shmstore", "lmdb"), f"LMDB is {HOW_TO_GET_IT}"
        report.bars.append(Bar(f"writer beside a reader, {keys}: times LMDB's puts/s", ratio, least=4, why=why))


# ---- beside a thread ---------------------------------------------------------------------------------------


def beside_a_thread(setting: Setting, report: Report) -> None:
    os.sched_setaffinity(0, setting.cores[:2])  # two threads may be on two cores, as they are for most users
    try:
        with resources() as stack:
            _small_gets(setting, report, stack)
        with resources() as stack:
            _large_gets(setting, report, stack)
    finally:
        os.sched_setaffinity(0, setting.cores[:1])


def _small_gets(setting: Setting, report: Report, stack: ExitStack) -> None:
    objects = small_objects()
    ours, names = Ours(stack, objects), list(objects)
    lmdb = Lmdb(stack, objects) if INSTALLED else None
    mean, median = Row("thread_mean", "get, mean", "ns", {}), Row("thread_p50", "get, p50", "ns", {})
    seconds = 0.1 if setting.quick else 0.6
    turns: list[tuple[str, Callable[[Any], object], list[Any]]] = [("shmstore", ours.get, names)]
    if lmdb:
        turns.append(("lmdb", lmdb.get, [name.encode() for name in names]))
    for number in range(rounds := setting.rounds(11, quick=1)):
        report.progress(f"get beside a thread: round {number + 1} of {rounds}")
        for who, get, arguments in turns:
            figures = {"alone": gets(get, arguments, seconds)}
            with Computing().beside():
                figures["beside a thread"] = gets(get, arguments, seconds)
            for beside, found in figures.items():
                for row, figure in zip((mean, median), found):
                    row.samples.setdefault(f"{who} {beside}", Sample()).rounds.append(figure)
    report.add(mean, median)
    cells = [[key, f"{mean.median(key):,.0f}", f"{median.median(key):,.0f}"] for key in mean.samples]
    report.table("Gets beside a thread that computes, ns", ("", ">mean", ">p50, clock included"), cells)
    both = "shmstore beside a thread", "shmstore alone"
    report.bars += [
        Bar("get beside a computing thread: p50, of alone", median.ratio(*both), most=1.2),
        Bar("get beside a computing thread: mean, of alone", mean.ratio(*both), most=2.4),
    ]


def _large_gets(setting: Setting, report: Report, stack: ExitStack) -> None:
    body = bytes(LARGE)
    ours = Ours(stack, {"large": body}, size=f"{(LARGE >> 20) + 64}M")
    memory = SharedMemory(fresh_name(), create=True, size=LARGE)
    stack.callback(remove, memory)
    assert memory.buf is not None
    memory.buf[:] = body
    actions = {
        "nothing": None,
        "shmstore get": lambda: ours.store.get("large"),
        "bytes(shared memory)": lambda: bytes(memory.buf),  # holds the GIL while it copies
    }
    row = Row("thread_progress", "a thread's turns beside gets of 64 MB", "per second", {})
    for number in range(rounds := setting.rounds(11, quick=1)):
        report.progress(f"64 MB gets: round {number + 1} of {rounds}")
        for name in setting.rng.sample(list(actions), len(actions)):
            speed = speed_beside(actions[name], 0.2 if setting.quick else 0.5)
            row.samples.setdefault(name, Sample()).rounds.append(speed)
    report.add(row)
    cells = [[name, f"{row.median(name):,.0f}", f"{row.ratio(name, 'nothing'):.2f}"] for name in actions]
    report.table(
        "A computing thread while another one copies 64 MB", ("the other does", ">turns/s", ">of alone"), cells
    )
    why = "" if len(setting.cores) > 1 else "one core only"
    kept = row.ratio("shmstore get", "nothing") if not why else None
    report.bars.append(Bar("64 MB gets: speed of another thread, of alone", kept, least=0.9, why=why))


if __name__ == "__main__":
    sys.exit(main())
