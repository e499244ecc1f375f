"""POSIX shared memory: the files of /dev/shm, and those without a name (memfd) that private stores live in.

Every user can create files in /dev/shm, and can replace them by a link or a pipe at any moment. So a file is opened once,
without permissions (O_PATH), compared with the listed one, and then read or changed only through that descriptor. It is
read, never mapped, because the owner could shorten a mapped file, and that ends this process by SIGBUS.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import contextmanager

from shmstore._store.names import OBJECTS, Key
from shmstore.cli.support.header import HEADER_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["OUT_OF_DESCRIPTORS", "Object", "object_named", "objects", "private_objects"]

OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)  # whatever is asked of the kernel then, the answer is of this process

_MEMFD = "/memfd:shmstore (deleted)"  # csrc/memory_posix.c names them
_DESCRIPTOR = re.compile(rb"/proc/(\d+|self)/fd/\d+")


class Object:
    """One file. ``name`` is its name in /dev/shm, or for a private store, a path to it."""

    __slots__ = (
        "allocated",
        "ctime",
        "gid",
        "kind",
        "mode",
        "mtime",
        "name",
        "number",
        "path",
        "private",
        "size",
        "uid",
    )
    backend, attached, removed, locked = "posix", None, False, False

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.private = _DESCRIPTOR.fullmatch(path) is not None
        status = os.stat(path, follow_symlinks=self.private)
        self.name = path if self.private else os.path.basename(path)
        self.number = status.st_dev, status.st_ino
        self.size, self.allocated = status.st_size, status.st_blocks * 512
        self.mode, self.uid, self.gid = status.st_mode, status.st_uid, status.st_gid
        self.mtime, self.ctime = status.st_mtime, status.st_ctime
        self.kind = self._kind()

    def _kind(self) -> str:
        if not stat.S_ISREG(self.mode):
            return "directory" if stat.S_ISDIR(self.mode) else "special"
        return "semaphore" if self.name.startswith(b"sem.") else "object"

    @property
    def shown(self) -> str:
        """Its name in messages."""
        return self.path.decode(errors="backslashreplace")

    @property
    def trusted_uid(self) -> int:
        """The user who has to be trusted: its owner."""
        return self.uid

    def again(self) -> Object | None:
        """The same object as it is now."""
        found = _found(self.path)
        return found if found and found.number == self.number else None

    def first_page(self) -> bytes:
        """Its first page, which has the header if it is a store. Raises: OSError."""
        if self.kind != "object":
            return b""
        with self._held() as path:
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                return os.pread(file, HEADER_SIZE, 0)
            finally:
                os.close(file)

    def store_key(self) -> Key:
        """The key for opening it as a store."""
        return Key(0, 4 if self.private else 2, b"", self.shown, backend="posix", object=self.name)

    def change(self, uid: int, gid: int, mode: int) -> None:
        """Raises: OSError."""
        with self._held() as path:
            if (uid, gid) != (self.uid, self.gid):
                os.chown(path, uid, gid)
            if mode != self.mode & 0o777:
                os.chmod(path, mode)

    @property
    def removers(self) -> set[int]:
        """The users who may remove it, besides root. /dev/shm is usually sticky."""
        folder = os.stat(os.path.dirname(self.path))
        return {self.uid, folder.st_uid} if folder.st_mode & stat.S_ISVTX else {self.uid, os.geteuid()}

    def remove(self) -> None:
        """Raises: OSError."""
        if self.private:
            raise OSError(errno.EPERM, "it has no name to remove, and ends with its last process", self.path)
        with self._held():
            os.unlink(self.path)

    @contextmanager
    def _held(self) -> Iterator[str]:
        """A path to exactly this file, which no user can redirect. Errors name the object."""
        try:
            flags = os.O_PATH | os.O_CLOEXEC
            file = os.open(self.path, flags if self.private else flags | os.O_NOFOLLOW)
            try:
                status = os.fstat(file)
                if (status.st_dev, status.st_ino) != self.number:
                    raise OSError(errno.ENOENT, "it was removed, and another has its name")
                yield f"/proc/self/fd/{file}"
            finally:
                os.close(file)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from None

    def identity(self) -> dict[str, Any]:
        """What identifies it in JSON."""
        return {"object": self.name.decode(errors="backslashreplace")}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "backend": self.backend, "key": None, "id": None, **self.identity(), "size": self.size,
            "allocated": self.allocated, "mode": f"{self.mode & 0o777:04o}", "uid": self.uid, "gid": self.gid, "change_time": self.mtime,
        }  # fmt: skip


def object_named(name: bytes) -> Object | None:
    """The object of this name, with or without /dev/shm/ in front, or the private one that a path in /proc leads to."""
    folder = os.fsencode(OBJECTS) + b"/"
    if not _DESCRIPTOR.fullmatch(name):
        name = folder + name.removeprefix(folder).removeprefix(b"/")
        if b"/" in name[len(folder) :] or name[len(folder) :] in (b"", b".", b".."):
            return None
    try:
        return Object(name)
    except OSError as error:
        if error.errno in (errno.EACCES, *OUT_OF_DESCRIPTORS) and not _DESCRIPTOR.fullmatch(name):
            raise  # it may be there; another user's private ones stay unseen
        return None


def objects(folder: str = OBJECTS) -> list[Object]:
    """The files in /dev/shm by name; none if it does not exist. Raises: OSError if it cannot be listed."""
    try:
        names = sorted(os.listdir(os.fsencode(folder)))
    except FileNotFoundError:
        return []
    return [found for name in names if (found := _found(os.path.join(os.fsencode(folder), name)))]


def private_objects() -> list[Object]:
    """The files of private stores, which have no name. The kernel does not list them. They are found through the
    descriptors of the processes that this one may inspect: those of its own user."""
    found: dict[tuple[int, int], Object] = {}
    for process in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        folder = f"/proc/{process}/fd"
        try:
            paths = [f"{folder}/{name}" for name in sorted(os.listdir(folder), key=int)]
            for path in paths:
                if _leads_to(path) == _MEMFD and (one := _found(os.fsencode(path))):
                    found.setdefault(one.number, one)
        except OSError as error:
            if error.errno in OUT_OF_DESCRIPTORS:
                raise
            continue  # another user's, or gone
    return list(found.values())


def _leads_to(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _found(path: bytes) -> Object | None:
    try:
        return Object(path)
    except OSError:
        return None  # gone since
