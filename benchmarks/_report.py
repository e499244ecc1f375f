"""What was measured, as a table and as JSON: each row with its bars, held or not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._measure import Sample

if TYPE_CHECKING:
    from shmstore.cli.output import Output

NOISY = 0.25  # a distance of quartiles, as a share of the median, from which a row says that it was disturbed

HEADER = ("operation", ">shmstore", ">floor", ">x", ">bar", ">LMDB", ">faster", ">bar", "bars")


@dataclass(frozen=True)
class Bar:
    """What a row has to reach: at most so many times the floor, at least so many times faster than LMDB."""

    floor: float | None = None
    lmdb: float | None = None


@dataclass
class Result:
    """One row: ns per item, or operations per second where *per_second* says so."""

    row: str
    title: str
    bar: Bar
    samples: dict[str, Sample]
    per_second: bool = False
    at_least: float | None = None  # operations per second
    note: str = ""
    left_out: dict[str, str] = field(default_factory=dict)  # contestants, and why

    def median(self, name: str) -> float | None:
        sample = self.samples.get(name)
        return sample.median if sample else None

    @property
    def over_floor(self) -> float | None:
        ours, floor = self.median("shmstore"), self.median("floor")
        return ours / floor if ours and floor else None

    @property
    def over_lmdb(self) -> float | None:
        """How many times faster than LMDB."""
        ours, theirs = self.median("shmstore"), self.median("lmdb")
        if not ours or not theirs:
            return None
        return ours / theirs if self.per_second else theirs / ours

    def held(self) -> dict[str, bool]:
        """By what is asked, whether it is so; what could not be measured is not in it."""
        verdicts = {}
        if self.bar.floor is not None and self.over_floor is not None:
            verdicts["floor"] = self.over_floor <= self.bar.floor
        if self.bar.lmdb is not None and self.over_lmdb is not None:
            verdicts["LMDB"] = self.over_lmdb >= self.bar.lmdb
        ours = self.median("shmstore")
        if self.at_least is not None and ours is not None:
            verdicts["per second"] = ours >= self.at_least
        return verdicts

    @property
    def noisy(self) -> bool:
        return any(sample.spread > NOISY for sample in self.samples.values())

    def cells(self) -> list[str]:
        faster, held = self.over_lmdb, self.held()
        return [
            self.title + " ~" * self.noisy,
            self._figure("shmstore"),
            self._figure("floor"),
            f"{self.over_floor:.2f}" if self.over_floor else "",
            f"<= {self.bar.floor:g}" if self.bar.floor else "",
            self._figure("lmdb"),
            f"{faster:.2f} {'yes' if faster > 1 else ' NO'}" if faster else "",
            self._bar_beside_lmdb(),
            "" if not held else "held" if all(held.values()) else "MISSED",
        ]

    def _bar_beside_lmdb(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least / 1e6:g} M/s"
        return f">= {self.bar.lmdb:.3g}" if self.bar.lmdb else ""

    def _figure(self, name: str) -> str:
        median = self.median(name)
        if median is None:
            return self.left_out.get(name, "")
        return f"{median / 1e6:.2f} M/s" if self.per_second else f"{median:,.0f}"

    def as_json(self) -> dict[str, Any]:
        return {
            "row": self.row,
            "title": self.title,
            "unit": "operations per second" if self.per_second else "ns per item",
            "bar": {"floor": self.bar.floor, "lmdb": self.bar.lmdb, "at_least": self.at_least},
            "held": self.held(),
            "over_floor": self.over_floor,
            "times_faster_than_lmdb": self.over_lmdb,
            "left_out": self.left_out,
            "contestants": {name: _sample_as_json(sample) for name, sample in self.samples.items()},
        }


def _sample_as_json(sample: Sample) -> dict[str, Any]:
    low, high = sample.quartiles
    found: dict[str, Any] = {"median": sample.median, "quartiles": [low, high], "rounds": sample.rounds}
    if sample.single:
        found["single_operations_ns"] = {f"p{p:g}": sample.percentile(p) for p in (50, 99, 99.9)}
        found["single_operations_ns"]["max"] = max(sample.single)
    return found


def show(results: Sequence[Result], output: Output) -> None:
    output.table("Medians in ns per operation, many-calls per item", HEADER, [result.cells() for result in results])
    for result in results:
        if result.note:
            output.line(f"{result.title}: {result.note}")
    if any(result.noisy for result in results):
        output.line(f"~ disturbed: the quartiles of some contestant lie more than {NOISY:.0%} of its median apart")
    rows = []
    for result in results:
        for name, sample in result.samples.items():
            if sample.single:
                at = [f"{sample.percentile(p) / 1000:,.2f}" for p in (50, 99, 99.9)]
                rows.append([result.title, name, *at, f"{max(sample.single) / 1000:,.0f}"])
    if rows:
        header = ("operation", "of", ">p50", ">p99", ">p99.9", ">max")
        output.table("Single operations, µs, some 0.15 of it the clock", header, rows)


def verdict(results: Sequence[Result]) -> str:
    held = [verdict for result in results for verdict in result.held().values()]
    compared = [result.over_lmdb for result in results if result.over_lmdb]
    text = f"{sum(held)} of {len(held)} bars held"
    if compared:
        text += f"; faster than LMDB in {sum(faster > 1 for faster in compared)} of {len(compared)} rows"
    return text


def write(path: Path, results: Sequence[Result], **about: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**about, "rows": [result.as_json() for result in results]}, indent=1)
    path.write_text(text + "\n")
