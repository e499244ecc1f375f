"""Compare hit ratios of the cache with LRU, S3-FIFO and the optimum: ``python -m benchmarks.hitratio --traces FOLDER``.

A trace is a file of 32-bit integers, one for each request, *.xz if compressed. Without --traces, requests follow Zipf's
law. Every policy is asked for each key in turn; what is not there is put. All entries count as one unit, so capacities are
numbers of entries: a hundredth, a twentieth and a fifth of the keys of the trace.

Several processes take one request after the other from the same trace. If one asks for a key that another one has missed and
not yet put, it misses, too, whatever the policy is. Such a miss is counted: its put finds that the key is there. With
``get_or_set``, the second process waits for what the first one computes. There a miss is a computation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
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
TOGETHER = f"{OURS}, {PROCESSES} processes"
TWICE = f"{PROCESSES} processes, missed twice"
COMPUTED = f"{TOGETHER}, get_or_set"


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
            for who, count, asking in (
                (OURS, 1, get_and_put),
                (TOGETHER, PROCESSES, get_and_put),
                (COMPUTED, PROCESSES, get_or_set),
            ):
                cores = [setting.cores[number % len(setting.cores)] for number in range(count)]
                rounds = [ours(trace, capacity, cores, asking) for _ in range(setting.rounds(3, quick=1))]
                row.samples[who] = Sample([100 * hits / len(trace) for hits, _ in rounds])
                if who == TOGETHER:
                    row.samples[TWICE] = Sample([100 * twice / len(trace) for _, twice in rounds])
            report.add(row)
            cells.append([name, f"{capacity:,}", *(f"{row.median(who):.2f}" for who in row.samples)])
            lru, found, together, twice, computed = (
                row.median(who) or 0 for who in ("LRU", OURS, TOGETHER, TWICE, COMPUTED)
            )
            report.bars.append(Bar(f"{row.title}: of LRU's hits", found / lru, least=1.0))
            for what, hits in (("processes", together), ("processes, with what was missed twice", together + twice),
                               ("processes, get_or_set", computed)):  # fmt: skip
                report.bars.append(
                    Bar(f"{row.title}: {PROCESSES} {what}, below one", found - hits, most=0.3, unit="of 100")
                )
    report.table("Hits of 100 requests", ("trace", ">entries", *(f">{who}" for who in row.samples)), cells)


def traces(args: argparse.Namespace, setting: Setting, most: int) -> dict[str, Sequence[int]]:
    if args.traces is None:
        return {f"Zipf {exponent}": zipf(most, most // 10, exponent, setting.rng) for exponent in (0.8, 1.0)}
    files = [path for path in sorted(args.traces.iterdir()) if path.suffix in (".xz", ".trace", ".bin")]
    if not files:
        raise SystemExit(f"{args.traces}: no file named *.xz, *.trace or *.bin is there")
    return {path.name.partition(".")[0]: read(path, most) for path in files}


Asking = Callable[[shmstore.Cache[int], str], tuple[bool, bool]]  # was it a hit, was it missed twice


def get_and_put(cache: shmstore.Cache[int], key: str) -> tuple[bool, bool]:
    if cache.get(key) is not None:
        return True, False
    return False, not cache.add(key, 1)


def get_or_set(cache: shmstore.Cache[int], key: str) -> tuple[bool, bool]:
    hit = True

    def compute() -> int:
        nonlocal hit
        hit = False
        return 1

    cache.get_or_set(key, compute)
    return hit, False


def ours(trace: Sequence[int], capacity: int, cores: Sequence[int], ask: Asking) -> tuple[int, int]:
    """The hits of processes on these cores that take one request after the other from the trace, and what they missed twice."""
    with resources() as stack:
        size = max(1 << 20, capacity * 400)
        cache = stack.enter_context(destroyed(lambda key: shmstore.Cache[int](key, size=size, max_entries=capacity)))
        turns = stack.enter_context(destroyed(lambda key: shmstore.Store[int](key, size="1M")))

        @contextmanager
        def asking() -> Iterator[Work]:
            yield lambda stop: work(cache, turns, trace, ask)

        hits, twice = zip(*side_by_side([(asking, core) for core in cores]))
        return sum(hits), sum(twice)


def work(cache: shmstore.Cache[int], turns: shmstore.Store[int], trace: Sequence[int], ask: Asking) -> tuple[int, int]:
    hits = twice = 0
    while (turn := turns.incr("turn")) <= len(trace):
        hit, missed_twice = ask(cache, str(trace[turn - 1]))
        hits += hit
        twice += missed_twice
    return hits, twice


if __name__ == "__main__":
    sys.exit(main())
