"""Acts at the n-th instruction of an operation, for many n, and looks at what that did to everybody else.

Ground      the processes: this one, attached before; a witness that attaches after; a nursery of victims
Setting     a store furnished for one case, as a snapshot of its bytes that each victim starts from
kill_at, stop_at, and what they verify

One operation is recorded first; then a victim for each n is run there. The memory that it starts from is the same each
time, byte for byte, so it takes the same way; where it stands in truth is read from it and recorded.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import time
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cases
import driver as drivers
from cases import CASES, Case, value

import shmstore
import shmstore.sysv
from shmstore._core import __file__ as MODULE
from shmstore._core import ffi, lib
from shmstore._keys import parse_key

HERE = Path(__file__).resolve().parent


class Broken(AssertionError):
    """What must hold did not."""


class NoSuchState(Exception):
    """The operation goes through fewer: how many depends on the names' hashes, which differ from store to store."""


class Ground:
    """The processes that a sweep needs, and the name of its store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = f"shmstore-crash-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        library = drivers.build(directory)
        self.code = drivers.Object(Path(MODULE))
        gate, self._gate = os.pipe()
        # Everything is bound at once: the dynamic linker's way to a function does not look like a call.
        environment = {**os.environ, "LD_BIND_NOW": "1", "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path[1:]])}
        self._nursery = subprocess.Popen(
            [sys.executable, HERE / "nursery.py", str(gate), self.key], cwd="/", env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[gate],
        )  # fmt: skip
        os.close(gate)
        assert self._nursery.stdout
        nursery_pid = int(self._nursery.stdout.readline())
        self._witness = subprocess.Popen(
            [sys.executable, HERE / "witness.py", self.key], cwd="/", env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            self.driver = drivers.Driver(library, self.code, nursery_pid)
        except BaseException:
            self.close()
            raise
        self.program = Path(f"/proc/{nursery_pid}/comm").read_text().strip()
        self.answer = directory / "answer"

    def close(self) -> None:
        for process in (self._nursery, self._witness):
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
            process.wait(20)
            process.stdout.close()  # type: ignore[union-attr]
        os.close(self._gate)
        with contextlib.suppress(shmstore.ShmStoreError):
            shmstore.destroy(self.key)

    def tell(self, what: str, backend: str = "") -> int:
        """A line for the nursery; its answer."""
        assert self._nursery.stdin and self._nursery.stdout
        self._nursery.stdin.write(f"{what}\t{self.answer}\t{backend}\n".encode())
        self._nursery.stdin.flush()
        return int(self._nursery.stdout.readline())

    def victim(self, case: Case) -> int:
        """A process that is about to begin the operation."""
        self.answer.unlink(missing_ok=True)
        victim = self.driver.seize(self.tell(case.name), case.follow)
        os.write(self._gate, b"x")
        self.driver.begin(victim)
        return victim

    def witness(self, names: list[str], writes: dict[str, Any], timeout: float, where: dict[str, str]) -> Any:
        """(what it read, whom it was kept from by whom, what went wrong, its longest read)"""
        assert self._witness.stdin and self._witness.stdout
        pickle.dump((names, writes, timeout, where), self._witness.stdin)
        self._witness.stdin.flush()
        return pickle.load(self._witness.stdout)


# ---- what the memory says, read by docs/format.md and not by the engine


class Account:
    """Blocks in slots, who holds locks, zombies."""

    def __init__(self, memory: memoryview) -> None:
        def u64(at: int) -> int:
            return int(struct.unpack_from("<Q", memory, at)[0])

        slots, buckets, arenas = u64(216), u64(224), u64(256)
        (arena_count,) = struct.unpack_from("<I", memory, 252)
        table = struct.unpack_from(f"<{8 * buckets}Q", memory, slots)
        self.bucket_owners = {i: table[8 * i] & 0xFFFF for i in range(buckets) if table[8 * i] & 0xFFFF}
        self.arena_owners = [u64(arenas + 4736 * a) & 0xFFFF for a in range(arena_count)]
        self.bytes, self.entries, self.spare = 0, 0, 0
        for i, word in enumerate(table):
            if i % 8 and word:
                block = (word & 0xFFFFFFFFFF) * 16
                lengths, _, tag = struct.unpack_from("<QII", memory, block + 24)
                size = (tag & 0x1FFFFFFF) * (4096 if tag & 0x20000000 else 16)
                need = 40 + (lengths >> 24) + (lengths >> 8 & 0xFFFF)
                if lengths & 0x10:
                    need += struct.unpack_from("<I", memory, block + 40)[0]
                if lengths >> 24 >= 4096:
                    need += 63
                self.bytes += size
                self.entries += 1
                self.spare = max(self.spare, size - max(48, (need + 15) // 16 * 16))
        for a in range(arena_count):
            at = u64(arenas + 4736 * a + 80)
            while at:
                self.bytes += (struct.unpack_from("<I", memory, at + 36)[0] & 0x1FFFFFFF) * 16
                at = u64(at + 8)


def number_of(memory: memoryview, pid: int) -> int:
    """The number of a process as a client; 0: none."""
    (clients,) = struct.unpack_from("<Q", memory, 184)
    count, size = struct.unpack_from("<II", memory, 192)
    for i in range(count):
        (word,) = struct.unpack_from("<Q", memory, clients + i * size)
        if word & 0xFFFFFFFF == pid and word >> 44 & 0xF:
            return i + 1
    return 0


def state_of(memory: memoryview, number: int) -> int:
    """Of a client: 1 claiming, 2 live .."""
    clients, size = struct.unpack_from("<Q", memory, 184)[0], struct.unpack_from("<I", memory, 196)[0]
    return struct.unpack_from("<Q", memory, clients + (number - 1) * size)[0] >> 44 & 0xF


def block_owned(memory: memoryview, number: int) -> int:
    """The block in a client's first record: owned, and not yet published."""
    clients, size = struct.unpack_from("<Q", memory, 184)[0], struct.unpack_from("<I", memory, 196)[0]
    return int(struct.unpack_from("<Q", memory, clients + (number - 1) * size + 192 + 16)[0])


