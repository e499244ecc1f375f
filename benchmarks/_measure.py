"""Interleaved measuring: the contestants are timed in turn, within one process and one run.

A machine's speed drifts by more than most differences of interest: other tenants, frequency, temperature. So
contestants are not timed one after the other, but in rounds. In each round all of them, in random order, do the
same operations on the same names, also in random order, and a figure is the median over the rounds. Ratios of
such medians repeat within a few per cent where the figures themselves move by a third.

The contestant before has filled the caches with its own data. So each turn begins with a pass that is not
timed, and what is timed is a program that uses one store and little else. A program with much other data in
between is nearer to `cold` turns, which have no such pass.

A round times a whole batch, because reading the clock costs as much as a small operation; what iterating over
the batch costs is subtracted. Single operations are timed in a pass of their own (`singles`), clock included.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

WARM_UP = 2  # rounds that are not counted
PERCENTILES = (50, 99, 99.9)
SLICE = 500  # single operations of one contestant in a row

Run = Callable[[Sequence[Any]], object]


@dataclass(frozen=True)
class Contestant:
    """Somebody who can do the operation: *run* does it once for each of the arguments given."""

    name: str
    run: Run
    arguments: Sequence[Any]  # all contestants of a row have equally many, meaning the same
    items: int = 1  # that one argument stands for; times are per item


@dataclass
class Sample:
    """What one contestant took: ns per item in each round, and ns of single operations."""

    rounds: list[float] = field(default_factory=list)
    single: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def quartiles(self) -> tuple[float, float]:
        if len(self.rounds) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.rounds, n=4, method="inclusive")
        return low, high

    @property
    def spread(self) -> float:
        """The distance of the quartiles, as a share of the median."""
        low, high = self.quartiles
        return (high - low) / self.median

    def tail(self) -> dict[str, int]:
        """Of the single operations: p50, p99, p99.9 and max."""
        return tail(self.single)

    def as_json(self) -> dict[str, Any]:
        rounds = [round(figure, 1) for figure in self.rounds]
        found: dict[str, Any] = {"median": self.median, "quartiles": list(self.quartiles), "rounds": rounds}
        if self.single:
            found["single_operations_ns"] = self.tail()
        return found


def tail(durations: Sequence[int]) -> dict[str, int]:
    ordered = sorted(durations)
    at = {f"p{percent:g}": ordered[int(len(ordered) * percent / 100)] for percent in PERCENTILES}
    return {**at, "max": ordered[-1]}


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without the garbage collector, which would stop whoever happens to be timed."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def measure(
    contestants: Sequence[Contestant],
    *,
    rounds: int,
    batch: int,
    rng: random.Random,
    cold: bool = False,
    servers: bool = False,
) -> dict[str, Sample]:
    """Time batches of *batch* operations, *rounds* times for each contestant, in turn.

    Time in which something else had the core is not counted, unless that may be *servers* at work for a contestant.
    """
    samples = {contestant.name: Sample() for contestant in contestants}
    positions = range(len(contestants[0].arguments))
    with undisturbed():
        for number in range(-WARM_UP, rounds):
            chosen = rng.sample(positions, min(batch, len(positions)))
            for contestant in rng.sample(contestants, len(contestants)):
                arguments = [contestant.arguments[position] for position in chosen]
                if not cold:
                    contestant.run(arguments[::-1])
                took = _time(contestant.run, arguments, servers) - _time(_iterate, arguments, servers)
                if number >= 0:
                    samples[contestant.name].rounds.append(took / len(arguments) / contestant.items)
    return samples


def singles(contestants: Sequence[Contestant], samples: dict[str, Sample], *, count: int, rng: random.Random) -> None:
    """Time *count* operations of each one by one, into the samples, taking turns every few hundred."""
    with undisturbed():
        for _ in range(0, count, SLICE):
            for contestant in rng.sample(contestants, len(contestants)):
                chosen = [(argument,) for argument in rng.choices(contestant.arguments, k=SLICE)]
                samples[contestant.name].single += time_each(contestant.run, chosen)


def time_each(run: Run, chosen: Sequence[tuple[Any]]) -> list[int]:
    """Each figure holds a look at the clock and the call of *run*, some 150 ns."""
    clock, took = time.perf_counter_ns, [0] * len(chosen)
    for number, one in enumerate(chosen):
        before = clock()
        run(one)
        took[number] = clock() - before
    return took


def _time(run: Run, arguments: Sequence[Any], servers: bool) -> int:
    """Nanoseconds. Looking for what was lost takes some microseconds and lies outside, and time may be lost there, too. If
    more is lost than the run took, the run is timed again."""
    while True:
        lost = 0 if servers else time_lost()
        before = time.perf_counter_ns()
        run(arguments)
        took = time.perf_counter_ns() - before
        if not servers:
            took -= time_lost() - lost
        if took > 0:
            return took


def time_lost() -> int:
    """Nanoseconds in which this thread could have run, but something else had its core; 0 if the kernel does not say.

    Time asleep is not among them: a contestant that waits is not to look faster for it.
    """
    try:
        with open("/proc/thread-self/schedstat") as schedstat:
            return int(schedstat.read().split()[1])
    except (OSError, IndexError):
        return 0


def _iterate(arguments: Sequence[Any]) -> None:
    for _ in arguments:
        pass


# ---- where to run ------------------------------------------------------------------------------------------


def cores_by_quiet() -> list[int]:
    """The cores this process may use, the least busy of the last tenth of a second first."""
    before = _idle()
    time.sleep(0.1)
    after = _idle()
    return sorted(os.sched_getaffinity(0), key=lambda core: before.get(core, 0) - after.get(core, 0))


def _idle() -> dict[int, int]:
    idle = {}
    try:
        with open("/proc/stat") as stat:
            for line in stat:
                name, *ticks = line.split()
                if name.startswith("cpu") and name != "cpu":
                    idle[int(name[3:])] = int(ticks[3])
    except (OSError, ValueError, IndexError):
        pass
    return idle
