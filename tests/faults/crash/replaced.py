"""A store for cases that leave it in another segment: a resize, and those who meet one. Each victim gets a new segment, with the
same bytes in it."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import Any

import raw_segment
import store_setup
from audit import number_of
from processes import Broken
from snapshot import Snapshot

import shmstore
import shmstore.sysv
from shmstore._core import ffi

STATE, RESIZE, FROZEN, SUPERSEDED = 8, 1136, 1 << 16, 4


MAGIC, NAME = slice(0, 8), 4096


def segments() -> dict[int, int]:
    """The System V segments that no process has attached and that have no key, and the processes that made them."""
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    return {int(row[1]): int(row[4]) for row in rows if int(row[0]) == 0 and int(row[6]) == 0}


def beginning_of(number: int) -> bytes:
    """Nothing if it is gone: other workers make some, too."""
    try:
        with shmstore.sysv.shmat(number, None, shmstore.sysv.SHM_RDONLY) as memory:
            return bytes(memory[: NAME + 256])
    except OSError:
        return b""


def beginnings_of_files() -> list[bytes]:
    found = []
    for path in Path("/dev/shm").glob(".shmstore-resized*"):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            found.append(file.read(NAME + 256))
    return found


class Replaced(Snapshot):
    """See snapshot.py for what the methods do."""

    def _open(self, timeout: float) -> Any:
        where = self.case.where()
        return shmstore.Store(self.processes.key, create=False, timeout=timeout, decoders=(store_setup.Own(),), **where)

    def _create(self) -> Any:
        kind = shmstore.Cache if self.case.evicts else shmstore.Store
        return kind(
            self.processes.key, create=True, size=self.case.size, max_entries=self.case.entries, **self.case.where()
        )

    def _make(self, first_state: tuple[str, int] | None) -> None:
        self.before = segments()
        self.store = self._create()
        self.case.populate(self.store)
        self.case.setup(self.store)
        self.room, self.never = self.case.room, self.case.never
        self.memory = raw_segment.memory_of(self.store)
        self.allowed = self._allowed({})
        self.store.stats()  # gives up what this process keeps to itself
        self.memory.release()
        self.store.close()
        self.store = self._open(5.0)  # the client slots are free again, but for this one, which closes next
        self.memory = raw_segment.memory_of(self.store)
        self.image = bytes(self.memory)
        self._drop()

    def _drop(self) -> None:
        self.memory.release()
        for handle in (self.impatient, self.store):
            if handle is not None:
                with contextlib.suppress(shmstore.ShmStoreError):
                    handle.destroy()
                handle.close()
        self.store = self.impatient = None

    def begin(self) -> None:
        if self.store is not None:
            self._drop()
        with self._create() as made:
            memory = raw_segment.memory_of(made)
            ctypes.memmove(int(ffi.cast("uintptr_t", ffi.from_buffer(memory))), self.image, len(self.image))
            clients = int.from_bytes(self.image[184:192], "little")
            memory[clients + 5] &= 0x0F  # the slot of _make is free
            memory.release()
        self.store, self.impatient = self._open(5.0), self._open(0.004)
        self.clients = self.store.stats().clients
        self.memory = raw_segment.memory_of(self.store)

    def __exit__(self, *exc: object) -> None:
        self._drop()

    def _look_again(self, store: Any) -> None:
        """Its memory may be another segment by now."""
        store.get("k0")
        self.memory.release()
        self.memory = raw_segment.memory_of(store)

    def _go_on(self, store: Any) -> None:
        super()._go_on(store)
        self._look_again(store)

    def _verify(self, n: int, allowed: dict[str, list[Any]], store: Any) -> None:
        super()._verify(n, allowed, store)
        self._drop()
        for number, maker in segments().items():
            start = b"" if number in self.before else beginning_of(number)
            if self._is_mine(start):
                raise Broken(f"segment {number} is left")
            if start and not any(start[MAGIC]) and not Path(f"/proc/{maker}").exists():
                with contextlib.suppress(OSError):  # its maker died between making it and noting it
                    shmstore.sysv.shmctl(number, shmstore.sysv.IPC_RMID)
        if any(self._is_mine(start) for start in beginnings_of_files()):
            raise Broken("a file is left in /dev/shm")

    def _is_mine(self, start: bytes) -> bool:
        return start[NAME:].startswith(self.processes.key.encode())

    def _blocked(self, names: list[str], pid: int) -> set[str]:
        """While the store is frozen, nobody writes."""
        memory = self.memory
        superseded = raw_segment.get(memory, STATE) >> 44 & 0xF == SUPERSEDED
        if not superseded and raw_segment.get(memory, RESIZE) & FROZEN:
            return set(names)
        if superseded:
            self._look_again(self.impatient)
        return super()._blocked(names, pid) if number_of(self.memory, pid) else set()
