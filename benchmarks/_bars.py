"""What the project has set itself to reach, beside what was measured: one line for each, held or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shmstore.cli.support.output import Output

HEADER = ("bar", ">asked", ">measured", "")


@dataclass(frozen=True)
class Bar:
    """*measured* is to be at most, or at least, so much; None: it could not be measured, and *why* says why."""

    text: str
    measured: float | None
    most: float | None = None
    least: float | None = None
    unit: str = "x"
    why: str = ""

    @property
    def held(self) -> bool | None:
        if self.measured is None:
            return None
        return (self.most is None or self.measured <= self.most) and (self.least is None or self.measured >= self.least)

    def cells(self) -> list[str]:
        asked = [f"{sign} {_figure(limit)} {self.unit}" for sign, limit in (("<=", self.most), (">=", self.least))
                 if limit is not None]  # fmt: skip
        if self.measured is None:
            return [self.text, *asked, "", f"not measured: {self.why}"]
        return [self.text, *asked, f"{_figure(self.measured)} {self.unit}", "held" if self.held else "MISSED"]

    def as_json(self) -> dict[str, Any]:
        return {
            "bar": self.text, "most": self.most, "least": self.least, "unit": self.unit, "measured": self.measured,
            "held": self.held, "why": self.why,
        }  # fmt: skip


def _figure(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def show(bars: Sequence[Bar], output: Output) -> None:
    if bars:
        output.table("Bars", HEADER, [bar.cells() for bar in bars])
        measured = [bar.held for bar in bars if bar.held is not None]
        output.line(f"{sum(measured)} of {len(measured)} bars held")