def blocks_by_name(memory: memoryview) -> dict[bytes, int]:
    """Where the block of each str name is."""
    slots, buckets = struct.unpack_from("<Q", memory, 216)[0], struct.unpack_from("<Q", memory, 224)[0]
    found = {}
    for i, word in enumerate(struct.unpack_from(f"<{8 * buckets}Q", memory, slots)):
        if i % 8 and word:
            block = (word & 0xFFFFFFFFFF) * 16
            (lengths,) = struct.unpack_from("<Q", memory, block + 24)
            at = block + 40 + (struct.unpack_from("<I", memory, block + 40)[0] if lengths & 0x10 else 0)
            found[bytes(memory[at : at + (lengths >> 8 & 0xFFFF)])] = block
    return found


def remove_nameless(pid: int) -> None:
    """A private System V store whose maker dies before he marks it for removal stays behind (memory_sysv.c)."""
    for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        key, segment, _, _, creator, _, attached = (int(field) for field in line.split()[:7])
        if key == 0 and creator == pid and attached == 0:
            shmstore.sysv.shmctl(segment, shmstore.sysv.IPC_RMID)


class Setting:
    """A store set up for one case. Use as a context manager: it ends with the store destroyed."""

    def __init__(self, ground: Ground, case: Case, first_state: tuple[str, int] | None = None) -> None:
        """first_state: a victim of that case dies in that state of the memory before (the third mode)."""
        self.ground, self.case = ground, case
        self.driver = ground.driver
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
        ground, case = self.ground, self.case
        self.store = shmstore.Store(ground.key, create=True, size=case.size, max_entries=case.entries, timeout=5.0,
                                        decoders=(cases.Own(),), **case.where())  # fmt: skip
        self.impatient = shmstore.Store(ground.key, create=False, timeout=0.004, decoders=(cases.Own(),), **case.where())
        base = CASES[first_state[0]] if first_state else case
        base.furnish(self.store)
        self.held = base.setup(self.store)
        self.room, self.never = base.room, base.never
        self.inherits = bool(case.after or case.behind or first_state) and not case.opens
        if self.inherits:
            ground.tell("hold", case.backend)
        self.clients = self.store.stats().clients
        self.memory = cases.memory_of(self.store)
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
        if case.scribble is not cases.nothing:
            self.restore()
            before = list(self.start)
            case.scribble(self.store)
            if case.mended:
                self.patches = self._differences(before)
            self.start = [(at, bytes(self.memory[at : at + len(content)])) for at, content in before]

    def __enter__(self) -> Setting:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.still is not None:
            self.driver.kill(self.still)
        if not self.case.creates and self.inherits:
            self.ground.tell("let go")
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
        ends = [(0, self.size)] + [(heap + a * size, min(top, heap + (a + 1) * size)) for a, top in enumerate(tops) if a]
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
        """Scribbled words that still stand are as they were, and what is derived is made anew by who needs it next."""
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
                os.unlink(f"/dev/shm/{os.fsdecode(parse_key(self.ground.key, 'posix').object or b'')}")
        else:
            key = lib.shms_key_of_name(self.ground.key.encode(), len(self.ground.key))
            with contextlib.suppress(OSError):
                shmstore.sysv.shmctl(shmstore.sysv.shmget(key, 0), shmstore.sysv.IPC_RMID)

    def states(self, case: Case) -> list[tuple[int, int, int]]:
        """A plan for each distinct state that the operation leaves the memory in."""
        self.restore()
        victim = self.ground.victim(case)
        trace, changed = self.driver.trace(victim, self.address, self.size)
        self.driver.kill(victim)
        ways = drivers.plans(trace)
        return [ways[n] for n in changed]

    def _find_state(self, case: Case, wanted: str) -> int:
        """The index of a state of which the name tells what the victim holds."""
        found = {"bucket": -1, "arena": -1, "freeing": -1, "claiming": -1, "owning": -1}
        for i, way in enumerate(self.states(case)):
            self.restore()
            victim = self.ground.victim(case)
            if self.driver.run_to(victim, way) is not None:
                number = number_of(self.memory, self.driver.pid(victim))
                account = Account(self.memory)
                arena, bucket = number in account.arena_owners, number in account.bucket_owners.values()
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
        """The setting's beginning is what a victim left that died, or stopped, in that state."""
        states = self.states(case)
        if index >= len(states):
            raise NoSuchState
        way = states[index]
        self.restore()
        victim = self.ground.victim(case)
        self.driver.run_to(victim, way)
        if stand_still:
            self.still, self.still_pid = victim, self.driver.pid(victim)
        else:
            self.driver.kill(victim)
        self._keep()

    def _name(self, name: str) -> str:
        return cases.far(self.store, cases.FAR[name]) if name in cases.FAR else name

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
        victim = self.ground.victim(self.case)
        trace, _ = self.driver.trace(victim)
        pid, other = self.driver.pid(victim), self.driver.other(victim)
        self.driver.release(victim)
        if not all(self.driver.gone(process, 20) for process in (pid, other) if process):
            raise Broken("the victim does not end")
        self._came_to_an_end("AssertionError", "KeyError", "StoreFull")
        return trace

    def begin(self) -> None:
        """As it was when the setting was made. For creators that is nothing, unless one has been at it before."""
        if self.prepared:
            self.prepared = False
        elif self.case.creates:
            self._clear()
            self.case.beginning(self.ground.key)
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
        victim = self.ground.victim(self.case)
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
                if self.case.meanwhile is cases.nothing:
                    allowed, undo = self._beside(n, self.driver.pid(victim)), None
                else:
                    allowed, undo = self.allowed, self.case.meanwhile(self.ground.key if self.case.creates else self.store)
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
        function, further = self.ground.code.where(self.offset)
        return f"{self.case.name}, {what} at instruction {n}, {function}+{further:#x}: {type(error).__name__}: {error}"

    def _came_to_an_end(self, *also: str) -> None:
        try:
            answer = self.ground.answer.read_text()
        except FileNotFoundError:
            raise Broken("the victim went on and ended without an answer") from None
        if answer.split()[0] in ("StoreCorrupt", "StoreDestroyed", "StoreClosed", "ShmStoreError", "LockTimeout", *also):
            raise Broken(f"the victim went on and got {answer}")

    # ---- what must hold

    def _read(self, store: Any, allowed: dict[str, list[Any]], who: str) -> dict[str, Any]:
        read = {}
        for name in allowed:
            began = time.monotonic()
            read[name] = store.get(name)
            self.longest_read = max(self.longest_read, time.monotonic() - began)
        self._judge(read, allowed, who)
        return read

    @staticmethod
    def _judge(read: dict[str, Any], allowed: dict[str, list[Any]], who: str) -> None:
        for name, found in read.items():
            if found not in allowed[name]:
                raise Broken(f"{who} reads {name} = {str(found)[:60]}, neither old nor new")

    def _verify(self, n: int, allowed: dict[str, list[Any]], store: Any) -> None:
        """Nobody is in the operation any more: processes attached before and after read and write everything, and
        nothing is lost."""
        witness, case = self.ground.witness, self.case
        self._mend()
        if case.repaired:
            store.check(repair=True)
        names = list(allowed)
        if self.still is not None:
            self._verify_behind(allowed)
            return
        if case.reads_only:
            writes = {}
        else:
            writes = {name: cases.other_value(name, f"after {n}", n) for name in names if name not in self.room}
        if n % 2:  # this process meets what the dead one held; else the one that attaches does
            read = self._read(store, allowed, "the process attached before")
            for name in self.room:
                store.delete(name)
            for name, new in writes.items():
                store.put(name, new)
            seen, refused, failed, longest = witness(names, {}, 5.0, case.where())
            now = {**read, **dict.fromkeys(self.room), **writes}
        else:
            for name in self.room:
                store.delete(name)
            seen, refused, failed, longest = witness(names, writes, 5.0, case.where())
            if not failed:
                self._judge(seen, {**allowed, **{name: [None] for name in self.room}}, "the process attached later")
            seen, now = {name: store.get(name) for name in names}, {**seen, **writes}
        self.longest_read = max(self.longest_read, longest)
        if failed or refused:
            raise Broken("; ".join(failed) or f"refused: {refused}")
        if seen != now:
            raise Broken(f"two processes read differently: {[name for name in names if seen[name] != now[name]]}")
        store.recover()
        store.check()
        self._settle_account(store)
        for name in list(store):
            store.delete(name)
        store.check()
        if store.stats().zombies:  # of the dead: the next one who needs memory takes it
            store.put("any", 1)
            store.delete("any")
        stats = store.stats()
        if stats.entries or stats.zombies > case.kept or (stats.bytes_used and not case.kept):
            raise Broken(f"all is deleted, and {stats.bytes_used} bytes are in use, {stats.entries} entries")
        if store.stats().clients > self.clients:
            raise Broken("a dead process still has a place")

    def _settle_account(self, store: Any) -> None:
        account, stats = Account(self.memory), store.stats()
        if account.bytes != stats.bytes_used:
            raise Broken(f"{stats.bytes_used} bytes in use, but the entries need {account.bytes}")
        if account.spare > 32:
            raise Broken(f"an entry has {account.spare} bytes more than it needs")
        if account.bucket_owners or any(account.arena_owners):
            raise Broken("a lock is still held")

    def _blocked(self, names: list[str], pid: int) -> set[str]:
        """Whom the locks that a stopped process holds keep from writing, by what the memory says."""
        number = number_of(self.memory, pid)
        account = Account(self.memory)
        held = [bool(number) and owner == number for owner in account.arena_owners]
        if all(held):
            return set(names)
        homes = {bucket for bucket, owner in account.bucket_owners.items() if owner == number}
        blocked = {name for name in names if cases.home_of(self.store, name) in homes}
        if any(held):  # its blocks can be neither replaced nor deleted; new ones are made in the other
            heap, size = (struct.unpack_from("<Q", self.memory, at)[0] for at in (264, 272))
            blocks = blocks_by_name(self.memory)
            blocked |= {name for name in names if name.encode() in blocks and held[(blocks[name.encode()] - heap) // size]}
        return blocked

    def _beside(self, n: int, pid: int) -> dict[str, list[Any]]:
        """While a process stands still: reading goes on, so does writing where it holds no lock."""
        allowed, case, store = self.allowed, self.case, self.impatient
        names = list(allowed)
        self._read(store, allowed, "a process beside the stopped one")
        chosen = [] if case.reads_only or self.room else sorted({*names[n % 3 :: 3], *self.changes})
        blocked = self._blocked(chosen, pid)
        written = {name: cases.other_value(name, f"beside {n}", n) for name in chosen}
        refused = {}
        if n % 4 < 2:
            for name, new in written.items():
                try:
                    store.put(name, new)
                except shmstore.LockTimeout as error:
                    refused[name] = str(error)
        seen, more, failed, longest = self.ground.witness(names, written if n % 4 >= 2 else {}, 0.004, case.where())
        refused.update(more)
        if failed:
            raise Broken("; ".join(failed))
        if longest > 1 or self.longest_read > 1:
            raise Broken(f"a reader needed {max(longest, self.longest_read)} s")
        if set(refused) != blocked:
            raise Broken(f"kept from writing: {sorted(refused)}; but the locks held concern {sorted(blocked)}")
        for name, error in refused.items():
            if f"process {pid} ({self.ground.program})" not in error:
                raise Broken(f"{name}: the error names somebody else: {error}")
        after = dict(allowed)
        for name in written:
            if name not in blocked:
                after[name] = [written[name], *self.changes.get(name, [])]
                if case.adds and name in self.changes:
                    after[name].append(written[name] + case.adds)
        self._judge(seen, {name: allowed[name] + after[name] for name in names}, "a process that attached beside")
        return after

    def _verify_behind(self, allowed: dict[str, list[Any]]) -> None:
        """Somebody else still stands there with a lock: readers do not mind, and when he is gone all is well. Since
        he is needed for the next round, what he leaves is looked at in a copy of him: his death is the first mode's."""
        self._read(self.impatient, allowed, "a process behind the stopped one")
        seen, _, failed, _ = self.ground.witness(list(allowed), {}, 0.004, self.case.where())
        if failed:
            raise Broken("; ".join(failed))
        self._judge(seen, allowed, "a process that attached behind the stopped one")
        self._pretend_dead(self.still_pid)
        self.store.recover()
        self.store.check()
        self._settle_account(self.store)
        self._read(self.store, allowed, "a process after the stopped one")
        for name in [*self.store, *self.never]:
            self.store.delete(name)
        if self.store.stats().bytes_used:
            raise Broken(f"all is deleted, and {self.store.stats().bytes_used} bytes are in use")

    def _pretend_dead(self, pid: int) -> None:
        """Marks the entry of the one who stands still as what a finder makes of it once he is dead."""
        clients, size = struct.unpack_from("<Q", self.memory, 184)[0], struct.unpack_from("<I", self.memory, 196)[0]
        at = clients + (number_of(self.memory, pid) - 1) * size
        (word,) = struct.unpack_from("<Q", self.memory, at)
        struct.pack_into("<Q", self.memory, at, word & ~(0xF << 44) | 3 << 44)

    # ---- creation

    def _opened_beside(self, pid: int) -> dict[str, list[Any]]:
        """While a creator stands still: who opens gets the store, or is told of him."""
        try:
            shmstore.Store(self.ground.key, size=cases.SIZE, max_entries=cases.MAX_ENTRIES, timeout=0.004,
                           **self.case.where()).close()  # fmt: skip
        except shmstore.LockTimeout as error:
            if f"process {pid} ({self.ground.program})" not in str(error):
                raise Broken(f"the error names somebody else: {error}") from None
        return {}

    def _verify_created(self, n: int) -> None:
        if self.case.mended:
            self._clear()
        with shmstore.Store(self.ground.key, size=cases.SIZE, max_entries=cases.MAX_ENTRIES, timeout=5.0,
                            **self.case.where()) as store:  # fmt: skip
            if list(store):
                raise Broken("a new store has entries")
            writes = {f"k{i}": value(f"k{i}", f"after {n}", 100) for i in range(6)}
            _, refused, failed, _ = self.ground.witness(list(writes), writes, 5.0, self.case.where())
            if failed or refused:
                raise Broken("; ".join(failed) or f"refused: {refused}")
            if {name: store[name] for name in writes} != writes or store.info().size != cases.SIZE:
                raise Broken("the store is not what was asked for")
            store.recover()
            store.check()
            for name in writes:
                store.delete(name)
            store.check()
            if store.stats().bytes_used or store.stats().clients != 1:
                raise Broken(f"{store.stats().bytes_used} bytes and {store.stats().clients} places are taken")


class Result:
    """Figures of one case in one mode."""

    def __init__(self, case: str, mode: str) -> None:
        self.case, self.mode = case, mode
        self.instructions = self.acted = self.ended_before = self.states = 0
        self.failures: list[str] = []
        self.seconds = self.longest_read = 0.0
        self.reached: set[int] = set()

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


ACTS = {"kill": Setting.kill_at, "stop": Setting.stop_at}
FAILURES_KEPT = 20


def sweep(ground: Ground, name: str, mode: str, choice: Choice) -> Result:
    """First mode ("kill") or second ("stop") on one case."""
    result, began = Result(name, mode), time.monotonic()
    with Setting(ground, CASES[name]) as setting:
        trace = setting.record()
        ways = drivers.plans(trace)
        result.instructions = len(trace)
        thinned = 1 if choice.seen is not None else CASES[name].thin
        for n in choice.of(trace)[::thinned]:
            _act(result, setting, mode, n, ways[n])
        if choice.seen is not None:
            choice.seen |= result.reached
    result.seconds = time.monotonic() - began
    return result


def _act(result: Result, setting: Setting, mode: str, n: int, way: tuple[int, int, int]) -> None:
    if len(result.failures) >= FAILURES_KEPT:
        return
    try:
        if ACTS[mode](setting, n, way):
            result.acted += 1
            result.reached.add(setting.offset)
        else:
            result.ended_before += 1
    except Broken as error:
        result.failures.append(str(error))
    result.longest_read = max(result.longest_read, setting.longest_read)


def sweep_two(ground: Ground, first: str, second: str, choice: Choice, of_first: Choice | None = None) -> Result:
    """Third mode: one victim dies in `first`, in each state of the memory that this goes through; another meets what
    is left, and dies in `second`, in each state of its own. Between two states nobody else can tell the instructions
    apart. The choice is among the pairs, of_first among the states that the first leaves."""
    result, began = Result(f"{first}, {second}", "two"), time.monotonic()
    with Setting(ground, CASES[first]) as setting:
        states = len(setting.states(CASES[first]))
    count = 0
    for index in (of_first or Choice()).of(list(range(states))):
        with contextlib.suppress(NoSuchState), Setting(ground, CASES[second], (first, index)) as setting:
            ways = setting.states(CASES[second])
            result.states += len(ways)
            for n, way in enumerate(ways):
                if count % choice.stride == choice.offset % choice.stride:
                    _act(result, setting, "kill", n, way)
                count += 1
    result.instructions = count
    result.seconds = time.monotonic() - began
    return result


def race(ground: Ground, name: str, choice: Choice) -> Result:
    """Fourth mode on one case: killed at each instruction that the operation comes to only when others interfere."""
    result, began = Result(name, "race"), time.monotonic()
    with Setting(ground, CASES[name]) as setting:
        trace = setting.record()
        ways = drivers.plans(trace)
        result.instructions = len(trace)
        seen = set(trace) | (choice.seen or set())
        for n in Choice(choice.stride, choice.offset, choice.turns).of(trace):
            try:
                took = setting.race_at(n, ways[n])
                result.acted += 1
                for further, offset in enumerate(took):
                    if offset not in seen and further:
                        seen.add(offset)
                        setting.race_at(n, ways[n], further)
                        result.reached.add(setting.offset)
                        result.states += 1
            except Broken as error:
                result.failures.append(str(error))
                if len(result.failures) >= FAILURES_KEPT:
                    break
        if choice.seen is not None:
            choice.seen |= result.reached
    result.seconds = time.monotonic() - began
    return result


def _creation_words(key: str) -> tuple[int, int] | None:
    """Magic and state of whatever stands under the key."""
    segment = lib.shms_sysv_shmget(lib.shms_key_of_name(key.encode(), len(key)), 0, 0)
    if segment < 0:
        return None
    error = ffi.new("int32_t *")
    address = lib.shms_sysv_shmat(segment, 0, 0, error)
    magic, state = struct.unpack("<QQ", ffi.buffer(address, 16))
    lib.shms_sysv_shmdt(address)
    return magic, state >> 44 & 0xF


class Creators:
    """Third mode: a creator dies, and another comes upon what is left, and dies. The setting is of the second."""

    def __init__(self, ground: Ground) -> None:
        self.ground, self.case = ground, CASES["create"]
        self.setting = Setting(ground, self.case)
        self.ways = drivers.plans(self.setting.record())

    def first_dies(self, index: int) -> None:
        self.setting.begin()
        victim = self.ground.victim(self.case)
        self.setting.driver.run_to(victim, self.ways[index])
        self.setting.driver.kill(victim)

    def second(self, index: int) -> list[int]:
        """The way that it takes when the first has died there."""
        self.first_dies(index)
        victim = self.ground.victim(self.case)
        trace, _ = self.setting.driver.trace(victim)
        self.setting.driver.kill(victim)
        return trace

    def second_dies(self, result: Result, index: int, n: int, way: tuple[int, int, int]) -> None:
        self.first_dies(index)
        self.setting.prepared = True
        _act(result, self.setting, "kill", n, way)

    def steps(self) -> list[int]:
        """The last instruction before each step of creation that another can see (create.c)."""
        found: dict[Any, int] = {}
        for index in range(0, len(self.ways), 8):
            self.first_dies(index)
            found[_creation_words(self.ground.key)] = index
        return sorted(found.values())


def sweep_creators(ground: Ground, choice: Choice, pairs: int) -> Result:
    """The first dies in each step of creation, the second at each instruction that is chosen; then pairs: every
    so-many-th instruction of the first with as many of the second."""
    result, began = Result("create, create", "two"), time.monotonic()
    creators = Creators(ground)
    with creators.setting:
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


@contextlib.contextmanager
def ground_in(directory: Path) -> Iterator[Ground]:
    ground = Ground(directory)
    try:
        yield ground
    finally:
        ground.close()
