"""Two processes create the same store: one dies, and then the other, in each state that the first can leave."""

from __future__ import annotations

import struct
import time
from typing import Any

import driver as drivers
from cases import CASES
from processes import Processes
from snapshot import Snapshot
from sweep import Choice, Result, act

from shmstore._core import lib
from shmstore.sysv import SHM_RDONLY, shmat


def _creation_words(key: str) -> tuple[int, int] | None:
    """Magic and state of whatever stands under the key."""
    segment = lib.shms_sysv_shmget(lib.shms_key_of_name(key.encode(), len(key)), 0, 0)
    if segment < 0:
        return None
    with shmat(segment, None, SHM_RDONLY) as memory:
        magic, state = struct.unpack("<QQ", memory[:16])
    return magic, state >> 44 & 0xF


class Creators:
    """Third mode: a creator dies, and another comes upon what is left, and dies. The snapshot is of the second."""

    def __init__(self, processes: Processes) -> None:
        self.processes, self.case = processes, CASES["create"]
        self.snapshot = Snapshot(processes, self.case)
        self.ways = drivers.plans(self.snapshot.record())

    def first_dies(self, index: int) -> None:
        self.snapshot.begin()
        victim = self.processes.victim(self.case)
        self.snapshot.driver.run_to(victim, self.ways[index])
        self.snapshot.driver.kill(victim)

    def second(self, index: int) -> list[int]:
        """The way that it takes when the first has died there."""
        self.first_dies(index)
        victim = self.processes.victim(self.case)
        trace, _ = self.snapshot.driver.trace(victim)
        self.snapshot.driver.kill(victim)
        return trace

    def second_dies(self, result: Result, index: int, n: int, way: tuple[int, int, int]) -> None:
        self.first_dies(index)
        self.snapshot.prepared = True
        act(result, self.snapshot, "kill", n, way)

    def steps(self) -> list[int]:
        """The last instruction before each step of creation that another can see (create.c)."""
        found: dict[Any, int] = {}
        for index in range(0, len(self.ways), 8):
            self.first_dies(index)
            found[_creation_words(self.processes.key)] = index
        return sorted(found.values())


def sweep_creators(processes: Processes, choice: Choice, pairs: int) -> Result:
    """The first dies in each step of creation, the second at each instruction that is chosen; then pairs: every
    so-many-th instruction of the first with as many of the second."""
    result, began = Result("create, create", "two"), time.monotonic()
    creators = Creators(processes)
    with creators.snapshot:
        for index in creators.steps():
            trace = creators.second(index)
            ways = drivers.plans(trace)
            for n in choice.of(trace):
                creators.second_dies(result, index, n, ways[n])
            result.instructions += len(trace)
        for index in range(choice.offset % pairs, len(creators.ways), pairs):
            trace = creators.second(index)
            ways = drivers.plans(trace)
            for n in range((choice.offset + index) % pairs, len(trace), pairs):
                creators.second_dies(result, index, n, ways[n])
    result.states = result.acted
    result.seconds = time.monotonic() - began
    return result
