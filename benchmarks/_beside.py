"""A reader on one core beside a process on another: one that floods the same names with puts, or merely burns it.

The burner is the comparison that is fair: on most machines a second busy core slows the first one down, by shared
caches, frequency, or a hypervisor, whatever it is busy with.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks._measure import time_each, time_lost, undisturbed
from benchmarks._workers import Job, Stop, Work, side_by_side

BATCH = 200  # operations between two looks at the flag


class Contents(Protocol):
    def get(self, names: Sequence[Any]) -> None: ...

    def put(self, pairs: Sequence[tuple[Any, Any]]) -> None: ...


class Shared(Protocol):
    name: str

    def attached(self) -> AbstractContextManager[Contents]: ...


@dataclass(frozen=True)
class Pace:
    """Operations of one process in one turn; ns of each of them, if they were timed one by one."""

    per_second: float
    each: Sequence[int] = ()


def reading(shared: Shared, names: Sequence[Any], *, one_by_one: bool) -> Job:
    @contextmanager
    def job() -> Iterator[Work]:
        with shared.attached() as here, undisturbed():
            here.get(names)  # maps the pages
            batches = _batches(names)
            if one_by_one:
                batches = [[(name,) for name in batch] for batch in batches]
                yield lambda stop: _each(here.get, batches, stop)
            else:
                yield lambda stop: _pace(here.get, batches, stop)

    return job


def writing(shared: Shared, values: Mapping[Any, Any]) -> Job:
    @contextmanager
    def job() -> Iterator[Work]:
        with shared.attached() as here, undisturbed():
            here.put(list(values.items()))
            batches = _batches(list(values.items()))
            yield lambda stop: _pace(here.put, batches, stop)

    return job


@contextmanager
def burning() -> Iterator[Work]:
    """A job: keep a core busy in its own caches."""

    def work(stop: Stop) -> None:
        while not stop:
            for _ in range(1000):
                pass

    yield work


def paces(jobs: Sequence[tuple[Job, int]], seconds: float) -> list[Any]:
    return side_by_side(jobs, seconds=seconds)


def _batches(items: Sequence[Any]) -> list[Any]:
    """In random order, another one in each process."""
    rng = random.Random()
    shuffled = rng.choices(items, k=max(len(items), BATCH) // BATCH * BATCH)
    return [shuffled[at : at + BATCH] for at in range(0, len(shuffled), BATCH)]


def _pace(run: Callable[[Any], object], batches: Sequence[Any], stop: Stop) -> Pace:
    done, began = 0, _own_time()
    while not stop:
        for batch in batches:
            run(batch)
            done += BATCH
            if stop:
                break
    return Pace(done / (_own_time() - began) * 1e9)


def _each(run: Callable[[Any], object], batches: Sequence[Any], stop: Stop) -> Pace:
    took: list[int] = []
    began = _own_time()
    while not stop:
        for batch in batches:
            took += time_each(run, batch)
            if stop:
                break
    return Pace(len(took) / (_own_time() - began) * 1e9, took)


def _own_time() -> int:
    return time.perf_counter_ns() - time_lost()
