"""System V shared memory as the kernel offers it: ``ftok``, ``shmget``, ``shmat``, ``shmdt`` and ``shmctl``.

Names and meaning are those of the man pages; the store is not involved. A failure is an ``OSError`` with the
kernel's errno and a sentence about this segment or this limit. ``segments`` lists all that exist.

    shmid = shmget(5678, 27, IPC_CREAT | 0o600)
    with shmat(shmid) as memory:
        memory[:26] = b"abcdefghijklmnopqrstuvwxyz"
    shmctl(shmid, IPC_RMID)

What one process writes, others see at once, in no promised order: on processors other than x86 two writes may
be seen in the other order. Everything else is up to those who share the segment.
"""

from __future__ import annotations

import errno
import os
from operator import index

from shmstore._base import calls
from shmstore._base.imports import once
from shmstore._core import ffi, lib
from shmstore._system.causes import no_path
from shmstore._system.mapping import Mapped
from shmstore.sysv._errors import about_shmat, about_shmctl, about_shmget, failure
from shmstore.sysv._flags import (
    IPC_CREAT,
    IPC_EXCL,
    IPC_INFO,
    IPC_PRIVATE,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    SHM_DEST,
    SHM_EXEC,
    SHM_HUGE_1GB,
    SHM_HUGE_1MB,
    SHM_HUGE_2GB,
    SHM_HUGE_2MB,
    SHM_HUGE_8MB,
    SHM_HUGE_16GB,
    SHM_HUGE_16MB,
    SHM_HUGE_32MB,
    SHM_HUGE_64KB,
    SHM_HUGE_256MB,
    SHM_HUGE_512KB,
    SHM_HUGE_512MB,
    SHM_HUGE_MASK,
    SHM_HUGE_SHIFT,
    SHM_HUGETLB,
    SHM_INFO,
    SHM_LOCK,
    SHM_LOCKED,
    SHM_NORESERVE,
    SHM_R,
    SHM_RDONLY,
    SHM_REMAP,
    SHM_RND,
    SHM_STAT,
    SHM_STAT_ANY,
    SHM_UNLOCK,
    SHM_W,
    SHMLBA,
)
from shmstore.sysv._records import IpcInfo, Segment, ShmidDs, ShmInfo
from shmstore.sysv._table import segments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, overload

    from shmstore._base.calls import Memory

__all__ = [
    "IPC_CREAT",
    "IPC_EXCL",
    "IPC_INFO",
    "IPC_PRIVATE",
    "IPC_RMID",
    "IPC_SET",
    "IPC_STAT",
    "SHMLBA",
    "SHM_DEST",
    "SHM_EXEC",
    "SHM_HUGETLB",
    "SHM_HUGE_16GB",
    "SHM_HUGE_16MB",
    "SHM_HUGE_1GB",
    "SHM_HUGE_1MB",
    "SHM_HUGE_256MB",
    "SHM_HUGE_2GB",
    "SHM_HUGE_2MB",
    "SHM_HUGE_32MB",
    "SHM_HUGE_512KB",
    "SHM_HUGE_512MB",
    "SHM_HUGE_64KB",
    "SHM_HUGE_8MB",
    "SHM_HUGE_MASK",
    "SHM_HUGE_SHIFT",
    "SHM_INFO",
    "SHM_LOCK",
    "SHM_LOCKED",
    "SHM_NORESERVE",
    "SHM_R",
    "SHM_RDONLY",
    "SHM_REMAP",
    "SHM_RND",
    "SHM_STAT",
    "SHM_STAT_ANY",
    "SHM_UNLOCK",
    "SHM_W",
    "Attachment",
    "IpcInfo",
    "Segment",
    "ShmInfo",
    "ShmidDs",
    "ftok",
    "segments",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
]


@once
class Attachment(Mapped):
    """Hold one mapping of a segment into this process, from ``shmat`` to ``shmdt``.

    ``memory`` is a memoryview of the whole segment. No view of it, nor a slice of one, can outlive the
    mapping: ``shmdt`` refuses while any is in use, and ends ``memory`` itself. An attachment that is dropped
    is detached when its last view is. As a context manager it gives the memory and detaches at the end.

    A forked child has the attachment too; each process detaches for itself.
    """

    __slots__ = ("shmid",)

    def __init__(self, owner: Memory) -> None:
        self.shmid = owner.segment
        super().__init__(owner)

    def _end(self) -> None:
        code = self._release()
        if code is None:
            raise failure("shmdt", errno.EINVAL, f"this attachment of segment {self.shmid} has ended before")
        if code < 0:
            raise failure("shmdt", -code, f"nothing is attached at {self.address:#x} any more")

    def __repr__(self) -> str:
        where = "detached" if self._owner.ended else f"at {self.address:#x}"
        return f"<Attachment shmid={self.shmid} size={self.size} {where}{' readonly' * self.readonly}>"


