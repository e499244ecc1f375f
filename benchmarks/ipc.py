"""Time the hand-over of bytes to another process and back, against the kernel's ways: ``python -m benchmarks.ipc``."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks._bars import Bar
from benchmarks._guard import resources
from benchmarks._measure import Sample, undisturbed
from benchmarks._run import Report, Row, Setting, parser, run
from benchmarks._transports import KERNEL, LEFT_OUT, Spinning, Through, Transport
from benchmarks._workers import Stop, Work, side_by_side

STORE, SPIN = "shmstore", "shmstore, spin="
WAYS: dict[str, Callable[[ExitStack], Transport]] = {STORE: Through, SPIN: Spinning, **KERNEL}
SIZES = {"64 B": (64, 2_000), "1 MB": (1_000_000, 60)}  # bytes, exchanges in a turn
ONE, TWO = "one core", "two cores"


def main(argv: Sequence[str] | None = None) -> int:
    return run("ipc", play, parser("ipc", __doc__, "15, quick 1").parse_args(argv))


def play(setting: Setting, report: Report) -> None:
    places = {ONE: setting.cores[0], TWO: setting.cores[-1]}
    if len(setting.cores) == 1:
        del places[TWO]
    rows = {(size, place): Row(f"{size}, {place}", f"{size} there and back, {place}", "ns", {})
            for size in SIZES for place in places}  # fmt: skip
    with resources() as stack:
        ways = {name: make(stack) for name, make in WAYS.items()}
        for number in range(rounds := setting.rounds(15, quick=1)):
            report.progress(f"round {number + 1} of {rounds}")
            turns = [(name, size, place) for name in ways for size, place in rows if (name, place) != (SPIN, ONE)]
            for name, size, place in setting.rng.sample(turns, len(turns)):
                length, times = SIZES[size]
                times = max(3, times // 20) if setting.quick else times
                took = exchange(ways[name], os.urandom(length), times, setting.cores[0], places[place])
                rows[size, place].samples.setdefault(name, Sample()).rounds.append(took)
    report.add(*rows.values())
    _show(report, rows)
    _bars(report, rows)
    for name, package in LEFT_OUT.items():
        report.note(f"{name} is left out: {package} is not installed")


def exchange(transport: Transport, body: bytes, times: int, core: int, other: int) -> float:
    """Median ns of handing the body over and getting it back, between a process on one core and one on the other."""

    @contextmanager
    def asking() -> Iterator[Work]:
        def work(stop: Stop) -> float:
            took = []
            for _ in range(times + 1):
                began = time.perf_counter_ns()
                got = transport.ask(body)
                took.append(time.perf_counter_ns() - began)
                if got != body:
                    raise RuntimeError("what came back is not what was sent")
            return statistics.median(took[1:])

        transport.begin()
        with undisturbed():
            yield work

    @contextmanager
    def answering() -> Iterator[Work]:
        def work(stop: Stop) -> None:
            for _ in range(times + 1):
                transport.answer(len(body))

        transport.begin()
        with undisturbed():
            yield work

    took: float = side_by_side([(asking, core), (answering, other)])[0]
    return took


def _show(report: Report, rows: dict[tuple[str, str], Row]) -> None:
    cells = []
    for name in WAYS:
        medians = [row.median(name) for row in rows.values()]
        ratios = [row.ratio(name, STORE) for row in rows.values()]
        cells.append(
            [name, *(f"{ns / 1000:,.1f} ({ratio:.2f})" if ns and ratio else "" for ns, ratio in zip(medians, ratios))]
        )
    header = ("", *(f">{size}, {place}" for size, place in rows))
    report.table("µs to another process and back (and of shmstore's, asleep)", header, cells)


def _bars(report: Report, rows: dict[tuple[str, str], Row]) -> None:
    for (size, place), row in rows.items():
        if size == "1 MB":
            fastest = min(KERNEL, key=lambda name: row.median(name) or float("inf"))
            report.bars.append(
                Bar(
                    f"1 MB, {place}, of the fastest of the kernel's ways ({fastest})", row.ratio(STORE, fastest), most=1
                )
            )
        else:
            report.bars.append(Bar(f"64 B, {place}, of a pipe's", row.ratio(STORE, "pipe"), most=1))
            if place == TWO:
                report.bars.append(
                    Bar("64 B, spinning on two cores, times faster than a pipe", row.ratio("pipe", SPIN), least=30)
                )


if __name__ == "__main__":
    sys.exit(main())
