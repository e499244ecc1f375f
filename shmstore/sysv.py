"""System V shared memory as the kernel offers it: ``ftok``, ``shmget``, ``shmat``, ``shmdt`` and ``shmctl``.

Names and meaning are those of the man pages; the store is not involved. A failure is an ``OSError`` with the
kernel's errno and a sentence about this segment or this limit.

    shmid = shmget(5678, 27, IPC_CREAT | 0o600)
    with shmat(shmid) as memory:
        memory[:26] = b"abcdefghijklmnopqrstuvwxyz"
    shmctl(shmid, IPC_RMID)
"""

from __future__ import annotations

import errno
import os
from _weakref import ref  # weakref itself costs a millisecond of import
from operator import index

from shmstore._core import ffi, lib
from shmstore._sysv_errors import about_id, about_shmget, failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Final, Literal, overload

__all__ = [
    "IPC_CREAT",
    "IPC_EXCL",
    "IPC_PRIVATE",
    "IPC_RMID",
    "IPC_SET",
    "IPC_STAT",
    "SHM_DEST",
    "SHM_EXEC",
    "SHM_HUGETLB",
    "SHM_LOCKED",
    "SHM_NORESERVE",
    "SHM_RDONLY",
    "SHM_REMAP",
    "SHM_RND",
    "Attachment",
    "ShmidDs",
    "ftok",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
]

# Linux never changes these numbers; csrc/sysv.c compares them with the system's headers when it is compiled.
IPC_PRIVATE: Final = 0  # key: a new segment that no key finds
IPC_CREAT: Final = 0o1000  # shmget
IPC_EXCL: Final = 0o2000
SHM_HUGETLB: Final = 0o4000
SHM_NORESERVE: Final = 0o10000
SHM_RDONLY: Final = 0o10000  # shmat
SHM_RND: Final = 0o20000
SHM_REMAP: Final = 0o40000
SHM_EXEC: Final = 0o100000
IPC_RMID: Final = 0  # shmctl
IPC_SET: Final = 1
IPC_STAT: Final = 2
SHM_DEST: Final = 0o1000  # bits of ShmidDs.mode: marked for removal, and locked into memory
SHM_LOCKED: Final = 0o2000


class ShmidDs:
    """Hold what ``IPC_STAT`` tells about a segment; change uid, gid and mode and pass it to ``IPC_SET``.

    ``key`` is a key_t, so it may be negative: ``ipcs`` prints ``key & 0xFFFFFFFF``. ``mode`` holds the
    permission bits and SHM_DEST and SHM_LOCKED. Times are seconds since 1970, 0 for never.
    """

    __slots__ = (
        "atime", "cgid", "cpid", "ctime", "cuid", "dtime", "gid",
        "id", "key", "lpid", "mode", "nattch", "size", "uid",
    )  # fmt: skip

    def __init__(self, stat: Any) -> None:
        self.key: int = stat.key
        self.id: int = stat.id
        self.size: int = stat.size
        self.mode: int = stat.mode
        self.uid: int = stat.uid
        self.gid: int = stat.gid
        self.cuid: int = stat.cuid
        self.cgid: int = stat.cgid
        self.cpid: int = stat.cpid
        self.lpid: int = stat.lpid
        self.nattch: int = stat.nattch
        self.atime: int = stat.atime
        self.dtime: int = stat.dtime
        self.ctime: int = stat.ctime

    def __repr__(self) -> str:
        return (
            f"<ShmidDs id={self.id} key={self.key & 0xFFFFFFFF:#010x} size={self.size} mode={self.mode:#o} "
            f"uid={self.uid} nattch={self.nattch}>"
        )


class Attachment:
    """Hold one mapping of a segment into this process, from ``shmat`` to ``shmdt``.

    ``memory`` is a memoryview of the whole segment. No view of it, nor a slice of one, can outlive the
    mapping: ``shmdt`` refuses while any is in use, and ends ``memory`` itself. An attachment that is dropped
    is detached when its last view is. As a context manager it gives the memory and detaches at the end.
    """

    __slots__ = ("_exporter", "_mapping", "address", "memory", "readonly", "shmid", "size")

    def __init__(self, shmid: int, address: Any, size: int, readonly: bool) -> None:
        mapping = ffi.gc(ffi.cast("char *", address), lib.shms_sysv_shmdt)
        exporter = ffi.buffer(mapping, size)
        self.shmid = shmid
        self.address = int(ffi.cast("uintptr_t", address))
        self.size = size
        self.readonly = readonly
        self._mapping = [mapping]  # emptied by the one who detaches
        # Slices hold the exporter, but do not count as exports of the view that they were cut from: only the
        # exporter's end shows that nobody looks at the memory any more.
        self._exporter = ref(exporter)
        self.memory = self._view(exporter)

    def _view(self, exporter: Any) -> memoryview:
        return memoryview(exporter).toreadonly() if self.readonly else memoryview(exporter)

    def _detach(self) -> None:
        if not self._mapping:
            raise failure("shmdt", errno.EINVAL, f"this attachment of segment {self.shmid} has ended before")
        self.memory.release()  # BufferError if somebody holds its buffer
        exporter = self._exporter()
        if exporter is not None:
            self.memory = self._view(exporter)
            raise BufferError(f"segment {self.shmid} stays attached: a slice of its memory is still in use")
        try:
            mapping = self._mapping.pop()
        except IndexError:  # another thread was faster
            return
        ffi.gc(mapping, None)
        code = lib.shms_sysv_shmdt(mapping)
        if code < 0:
            raise failure("shmdt", -code, f"nothing is attached at {self.address:#x} any more")

    def __enter__(self) -> memoryview:
        return self.memory

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._mapping:
            return
        try:
            self._detach()
        except BufferError:
            if error is None:
                raise  # else the traceback itself holds the slice, and the mapping goes with it

    def __repr__(self) -> str:
        where = f"at {self.address:#x}" if self._mapping else "detached"
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
        raise failure("ftok", -key, f"the file {os.fsdecode(path)!r} must exist and be reachable")
    return key - 2**32 if key >= 2**31 else key