def ftok(pathname: str | bytes | os.PathLike[str], proj_id: int) -> int:
    """Make a key of an existing file and the low 8 bits of a number.

    The key holds 16 bits of the inode and 8 of the device: two files may well get the same one.

    Raises: OSError if the file cannot be looked at.
    """
    path = os.fsencode(pathname)
    if b"\0" in path:
        raise ValueError(f"ftok: a path holds no NUL: {pathname!r}")
    key: int = lib.shms_sysv_ftok(path, _int32("proj_id", proj_id))
    if key < 0:
        raise failure("ftok", -key, no_path(-key, os.fsdecode(path)))
    return key - 2**32 if key >= 2**31 else key


def shmget(key: int, size: int, shmflg: int = 0) -> int:
    """Find the segment of a key, or create one with ``IPC_CREAT | 0o600``, and return its id.

    ``size`` may be smaller than an existing segment, 0 too. The key may be given as a key_t (negative) or as
    the unsigned number that ``ipcs`` prints. A new segment is all zero bytes. SHM_NORESERVE sets no swap space
    aside for it; SHM_HUGETLB makes it of huge pages, of a chosen size with one of SHM_HUGE_*.

    Raises: OSError: ENOENT, EEXIST (IPC_EXCL), EACCES, EINVAL (size), ENOSPC, ENOMEM, EPERM (SHM_HUGETLB).
    """
    key, size = index(key), index(size)
    if not -(2**31) <= key < 2**32:
        raise ValueError(f"a key has 32 bits, this is {key}")
    if not 0 <= size < 2**64:
        raise ValueError(f"a size has 64 bits and no sign, this is {size}")
    if key >= 2**31:
        key -= 2**32
    if 2**31 <= index(shmflg) < 2**32:
        shmflg -= 2**32  # SHM_HUGE_16GB has the highest bit
    shmid: int = lib.shms_sysv_shmget(key, size, _int32("shmflg", shmflg))
    if shmid < 0:
        raise failure("shmget", -shmid, about_shmget(-shmid, key, size, shmflg))
    return shmid


def shmat(shmid: int, shmaddr: int | None = None, shmflg: int = 0) -> Attachment:
    """Attach a segment; SHM_RDONLY makes the memory unwritable.

    ``shmaddr=None`` lets the kernel choose the address. A chosen one is a multiple of SHMLBA, the page size
    (SHM_RND rounds it down), and free: SHM_REMAP replaces whatever of this process lies there. SHM_EXEC makes
    the memory executable too. A segment can be attached several times.

    Cost: a few microseconds, and a page fault at the first touch of each page.
    Raises: OSError: EACCES, EINVAL (no such id, address not aligned or taken), EIDRM, ENOMEM.
    """
    shmid, shmflg = _int32("shmid", shmid), _int32("shmflg", shmflg)
    wanted = 0 if shmaddr is None else index(shmaddr)
    if not 0 <= wanted < 2**64:
        raise ValueError(f"an address has 64 bits, this is {wanted}")
    return Attachment(_attach(shmid, wanted, shmflg))


def _attach(shmid: int, wanted: int = 0, shmflg: int = 0) -> Memory:
    found = calls.shmat(shmid, wanted, shmflg)
    if not isinstance(found, tuple):
        return found
    call, code, _ = found
    raise failure(
        call, code, about_shmat(code, shmid, wanted, shmflg) if call == "shmat" else about_shmctl(code, shmid, IPC_STAT)
    )


def _create(key: int, size: int, mode: int) -> Memory:
    """As shmget of a new segment and shmat; the segment goes with what this returns, until that is told to keep it."""
    found = calls.create(key, size, mode)
    if not isinstance(found, tuple):
        return found
    call, code, removed = found
    if call == "shmget":
        raise failure(call, code, about_shmget(code, key, size, mode | IPC_CREAT | IPC_EXCL))
    raise failure(call, code, about_shmat(code, removed.segment, 0, 0))


