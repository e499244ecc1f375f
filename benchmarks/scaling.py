"""Time operations as entries and processes grow in number: ``python -m benchmarks.scaling``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks._bars import Bar
from benchmarks._beside import Shared, paces, reading, writing
from benchmarks._full import FULL, Full
from benchmarks._growth import Grown
from benchmarks._guard import resources
from benchmarks._lmdb import INSTALLED, Lmdb
from benchmarks._measure import Contestant, Sample, measure
from benchmarks._objects import small_objects
from benchmarks._run import Report, Row, Setting, parser, run
from benchmarks._shmstore import Ours
from benchmarks._together import count_together
from benchmarks._workers import Work, idle

ENTRIES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
ATTACHED = (1, 8, 64)
FLAT = 1.5  # what counts as flat
AT_LEAST = 1_500_000  # additions per second of two processes on one counter


def main(argv: Sequence[str] | None = None) -> int:
    options = parser("scaling", __doc__, "31, quick 3")
    options.add_argument("--full", action="store_true", help=f"up to {ENTRIES[-1]:,} entries, which takes 4 GB")
    return run("scaling", play, options.parse_args(argv))


def play(setting: Setting, report: Report) -> None:
    by_entries(setting, report)
    full(setting, report)
    attached(setting, report)
    if len(setting.cores) > 1:
        two_processes(setting, report)
        two_writers(setting, report)
    else:
        report.note("one core only: nothing to say about two processes at once")


def by_entries(setting: Setting, report: Report) -> None:
    most = 10_000 if setting.quick else ENTRIES[-1] if setting.args.full else 1_000_000
    rows: dict[str, Row] = {}
    with resources() as stack:
        grown = []
        for entries in ENTRIES[: ENTRIES.index(most) + 1]:
            report.progress(f"storing {entries:,} entries")
            grown.append(Grown(stack, entries, setting.rng))
        for operation in ("get", "put", "open and close", "stats"):
            report.progress(f"{operation} in stores of up to {most:,} entries")
            small = operation in ("get", "put")
            found = [one.contestants(operation) if small else one.administration(operation) for one in grown]
            contestants = [contestant for each in found for contestant in each]
            # Cold: with ten million entries hardly any name is asked for twice in a row, as it is not in life.
            samples = measure(
                contestants, rounds=setting.rounds(31), batch=2_000 if small else 50, rng=setting.rng, cold=True
            )
            rows[operation] = Row(f"growth {operation}", f"{operation}, by entries", "ns", samples)
    report.add(*rows.values())
    numbers = [one.entries for one in grown]
    cells = []
    for operation, row in rows.items():
        for who in ("shmstore", "floor"):
            if row.median(f"{who} {numbers[0]:,}"):
                figures = [row.median(f"{who} {entries:,}") or 0 for entries in numbers]
                cells.append([operation, who, *(f"{ns:,.0f}" for ns in figures), f"{max(figures) / figures[0]:.2f}"])
    header = ("operation", "of", *(f">{entries:,}" for entries in numbers), ">growth")
    report.table("ns per operation, by entries; keys at random, caches cold", header, cells)
    for operation, row in rows.items():
        text = f"{operation}, {numbers[0]:,} to {numbers[-1]:,} entries: the slowest, of the smallest store"
        growth = _growth(row, "shmstore", numbers)
        report.bars.append(Bar(text, growth, most=FLAT))
        if row.median(f"floor {numbers[0]:,}"):  # what grows in a dict, too, are misses of the processor's caches
            text = f"{operation}, {numbers[0]:,} to {numbers[-1]:,} entries: this growth, of a dict's"
            report.bars.append(Bar(text, growth / _growth(row, "floor", numbers), most=1))


def _growth(row: Row, who: str, numbers: Sequence[int]) -> float:
    """The slowest over the smallest."""
    return max(row.ratio(f"{who} {entries:,}", f"{who} {numbers[0]:,}") or 0 for entries in numbers)


def full(setting: Setting, report: Report) -> None:
    report.progress("filling a store")
    with resources() as stack:
        filled = Full(stack, 16 if setting.quick else 64, setting.rng)
        before = filled.used()
        # Cold: a second pass would put values of the very sizes that it frees.
        samples = measure(filled.contestants(), rounds=setting.rounds(61), batch=500, rng=setting.rng, cold=True)
        row = Row("put full", f"put of 16 to 2,000 bytes, {FULL:.0%} full", "ns", samples)
        stats = filled.ours.store.stats()
        row.about = {"used": before, "refused": filled.refused, "largest_free": stats.largest_free,
                     "bytes_free": stats.bytes_free, "entries": stats.entries}  # fmt: skip
    report.add(row)
    report.note(
        f"\nA store {before:.1%} full, {stats.entries:,} entries of 16 to 2,000 bytes, each replaced twice on average: "
        f"put {row.median('full'):,.0f} ns, {row.median('roomy'):,.0f} in one of four times the size; "
        f"{filled.refused} puts were refused with StoreFull"
    )
    report.bars.append(
        Bar(f"put, {FULL:.0%} full and in fragments, of a roomy store's", row.ratio("full", "roomy"), most=2)
    )


def attached(setting: Setting, report: Report) -> None:
    objects = small_objects()
    rows = {operation: Row(f"attached {operation}", f"{operation}, by attached processes", "ns", {})
            for operation in ("get", "put")}  # fmt: skip
    with resources() as stack:
        ours = Ours(stack, objects)

        @contextmanager
        def attaching() -> Iterator[Work]:
            with ours.attached() as here:
                here.get(["user:00000"])
                yield lambda stop: None

        for number in range(rounds := setting.rounds(9, quick=1)):
            for count in ATTACHED:
                report.progress(f"{count} attached: round {number + 1} of {rounds}")
                with idle(attaching, setting.cores, count - 1):
                    for operation, row in rows.items():
                        arguments = list(objects.items()) if operation == "put" else list(objects)
                        contestant = Contestant(f"{count}", getattr(ours, operation), arguments)
                        took = measure([contestant], rounds=5, batch=1_000, rng=setting.rng)
                        row.samples.setdefault(f"{count}", Sample()).rounds.append(took[f"{count}"].median)
    report.add(*rows.values())
    cells = [[operation, *(f"{row.median(str(count)):,.0f}" for count in ATTACHED)] for operation, row in rows.items()]
    report.table(
        "ns per operation, by attached processes, all but one asleep",
        ("operation", *(f">{n}" for n in ATTACHED)),
        cells,
    )
    for operation, row in rows.items():
        ratio = row.ratio(str(ATTACHED[-1]), str(ATTACHED[0]))
        report.bars.append(Bar(f"{operation}, {ATTACHED[-1]} processes attached, of alone", ratio, most=FLAT))


def two_processes(setting: Setting, report: Report) -> None:
    objects = small_objects()
    readers = Row("readers", "readers, together", "gets per second", {})
    counter = Row("counter", "two processes on one counter", "additions per second", {})
    with resources() as stack:
        values = {**objects, "counter": 0}
        contestants: list[tuple[Shared, Sequence[str] | Sequence[bytes]]] = [(Ours(stack, values), list(objects))]
        if INSTALLED:
            lmdb = Lmdb(stack, values)
            lmdb.close()
            contestants.append((lmdb, [name.encode() for name in objects]))
        for number in range(rounds := setting.rounds(11, quick=1)):
            report.progress(f"two processes: round {number + 1} of {rounds}")
            for shared, names in contestants:
                for count in (1, 2):
                    jobs = [(reading(shared, names, one_by_one=False), core) for core in setting.cores[:count]]
                    speed = sum(pace.per_second for pace in paces(jobs, 0.05 if setting.quick else 0.4))
                    readers.samples.setdefault(f"{count} of {shared.name}", Sample()).rounds.append(speed)
                times = (40_000 if shared.name == "shmstore" else 4_000) * (1 if setting.quick else 8)
                speed = count_together(shared, setting.cores[:2], times)  # type: ignore[arg-type]
                counter.samples.setdefault(shared.name, Sample()).rounds.append(speed)
    report.add(readers, counter)
    cells = []
    for shared, _ in contestants:
        one, two = f"1 of {shared.name}", f"2 of {shared.name}"
        cells.append([shared.name, f"{readers.median(one):,.0f}", f"{readers.median(two):,.0f}",
                      f"{readers.ratio(two, one):.2f}", f"{counter.median(shared.name):,.0f}"])  # fmt: skip
    header = ("", ">1 reader, gets/s", ">2 readers", ">ratio", ">2 on one counter, additions/s")
    report.table("Two processes on two cores; every sum of additions was exact", header, cells)
    us, them = (readers.ratio(f"2 of {name}", f"1 of {name}") for name in ("shmstore", "lmdb"))
    why = "LMDB is not installed"
    report.bars += [
        Bar("two readers over one, of LMDB's ratio", us / them if us and them else None, least=0.95, why=why),
        Bar("two processes on one counter, exact", counter.median("shmstore"), least=AT_LEAST, unit="per second"),
    ]


def two_writers(setting: Setting, report: Report) -> None:
    """Of shmstore alone: LMDB has one writer at a time."""
    objects = small_objects()
    items = list(objects.items())
    halves = [dict(items[::2]), dict(items[1::2])]
    row = Row("writers", "writers, together", "puts per second", {})
    for size in ("64M", "256M"):
        with resources() as stack:
            ours = Ours(stack, objects, size=size, max_entries=len(objects))
            writers = {"one": [objects], "two, same keys": [objects, objects], "two, keys of their own": halves}
            for number in range(rounds := setting.rounds(11, quick=1)):
                report.progress(f"writers, {size}: round {number + 1} of {rounds}")
                for which, theirs in writers.items():
                    jobs = [(writing(ours, values), core) for values, core in zip(theirs, setting.cores)]
                    speed = sum(pace.per_second for pace in paces(jobs, 0.05 if setting.quick else 0.4))
                    row.samples.setdefault(f"{which}, {size}", Sample()).rounds.append(speed)
    report.add(row)
    cells = []
    for key in row.samples:
        one = f"one, {key.rpartition(', ')[2]}"
        cells.append([key, f"{row.median(key):,.0f}", f"{row.ratio(key, one):.2f}"])
    report.table("Writers of 10,000 keys on two cores", ("", ">puts/s together", ">of one"), cells)


if __name__ == "__main__":
    sys.exit(main())
