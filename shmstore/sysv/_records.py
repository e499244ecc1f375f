"""The results of ``shmctl``. Their names are those of the structures or commands in its man page."""

from __future__ import annotations

from shmstore._base.imports import once
from shmstore._base.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["IpcInfo", "Segment", "ShmInfo", "ShmidDs"]


@once
class ShmidDs:
    """What ``IPC_STAT`` returns about a segment. To change uid, gid or mode, set them here and pass this to ``IPC_SET``.

    ``key`` is a key_t, so it may be negative: ``ipcs`` prints ``key & 0xFFFFFFFF``. ``mode`` has the permission bits,
    SHM_DEST and SHM_LOCKED. Times are seconds since 1970, or 0 for never.
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


class IpcInfo(Record):
    """What ``IPC_INFO`` returns: the limits of this IPC namespace, as ``ipcs -l`` prints them.

    ``shmmax`` and ``shmmin`` limit the bytes of one segment, ``shmmni`` the number of segments, ``shmall`` the pages of all
    segments. The kernel does not enforce ``shmseg``, the segments of one process. ``highest`` is the last index for
    ``SHM_STAT``.
    """

    __slots__ = ("highest", "shmall", "shmmax", "shmmin", "shmmni", "shmseg")
    highest: int
    shmmax: int
    shmmin: int
    shmmni: int
    shmseg: int
    shmall: int

    def __repr__(self) -> str:
        return f"<IpcInfo shmmni={self.shmmni} shmmax={self.shmmax} shmall={self.shmall}>"


class ShmInfo(Record):
    """What ``SHM_INFO`` returns: the use of this IPC namespace, as ``ipcs -u`` prints it.

    ``used_ids`` is the number of segments. ``shm_tot`` is the number of pages of all segments, ``shm_rss`` of those in
    memory, and ``shm_swp`` of those in the swap. ``highest`` is the last index for ``SHM_STAT``.
    """

    __slots__ = ("highest", "shm_rss", "shm_swp", "shm_tot", "used_ids")
    highest: int
    used_ids: int
    shm_tot: int
    shm_rss: int
    shm_swp: int

    def __repr__(self) -> str:
        return f"<ShmInfo used_ids={self.used_ids} shm_tot={self.shm_tot} shm_rss={self.shm_rss}>"


class Segment(Record):
    """One row of ``segments()``.

    ``readable`` says whether this process may read the segment. ``stat`` is a ShmidDs, or None if the kernel only says that
    the segment exists. ``index`` is its position in the kernel's table, or None if the row is from /proc/sysvipc/shm.
    """

    __slots__ = ("index", "readable", "stat")
    index: int | None
    readable: bool
    stat: ShmidDs | None

    def __repr__(self) -> str:
        return f"<Segment {self.stat or f'at index {self.index}'}{' unreadable' * (not self.readable)}>"
