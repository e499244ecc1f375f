"""The system calls of POSIX shared memory: ``shm_open``, ``ftruncate``, ``mmap``, ``munmap``, ``shm_unlink``.

They have the names and the meaning of the man pages, and have nothing to do with stores. A failure raises ``OSError``
with the kernel's errno, and the message names the object or the limit.

>>> import os
>>> fd = shm_open("/example", O_CREAT | O_RDWR, 0o600)
>>> ftruncate(fd, 27)
>>> with mmap(None, 27, fd=fd) as memory:
...     memory[:26] = b"abcdefghijklmnopqrstuvwxyz"
...     bytes(memory[:3])
b'abc'
>>> os.close(fd)
>>> shm_unlink("/example")

An object is a file in /dev/shm, whose size is limited (64 MB in Docker). ``ftruncate`` reserves no memory. If /dev/shm is
full, the first use of a page ends the process by SIGBUS. ``posix_fallocate`` reserves memory, or raises ENOSPC. SIGBUS also
ends a process that uses pages which another process has cut off by ``ftruncate``.
"""

from __future__ import annotations

import errno
import os
import stat
from operator import index
from os import O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC

from shmstore._base import calls
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import once
from shmstore._core import lib
from shmstore._system.mapping import Mapped
from shmstore.posix._errors import about_descriptor, about_mmap, about_name, failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

__all__ = [
    "MAP_ANONYMOUS",
    "MAP_FIXED",
    "MAP_FIXED_NOREPLACE",
    "MAP_HUGETLB",
    "MAP_LOCKED",
    "MAP_NORESERVE",
    "MAP_POPULATE",
    "MAP_PRIVATE",
    "MAP_SHARED",
    "O_CREAT",
    "O_EXCL",
    "O_RDONLY",
    "O_RDWR",
    "O_TRUNC",
    "PROT_EXEC",
    "PROT_READ",
    "PROT_WRITE",
    "Mapping",
    "ftruncate",
    "mmap",
    "munmap",
    "posix_fallocate",
    "shm_open",
    "shm_unlink",
]

# The same on all machines that are supported; csrc/posix.c compares them with the system's headers.
PROT_READ: Final = 1
PROT_WRITE: Final = 2
PROT_EXEC: Final = 4
MAP_SHARED: Final = 0x01
MAP_PRIVATE: Final = 0x02
MAP_FIXED: Final = 0x10
MAP_ANONYMOUS: Final = 0x20
MAP_LOCKED: Final = 0x2000
MAP_NORESERVE: Final = 0x4000
MAP_POPULATE: Final = 0x8000
MAP_HUGETLB: Final = 0x40000
MAP_FIXED_NOREPLACE: Final = 0x100000


@once
class Mapping(Mapped):
    """One mapping of this process, from ``mmap`` to ``munmap``.

    ``memory`` is a memoryview of the whole mapping. No view or slice of it can outlive the mapping: ``munmap`` fails
    while one is in use, and ends ``memory`` itself. A mapping without references is unmapped with its last view. As a
    context manager, it returns the memory, and unmaps it at the end.

    A mapping does not need the descriptor any more. A forked child has it, too. Each process unmaps for itself.
    """

    __slots__ = ()

    def _end(self) -> None:
        code = self._release()
        if code is None:
            raise failure("munmap", errno.EINVAL, "this mapping has ended before")
        if code < 0:
            raise failure("munmap", -code, f"{self.size} bytes at {self.address:#x}")

    def __repr__(self) -> str:
        where = "unmapped" if self._owner.ended else f"at {self.address:#x}"
        return f"<Mapping size={self.size} {where}{' readonly' * self.readonly}>"


if TYPE_CHECKING:

    def shm_open(name: str, oflag: int, mode: int = 0o600) -> int: ...
else:

    def shm_open(name, oflag, mode=0o600):
        return _raw(name), _int("oflag", oflag, 31), _int("mode", mode, 12)

    def _refused(code, asked):
        raw, oflag, _ = asked
        return failure("shm_open", code, about_name(code, os.fsdecode(raw), oflag))

    shm_open = calls.make_shm_open(shm_open, _refused)  # in C: csrc/python/mapping.c


def ftruncate(fd: int, length: int) -> None:
    """Set the size of an object. New bytes are zero. They take memory once they are used.

    If a process has the object mapped, and uses bytes that were cut off, it ends by SIGBUS.

    Raises: OSError: EINVAL (opened O_RDONLY), EFBIG, EPERM (sealed), EBADF.
    """
    fd, length = _int("fd", fd, 31), _int("length", length, 63)
    _descriptor_call("ftruncate", lambda: lib.shms_w_posix_ftruncate(fd, length), fd, length)


