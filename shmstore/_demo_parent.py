"""Start the demo's workers, kill one of them, collect the results, and clean up.

In every case, the workers end and the segment is removed. A signal could interrupt the cleanup, or arrive between the
creation of something and the note about it. So handlers only note a signal (`Signals`), and the demo reacts at the next
safe moment. SIGKILL cannot be noted. Then the standard input of the workers ends, and they remove the segment.
"""

from __future__ import annotations

import heapq
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import FrameType
from typing import Any

import shmstore
from shmstore.demo import claim_name, library_files, report_name, result_name, seen_name, start_name

GLANCE = 0.02  # seconds between looks at the workers and the signals
TOP = 10


class DemoError(Exception):
    """The demo did not show what it promises."""


class Interrupted(Exception):
    """A signal asks to stop."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class Signals:
    """Notes SIGINT, SIGTERM and SIGHUP. `check` raises Interrupted at a safe moment."""

    def __init__(self) -> None:
        self.noted = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(signum) != signal.SIG_IGN:  # what is ignored (nohup) stays so
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.noted = signum

    def check(self) -> None:
        if self.noted:
            raise Interrupted(self.noted)


@dataclass(frozen=True, slots=True)
class Killed:
    """The worker that got SIGKILL."""

    worker: int
    pid: int
    seen: int
    claims: list[str]  # files that it was working on


@dataclass(frozen=True, slots=True)
class Round:
    """What the workers report of one round."""

    seconds: float
    computed: int
    found: int
    latencies: list[int]  # nanoseconds, ascending

    def percentile(self, percent: float) -> float:
        """Seconds that so many per cent of the successful gets took at most."""
        if not self.latencies:
            return 0.0
        rank = min(len(self.latencies) - 1, int(len(self.latencies) * percent / 100))
        return self.latencies[rank] / 1e9


@dataclass(frozen=True, slots=True)
class Answer:
    """What is in the store at the end."""

    objects: int
    bytes_used: int
    size: int
    hits: int
    lines: int
    functions: int
    classes: int
    unreadable: int
    by_worker: dict[int, int]  # results computed by each
    longest: list[tuple[int, str, str]]  # lines, name, file:line

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass
class Demo:
    """A running demo: `play` round 1, which computes, and round 2, which finds; then ask for the `answer`."""

    store: shmstore.Store[Any]
    files: list[str]
    signals: Signals
    workers: dict[int, subprocess.Popen[bytes]]
    victim: int | None  # to be killed in the first round
    killed: Killed | None = None
    rounds: dict[int, Round] = field(default_factory=dict)

    def play(self, round_: int) -> Iterator[float]:
        """Run a round, and yield again and again how much of it is done, from 0 to 1."""
        self.store.put(start_name(round_), True)
        while missing := [number for number in self.alive() if report_name(round_, number) not in self.store]:
            yield self._progress(round_)
            try:
                self.store.wait(report_name(round_, missing[0]), timeout=GLANCE)
            except TimeoutError:
                pass
            self.signals.check()
            self._kill_in_the_middle(round_)
            self._nobody_failed(round_)
        yield 1.0
        reports = self.store.get_many([report_name(round_, number) for number in self.alive()]).values()
        self.rounds[round_] = Round(
            seconds=max(report["ended"] for report in reports) - min(report["began"] for report in reports),
            computed=sum(report["computed"] for report in reports),
            found=sum(report["found"] for report in reports),
            latencies=sorted(latency for report in reports for latency in report["latencies"]),
        )

    def alive(self) -> list[int]:
        return [number for number in self.workers if not self.killed or number != self.killed.worker]

    def _progress(self, round_: int) -> float:
        alive = self.alive()
        seen = self.store.get_many([seen_name(round_, number) for number in alive])
        return float(sum(seen.values()) / (len(alive) * len(self.files)))

    def _kill_in_the_middle(self, round_: int) -> None:
        if self.victim is None or self.killed or round_ != 1 or report_name(1, self.victim) in self.store:
            return
        seen = self.store.get(seen_name(round_, self.victim), 0)
        if seen < len(self.files) // 3:
            return
        process = self.workers[self.victim]
        process.kill()
        process.wait()
        claims = self.store.get_many([claim_name(path) for path in self.files])
        held = [path for path in self.files if claims.get(claim_name(path)) == self.victim]
        self.killed = Killed(self.victim, process.pid, seen, held)

    def _nobody_failed(self, round_: int) -> None:
        for number in self.alive():
            code = self.workers[number].poll()
            if code is not None and report_name(round_, number) not in self.store:
                raise DemoError(f"worker {number} ended with code {code}")

    def answer(self) -> Answer:
        """Look at all the results. Raises DemoError if one is missing, or was found missing on the way."""
        results = self.store.get_many([result_name(path) for path in self.files])
        if len(results) != len(self.files):
            raise DemoError(f"{len(self.files) - len(results)} of {len(self.files)} results are missing")
        if again := self.rounds[2].computed:
            raise DemoError(f"{again} results had to be computed again: the store had lost them")
        by_file = [(path, results[result_name(path)]) for path in self.files]
        by_worker = dict.fromkeys(self.workers, 0)
        for _, result in by_file:
            by_worker[result["by"]] += 1
        longest = heapq.nlargest(
            TOP,
            (
                (lines, name, f"{path}:{first}")
                for path, result in by_file
                for lines, name, first in result.get("longest", ())
            ),
        )
        stats = self.store.stats()
        return Answer(
            objects=stats.entries,
            bytes_used=stats.bytes_used,
            size=self.store.info().size,
            hits=stats.hits,
            lines=sum(result["lines"] for _, result in by_file),
            functions=sum(result.get("functions", 0) for _, result in by_file),
            classes=sum(result.get("classes", 0) for _, result in by_file),
            unreadable=sum("error" in result for _, result in by_file),
            by_worker=by_worker,
            longest=longest,
        )


@contextmanager
def running(workers: int, kill: bool, limit: int | None) -> Iterator[Demo]:
    """Create a store, start the workers, and in every case remove both at the end.

    Raises: Interrupted at the next `check` after a signal, at the latest after the cleanup.
    """
    key = f"shmstore-demo-{os.getpid()}-{os.urandom(4).hex()}"  # two demos may run side by side
    with Signals() as signals:
        with ExitStack() as cleaning_up:  # last in, first out
            store = cleaning_up.enter_context(shmstore.Store[Any](key, create=True))
            cleaning_up.callback(destroy, store)
            processes: dict[int, subprocess.Popen[bytes]] = {}
            cleaning_up.callback(end, processes)
            for number in range(workers):
                signals.check()
                processes[number] = spawn(key, number, limit)
            victim = 0 if kill and workers > 1 else None
            yield Demo(store, library_files(limit), signals, processes, victim)
        signals.check()


def spawn(key: str, number: int, limit: int | None) -> subprocess.Popen[bytes]:
    """Start a worker by its command line, like any program."""
    command = [sys.executable, "-m", "shmstore.demo", "--worker", key, "--number", str(number)]
    if limit is not None:
        command += ["--limit", str(limit)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # never written to: it ends when this process does
        start_new_session=True,  # Ctrl-C goes to the parent, which ends the workers
        cwd=Path(shmstore.__file__).parents[1],  # -m looks here first: it must not find a checkout
    )


def end(processes: dict[int, subprocess.Popen[bytes]]) -> None:
    """End the workers by SIGKILL: a worker that dies leaves nothing to clean up."""
    for process in processes.values():
        process.kill()
    for process in processes.values():
        process.wait()
        if process.stdin:
            process.stdin.close()


def destroy(store: shmstore.Store[Any]) -> None:
    try:
        store.destroy()
    except shmstore.StoreDestroyed:
        pass  # another process has removed it meanwhile
