"""Time one writer and two writers at once: ``python -m benchmarks.writers``.

Of the same keys and of keys of their own, of small and of large values, in small and in large stores, alone and beside a
process that keeps a core busy. LMDB lets one writer in at a time; memcached is a server.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks._bars import Bar
from benchmarks._beside import Shared, burning, paces, writing
from benchmarks._guard import resources
from benchmarks._lmdb import INSTALLED, Lmdb
from benchmarks._measure import Sample
from benchmarks._objects import blobs, small_objects
from benchmarks._run import Report, Row, Setting, parser, run
from benchmarks._servers import Memcached, Missing
from benchmarks._shmstore import Ours

OWN_KEYS, SAME_KEYS = 1.8, 1.5  # of one writer, in a store of 64M with small values
SIZES = {"64M": 64 << 20, "1G": 1 << 30}


def main(argv: Sequence[str] | None = None) -> int:
    return run("writers", play, parser("writers", __doc__, "11, quick 1").parse_args(argv))


def play(setting: Setting, report: Report) -> None:
    if len(setting.cores) < 2:
        report.note("one core only: nothing to say about two writers")
        return
    for values in (small_objects(), blobs("100k")):
        what = "60 B" if len(values) > 1000 else "100 KB"
        for size in SIZES:
            beside = (False, True) if size == "64M" else (False,)
            for busy in beside:
                _writers(
                    setting, report, values, f"{what}, {size}{', beside a busy process' if busy else ''}", size, busy
                )


def _writers(setting: Setting, report: Report, values: Mapping[Any, Any], title: str, size: str, busy: bool) -> None:
    items = list(values.items())
    halves = [dict(items[::2]), dict(items[1::2])]
    writers: dict[str, list[Mapping[Any, Any]]] = {
        "one": [values],
        "two, same keys": [values, values],
        "two, keys of their own": list(halves),
    }
    row = Row(f"writers {title}", f"writers, {title}", "puts per second", {})
    with resources() as stack:
        shared: dict[str, Shared] = {"shmstore": Ours(stack, values, size=size, max_entries=len(values))}
        if INSTALLED:
            lmdb = Lmdb(stack, values, size=SIZES[size])
            lmdb.close()  # each process opens it for itself
            shared["lmdb"] = lmdb
        try:
            shared["memcached"] = Memcached(stack, values)
        except (Missing, ImportError) as missing:
            report.note(f"memcached: {missing}")
        for number in range(rounds := setting.rounds(11, quick=1)):
            report.progress(f"{title}: round {number + 1} of {rounds}")
            for name, store in shared.items():
                for which, theirs in writers.items():
                    if name == "lmdb":  # its keys are bytes, before the clock starts
                        theirs = [{key.encode(): value for key, value in mine.items()} for mine in theirs]
                    jobs = [(writing(store, mine), core) for mine, core in zip(theirs, setting.cores)]
                    if busy:
                        jobs.append((burning, setting.cores[0]))
                    done = [pace for pace in paces(jobs, 0.05 if setting.quick else 0.4) if pace is not None]
                    sample = row.samples.setdefault(f"{name}, {which}", Sample())
                    sample.rounds.append(sum(pace.per_second for pace in done))
    report.add(row)
    cells = []
    for key in row.samples:
        ratio = row.ratio(key, f"{key.partition(', ')[0]}, one")
        cells.append([key, f"{row.median(key):,.0f}", f"{ratio:.2f}"])
    report.table(f"Puts of {title}", ("", ">puts/s together", ">of one"), cells)
    if title == "60 B, 64M":
        for which, least in (("two, keys of their own", OWN_KEYS), ("two, same keys", SAME_KEYS)):
            ratio = row.ratio(f"shmstore, {which}", "shmstore, one")
            report.bars.append(Bar(f"writers: {which}, of one", ratio or 0, least=least))


if __name__ == "__main__":
    sys.exit(main())