def posix_fallocate(fd: int, offset: int, length: int) -> None:
    """Allocate the memory for a range of an object, and extend the object if necessary. Later writes cannot fail.

    Cost: the kernel clears every page of the range.

    Raises: OSError: ENOSPC, ENOMEM, EINVAL, EBADF, EFBIG. Then nothing was allocated.
    """
    fd, offset, length = _int("fd", fd, 31), _int("offset", offset, 63), _int("length", length, 63)
    _descriptor_call("posix_fallocate", lambda: lib.shms_w_posix_fallocate(fd, offset, length), fd, offset + length)


def _descriptor_call(name: str, call: Any, fd: int, length: int) -> None:
    code = call()
    while code == -errno.EINTR:  # the signal's handler has run, and did not raise
        code = call()
    if code < 0:
        raise failure(name, -code, about_descriptor(-code, fd, length))


def mmap(
    addr: int | None,
    length: int,
    prot: int = PROT_READ | PROT_WRITE,
    flags: int = MAP_SHARED,
    fd: int = -1,
    offset: int = 0,
) -> Mapping:
    """Map an object. Without PROT_WRITE the memory is read-only.

    ``addr=None`` lets the kernel choose the address. Any other address is a hint. With MAP_FIXED_NOREPLACE it is mandatory,
    and with MAP_FIXED the mapping also replaces other mappings of this process there. You can map an object several times,
    and close its descriptor afterwards.

    This call is stricter than the kernel in two points, in which using the memory would end the process: a mapping must end
    within the object (EINVAL), and ``prot`` must include PROT_READ (ValueError).

    Cost: a few microseconds, and a page fault at the first use of each page unless MAP_POPULATE is set.

    Raises: OSError: EACCES (opened O_RDONLY), EINVAL (size, offset, address), EEXIST (MAP_FIXED_NOREPLACE),
        ENOMEM, EAGAIN (MAP_LOCKED), EBADF, EPERM.
    """
    wanted = 0 if addr is None else _int("addr", addr, 64)
    length, offset = _int("length", length, 64), _int("offset", offset, 63)
    prot, flags, fd = _int("prot", prot, 31), _int("flags", flags, 31), index(fd)
    if not prot & PROT_READ:
        raise ValueError("mmap: memory that cannot be read would end this process; add PROT_READ")
    if not flags & MAP_ANONYMOUS:
        _refuse_beyond_end(fd, length, offset)
    found = calls.mmap(wanted, length, prot, flags, fd, offset, not prot & PROT_WRITE)
    if isinstance(found, tuple):
        raise failure("mmap", found[1], about_mmap(found[1], fd, wanted, length, offset, flags))
    return Mapping(found)


def _refuse_beyond_end(fd: int, length: int, offset: int) -> None:
    try:
        found = os.fstat(fd)
    except (OSError, OverflowError) as error:
        if is_foreign(error):
            raise
        return  # the kernel says it
    if stat.S_ISREG(found.st_mode) and offset + length > found.st_size:
        asked = f"fewer than the {length} at offset {offset} asked for"
        raise failure("mmap", errno.EINVAL, f"the object has {found.st_size} bytes, {asked}; ftruncate it first")


def munmap(addr: Mapping) -> None:
    """Unmap what ``mmap`` mapped. From then on, its memory raises ValueError.

    Raises: BufferError while a slice or another buffer of the memory is in use. Then nothing changes, except that you have
        to take ``memory`` from the mapping again. OSError (EINVAL) if it was unmapped before.
    """
    if not isinstance(addr, Mapping):
        raise TypeError(f"munmap takes what mmap returned, not {type(addr).__name__}")
    addr._end()


def shm_unlink(name: str) -> None:
    """Remove an object's name. Its memory is freed when no process has it open or mapped any more.

    Raises: OSError: ENOENT, EACCES and EPERM (another user's object: /dev/shm is sticky), EINVAL.
    """
    code = lib.shms_posix_shm_unlink(_raw(name))
    if code < 0:
        raise failure("shm_unlink", -code, about_name(-code, name))


def _raw(name: str) -> bytes:
    raw = os.fsencode(name)
    if b"\0" in raw:
        raise ValueError(f"a name holds no NUL: {name!r}")
    return raw


def _int(name: str, value: int, bits: int) -> int:
    number = index(value)
    if not 0 <= number < 2**bits:
        raise ValueError(f"{name} has {bits} bits and no sign, this is {number}")
    return number
