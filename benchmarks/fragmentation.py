"""Count refused puts in stores that are kept full: ``python -m benchmarks.fragmentation``.

Values of mixed sizes come and go in a store of 64M, which is kept 80, 90 or 95 % full: before each put, entries chosen at
random are deleted until the new one would not exceed that share. `with compact()`: it is called ten times in
between. `--before PYTHON` does the same with the shmstore of another interpreter.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._bars import Bar
from benchmarks._measure import Sample
from benchmarks._run import Report, Row, Setting, parser, run

SIZE = 64 << 20
K, M = 1 << 10, 1 << 20
RANGES = {
    "100 B to 8 KB": (100, 8 * K),
    "1 KB to 4 MB": (K, 4 * M),
    "1 KB to 6.4 MB": (K, SIZE // 10),
    "1 MB to 4 MB": (M, 4 * M),
}
FILLS = (0.8, 0.9, 0.95)
PUTS = 1000  # of large values; ten times as many of small ones
CALLS = 10  # of compact(), in the course of a run


def main(argv: Sequence[str] | None = None) -> int:
    options = parser("fragmentation", __doc__, "1, quick 1")
    options.add_argument("--before", metavar="PYTHON", help="an interpreter with a former version of shmstore")
    return run("fragmentation", play, options.parse_args(argv))


def play(setting: Setting, report: Report) -> None:
    ours = {"shmstore": (sys.executable, 0), "with compact()": (sys.executable, CALLS)}
    contestants = {"before": (setting.args.before, 0), **ours} if setting.args.before else ours
    cells = []
    for title, (low, high) in RANGES.items():
        for fill in FILLS if high > 10 * K else FILLS[:2]:  # blocks of small values never take 95 % of a heap
            row = Row(
                f"fragmentation {title} {fill:.0%}", f"{title}, {fill:.0%} full", "ns per put", {}, {"refused": {}}
            )
            for name, (python, calls) in contestants.items():
                report.progress(f"{row.title}, {name}")
                puts = (PUTS if high > 10 * K else 10 * PUTS) // (20 if setting.quick else 1)
                found = _churn(
                    python,
                    low=low,
                    high=high,
                    fill=fill,
                    puts=puts,
                    size=SIZE,
                    compact_every=calls and puts // calls,
                    seed=setting.args.seed,
                )
                row.samples[name] = sample = Sample([sum(found["took"]) / puts], found["took"])
                row.about["refused"][name] = refused = found["refused"] / puts
                micro = [f"{ns / 1000:,.0f}" for ns in sample.tail().values()]
                cells.append([row.title, name, f"{refused:.2%}", *micro, f"{found['moves']:,}"])
            report.add(row)
            if fill <= 0.9:
                report.bars.append(
                    Bar(f"refused, {row.title}", 100 * row.about["refused"]["shmstore"], most=0, unit="%")
                )
    header = ("values", "", ">refused", ">p50 µs", ">p99", ">p99.9", ">max", ">moved")
    report.table("Puts into a store of 64M that is kept full", header, cells)


def _churn(python: str, **options: object) -> dict[str, Any]:
    script = Path(__file__).with_name("_churn.py")
    done = subprocess.run(
        [python, str(script), json.dumps(options)], stdout=subprocess.PIPE, text=True, check=True, cwd="/"
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    sys.exit(main())
