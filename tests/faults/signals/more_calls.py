"""The public calls that are no methods of a store: SharedMemory, ShareableList, sysv, posix and the package's functions."""

from __future__ import annotations

import gc
import os
import pickle
import uuid
from collections.abc import Callable
from typing import Any

from strikes import is_struck

import shmstore
from shmstore import ShareableList, SharedMemory, Store, posix, sysv


def name(part: str = "") -> str:
    """Of this process: what is left under it is found."""
    return f"shmstore-test-signals-{os.getpid()}{part}"


class Blocks:
    """A block, a list and a segment, for calls that need one. Made before each call, ended after it."""

    def __init__(self) -> None:
        self.made: list[SharedMemory] = []  # what calls created; without a handle there is nothing to remove
        self.block = SharedMemory(create=True, size=100)
        self.list = ShareableList([1, "two", b"three", None, 4.0, True])
        self.shmid = sysv.shmget(sysv.IPC_PRIVATE, 8192, 0o600)
        self.attached = sysv.shmat(self.shmid)
        self.fd = posix.shm_open(name(), os.O_CREAT | os.O_RDWR)
        posix.ftruncate(self.fd, 8192)
        self.mapped = posix.mmap(None, 8192, fd=self.fd)

    def end(self) -> None:
        """Whatever a strike has ended already, or not."""
        try:
            self._end()
        except BufferError:  # Python 3.10 keeps variables of frames that are traced, and what they hold, in a cycle
            gc.collect()
            self._end()

    def _end(self) -> None:
        for block in (self.block, self.list.shm, *self.made):
            block.close()
            quietly(FileNotFoundError, block.unlink)
        for end, mapping in ((sysv.shmdt, self.attached), (posix.munmap, self.mapped)):
            quietly(OSError, end, mapping)
        quietly(OSError, sysv.shmctl, self.shmid, sysv.IPC_RMID)
        quietly(OSError, posix.shm_unlink, name())
        quietly(OSError, os.close, self.fd)


def quietly(error: type[Exception], call: Callable[..., Any], *arguments: Any) -> None:
    try:
        call(*arguments)
    except error as caught:
        if is_struck(caught):
            raise


def attached_again(b: Blocks) -> None:
    with SharedMemory(b.block.name) as other:
        other.buf[:3] = b"abc"


def closed_late(b: Blocks) -> None:
    piece = b.block.buf[:3]
    quietly(BufferError, b.block.close)
    del piece
    b.block.close()
    assert b.block.buf is None


def within(b: Blocks) -> None:
    with sysv.shmat(b.shmid) as memory:
        memory[0] = 1
    with posix.mmap(None, 4096, fd=b.fd) as memory:
        memory[0] = 1


def detached_late(b: Blocks) -> None:
    piece = b.attached.memory[:3]
    quietly(BufferError, sysv.shmdt, b.attached)
    del piece
    b.attached.memory[0] = 1
    sysv.shmdt(b.attached)


def changed(b: Blocks) -> None:
    b.list[1], b.list[0] = "new", 2
    assert b.list[1] == "new"


