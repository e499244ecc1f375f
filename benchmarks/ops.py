"""Time every operation of a store beside its floor and beside LMDB: ``python -m benchmarks.ops``."""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from benchmarks import RESULTS
from benchmarks._contests import ground, why
from benchmarks._environment import Load, describe, environment
from benchmarks._guard import Stopped, resources, stoppable
from benchmarks._lmdb import INSTALLED, Lmdb
from benchmarks._measure import Sample, cores_by_quiet, measure, singles
from benchmarks._objects import SMALL
from benchmarks._report import Bar, Result, show, verdict, write
from benchmarks._shmstore import Ours
from benchmarks._together import count_together
from shmstore.cli.output import choose_output


@dataclass(frozen=True)
class Row:
    """One operation: on which ground, how many in a batch, and its bar."""

    name: str
    title: str
    ground: str
    operation: str
    bar: Bar = Bar()
    batch: int = SMALL


ROWS = (
    Row("get", "get", "small", "get", Bar(floor=1.4, lmdb=1.7)),
    Row("put", "put", "small", "put", Bar(floor=1.5, lmdb=3)),
    Row("miss", "miss", "small", "miss", Bar(lmdb=1 / 0.3)),
    Row("contains", "contains", "small", "contains", Bar(lmdb=5)),
    Row("incr", "incr", "small", "incr", Bar(lmdb=10)),
    Row("get_many", "get_many(100)", "small", "get_many", Bar(floor=1, lmdb=1), batch=100),
    Row("put_many", "put_many(100)", "small", "put_many", Bar(floor=1.3, lmdb=1), batch=100),
    # A store that has ever held a time to live sweeps at every put, so it gets a ground of its own.
    Row("put_ttl", "put with ttl", "mortal", "put_ttl", Bar(floor=2)),
    Row("get_ttl", "get, with ttl", "mortal", "get"),
    Row("get_1k", "get 1 KB", "1k msgpack", "get", Bar(floor=0.8)),
    Row("put_1k", "put 1 KB", "1k msgpack", "put"),
    Row("get_1k_raw", "get 1 KB, raw", "1k raw", "get", Bar(floor=0.8)),
    Row("get_100k", "get 100 KB", "100k msgpack", "get", Bar(floor=1.1), batch=100),
    Row("put_100k", "put 100 KB", "100k msgpack", "put", batch=100),
    Row("get_100k_raw", "get 100 KB, raw", "100k raw", "get", Bar(floor=1.1), batch=100),
    Row("get_10m", "get 10 MB", "10m msgpack", "get", Bar(floor=1.1), batch=3),
    Row("put_10m", "put 10 MB", "10m msgpack", "put", batch=3),
    Row("get_10m_raw", "get 10 MB, raw", "10m raw", "get", Bar(floor=1.1), batch=3),
)
TOGETHER = "incr_2"
NAMES = (*(row.name for row in ROWS), TOGETHER)
AT_LEAST = 1_500_000  # additions per second of two processes on one counter


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    allowed = os.sched_getaffinity(0)
    output = choose_output()
    try:
        with stoppable():
            cores = cores_by_quiet()
            os.sched_setaffinity(0, cores[:1])
            about = environment(cores)
            for title, text in about.items():
                output.line(f"{title:>10}: {text}")
            load = Load()
            results = []
            for result in _play(args, cores):
                results.append(result)
                if sys.stderr.isatty():
                    print(f"\r{len(results)} rows: {result.title:<30}", end="", file=sys.stderr, flush=True)
            seen = load.seen()
    except Stopped as stop:
        print(f"{stop}; nothing is left behind", file=sys.stderr)
        return 128 + stop.number
    finally:
        os.sched_setaffinity(0, allowed)
    if sys.stderr.isatty():
        print("\r" + " " * 50 + "\r", end="", file=sys.stderr)
    show(results, output)
    for sentence in dict.fromkeys(why(result.left_out) for result in results if result.left_out):
        output.line(sentence)
    output.line(f"\n{verdict(results)}.\n{describe(seen)}.")
    for path in filter(None, (args.json, RESULTS / "ops.json" if args.save else None)):
        write(path, results, environment=about, load=seen, quick=args.quick, cold=args.cold, seed=args.seed)
        output.line(f"written: {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ops", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds of small batches: a look, not a measurement")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds per row; default 121, quick 21")
    parser.add_argument("--cold", action="store_true", help="no untimed pass at the beginning of a turn")
    parser.add_argument("--rows", type=_names, default=NAMES, metavar="A,B", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seed", type=int, default=0, help="of the order of everything; default 0")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds there")
    parser.add_argument("--save", action="store_true", help="write them to benchmarks/results/ops.json")
    return parser


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise argparse.ArgumentTypeError(f"no row {unknown[0]!r}; there are {', '.join(NAMES)}")
    return names


def _play(args: argparse.Namespace, cores: list[int]) -> Iterator[Result]:
    rng = random.Random(args.seed)
    rounds = args.rounds or (21 if args.quick else 121)
    chosen = [row for row in ROWS if row.name in args.rows]
    for name, rows in groupby(chosen, lambda row: row.ground):
        with resources() as stack:
            place = ground(name, stack)
            for row in rows:
                contestants = place.contestants(row.operation)
                batch = max(1, row.batch // 10) if args.quick else row.batch
                samples = measure(contestants, rounds=rounds, batch=batch, rng=rng, cold=args.cold)
                if row.batch == SMALL:
                    singles(contestants, samples, count=1_000 if args.quick else 20_000, rng=rng)
                yield Result(row.name, row.title, row.bar, samples, left_out=place.left_out)
    if TOGETHER in args.rows:
        yield _two_on_one_counter(cores, max(3, rounds // 12), args.quick)


def _two_on_one_counter(cores: list[int], rounds: int, quick: bool) -> Result:
    samples = {"shmstore": Sample()}
    with resources() as stack:
        ours = Ours(stack, {"counter": 0}, size="1M")
        lmdb = Lmdb(stack, {"counter": 0}) if INSTALLED else None
        if lmdb:
            lmdb.close()
            samples["lmdb"] = Sample()
        for _ in range(rounds):
            samples["shmstore"].rounds.append(count_together(ours, cores[:2], 40_000 if quick else 400_000))
            if lmdb:
                samples["lmdb"].rounds.append(count_together(lmdb, cores[:2], 4_000 if quick else 20_000))
    title = "incr, 2 processes" if len(cores) > 1 else "incr, 2 on one core"
    left_out = {} if lmdb else {"lmdb": "not installed"}
    return Result(
        TOGETHER, title, Bar(), samples, per_second=True, at_least=AT_LEAST, left_out=left_out,
        note="additions per second, together, on one counter; the sum was exact in every round",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
