"""Measure what entries, an import and a fresh process cost: ``python -m benchmarks.memory``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks._bars import Bar
from benchmarks._fresh import IMPORT, LMDB, SHMSTORE, imported_by, nanoseconds
from benchmarks._guard import resources
from benchmarks._lmdb import HOW_TO_GET_IT, INSTALLED, Lmdb
from benchmarks._measure import Sample
from benchmarks._objects import TOGETHER, small_object
from benchmarks._run import Report, Row, Setting, parser, run
from benchmarks._shmstore import Ours

LOAD = 0.75  # of the slots
SLOTS_PER_ENTRY = 1.25  # that a store makes for `max_entries`
MODULES = ("shmstore", "msgpack", "lmdb", "multiprocessing.shared_memory")
UNWANTED = ("typing", "dataclasses", "enum", "uuid", "json", "re", "numpy", "rich", "asyncio")


def main(argv: Sequence[str] | None = None) -> int:
    return run("memory", play, parser("memory", __doc__, "31, quick 1").parse_args(argv))


def play(setting: Setting, report: Report) -> None:
    entries = 10_000 if setting.quick else 100_000
    values = {f"user:{i:05d}": small_object(i) for i in setting.rng.sample(range(entries), entries)}
    with resources() as stack:
        ours = Ours(stack, {}, size="64M", max_entries=round(entries / LOAD / SLOTS_PER_ENTRY))
        lmdb = Lmdb(stack, {}) if INSTALLED else None
        bytes_per_entry(report, ours, lmdb, values)
        fresh_processes(setting, report, ours, lmdb, next(iter(values)))
    imports(setting, report)


def bytes_per_entry(report: Report, ours: Ours, lmdb: Lmdb | None, values: Mapping[str, object]) -> None:
    """What a store grows by while it is filled, as the kernel counts it."""

    def growth(size: Callable[[], int], fill: Callable[[], object]) -> Sample:
        before = size()
        fill()
        return Sample([(size() - before) / len(values)])

    report.progress(f"storing {len(values):,} entries")
    row = Row("bytes_per_entry", f"bytes per entry, {len(values):,} small objects", "bytes", {})
    row.samples["shmstore"] = growth(lambda: _resident(ours.store.info().id), lambda: ours.store.put_many(values))
    if lmdb:
        pairs = [(name.encode(), value) for name, value in values.items()]
        batches = [dict(pairs[at : at + TOGETHER]) for at in range(0, len(pairs), TOGETHER)]
        row.samples["lmdb"] = growth(lambda: _blocks(lmdb.folder), lambda: lmdb.put_many(batches))
    report.add(row)
    found = ", ".join(f"{who} {sample.median:.1f}" for who, sample in row.samples.items())
    report.note(
        f"\nBytes per entry, {len(values):,} objects of 58 bytes, keys of 10, {LOAD:.0%} of the slots taken: {found}"
    )
    report.bars.append(Bar(f"bytes per entry at {LOAD:.0%} slot load", row.median("shmstore"), most=140, unit="bytes"))


def _resident(segment: int) -> int:
    header, *lines = Path("/proc/sysvipc/shm").read_text().splitlines()
    for line in lines:
        fields = dict(zip(header.split(), line.split()))
        if int(fields["shmid"]) == segment:
            return int(fields["rss"]) + int(fields["swap"])
    raise RuntimeError(f"no segment {segment}")


def _blocks(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def fresh_processes(setting: Setting, report: Report, ours: Ours, lmdb: Lmdb | None, name: str) -> None:
    row = Row("attach", "attach and first get, fresh process", "ns", {"shmstore": Sample()})
    for number in range(rounds := setting.rounds(31, quick=1)):
        report.progress(f"fresh processes: round {number + 1} of {rounds}")
        row.samples["shmstore"].rounds.append(nanoseconds(SHMSTORE, where=ours.key, name=name))
        if lmdb:
            took = nanoseconds(LMDB, where=str(lmdb.folder), name=name, size=lmdb.size)
            row.samples.setdefault("lmdb", Sample()).rounds.append(took)
    report.add(row)
    found = ", ".join(f"{who} {sample.median / 1000:,.0f} µs" for who, sample in row.samples.items())
    report.note(f"Attach and first get in a fresh process, imports apart: {found}")
    why = f"LMDB is {HOW_TO_GET_IT}"
    report.bars.append(Bar("attach and first get, of LMDB's", row.ratio("shmstore", "lmdb"), most=0.5, why=why))


def imports(setting: Setting, report: Report) -> None:
    row = Row("import", "import, fresh process", "ns", {})
    modules = [name for name in MODULES if INSTALLED or name != "lmdb"]
    for number in range(rounds := setting.rounds(31, quick=1)):
        report.progress(f"imports: round {number + 1} of {rounds}")
        for module in setting.rng.sample(modules, len(modules)):
            row.samples.setdefault(module, Sample()).rounds.append(nanoseconds(IMPORT, module=module))
    report.add(row)
    found = ", ".join(f"{module} {row.samples[module].median / 1e6:.1f} ms" for module in modules)
    report.note(f"Import in a fresh process: {found}")
    heavy = imported_by("shmstore", UNWANTED)
    report.bars += [
        Bar("import shmstore, of import msgpack", row.ratio("shmstore", "msgpack"), most=2),
        Bar(f"of {', '.join(UNWANTED)}, imported with it", len(heavy), most=0, unit="modules"),
    ]


if __name__ == "__main__":
    sys.exit(main())