MEMORY: dict[str, list[Callable[[Blocks], Any]]] = {
    "SharedMemory.__init__": [
        lambda b: b.made.append(SharedMemory(create=True, size=100)), lambda b: b.made.append(SharedMemory(name(" block"), True, 9)),
        attached_again,
    ],
    "SharedMemory.buf": [lambda b: b.block.buf[0]],
    "SharedMemory.name": [lambda b: b.block.name],
    "SharedMemory.size": [lambda b: b.block.size],
    "SharedMemory.close": [lambda b: b.block.close(), closed_late],
    "SharedMemory.unlink": [lambda b: b.block.unlink()],
    "SharedMemory.__reduce__": [lambda b: pickle.loads(pickle.dumps(b.block)).close()],
    "SharedMemory.__repr__": [lambda b: repr(b.block)],
    "SharedMemory.__enter__": [attached_again],
    "SharedMemory.__exit__": [attached_again],
    "ShareableList.__init__": [lambda b: b.made.append(ShareableList([1, "x"]).shm), lambda b: ShareableList(name=b.list.shm.name).shm.close()],
    "ShareableList.__getitem__": [lambda b: b.list[1]],
    "ShareableList.__setitem__": [changed],
    "ShareableList.__len__": [lambda b: len(b.list)],
    "ShareableList.__iter__": [lambda b: list(b.list)],
    "ShareableList.__contains__": [lambda b: "two" in b.list],
    "ShareableList.__reduce__": [lambda b: pickle.loads(pickle.dumps(b.list)).shm.close()],
    "ShareableList.__repr__": [lambda b: repr(b.list)],
    "ShareableList.format": [lambda b: b.list.format],
    "ShareableList.count": [lambda b: b.list.count("two")],
    "ShareableList.index": [lambda b: b.list.index("two")],
    "sysv.ftok": [lambda b: sysv.ftok("/", 1)],
    "sysv.shmget": [lambda b: quietly(FileNotFoundError, sysv.shmget, 0x53484D53, 0)],
    "sysv.shmat": [lambda b: sysv.shmat(b.shmid), within],
    "sysv.Attachment": [within],
    "sysv.shmdt": [lambda b: sysv.shmdt(b.attached), detached_late],
    "sysv.shmctl": [lambda b: sysv.shmctl(b.shmid, sysv.IPC_RMID), lambda b: sysv.shmctl(b.shmid, sysv.IPC_INFO)],
    "sysv.segments": [lambda b: sysv.segments()],
    "posix.ftruncate": [lambda b: posix.ftruncate(b.fd, 8192)],
    "posix.posix_fallocate": [lambda b: posix.posix_fallocate(b.fd, 0, 8192)],
    "posix.mmap": [lambda b: posix.mmap(None, 8192, fd=b.fd), within],
    "posix.Mapping": [within],
    "posix.munmap": [lambda b: posix.munmap(b.mapped)],
    "posix.shm_open": [lambda b: os.close(posix.shm_open(name(), os.O_RDWR))],
    "posix.shm_unlink": [lambda b: posix.shm_unlink(name())],
}  # fmt: skip

REFUSED: dict[str, tuple[type[Exception], Callable[[Blocks], Any]]] = {
    "SharedMemory taken": (FileExistsError, lambda b: SharedMemory(b.block.name, create=True, size=1)),
    "SharedMemory absent": (FileNotFoundError, lambda b: SharedMemory(name(" nobody"))),
    "ShareableList of nothing": (ValueError, lambda b: ShareableList(name=b.block.name)),
    "ShareableList of objects": (TypeError, lambda b: ShareableList([object()])),
    "shmget": (FileNotFoundError, lambda b: sysv.shmget(12345, 1)),
    "shmat": (OSError, lambda b: sysv.shmat(b.shmid, 12345)),
    "shmdt": (OSError, lambda b: (sysv.shmdt(b.attached), sysv.shmdt(b.attached))),
    "shm_open": (FileNotFoundError, lambda b: posix.shm_open(name(" nobody"), os.O_RDWR)),
    "mmap": (OSError, lambda b: posix.mmap(None, 1 << 20, fd=b.fd)),
}  # fmt: skip


def whole(b: Blocks) -> bool:
    """What was not written to is as it was."""
    return b.list[2:3] == [b"three"] if isinstance(b.list, list) else True


def removed() -> None:
    """A store that is made and removed."""
    with Store(name(" store"), size="1M") as store:
        store["k"] = 1
    shmstore.destroy(name(" store"))


def private() -> None:
    """A store that goes with its handle."""
    for backend in ("sysv", "posix"):
        with shmstore.open(shmstore.PRIVATE, size="1M", backend=backend) as store:
            store["k"] = 1


PACKAGE: dict[str, list[Callable[[], Any]]] = {
    "open": [private, lambda: shmstore.open(shmstore.PRIVATE, size="1M").close()],
    "destroy": [removed],
    "stores": [shmstore.stores],
    "key": [lambda: shmstore.key("a", 1.5, (None, b"c"), d=frozenset({1, 2})), lambda: shmstore.key("long" * 100)],
    "typed_key": [lambda: shmstore.typed_key("a", 1.5, uuid.UUID(int=5), d=int)],
}  # fmt: skip