def shmdt(shmaddr: Attachment) -> None:
    """Detach what ``shmat`` attached; its memory raises ValueError from here on.

    Raises: BufferError while a slice or another buffer of the memory is in use, and everything stays as it is
    (but take ``memory`` anew from the attachment). OSError (EINVAL) if it was detached before.
    """
    if not isinstance(shmaddr, Attachment):
        raise TypeError(f"shmdt takes what shmat returned, not {type(shmaddr).__name__}")
    shmaddr._end()


if TYPE_CHECKING:

    @overload
    def shmctl(shmid: int, cmd: Literal[2, 13, 15], buf: None = None) -> ShmidDs: ...
    @overload
    def shmctl(shmid: int, cmd: Literal[0, 11, 12], buf: None = None) -> None: ...
    @overload
    def shmctl(shmid: int, cmd: Literal[1], buf: ShmidDs) -> None: ...
    @overload
    def shmctl(shmid: int, cmd: Literal[3], buf: None = None) -> IpcInfo: ...
    @overload
    def shmctl(shmid: int, cmd: Literal[14], buf: None = None) -> ShmInfo: ...


def shmctl(shmid: int, cmd: int, buf: ShmidDs | None = None) -> ShmidDs | IpcInfo | ShmInfo | None:
    """Look at a segment, change it, or look at the kernel's table of segments.

    IPC_STAT             gives a ShmidDs; who may not read the segment may not see it either
    IPC_SET              takes uid, gid and the permission bits from ``buf``
    IPC_RMID             marks for removal: no key finds it any more, and it lives to its last detach
    SHM_LOCK, SHM_UNLOCK keep its pages, once touched, out of swap space
    SHM_STAT             as IPC_STAT, but ``shmid`` is an index from 0 to ``highest`` of the two below
    SHM_STAT_ANY         the same for everybody, whatever the mode (Linux 4.17)
    IPC_INFO, SHM_INFO   give an IpcInfo and a ShmInfo; ``shmid`` is ignored

    Raises: OSError: EACCES (looking), EPERM (changing), EINVAL (no such id, nothing at this index), EIDRM,
    ENOMEM (SHM_LOCK).
    """
    shmid = _int32("shmid", shmid)
    result: Any = None
    if cmd in (IPC_STAT, SHM_STAT, SHM_STAT_ANY):
        result = ffi.new("struct shms_sysv_stat *")
        if cmd == IPC_STAT:
            code = lib.shms_sysv_ipc_stat(shmid, result)
        else:
            code = lib.shms_sysv_shm_stat(shmid, cmd == SHM_STAT_ANY, result)
    elif cmd == IPC_SET:
        if not isinstance(buf, ShmidDs):
            raise TypeError(f"IPC_SET takes the ShmidDs that IPC_STAT returned, not {type(buf).__name__}")
        uid, gid = _uint32("uid", buf.uid), _uint32("gid", buf.gid)
        code = lib.shms_sysv_ipc_set(shmid, uid, gid, buf.mode & 0o777)
    elif cmd == IPC_RMID:
        code = lib.shms_sysv_ipc_rmid(shmid)
    elif cmd in (SHM_LOCK, SHM_UNLOCK):
        code = lib.shms_w_sysv_shm_lock(shmid, cmd == SHM_LOCK)
    elif cmd == IPC_INFO:
        result = ffi.new("struct shms_sysv_limits *")
        code = lib.shms_sysv_ipc_info(result)
    elif cmd == SHM_INFO:
        result = ffi.new("struct shms_sysv_usage *")
        code = lib.shms_sysv_shm_info(result)
    else:
        raise ValueError(f"shmctl knows IPC_STAT, IPC_SET, IPC_RMID and the commands of its docstring, not {cmd!r}")
    if code < 0:
        raise failure("shmctl", -code, about_shmctl(-code, shmid, cmd))
    if cmd == IPC_INFO:
        return IpcInfo(code, result)
    if cmd == SHM_INFO:
        return ShmInfo(code, result)
    return None if result is None else ShmidDs(result)


def _int32(name: str, value: int) -> int:
    number = index(value)
    if not -(2**31) <= number < 2**31:
        raise ValueError(f"{name} is an int of C, this is {number}")
    return number


def _uint32(name: str, value: int) -> int:
    number = index(value)
    if not 0 <= number < 2**32:
        raise ValueError(f"{name} has 32 bits and no sign, this is {number}")
    return number
