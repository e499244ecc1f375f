"""What ``ops`` measured, as a table and as JSON: each row with its bars, held or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks._bars import Bar
from benchmarks._measure import Sample

if TYPE_CHECKING:
    from shmstore.cli.support.output import Output

NOISY = 0.25  # a distance of quartiles, as a share of the median, from which a row says that it was disturbed

HEADER = ("operation", ">shmstore", ">floor", ">x", ">bar", ">LMDB", ">faster", ">bar", "bars")


@dataclass(frozen=True)
class Asked:
    """What a row has to reach: at most so many times the floor, at least so many times faster than LMDB."""

    floor: float | None = None
    lmdb: float | None = None


@dataclass
class Result:
    """One row: ns per item, or operations per second where *per_second* says so."""

    row: str
    title: str
    asked: Asked
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

    def bars(self) -> list[Bar]:
        asked, found = self.asked, []
        if asked.floor is not None:
            why = self.left_out.get("shmstore") or self.left_out.get("floor", "")
            found.append(Bar(f"{self.title}: of the floor", self.over_floor, most=asked.floor, why=why))
        if asked.lmdb is not None:
            why = self.left_out.get("lmdb", "")
            found.append(
                Bar(f"{self.title}: times faster than LMDB", self.over_lmdb, least=asked.lmdb, why=f"LMDB {why}")
            )
        if self.at_least is not None:
            found.append(Bar(f"{self.title}, exact", self.median("shmstore"), least=self.at_least, unit="per second"))
        return found

    @property
    def noisy(self) -> bool:
        return any(sample.spread > NOISY for sample in self.samples.values())

    def cells(self) -> list[str]:
        faster, held = self.over_lmdb, [bar.held for bar in self.bars() if bar.held is not None]
        return [
            self.title + " ~" * self.noisy,
            self._figure("shmstore"),
            self._figure("floor"),
            f"{self.over_floor:.2f}" if self.over_floor else "",
            f"<= {self.asked.floor:g}" if self.asked.floor else "",
            self._figure("lmdb"),
            f"{faster:.2f} {'yes' if faster > 1 else ' NO'}" if faster else "",
            self._bar_beside_lmdb(),
            "" if not held else "held" if all(held) else "MISSED",
        ]

    def _bar_beside_lmdb(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least / 1e6:g} M/s"
        return f">= {self.asked.lmdb:.3g}" if self.asked.lmdb else ""

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
            "bar": {"floor": self.asked.floor, "lmdb": self.asked.lmdb, "at_least": self.at_least},
            "held": {bar.text: bar.held for bar in self.bars()},
            "over_floor": self.over_floor,
            "times_faster_than_lmdb": self.over_lmdb,
            "left_out": self.left_out,
            "contestants": {name: sample.as_json() for name, sample in self.samples.items()},
        }


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
                *at, slowest = sample.tail().values()
                rows.append([result.title, name, *(f"{ns / 1000:,.2f}" for ns in at), f"{slowest / 1000:,.0f}"])
    if rows:
        header = ("operation", "of", ">p50", ">p99", ">p99.9", ">max")
        output.table("Single operations, µs, some 0.15 of it the clock", header, rows)
