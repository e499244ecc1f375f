"""Two processes, each on a core of its own, count up one counter: how fast together, and is it exact?"""

from __future__ import annotations

import os
import select
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from benchmarks._guard import SIGNALS, unsignalled

DEADLINE = 60.0  # seconds until a run that does not end is given up
_TIMES = struct.Struct("qq")


class Shared(Protocol):
    def joined(self) -> AbstractContextManager[Callable[[int], None]]: ...

    def counted(self) -> int: ...


class _Worker:
    """A forked process: says when it is ready, counts when told, reports when it began and ended."""

    def __init__(self, shared: Shared, core: int, times: int) -> None:
        self._from_worker, report = os.pipe()
        start, self._to_worker = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(report)
            os.close(start)
            return
        status = 1
        try:  # nothing here may unwind into the parent's clean-up
            os.close(self._from_worker)
            os.close(self._to_worker)  # so that the parent's end, of whatever kind, is the end of what we read
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)  # the parent ends us
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            os.sched_setaffinity(0, {core})
            with shared.joined() as count:
                os.write(report, b"r")
                if os.read(start, 1):
                    began = time.perf_counter_ns()
                    count(times)
                    os.write(report, _TIMES.pack(began, time.perf_counter_ns()))
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def read(self, length: int) -> bytes:
        if not select.select([self._from_worker], [], [], DEADLINE)[0]:
            raise RuntimeError(f"process {self.pid} did not answer within {DEADLINE:.0f} s")
        answer = os.read(self._from_worker, length)
        if len(answer) != length:
            raise RuntimeError(f"process {self.pid} failed")
        return answer

    def start(self) -> None:
        os.write(self._to_worker, b"s")

    def end(self, kill: bool) -> None:
        os.close(self._from_worker)
        os.close(self._to_worker)
        if kill:
            os.kill(self.pid, signal.SIGKILL)  # not yet waited for, so the number is still its own
        os.waitpid(self.pid, 0)


def count_together(shared: Shared, cores: list[int], times: int) -> float:
    """Let one process per core add *times* to one counter; return additions per second, together.

    Raises: RuntimeError if the sum is not exact.
    """
    before = shared.counted()
    workers: list[_Worker] = []
    done = False
    try:
        for core in cores:
            with unsignalled():  # a worker that is not in the list yet would be left behind
                workers.append(_Worker(shared, core, times))
        for worker in workers:
            worker.read(1)
        for worker in workers:
            worker.start()
        spans = [_TIMES.unpack(worker.read(_TIMES.size)) for worker in workers]
        done = True
    finally:
        for worker in workers:
            worker.end(kill=not done)
    gained, expected = shared.counted() - before, times * len(cores)
    if gained != expected:
        raise RuntimeError(f"{expected} additions, and the counter rose by {gained}")
    nanoseconds: int = max(ended for _, ended in spans) - min(began for began, _ in spans)
    return expected / nanoseconds * 1e9
