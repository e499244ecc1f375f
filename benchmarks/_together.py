"""Two processes, each on a core of its own, count up one counter: how fast together, and is it exact?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from benchmarks._workers import Stop, Work, side_by_side


class Counting(Protocol):
    def count(self, times: int) -> None: ...


class Shared(Protocol):
    def attached(self) -> AbstractContextManager[Counting]: ...

    def counted(self) -> int: ...


def count_together(shared: Shared, cores: list[int], times: int) -> float:
    """Let one process per core add *times* to one counter; return additions per second, together.

    Raises: RuntimeError if the sum is not exact.
    """

    @contextmanager
    def counting() -> Iterator[Work]:
        def work(stop: Stop) -> tuple[int, int]:
            began = time.perf_counter_ns()
            here.count(times)
            return began, time.perf_counter_ns()

        with shared.attached() as here:
            yield work

    before = shared.counted()
    spans: list[tuple[int, int]] = side_by_side([(counting, core) for core in cores])
    gained, expected = shared.counted() - before, times * len(cores)
    if gained != expected:
        raise RuntimeError(f"{expected} additions, and the counter rose by {gained}")
    return expected / (max(ended for _, ended in spans) - min(began for began, _ in spans)) * 1e9
