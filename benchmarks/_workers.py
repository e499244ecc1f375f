"""Processes beside each other: forked, each on a core of its own, started at one moment, and gone in any case."""

from __future__ import annotations

import mmap
import os
import pickle
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from benchmarks._guard import SIGNALS, unsignalled

DEADLINE = 60.0  # seconds until a run that does not end is given up


class Stop:
    """A flag that the parent raises and its children look at: a byte that they share."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, mmap.PAGESIZE)

    def __bool__(self) -> bool:
        return self._byte[0] != 0

    def set(self) -> None:
        self._byte[0] = 1


Work = Callable[[Stop], Any]
Job = Callable[[], AbstractContextManager[Work]]  # entering prepares, in the process that is to work


class Worker:
    """A forked process: prepares, says that it is ready, works when told, sends what came out."""

    def __init__(self, job: Job, core: int, stop: Stop) -> None:
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
                signal.signal(
                    number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL
                )  # the parent ends us
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            os.sched_setaffinity(0, {core})
            with job() as work:
                os.write(report, b"r")
                if os.read(start, 1):
                    with open(report, "wb") as pipe:
                        pickle.dump(work(stop), pipe)
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def ready(self) -> None:
        if self._read(1, time.monotonic() + DEADLINE) != b"r":
            raise RuntimeError(f"process {self.pid} failed")

    def start(self) -> None:
        os.write(self._to_worker, b"s")

    def result(self) -> Any:
        end, answer = time.monotonic() + DEADLINE, bytearray()
        while part := self._read(1 << 20, end):
            answer += part
        if not answer:
            raise RuntimeError(f"process {self.pid} failed")
        return pickle.loads(answer)

    def _read(self, length: int, end: float) -> bytes:
        if not select.select([self._from_worker], [], [], max(0.0, end - time.monotonic()))[0]:
            raise RuntimeError(f"process {self.pid} did not answer within {DEADLINE:.0f} s")
        return os.read(self._from_worker, length)

    def end(self, kill: bool) -> None:
        os.close(self._from_worker)
        os.close(self._to_worker)
        if kill:
            os.kill(self.pid, signal.SIGKILL)  # not yet waited for, so the number is still its own
        os.waitpid(self.pid, 0)


def side_by_side(jobs: Sequence[tuple[Job, int]], *, seconds: float | None = None) -> list[Any]:
    """Let each job work on its core, all at once; return what they return. After *seconds* they are told to stop."""
    workers: list[Worker] = []
    stop, done = Stop(), False
    try:
        for job, core in jobs:
            with unsignalled():  # a worker that is not in the list yet would be left behind
                workers.append(Worker(job, core, stop))
        for worker in workers:
            worker.ready()
        for worker in workers:
            worker.start()
        if seconds is not None:
            time.sleep(seconds)
            stop.set()
        results = [worker.result() for worker in workers]
        done = True
        return results
    finally:
        end_all(workers, kill=not done)


@contextmanager
def idle(job: Job, cores: Sequence[int], count: int) -> Iterator[None]:
    """So many processes that prepared themselves and sleep."""
    workers: list[Worker] = []
    stop, done = Stop(), False
    try:
        for number in range(count):
            with unsignalled():
                workers.append(Worker(job, cores[number % len(cores)], stop))
        for worker in workers:
            worker.ready()
        yield
        done = True
    finally:
        end_all(workers, kill=not done)


def end_all(workers: Sequence[Worker], kill: bool) -> None:
    """The last first: each holds the ends of those pipes that were open when it was forked."""
    for worker in reversed(workers):
        worker.end(kill)
