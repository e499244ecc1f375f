"""A store populated for one case, as a snapshot of its bytes that each victim starts from.

One operation is recorded first; then a victim for each n is run there. The memory that it starts from is the same each
time, byte for byte, so it takes the same way; where it stands in truth is read from it and recorded.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
from typing import Any

import driver as drivers
import raw_segment
import store_setup
from audit import Audit, block_owned, number_of, remove_nameless, state_of
from cases import CASES, Case
from processes import Broken, Processes
from survivors import Survivors

import shmstore
import shmstore.sysv
from shmstore._core import ffi, lib
from shmstore._store.names import parse_key


class NoSuchState(Exception):
    """The operation goes through fewer: how many depends on the names' hashes, which differ from store to store."""


class Snapshot(Survivors):
    """A store set up for one case. Use as a context manager: it ends with the store destroyed."""

    def __init__(self, processes: Processes, case: Case, first_state: tuple[str, int] | None = None) -> None:
        """first_state: a victim of that case dies in that state of the memory before (the third mode)."""
        self.processes, self.case = processes, case
        self.driver = processes.driver
        self.still: int | None = None  # a victim that stands still with a lock
        self.still_pid = 0
        self.offset = 0
        self.prepared = False
        self.longest_read = 0.0
        self.held: Any = None
        self.allowed: dict[str, list[Any]] = {}
        self.room: tuple[str, ...] = ()
        self.inherits = False
        self.store: Any = None
        self.impatient: Any = None
        self.memory = memoryview(b"")
        self.patches: list[tuple[int, bytes, bytes]] = []
        if case.creates:
            return
        try:
            self._make(first_state)
        except BaseException:
            self.__exit__()
            raise

    def _make(self, first_state: tuple[str, int] | None) -> None:
        processes, case = self.processes, self.case
        self.store = shmstore.Store(processes.key, create=True, size=case.size, max_entries=case.entries, timeout=5.0,
                                        decoders=(store_setup.Own(),), **case.where())  # fmt: skip
        self.impatient = shmstore.Store(
            processes.key, create=False, timeout=0.004, decoders=(store_setup.Own(),), **case.where()
        )
        base = CASES[first_state[0]] if first_state else case
        base.populate(self.store)
        self.held = base.setup(self.store)
        self.room, self.never = base.room, base.never
        self.inherits = bool(case.after or case.behind or first_state) and not case.opens
        if self.inherits:
            processes.tell("hold", case.backend)
        self.clients = self.store.stats().clients
        self.memory = raw_segment.memory_of(self.store)
        self.address = int(ffi.cast("uintptr_t", ffi.from_buffer(self.memory)))
        self.size = len(self.memory)
        self._keep()
        if first_state is not None:
            first, index = first_state
            self._die_first(CASES[first], index)
            extra = CASES[first].changes
        else:
            extra = {}
            for wanted in (case.behind, case.after):
                if wanted:
                    first, state = wanted
                    self._die_first(CASES[first], self._find_state(CASES[first], state), wanted is case.behind)
        self.allowed = self._allowed(extra)
        if case.scribble is not store_setup.nothing:
            self.restore()
            before = list(self.start)
            case.scribble(self.store)
            if case.mended:
                self.patches = self._differences(before)
            self.start = [(at, bytes(self.memory[at : at + len(content)])) for at, content in before]

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.still is not None:
            self.driver.kill(self.still)
        if not self.case.creates and self.inherits:
            self.processes.tell("let go")
        if self.case.creates:
            self._clear()
            return
        self._mend()
        self.memory.release()
        if isinstance(self.held, memoryview):
            self.held.release()
        for handle in self.held if isinstance(self.held, list) else []:
            handle.close()
        if self.impatient is not None:
            self.impatient.close()
        if self.store is not None:
            with contextlib.suppress(shmstore.ShmStoreError):
                self.store.destroy()
            self.store.close()

    # ---- beginnings

    def _keep(self) -> None:
        """The snapshot: all but what lies far above the tops of the heaps, which nobody has used."""

        def u64(at: int) -> int:
            return int.from_bytes(self.memory[at : at + 8], "little")

        arenas, heap, size = u64(256), u64(264), u64(272)
        tops = [u64(arenas + 4736 * a + 32) + (64 << 10) for a in range((len(self.memory) - heap) // size)]
        self.size = min(tops[0], len(self.memory))
        ends = [(0, self.size)] + [
            (heap + a * size, min(top, heap + (a + 1) * size)) for a, top in enumerate(tops) if a
        ]
        self.start = [(at, bytes(self.memory[at:end])) for at, end in ends]

    def restore(self) -> None:
        for at, content in self.start:
            ctypes.memmove(self.address + at, content, len(content))

    def _differences(self, before: list[tuple[int, bytes]]) -> list[tuple[int, bytes, bytes]]:
        """Words that are not as they were: (where, what was there, what is)."""
        found = []
        for at, content in before:
            for i in range(0, len(content), 8):
                now = bytes(self.memory[at + i : at + i + 8])
                if now != content[i : i + 8]:
                    found.append((at + i, content[i : i + 8], now))
        return found

    def _mend(self) -> None:
        """Scribbled words that still stand are as they were; derived state is rebuilt by the next process that needs it."""
        if not self.patches:
            return
        for at, was, scribbled in self.patches:
            if self.memory[at : at + len(was)] == scribbled:
                self.memory[at : at + len(was)] = was
        arenas, (count,) = struct.unpack_from("<Q", self.memory, 256)[0], struct.unpack_from("<I", self.memory, 252)
        for a in range(count):
            struct.pack_into("<Q", self.memory, arenas + 4736 * a + 72, 1)

    def _clear(self) -> None:
        """No store, nor anything else, under the key."""
        if self.case.backend == "posix":
            with contextlib.suppress(OSError):
                os.unlink(f"/dev/shm/{os.fsdecode(parse_key(self.processes.key, 'posix').object or b'')}")
        else:
            key = lib.shms_key_of_name(self.processes.key.encode(), len(self.processes.key))
            with contextlib.suppress(OSError):
                shmstore.sysv.shmctl(shmstore.sysv.shmget(key, 0), shmstore.sysv.IPC_RMID)

    def states(self, case: Case) -> list[tuple[int, int, int]]:
        """A plan for each distinct state that the operation leaves the memory in."""
        self.restore()
        victim = self.processes.victim(case)
        trace, changed = self.driver.trace(victim, self.address, self.size)
        self.driver.kill(victim)
        ways = drivers.plans(trace)
        return [ways[n] for n in changed]

    def _find_state(self, case: Case, wanted: str) -> int:
        """The index of a state of which the name tells what the victim holds."""
        found = {"bucket": -1, "arena": -1, "freeing": -1, "claiming": -1, "owning": -1}
        for i, way in enumerate(self.states(case)):
            self.restore()
            victim = self.processes.victim(case)
            if self.driver.run_to(victim, way) is not None:
                number = number_of(self.memory, self.driver.pid(victim))
                audit = Audit(self.memory)
                arena, bucket = number in audit.arena_owners, number in audit.bucket_owners.values()
                if number and state_of(self.memory, number) == 1:
                    found["claiming"] = i
                if number and not arena and not bucket and block_owned(self.memory, number):
                    found["owning"] = i
                if arena and found["arena"] < 0:
                    found["arena"] = i
                if bucket and not arena and found["bucket"] < 0:
                    found["bucket"] = i
                if bucket and arena:
                    found["freeing"] = i  # the last of them: in the midst of what is done to the heap
            self.driver.kill(victim)
        index = found[wanted] - (4 if wanted == "freeing" else 0)
        assert index >= 0, f"{case.name} is never in the state {wanted!r}"
        return index

    def _die_first(self, case: Case, index: int, stand_still: bool = False) -> None:
        """The snapshot's beginning is what a victim left that died, or stopped, in that state."""
        states = self.states(case)
        if index >= len(states):
            raise NoSuchState
        way = states[index]
        self.restore()
        victim = self.processes.victim(case)
        self.driver.run_to(victim, way)
        if stand_still:
            self.still, self.still_pid = victim, self.driver.pid(victim)
        else:
            self.driver.kill(victim)
        self._keep()

    def _name(self, name: str) -> str:
        return raw_segment.far(self.store, raw_segment.FAR[name]) if name in raw_segment.FAR else name

    def _allowed(self, extra: dict[str, list[Any]]) -> dict[str, list[Any]]:
        allowed: dict[str, list[Any]] = {name: [self.store.get(name)] for name in self.store
                                         if name[:3] != "due" and name not in self.case.unread}  # fmt: skip
        for changes in (extra, self.case.changes):
            for name, values in changes.items():
                allowed[self._name(name)] = allowed.get(self._name(name), [None]) + values
        self.changes = {self._name(name): values for name, values in self.case.changes.items()}
        for name in self.never or ():
            if name not in self.case.changes and name not in extra:
                allowed[name] = [None]
        return allowed

    # ---- one operation, from beginning to end

    def record(self) -> list[int]:
        """The instructions that the operation takes. On a busy machine a second may pass before it is through, and then
        it looks around, which the victims will not: the shorter one of two recordings."""
        return min(self._record(), self._record(), key=len)

    def _record(self) -> list[int]:
        self.begin()
        victim = self.processes.victim(self.case)
        trace, _ = self.driver.trace(victim)
        pid, other = self.driver.pid(victim), self.driver.other(victim)
        self.driver.release(victim)
        if not all(self.driver.gone(process, 20) for process in (pid, other) if process):
            raise Broken("the victim does not end")
        self._came_to_an_end("AssertionError", "KeyError", "StoreFull")
        return trace

    def begin(self) -> None:
        """As it was when the snapshot was made. For creators that is nothing, unless one has been at it before."""
        if self.prepared:
            self.prepared = False
        elif self.case.creates:
            self._clear()
            self.case.beginning(self.processes.key)
        else:
            self.restore()

    def _end(self, victim: int) -> None:
        other, pid = self.driver.other(victim), self.driver.pid(victim)
        self.driver.kill(victim)
        if "private" in self.case.name:
            remove_nameless(pid)
        if other and not self.driver.gone(other, 10):
            raise Broken(f"process {other}, which was not killed, does not end")

    def reach(self, way: tuple[int, int, int]) -> int | None:
        """A victim that stands before the instruction; None if it ended before."""
        self.begin()
        victim = self.processes.victim(self.case)
        offset = self.driver.run_to(victim, way)
        if offset is None:
            self._end(victim)
            return None
        self.offset = offset
        return victim

    def kill_at(self, n: int, way: tuple[int, int, int]) -> bool:
        """First mode. False: the operation ended before."""
        victim = self.reach(way)
        if victim is None:
            return False
        if self.driver.other(victim) and self.case.follow:
            self.driver.gone(self.driver.other(victim), 10)
        self._end(victim)
        try:
            if self.case.creates:
                self._verify_created(n)
            else:
                self._verify(n, self.allowed, self.store)
        except Exception as error:
            raise Broken(self._where(n, "killed", error)) from error
        return True

    def stop_at(self, n: int, way: tuple[int, int, int]) -> bool:
        """Second mode: SIGSTOP; then SIGCONT or SIGKILL by turns."""
        victim = self.reach(way)
        if victim is None:
            return False
        pid, other = self.driver.pid(victim), self.driver.other(victim)
        self.driver.stop(victim)
        try:
            if other and not self.driver.gone(other, 10):
                raise Broken(f"process {other}, which was not stopped, does not end")
            allowed = self._opened_beside(pid) if self.case.creates else self._beside(n, pid)
            os.kill(pid, signal.SIGKILL if n % 2 else signal.SIGCONT)
            if not self.driver.gone(pid, 20):
                raise Broken("it does not go on")
            if n % 2 == 0:
                self._came_to_an_end()
            if self.case.creates:
                self._verify_created(n)
            else:
                self._verify(n, allowed, self.store)
        except Exception as error:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                self.driver.gone(pid, 10)
            raise Broken(self._where(n, "stopped", error)) from error
        return True

    def race_at(self, n: int, way: tuple[int, int, int], further: int = 0) -> list[int]:
        """Fourth mode: at the n-th instruction others write what they can, the victim's own name first of all; then it
        goes on for so many instructions (0: to its end) and is killed. Returns the way it took after the n-th."""
        victim = self.reach(way)
        if victim is None:
            return []
        try:
            try:
                if self.case.meanwhile is store_setup.nothing:
                    allowed, undo = self._beside(n, self.driver.pid(victim)), None
                else:
                    allowed, undo = (
                        self.allowed,
                        self.case.meanwhile(self.processes.key if self.case.creates else self.store),
                    )
                took = self.driver.go_on(victim, further or 60_000)
            finally:
                self._end(victim)
            if took:
                self.offset = took[-1]
            if undo is not None:
                undo()
            if self.case.creates:
                self._verify_created(n)
            else:
                self._verify(n, allowed, self.store)
        except Exception as error:
            raise Broken(self._where(n, f"raced and killed {further} later", error)) from error
        return took

    def _where(self, n: int, what: str, error: Exception) -> str:
        function, further = self.processes.code.where(self.offset)
        return f"{self.case.name}, {what} at instruction {n}, {function}+{further:#x}: {type(error).__name__}: {error}"

    def _came_to_an_end(self, *also: str) -> None:
        try:
            answer = self.processes.answer.read_text()
        except FileNotFoundError:
            raise Broken("the victim went on and ended without an answer") from None
        if answer.split()[0] in (
            "StoreCorrupt",
            "StoreDestroyed",
            "StoreClosed",
            "ShmStoreError",
            "LockTimeout",
            *also,
        ):
            raise Broken(f"the victim went on and got {answer}")
