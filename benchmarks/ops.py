"""Time every operation of a store beside its floor and beside LMDB: ``python -m benchmarks.ops``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from benchmarks._contests import ground, why
from benchmarks._guard import resources
from benchmarks._lmdb import INSTALLED, Lmdb
from benchmarks._measure import Sample, measure, singles
from benchmarks._objects import SMALL
from benchmarks._report import Asked, Result, show
from benchmarks._run import Report, Setting, parser, run
from benchmarks._shmstore import Ours
from benchmarks._together import count_together


@dataclass(frozen=True)
class Row:
    """One operation: on which ground, how many in a batch, and its bar."""

    name: str
    title: str
    ground: str
    operation: str
    asked: Asked = Asked()
    batch: int = SMALL


ROWS = (
    Row("get", "get", "small msgpack", "get", Asked(floor=1.4, lmdb=1.7)),
    Row("put", "put", "small msgpack", "put", Asked(floor=1.5, lmdb=3)),
    Row("miss", "miss", "small msgpack", "miss", Asked(lmdb=1 / 0.3)),
    Row("contains", "contains", "small msgpack", "contains", Asked(lmdb=5)),
    Row("incr", "incr", "small msgpack", "incr", Asked(lmdb=10)),
    Row("get_many", "get_many(100)", "small msgpack", "get_many", Asked(floor=1, lmdb=1), batch=100),
    Row("put_many", "put_many(100)", "small msgpack", "put_many", Asked(floor=1.3, lmdb=1), batch=100),
    # A store that has ever held a time to live sweeps at every put, so it gets a ground of its own.
    Row("put_ttl", "put with ttl", "mortal msgpack", "put_ttl", Asked(floor=2)),
    Row("get_ttl", "get, with ttl", "mortal msgpack", "get"),
    Row("get_msgspec", "get, msgspec", "small msgspec", "get", Asked(floor=0.9)),
    Row("get_1k", "get 1 KB", "1k msgpack", "get", Asked(floor=0.8)),
    Row("into_1k", "get_into 1 KB", "1k msgpack", "get_into"),
    Row("put_1k", "put 1 KB", "1k msgpack", "put"),
    Row("get_1k_raw", "get 1 KB, raw", "1k raw", "get", Asked(floor=0.8)),
    Row("get_100k", "get 100 KB", "100k msgpack", "get", Asked(floor=1.1), batch=100),
    Row("into_100k", "get_into 100 KB", "100k msgpack", "get_into", Asked(floor=1.05), batch=100),
    Row("put_100k", "put 100 KB", "100k msgpack", "put", batch=100),
    Row("get_100k_raw", "get 100 KB, raw", "100k raw", "get", Asked(floor=1.1), batch=100),
    Row("get_10m", "get 10 MB", "10m msgpack", "get", Asked(floor=1.1), batch=3),
    Row("into_10m", "get_into 10 MB", "10m msgpack", "get_into", Asked(floor=1.05), batch=3),
    Row("put_10m", "put 10 MB", "10m msgpack", "put", batch=3),
    Row("get_10m_raw", "get 10 MB, raw", "10m raw", "get", Asked(floor=1.1), batch=3),
)
TOGETHER = "incr_2"
NAMES = (*(row.name for row in ROWS), TOGETHER)
AT_LEAST = 1_500_000  # additions per second of two processes on one counter


def main(argv: Sequence[str] | None = None) -> int:
    options = parser("ops", __doc__, "121, quick 21")
    options.add_argument("--cold", action="store_true", help="no untimed pass at the beginning of a turn")
    options.add_argument("--rows", type=_names, default=NAMES, metavar="A,B", help=f"of {', '.join(NAMES)}")
    return run("ops", play, options.parse_args(argv))


def play(setting: Setting, report: Report) -> None:
    results = []
    for result in _results(setting):
        results.append(result)
        report.progress(f"{len(results)} rows: {result.title}")
        report.rows.append(result.as_json())
        report.bars += result.bars()
    report.progress("")
    show(results, report.output)
    for sentence in dict.fromkeys(why(result.left_out) for result in results if result.left_out):
        report.note(sentence)
    compared = [result.over_lmdb for result in results if result.over_lmdb]
    if compared:
        report.note(f"\nFaster than LMDB in {sum(faster > 1 for faster in compared)} of {len(compared)} rows.")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise argparse.ArgumentTypeError(f"no row {unknown[0]!r}; there are {', '.join(NAMES)}")
    return names


def _results(setting: Setting) -> Iterator[Result]:
    args, rng, quick = setting.args, setting.rng, setting.quick
    rounds = setting.rounds(121, quick=21)
    chosen = [row for row in ROWS if row.name in args.rows]
    for name, rows in groupby(chosen, lambda row: row.ground):
        with resources() as stack:
            try:
                place = ground(name, stack)
            except ImportError as error:
                for row in rows:
                    yield Result(row.name, row.title, row.asked, {}, left_out={"shmstore": f"needs {error.name}"})
                continue
            for row in rows:
                contestants = place.contestants(row.operation)
                batch = max(1, row.batch // 10) if quick else row.batch
                samples = measure(contestants, rounds=rounds, batch=batch, rng=rng, cold=args.cold)
                if row.batch == SMALL:
                    singles(contestants, samples, count=1_000 if quick else 20_000, rng=rng)
                yield Result(row.name, row.title, row.asked, samples, left_out=place.left_out)
    if TOGETHER in args.rows:
        yield _two_on_one_counter(setting.cores, max(3, rounds // 12), quick)


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
        TOGETHER, title, Asked(), samples, per_second=True, at_least=AT_LEAST, left_out=left_out,
        note="additions per second, together, on one counter; the sum was exact in every round",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
