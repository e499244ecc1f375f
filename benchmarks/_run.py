"""What all benchmarks have in common: options, a quiet core, the environment, results in tables and in JSON."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import RESULTS, _bars
from benchmarks._bars import Bar
from benchmarks._environment import Load, describe, environment
from benchmarks._guard import Stopped, stoppable
from benchmarks._measure import Sample, cores_by_quiet
from shmstore.cli.support.output import Output, choose_output


@dataclass
class Row:
    """One thing that was measured, of several contestants, in one unit."""

    row: str
    title: str
    unit: str
    samples: dict[str, Sample]
    about: dict[str, Any] = field(default_factory=dict)

    def median(self, name: str) -> float | None:
        sample = self.samples.get(name)
        return sample.median if sample and sample.rounds else None

    def ratio(self, name: str, other: str) -> float | None:
        """The median of one over the median of another, where there are both."""
        one, two = self.median(name), self.median(other)
        return one / two if one is not None and two else None

    def as_json(self) -> dict[str, Any]:
        contestants = {name: sample.as_json() for name, sample in self.samples.items() if sample.rounds}
        return {"row": self.row, "title": self.title, "unit": self.unit, **self.about, "contestants": contestants}


class Report:
    """Where a benchmark puts what it found, as soon as it has it."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.rows: list[dict[str, Any]] = []
        self.bars: list[Bar] = []

    def progress(self, title: str) -> None:
        """Say on a terminal what is being measured; "" wipes it."""
        if sys.stderr.isatty():
            print(f"\r{title:<60.60}\r", end="", file=sys.stderr, flush=True)

    def table(self, title: str, header: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
        self.progress("")
        self.output.table(title, header, cells)

    def note(self, text: str) -> None:
        self.progress("")
        self.output.line(text)

    def add(self, *rows: Row) -> None:
        self.rows += [row.as_json() for row in rows]


@dataclass(frozen=True)
class Setting:
    """How this run is to be done. cores: those it may use, the quietest first; the process itself runs on that one."""

    args: argparse.Namespace
    cores: list[int]
    rng: random.Random

    def rounds(self, full: int, quick: int = 3) -> int:
        return int(self.args.rounds or (quick if self.args.quick else full))

    @property
    def quick(self) -> bool:
        return bool(self.args.quick)


Play = Callable[[Setting, Report], None]


def parser(name: str, doc: str, rounds: str) -> argparse.ArgumentParser:
    """The options that all have."""
    found = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=doc.partition("\n")[0])
    found.add_argument("--quick", action="store_true", help="few and small rounds: a look, not a measurement")
    found.add_argument("--rounds", type=int, metavar="N", help=f"rounds per row; default {rounds}")
    found.add_argument("--seed", type=int, default=0, help="of the order of everything; default 0")
    found.add_argument("--json", type=Path, metavar="FILE", help="write all rounds there")
    found.add_argument("--save", action="store_true", help=f"write them to benchmarks/results/{name}.json")
    return found


def run(name: str, play: Play, args: argparse.Namespace) -> int:
    """Play on the quietest core, show and write what came out; give the exit status."""
    allowed = os.sched_getaffinity(0)
    report = Report(choose_output())
    try:
        with stoppable():
            cores = cores_by_quiet()
            os.sched_setaffinity(0, cores[:1])
            about = environment(cores)
            for title, text in about.items():
                report.note(f"{title:>10}: {text}")
            load = Load()
            play(Setting(args, cores, random.Random(args.seed)), report)
            seen = load.seen()
    except Stopped as stop:
        print(f"{stop}; nothing is left behind", file=sys.stderr)
        return 128 + stop.number
    finally:
        os.sched_setaffinity(0, allowed)
    _bars.show(report.bars, report.output)
    report.note(f"\n{describe(seen)}.")
    chosen = {key: value for key, value in vars(args).items() if key not in ("json", "save", "traces")}
    document = {"environment": about, "load": seen, **chosen, "rows": report.rows,
                "bars": [bar.as_json() for bar in report.bars]}  # fmt: skip
    for path in filter(None, (args.json, RESULTS / f"{name}.json" if args.save else None)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_as_text(document))
        report.note(f"written: {path}")
    return 0


def _as_text(document: dict[str, Any]) -> str:
    """JSON with a line for each key, and for each row and bar: for people, and for those who compare two runs."""

    def value(of: Any) -> str:
        if isinstance(of, list) and of and isinstance(of[0], dict):
            return "[\n  " + ",\n  ".join(map(json.dumps, of)) + "\n ]"
        return json.dumps(of)

    return "{\n " + ",\n ".join(f"{json.dumps(key)}: {value(of)}" for key, of in document.items()) + "\n}\n"
