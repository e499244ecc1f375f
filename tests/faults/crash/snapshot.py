"""A store populated for one case, as a snapshot of its bytes that each victim starts from.

One operation is recorded first; then a victim for each n is run there. The memory that it starts from is the same each
time, byte for byte, so it takes the same way; where it stands in truth is read from it and recorded.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections import Counter
from typing import Any

import audit as audits
import driver as drivers
import raw_segment
import store_setup
from audit import Audit, number_of, remove_nameless
from cases import CASES, Case
from processes import Broken, Processes
from survivors import Survivors

import shmstore
import shmstore.sysv
from shmstore._core import ffi, lib
from shmstore._store.names import parse_key

SMALL_HEAP = 64  # pages
FIRST = ("bucket",)  # of these states the first one is meant, of others the last


def held_by(audit: Audit, number: int) -> list[str]:
    """Words for what a client holds."""
    if audit.states.get(number) == audits.CLAIMING:
        return ["claiming"]
    held = ["bucket"] if number in audit.bucket_owners.values() else []
    for record in audit.of(number):
        if record.block in audit.unpublished and not held:
            held.append("owning")
        if record.page:
            word = audit.word_of(record.run[0])
            held.append(
                "closing" if record.other != record.blocks else "opening" if word & 3 == audits.TAKEN else "opened"
            )
        elif record.old in audit.unpublished:
            held.append("ending")
        elif record.old in audit.zombies:
            held.append("zombie")
    return held


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
        self.kept: Any = None
        self.allowed: dict[str, list[Any]] = {}
        self.locks: Counter[str] = Counter()  # what victims held when they were stopped
        self.others: dict[int, list[str]] = {}  # two names of each home
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
        kind = shmstore.Cache if case.evicts else shmstore.Store
        self.store = kind(processes.key, create=True, size=case.size, max_entries=case.entries, timeout=5.0,
                                        decoders=(store_setup.Own(),), **case.where())  # fmt: skip
        self.impatient = shmstore.Store(
            processes.key, create=False, timeout=0.004, decoders=(store_setup.Own(),), **case.where()
        )
        base = CASES[first_state[0]] if first_state else case
        base.populate(self.store)
        self.kept = base.setup(self.store)
        self.room, self.never = base.room, base.never
        self.inherits = bool(case.after or case.behind or first_state) and not case.opens
        if self.inherits:
            processes.tell("hold", case.backend)
        self.clients = self.store.stats().clients
        self.memory = raw_segment.memory_of(self.store)
        if case.entries == store_setup.MAX_ENTRIES:
            homes = range(int.from_bytes(self.memory[224:232], "little"))
            self.others = {home: raw_segment.names_of_home(self.store, home, 2) for home in homes}
        self.address = int(ffi.cast("uintptr_t", ffi.from_buffer(self.memory)))
        self._keep()
        if first_state is not None:
            first, index = first_state
            states = self.states(CASES[first])
            if index >= len(states):
                raise NoSuchState
            self._die_first(CASES[first], states[index])
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
        if isinstance(self.kept, memoryview):
            self.kept.release()
        for handle in self.kept if isinstance(self.kept, list) else []:
            handle.close()
        if self.impatient is not None:
            self.impatient.close()
        if self.store is not None:
            with contextlib.suppress(shmstore.ShmStoreError):
                self.store.destroy()
            self.store.close()

    # ---- beginnings

    def _keep(self) -> None:
        """The snapshot: all but clients' slots and pages of a large heap that nobody uses."""

        def u64(at: int) -> int:
            return int.from_bytes(self.memory[at : at + 8], "little")

        clients, size = u64(audits.CLIENTS), int.from_bytes(self.memory[196:200], "little")
        count = int.from_bytes(self.memory[192:196], "little")
        behind, heap, pages = clients + count * size, u64(audits.HEAP), u64(audits.PAGES)
        high = min(max(u64(audits.PAGES_HIGH), SMALL_HEAP), u64(audits.HEAP_PAGES))
        used = [page for page in range(high) if high <= SMALL_HEAP or u64(pages + 32 * page)]
        ends = [(0, clients + min(count, u64(audits.CLIENTS_HIGH) + 4) * size), (behind, pages + 32 * high)]
        slots = u64(audits.SLOTS)
        ends.append((slots, slots + 64 * u64(audits.BUCKETS)))
        ends += [(heap + 4096 * page, heap + 4096 * (page + 1)) for page in used]
        self.start = [(at, bytes(self.memory[at:end])) for at, end in ends]
        self.ranges = [(self.address + at, end - at) for at, end in ends]

    def restore(self) -> None:
        """Numbers are never given out twice: this process goes on with those that it has taken."""
        given = bytes(self.memory[audits.NUMBERS : audits.NUMBERS + 8])
        for at, content in self.start:
            ctypes.memmove(self.address + at, content, len(content))
        self.memory[audits.NUMBERS : audits.NUMBERS + 8] = given

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
        """Scribbled words that still stand are as they were."""
        if not self.patches:
            return
        for at, was, scribbled in self.patches:
            if self.memory[at : at + len(was)] == scribbled:
                self.memory[at : at + len(was)] = was

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
        trace, changed = self.driver.trace(victim, self.ranges)
        self.driver.kill(victim)
        ways = drivers.plans(trace)
        return [ways[n] for n in changed]

    def _find_state(self, case: Case, wanted: str) -> tuple[int, int, int]:
        """The plan for a state of which the name tells what the victim holds. Another list of states might be longer by one: a
        block says in which second its value was stored, and in the same second the memory stays as it is."""
        found: dict[str, tuple[int, int, int]] = {}
        for way in self.states(case):
            self.restore()
            victim = self.processes.victim(case)
            if self.driver.run_to(victim, way) is not None:
                number = number_of(self.memory, self.driver.pid(victim))
                for state in held_by(Audit(self.memory), number):
                    if state in FIRST:
                        found.setdefault(state, way)
                    else:
                        found[state] = way
            self.driver.kill(victim)
        assert wanted in found, f"{case.name} is never in the state {wanted!r}"
        return found[wanted]

    def _die_first(self, case: Case, way: tuple[int, int, int], stand_still: bool = False) -> None:
        """The snapshot's beginning is what a victim left that died, or stopped, in that state."""
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

    def others_at(self, n: int, way: tuple[int, int, int]) -> bool:
        """Fifth mode: it is stopped, and others write names of every home but those of its own names; then it is
        killed. What it held is counted."""
        victim = self.reach(way)
        if victim is None:
            return False
        pid = self.driver.pid(victim)
        try:
            self._write_others(pid)
            self._end(victim)
            self._verify(n, self.allowed, self.store)
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
