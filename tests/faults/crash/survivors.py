"""What must hold for everybody else, while a process stands still in an operation and after it died there."""

from __future__ import annotations

import struct
import time
from typing import Any

import raw_segment
import store_setup
from audit import Audit, blocks_by_name, number_of
from cases import Case
from processes import Broken, Processes
from store_setup import value

import shmstore


class Survivors:
    """What they read, write and count. The store, and what may be read of it, is the snapshot's (snapshot.py)."""

    processes: Processes
    case: Case
    store: Any
    impatient: Any
    memory: memoryview
    allowed: dict[str, list[Any]]
    changes: dict[str, list[Any]]
    room: tuple[str, ...]
    never: Any
    clients: int
    still: int | None
    still_pid: int
    longest_read: float

    def _mend(self) -> None:
        raise NotImplementedError

    def _clear(self) -> None:
        raise NotImplementedError

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
        observer, case = self.processes.observer, self.case
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
            writes = {name: store_setup.other_value(name, f"after {n}", n) for name in names if name not in self.room}
        if n % 2:  # this process meets what the dead one held; else the one that attaches does
            read = self._read(store, allowed, "the process attached before")
            for name in self.room:
                store.delete(name)
            for name, new in writes.items():
                store.put(name, new)
            seen, refused, failed, longest = observer(names, {}, 5.0, case.where())
            now = {**read, **dict.fromkeys(self.room), **writes}
        else:
            for name in self.room:
                store.delete(name)
            seen, refused, failed, longest = observer(names, writes, 5.0, case.where())
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
        audit, stats = Audit(self.memory), store.stats()
        if audit.bytes != stats.bytes_used:
            raise Broken(f"{stats.bytes_used} bytes in use, but the entries need {audit.bytes}")
        if audit.spare > 32:
            raise Broken(f"an entry has {audit.spare} bytes more than it needs")
        if audit.bucket_owners or any(audit.arena_owners):
            raise Broken("a lock is still held")

    def _blocked(self, names: list[str], pid: int) -> set[str]:
        """Whom the locks that a stopped process holds keep from writing, by what the memory says."""
        number = number_of(self.memory, pid)
        audit = Audit(self.memory)
        held = [bool(number) and owner == number for owner in audit.arena_owners]
        if all(held):
            return set(names)
        homes = {bucket for bucket, owner in audit.bucket_owners.items() if owner == number}
        blocked = {name for name in names if raw_segment.home_of(self.store, name) in homes}
        if any(held):  # its blocks can be neither replaced nor deleted; new ones are made in the other
            heap, size = (struct.unpack_from("<Q", self.memory, at)[0] for at in (264, 272))
            blocks = blocks_by_name(self.memory)
            blocked |= {
                name for name in names if name.encode() in blocks and held[(blocks[name.encode()] - heap) // size]
            }
        return blocked

    def _beside(self, n: int, pid: int) -> dict[str, list[Any]]:
        """While a process stands still: reading goes on, so does writing where it holds no lock."""
        allowed, case, store = self.allowed, self.case, self.impatient
        names = list(allowed)
        self._read(store, allowed, "a process beside the stopped one")
        chosen = [] if case.reads_only or self.room else sorted({*names[n % 3 :: 3], *self.changes})
        blocked = self._blocked(chosen, pid)
        written = {name: store_setup.other_value(name, f"beside {n}", n) for name in chosen}
        refused = {}
        if n % 4 < 2:
            for name, new in written.items():
                try:
                    store.put(name, new)
                except shmstore.LockTimeout as error:
                    refused[name] = str(error)
        seen, more, failed, longest = self.processes.observer(names, written if n % 4 >= 2 else {}, 0.004, case.where())
        refused.update(more)
        if failed:
            raise Broken("; ".join(failed))
        if longest > 1 or self.longest_read > 1:
            raise Broken(f"a reader needed {max(longest, self.longest_read)} s")
        if set(refused) != blocked:
            raise Broken(f"kept from writing: {sorted(refused)}; but the locks held concern {sorted(blocked)}")
        for name, error in refused.items():
            if f"process {pid} ({self.processes.program})" not in error:
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
        """Another process is stopped there with a lock: readers do not wait for it, and when it is gone all is well. It
        is needed for the next round, so what it leaves is looked at in a copy of it: its death is the first mode's."""
        self._read(self.impatient, allowed, "a process behind the stopped one")
        seen, _, failed, _ = self.processes.observer(list(allowed), {}, 0.004, self.case.where())
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
        """Marks the entry of the stopped process as a process that finds it dead would."""
        clients, size = struct.unpack_from("<Q", self.memory, 184)[0], struct.unpack_from("<I", self.memory, 196)[0]
        at = clients + (number_of(self.memory, pid) - 1) * size
        (word,) = struct.unpack_from("<Q", self.memory, at)
        struct.pack_into("<Q", self.memory, at, word & ~(0xF << 44) | 3 << 44)

    # ---- creation

    def _opened_beside(self, pid: int) -> dict[str, list[Any]]:
        """While a creator is stopped, opening gives the store, or an error that names the creator."""
        try:
            shmstore.Store(self.processes.key, size=store_setup.SIZE, max_entries=store_setup.MAX_ENTRIES, timeout=0.004,
                           **self.case.where()).close()  # fmt: skip
        except shmstore.LockTimeout as error:
            if f"process {pid} ({self.processes.program})" not in str(error):
                raise Broken(f"the error names somebody else: {error}") from None
        return {}

    def _verify_created(self, n: int) -> None:
        if self.case.mended:
            self._clear()
        with shmstore.Store(self.processes.key, size=store_setup.SIZE, max_entries=store_setup.MAX_ENTRIES, timeout=5.0,
                            **self.case.where()) as store:  # fmt: skip
            if list(store):
                raise Broken("a new store has entries")
            writes = {f"k{i}": value(f"k{i}", f"after {n}", 100) for i in range(6)}
            _, refused, failed, _ = self.processes.observer(list(writes), writes, 5.0, self.case.where())
            if failed or refused:
                raise Broken("; ".join(failed) or f"refused: {refused}")
            if {name: store[name] for name in writes} != writes or store.info().size != store_setup.SIZE:
                raise Broken("the store is not what was asked for")
            store.recover()
            store.check()
            for name in writes:
                store.delete(name)
            store.check()
            if store.stats().bytes_used or store.stats().clients != 1:
                raise Broken(f"{store.stats().bytes_used} bytes and {store.stats().clients} places are taken")
