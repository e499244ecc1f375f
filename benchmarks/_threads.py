"""A thread that uses a store beside a thread that computes, in one process: how much each slows the other down.

Both want the GIL. The one that holds it is asked to give it up after `sys.getswitchinterval()`, 5 ms; so a
call that gives it up on its own, beside a thread that computes, waits that long to get it back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks._measure import time_each, time_lost, undisturbed

BATCH = 200


class Computing:
    """A thread that counts, in Python, as fast as it goes."""

    def __init__(self) -> None:
        self.turns = 0
        self.nanoseconds = 0  # in which it had a core, or waited for the GIL
        self._going = True
        self._thread = threading.Thread(target=self._count, daemon=True)

    def _count(self) -> None:
        began = time.perf_counter_ns() - time_lost()
        while self._going:
            for _ in range(100):
                pass
            self.turns += 1
        self.nanoseconds = time.perf_counter_ns() - time_lost() - began

    @contextmanager
    def beside(self) -> Iterator[Computing]:
        self._thread.start()
        try:
            yield self
        finally:
            self._going = False
            self._thread.join()


def gets(run: Callable[[Any], object], names: Sequence[Any], seconds: float) -> tuple[float, int]:
    """The mean and the median, in ns, of gets for so long; the first without the clock in it."""
    singles = [(name,) for name in names[:BATCH]]
    with undisturbed():
        done, began, end = 0, time.perf_counter(), time.perf_counter() + seconds / 2
        while (now := time.perf_counter()) < end:
            run(names[:BATCH])
            done += BATCH
        mean = (now - began) / done * 1e9
        took: list[int] = []
        end = time.perf_counter() + seconds / 2
        while time.perf_counter() < end:
            took += time_each(run, singles)
    return mean, sorted(took)[len(took) // 2]


def speed_beside(action: Callable[[], object] | None, seconds: float) -> float:
    """Turns per second of a computing thread while this one repeats the action; with None, it sleeps."""
    with undisturbed(), Computing().beside() as computing:
        end = time.perf_counter() + seconds
        if action is None:
            time.sleep(seconds)
        while action is not None and time.perf_counter() < end:
            action()
    return computing.turns / computing.nanoseconds * 1e9