def shmget(key: int, size: int, shmflg: int = 0) -> int:
    """Find the segment of a key, or create one with ``IPC_CREAT | 0o600``, and return its id.

    ``size`` may be smaller than an existing segment, 0 too. The key may be given as a key_t (negative) or as
    the unsigned number that ``ipcs`` prints.

    Raises: OSError: ENOENT, EEXIST (IPC_EXCL), EACCES, EINVAL (size), ENOSPC, ENOMEM.
    """
    key, size = index(key), index(size)
    if not -(2**31) <= key < 2**32:
        raise ValueError(f"a key has 32 bits, this is {key}")
    if not 0 <= size < 2**64:
        raise ValueError(f"a size has 64 bits and no sign, this is {size}")
    if key >= 2**31:
        key -= 2**32
    shmid: int = lib.shms_sysv_shmget(key, size, _int32("shmflg", shmflg))
    if shmid < 0:
        raise failure("shmget", -shmid, about_shmget(-shmid, key, size, shmflg))
    return shmid


def shmat(shmid: int, shmaddr: int | None = None, shmflg: int = 0) -> Attachment:
    """Attach a segment; SHM_RDONLY makes the memory unwritable.

    ``shmaddr=None`` lets the kernel choose the address. A segment can be attached several times.

    Cost: a few microseconds, and a page fault at the first touch of each page.
    Raises: OSError: EACCES, EINVAL (no such id, address not aligned), EIDRM, ENOMEM.
    """
    shmid, shmflg = _int32("shmid", shmid), _int32("shmflg", shmflg)
    wanted = 0 if shmaddr is None else index(shmaddr)
    if not 0 <= wanted < 2**64:
        raise ValueError(f"an address has 64 bits, this is {wanted}")
    error = ffi.new("int32_t *")
    address = lib.shms_sysv_shmat(shmid, wanted, shmflg, error)
    if not address:
        raise failure("shmat", -error[0], about_id(-error[0], shmid))
    try:
        size = shmctl(shmid, IPC_STAT).size  # of this segment: its id cannot be reused while we are attached
    except BaseException:
        lib.shms_sysv_shmdt(address)
        raise
    return Attachment(shmid, address, size, bool(shmflg & SHM_RDONLY))


def shmdt(shmaddr: Attachment) -> None:
    """Detach what ``shmat`` attached; its memory raises ValueError from here on.

    Raises: BufferError while a slice or another buffer of the memory is in use, and everything stays as it is
    (but take ``memory`` anew from the attachment). OSError (EINVAL) if it was detached before.
    """
    if not isinstance(shmaddr, Attachment):
        raise TypeError(f"shmdt takes what shmat returned, not {type(shmaddr).__name__}")
    shmaddr._detach()


if TYPE_CHECKING:

    @overload
    def shmctl(shmid: int, cmd: Literal[2], buf: None = None) -> ShmidDs: ...
    @overload
    def shmctl(shmid: int, cmd: Literal[0], buf: None = None) -> None: ...
    @overload
    def shmctl(shmid: int, cmd: Literal[1], buf: ShmidDs) -> None: ...


def shmctl(shmid: int, cmd: int, buf: ShmidDs | None = None) -> ShmidDs | None:
    """Look at a segment (IPC_STAT), change its owner and mode (IPC_SET), or mark it for removal (IPC_RMID).

    IPC_SET takes uid, gid and the permission bits from ``buf``. A removed segment lives to its last detach.

    Raises: OSError: EACCES (IPC_STAT), EPERM (IPC_SET, IPC_RMID), EINVAL (no such id), EIDRM.
    """
    shmid = _int32("shmid", shmid)
    if cmd == IPC_STAT:
        stat = ffi.new("struct shms_sysv_stat *")
        code = lib.shms_sysv_ipc_stat(shmid, stat)
    elif cmd == IPC_SET:
        if not isinstance(buf, ShmidDs):
            raise TypeError(f"IPC_SET takes the ShmidDs that IPC_STAT returned, not {type(buf).__name__}")
        code = lib.shms_sysv_ipc_set(shmid, buf.uid, buf.gid, buf.mode & 0o777)
    elif cmd == IPC_RMID:
        code = lib.shms_sysv_ipc_rmid(shmid)
    else:
        raise ValueError(f"shmctl knows IPC_STAT, IPC_SET and IPC_RMID, not {cmd!r}")
    if code < 0:
        raise failure("shmctl", -code, about_id(-code, shmid))
    return ShmidDs(stat) if cmd == IPC_STAT else None


def _int32(name: str, value: int) -> int:
    number = index(value)
    if not -(2**31) <= number < 2**31:
        raise ValueError(f"{name} is an int of C, this is {number}")
    return number
