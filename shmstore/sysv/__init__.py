"""The system calls of System V shared memory: ``ftok``, ``shmget``, ``shmat``, ``shmdt`` and ``shmctl``.

They have the names and the meaning of the man pages, and have nothing to do with stores. A failure raises ``OSError``
with the kernel's errno, and the message names the segment or the limit. ``segments`` lists all segments.

>>> shmid = shmget(IPC_PRIVATE, 27, IPC_CREAT | 0o600)
>>> with shmat(shmid) as memory:
...     memory[:26] = b"abcdefghijklmnopqrstuvwxyz"
>>> with shmat(shmid, None, SHM_RDONLY) as memory:
...     bytes(memory[:3])
b'abc'
>>> shmctl(shmid, IPC_RMID)

Other processes see a write at once. On processors other than x86, they may see two writes in the opposite order. The
processes that share a segment have to agree on everything else.
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
    from typing import Any, Literal, TypeVar, overload

    from shmstore._base.calls import Memory

    _Figures = TypeVar("_Figures", IpcInfo, ShmInfo)

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
    """One mapping of a segment into this process, from ``shmat`` to ``shmdt``.

    ``memory`` is a memoryview of the whole segment. No view or slice of it can outlive the mapping: ``shmdt`` fails
    while one is in use, and ends ``memory`` itself. An attachment without references is detached with its last view.
    As a context manager, it returns the memory, and detaches at the end.

    A forked child has the attachment, too. Each process detaches for itself.
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
    """Compute a key from an existing file and the lower 8 bits of a number.

    The key has 16 bits of the inode and 8 of the device. So two files may have the same key.

    Raises: OSError if the file cannot be found or read.
    """
    path = os.fsencode(pathname)
    if b"\0" in path:
        raise ValueError(f"ftok: a path holds no NUL: {pathname!r}")
    key: int = lib.shms_sysv_ftok(path, _int32("proj_id", proj_id))
    if key < 0:
        raise failure("ftok", -key, no_path(-key, os.fsdecode(path)))
    return key - 2**32 if key >= 2**31 else key


def shmget(key: int, size: int, shmflg: int = 0) -> int:
    """Find the segment with a key, or create it (``IPC_CREAT | 0o600``). Return its id.

    For an existing segment, ``size`` may be smaller than the segment, or 0. The key may be a key_t, which may be
    negative, or the unsigned number that ``ipcs`` prints. A new segment consists of zero bytes. SHM_NORESERVE
    reserves no swap space for it. SHM_HUGETLB creates it in huge pages, and one of SHM_HUGE_* selects their size.

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
    """Attach a segment, with SHM_RDONLY as read-only memory.

    ``shmaddr=None`` lets the kernel choose the address. Any other address must be a multiple of SHMLBA, the page size
    (SHM_RND rounds it down), and free. SHM_REMAP replaces the mappings of this process at that address. SHM_EXEC makes
    the memory executable. A process can attach a segment several times.

    Cost: a few microseconds, and a page fault at the first use of each page.

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
    """Create and attach a segment. It is removed with the Memory that this returns, unless that is told to keep it."""
    found = calls.create(key, size, mode)
    if not isinstance(found, tuple):
        return found
    call, code, removed = found
    if call == "shmget":
        raise failure(call, code, about_shmget(code, key, size, mode | IPC_CREAT | IPC_EXCL))
    raise failure(call, code, about_shmat(code, removed.segment, 0, 0))


def shmdt(shmaddr: Attachment) -> None:
    """Detach what ``shmat`` attached. From then on, its memory raises ValueError.

    Raises: BufferError while a slice or another buffer of the memory is in use. Then nothing changes, except that you have
        to take ``memory`` from the attachment again. OSError (EINVAL) if it was detached before.
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
    """Query or change a segment, or query the kernel's table of segments.

    IPC_STAT              returns a ShmidDs; needs the permission to read the segment
    IPC_SET               sets uid, gid and the permission bits to those of ``buf``
    IPC_RMID              marks the segment for removal: no key finds it any more, and its memory is freed after the last
                          detach
    SHM_LOCK, SHM_UNLOCK  keep the segment's pages out of the swap once they were used; end that
    SHM_STAT              as IPC_STAT, but ``shmid`` is an index from 0 to the ``highest`` of IPC_INFO and SHM_INFO
    SHM_STAT_ANY          as SHM_STAT, without a permission (Linux 4.17)
    IPC_INFO, SHM_INFO    return an IpcInfo and a ShmInfo; ``shmid`` is ignored

    Raises: OSError: EACCES (query), EPERM (change), EINVAL (no such id, nothing at this index), EIDRM,
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
        return _record(IpcInfo, code, result)
    if cmd == SHM_INFO:
        return _record(ShmInfo, code, result)
    return None if result is None else ShmidDs(result)


def _record(kind: type[_Figures], highest: int, result: Any) -> _Figures:
    return kind(highest=highest, **{name: getattr(result, name) for name in kind.__slots__ if name != "highest"})


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
