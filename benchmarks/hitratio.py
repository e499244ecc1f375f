"""Compare hit ratios of the cache with LRU, S3-FIFO and the optimum: ``python -m benchmarks.hitratio --traces FOLDER``.

A trace is a file of 32-bit integers, one for each request, *.xz if compressed. Without --traces, requests follow Zipf's
law. Every policy is asked for each key in turn; what is not there is put. All entries count as one unit, so capacities are
numbers of entries: a hundredth, a twentieth and a fifth of the keys of the trace.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import shmstore
from benchmarks._bars import Bar
from benchmarks._guard import resources
from benchmarks._measure import Sample
from benchmarks._policies import POLICIES
from benchmarks._run import Report, Row, Setting, parser, run
from benchmarks._shmstore import destroyed
from benchmarks._traces import read, zipf
from benchmarks._workers import Work, side_by_side

SHARES = (0.01, 0.05, 0.2)
PROCESSES = 4
MOST = 1_000_000  # requests of a trace
OURS = "shmstore.Cache"


def main(argv: Sequence[str] | None = None) -> int:
    options = parser("hitratio", __doc__, "3, quick 1")
    options.add_argument("--traces", type=Path, metavar="FOLDER", help="with one trace per file")
    return run("hitratio", play, options.parse_args(argv))


def play(setting: Setting, report: Report) -> None:
    cells = []
    most = 20_000 if setting.quick else MOST
    for name, trace in traces(setting.args, setting, most).items():
        distinct = len(set(trace))
        for share in SHARES:
            capacity = max(10, int(distinct * share))
            report.progress(f"{name}, {capacity:,} entries")
            row = Row(
                f"{name} {capacity}", f"{name}, {capacity:,} of {distinct:,} keys fit", "hits of 100 requests", {}
            )
            for policy, hits_of in POLICIES.items():
                row.samples[policy] = Sample([100 * hits_of(trace, capacity) / len(trace)])
            for processes in (1, PROCESSES):
                who = OURS if processes == 1 else f"{OURS}, {processes} processes"
                cores = [setting.cores[number % len(setting.cores)] for number in range(processes)]
                row.samples[who] = Sample([
                    100 * ours(trace, capacity, cores) / len(trace) for _ in range(setting.rounds(3, quick=1))
                ])  # fmt: skip
            report.add(row)
            cells.append([name, f"{capacity:,}", *(f"{row.median(who):.2f}" for who in row.samples)])
            lru, found, together = (row.median(who) or 0 for who in ("LRU", OURS, f"{OURS}, {PROCESSES} processes"))
            report.bars.append(Bar(f"{row.title}: of LRU's hits", found / lru, least=1.0))
            report.bars.append(Bar(f"{row.title}: {PROCESSES} processes, of one's hits", together / found, least=0.99))
    report.table("Hits of 100 requests", ("trace", ">entries", *(f">{who}" for who in row.samples)), cells)


def traces(args: argparse.Namespace, setting: Setting, most: int) -> dict[str, Sequence[int]]:
    if args.traces is None:
        return {f"Zipf {exponent}": zipf(most, most // 10, exponent, setting.rng) for exponent in (0.8, 1.0)}
    files = [path for path in sorted(args.traces.iterdir()) if path.suffix in (".xz", ".trace", ".bin")]
    if not files:
        raise SystemExit(f"{args.traces}: no file named *.xz, *.trace or *.bin is there")
    return {path.name.partition(".")[0]: read(path, most) for path in files}


def ours(trace: Sequence[int], capacity: int, cores: Sequence[int]) -> int:
    """The hits of processes on these cores that take one request after the other from the trace."""
    with resources() as stack:
        size = max(1 << 20, capacity * 400)
        cache = stack.enter_context(destroyed(lambda key: shmstore.Cache[int](key, size=size, max_entries=capacity)))
        turns = stack.enter_context(destroyed(lambda key: shmstore.Store[int](key, size="1M")))

        @contextmanager
        def asking() -> Iterator[Work]:
            yield lambda stop: work(cache, turns, trace)

        return sum(side_by_side([(asking, core) for core in cores]))


def work(cache: shmstore.Cache[int], turns: shmstore.Store[int], trace: Sequence[int]) -> int:
    hits = 0
    while (turn := turns.incr("turn")) <= len(trace):
        key = str(trace[turn - 1])
        if cache.get(key) is None:
            cache[key] = 1
        else:
            hits += 1
    return hits


if __name__ == "__main__":
    sys.exit(main())
