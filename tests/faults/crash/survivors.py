"""What must hold for everybody else, while a process stands still in an operation and after it died there."""

from __future__ import annotations

import struct
import time
from collections import Counter
from typing import Any

import audit as audits
import raw_segment
import store_setup
from audit import Audit, number_of
from cases import Case
from processes import Broken, Processes
from store_setup import value

import shmstore

LARGEST_REFILLED = 1 << 20  # bytes of heap


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
    locks: Counter[str]
    others: dict[int, list[str]]

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
        self._go_on(store)
        store.recover()
        store.check()
        self._settle_account(store)
        for name in list(store):
            store.delete(name)
        case.tidy(store)
        store.check()
        stats = store.stats()
        if stats.entries or stats.zombies > case.kept or stats.bytes_used:
            raise Broken(f"all is deleted, and {stats.bytes_used} bytes are in use, {stats.entries} entries")
        self._nothing_leaked(store)
        if store.stats().clients > self.clients:
            raise Broken("a dead process still has a place")

    def _go_on(self, store: Any) -> None:
        try:
            self.case.then(store)
        except AssertionError as error:
            raise Broken(str(error)) from None

    def _settle_account(self, store: Any) -> None:
        """Nobody is in an operation, and the dead have been recovered: nothing is held, lost or counted wrong."""
        audit, stats = Audit(self.memory), store.stats()
        if audit.faults:
            raise Broken("; ".join(audit.faults))
        if audit.bytes != stats.bytes_used or audit.entries != stats.entries:
            raise Broken(
                f"{stats.entries} entries of {stats.bytes_used} bytes; the slots have {audit.entries} of {audit.bytes}"
            )
        if audit.spare and not self.room and not self.case.spare:
            raise Broken(f"an entry has {audit.spare} bytes more than it needs")
        if audit.bucket_owners:
            raise Broken("a lock is still held")
        if audits.DEAD in audit.states.values():
            raise Broken("a dead client has not been recovered")
        left = [record for record in audit.records if record.holds()]
        if left or audit.unpublished:
            raise Broken(f"records state what nobody does any more: {left}")

    def _nothing_leaked(self, store: Any) -> None:
        """No entry is left. If nobody reads in place, one value takes the whole heap, and leaves all its pages free."""
        audit = Audit(self.memory)
        if audit.faults:
            raise Broken("; ".join(audit.faults))
        if len(audit.zombies) > self.case.kept:
            raise Broken(f"{len(audit.zombies)} blocks are still read in place, not {self.case.kept}")
        size = struct.unpack_from("<Q", self.memory, audits.HEAP_PAGES)[0] * 4096
        if self.case.kept or size > LARGEST_REFILLED:
            return
        store.put("all", b"a" * (size - 200))
        store.delete("all")
        audit = Audit(self.memory)
        if audit.faults or audit.pages_used:
            raise Broken(f"the store is empty, and {audit.pages_used} pages are in use; {'; '.join(audit.faults)}")

    def _blocked(self, names: list[str], pid: int) -> set[str]:
        """Whom the locks that a stopped process holds keep from writing, by what the memory says: those that share the
        home bucket that it holds, and no others."""
        number = number_of(self.memory, pid)
        homes = {bucket for bucket, owner in Audit(self.memory).bucket_owners.items() if owner == number}
        return {name for name in names if raw_segment.home_of(self.store, name) in homes}

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
        if longest > 60 or self.longest_read > 60:  # of a process that stands still for as long as it takes
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
        store.check()
        return after

    def _write_others(self, pid: int) -> None:
        """Every home but those of the stopped process's names is free, whatever it holds: puts, overwrites, numbers and
        deletes there all finish. The locks that it holds are those of its names, one at a time."""
        store, number = self.impatient, number_of(self.memory, pid)
        audit = Audit(self.memory)
        own = {raw_segment.home_of(store, name) for name in self.own_names()}
        held = {bucket for bucket, owner in audit.bucket_owners.items() if owner == number}
        if len(held) > 1 or held - own:
            raise Broken(f"it holds the buckets {held}; its names have the homes {own}")
        expiring = {raw_segment.home_of(store, name) for name in self.never or ()}
        changed = {raw_segment.home_of(store, name) for name in self.changes}
        what = (
            "nothing"
            if not held
            else "its home"
            if held <= changed or not held <= expiring
            else "the home of what expires"
        )
        self.locks[what] += 1
        for home, (name, second) in sorted(self.others.items()):
            if home in own:
                continue
            store.put(name, 1)
            store.put(name, 2)
            if store.incr(name) != 3 or not store.add(second, name) or not store.delete(second):
                raise Broken(f"{name} is not what was just put")
            store.touch(name, 100)
            if store.pop(name) != 3:
                raise Broken(f"{name} is not what was just put")

    def own_names(self) -> set[str]:
        return {*self.changes, *(self.never or ()), *self.case.touches}

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
