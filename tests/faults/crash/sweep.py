"""Acts at the n-th instruction of an operation, for many n: the modes, which instructions, and the figures.

processes.py has the processes, snapshot.py the store and the acts, survivors.py what must hold.
"""

from __future__ import annotations

import contextlib
import re
import time
import zlib
from dataclasses import dataclass
from typing import Any

import driver as drivers
from cases import CASES
from processes import Broken, Processes
from replaced import Replaced
from snapshot import NoSuchState, Snapshot


class Result:
    """Figures of one case in one mode."""

    def __init__(self, case: str, mode: str) -> None:
        self.case, self.mode = case, mode
        self.instructions = self.acted = self.ended_before = self.states = 0
        self.failures: list[str] = []
        self.seconds = self.longest_read = 0.0
        self.reached: set[int] = set()
        self.locks: dict[str, int] = {}  # fifth mode: at how many instructions it held what

    def file_name(self) -> str:
        """For the figures; names that differ only in what a file's name cannot hold get different ones."""
        said = f"{self.mode} {self.case}"
        return f"{re.sub(r'[^A-Za-z0-9]+', '-', said)}-{zlib.crc32(said.encode()):08x}.json"

    def as_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "reached": sorted(self.reached)}


@dataclass
class Choice:
    """Which of an operation's instructions: every stride-th, beginning at offset; of a loop its first turns only."""

    stride: int = 1
    offset: int = 0
    turns: int = 0  # 0: all
    seen: set[int] | None = None  # what was acted at before, in any case: left out

    def of(self, trace: list[int]) -> list[int]:
        times: dict[int, int] = {}
        eligible = []
        for n, at in enumerate(trace):
            times[at] = times.get(at, 0) + 1
            if self.seen is not None and at in self.seen:
                continue
            if not self.turns or times[at] <= self.turns:
                eligible.append(n)
        return eligible[self.offset % self.stride :: self.stride]


ACTS = {"kill": Snapshot.kill_at, "stop": Snapshot.stop_at, "others": Snapshot.others_at}
FAILURES_KEPT = 20


def sweep(processes: Processes, name: str, mode: str, choice: Choice) -> Result:
    """First mode ("kill"), second ("stop") or fifth ("others") on one case."""
    result, began = Result(name, mode), time.monotonic()
    with (Replaced if CASES[name].replaces else Snapshot)(processes, CASES[name]) as snapshot:
        trace = snapshot.record()
        ways = drivers.plans(trace)
        result.instructions = len(trace)
        thinned = 1 if choice.seen is not None else CASES[name].thin
        for n in choice.of(trace)[::thinned]:
            act(result, snapshot, mode, n, ways[n])
        if choice.seen is not None:
            choice.seen |= result.reached
        result.locks = dict(snapshot.locks)
    result.seconds = time.monotonic() - began
    return result


def act(result: Result, snapshot: Snapshot, mode: str, n: int, way: tuple[int, int, int]) -> None:
    if len(result.failures) >= FAILURES_KEPT:
        return
    try:
        if ACTS[mode](snapshot, n, way):
            result.acted += 1
            result.reached.add(snapshot.offset)
        else:
            result.ended_before += 1
    except Broken as error:
        result.failures.append(str(error))
    result.longest_read = max(result.longest_read, snapshot.longest_read)


def sweep_two(processes: Processes, first: str, second: str, choice: Choice, of_first: Choice | None = None) -> Result:
    """Third mode: one victim dies in `first`, in each state of the memory that this goes through; another meets what
    is left, and dies in `second`, in each state of its own. Between two states nobody else can tell the instructions
    apart. The choice is among the pairs, of_first among the states that the first leaves."""
    result, began = Result(f"{first}, {second}", "two"), time.monotonic()
    with Snapshot(processes, CASES[first]) as snapshot:
        states = len(snapshot.states(CASES[first]))
    count = 0
    for index in (of_first or Choice()).of(list(range(states))):
        with contextlib.suppress(NoSuchState), Snapshot(processes, CASES[second], (first, index)) as snapshot:
            ways = snapshot.states(CASES[second])
            result.states += len(ways)
            for n, way in enumerate(ways):
                if count % choice.stride == choice.offset % choice.stride:
                    act(result, snapshot, "kill", n, way)
                count += 1
    result.instructions = count
    result.seconds = time.monotonic() - began
    return result


def race(processes: Processes, name: str, choice: Choice) -> Result:
    """Fourth mode on one case: killed at each instruction that the operation comes to only when others interfere."""
    result, began = Result(name, "race"), time.monotonic()
    with Snapshot(processes, CASES[name]) as snapshot:
        trace = snapshot.record()
        ways = drivers.plans(trace)
        result.instructions = len(trace)
        seen = set(trace) | (choice.seen or set())
        for n in Choice(choice.stride, choice.offset, choice.turns).of(trace)[:: CASES[name].thin]:
            try:
                took = snapshot.race_at(n, ways[n])
                result.acted += 1
                for further, offset in enumerate(took):
                    if offset not in seen and further:
                        seen.add(offset)
                        snapshot.race_at(n, ways[n], further)
                        result.reached.add(snapshot.offset)
                        result.states += 1
            except Broken as error:
                result.failures.append(str(error))
                if len(result.failures) >= FAILURES_KEPT:
                    break
        if choice.seen is not None:
            choice.seen |= result.reached
    result.seconds = time.monotonic() - began
    return result
