"""Explain error numbers of the kernel: the owner and size of the segment, the limit that was reached.

/proc/sysvipc/shm shows every segment to every process, also to those that may not attach it. If it is missing,
SHM_STAT_ANY shows the same.
"""

from __future__ import annotations

import errno
import os

from shmstore._base.foreign import is_foreign
from shmstore._system.causes import common, forbidden, locked_too_much, no_room, removed_unused
from shmstore._system.limits import PAGE, free_huge_pages, huge_page_sizes, limit, mapping_at, ulimit
from shmstore.sysv._flags import (
    IPC_RMID,
    IPC_SET,
    SHM_HUGE_MASK,
    SHM_HUGE_SHIFT,
    SHM_HUGETLB,
    SHM_LOCK,
    SHM_REMAP,
    SHM_RND,
    SHM_STAT,
    SHM_STAT_ANY,
    SHM_UNLOCK,
    SHMLBA,
)
from shmstore.sysv._table import rows_of_proc, segments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shmstore.sysv._records import ShmidDs

__all__ = ["about_id", "about_shmat", "about_shmctl", "about_shmget", "failure"]


MMAP_MIN_ADDR_MAX = 1 << 20  # more than any system sets vm.mmap_min_addr to


def failure(call: str, code: int, advice: str) -> OSError:
    return OSError(code, f"{call}: {os.strerror(code)}: {advice}")


def _table() -> list[ShmidDs] | None:
    """All segments; None if this process cannot see them, so that messages lack these details."""
    rows = rows_of_proc()
    if rows is None:
        try:
            return [segment.stat for segment in segments() if segment.stat]
        except OSError as error:
            if is_foreign(error):
                raise
            return None
    return rows


def _of_key(key: int) -> ShmidDs | None:
    found = [row for row in _table() or () if row.key == key] if key else []
    return found[0] if found else None


def _of_id(shmid: int) -> ShmidDs | None:
    found = [row for row in _table() or () if row.id == shmid]
    return found[0] if found else None


def _told(row: ShmidDs) -> str:
    creator = "" if row.cuid == row.uid else f" (created by uid {row.cuid})"
    return f"segment {row.id} of uid {row.uid}{creator}, mode {row.mode & 0o777:04o}, {row.size} bytes"


def about_shmget(code: int, key: int, size: int, shmflg: int) -> str:
    if said := common("shmget", code):
        return said
    name = f"key {key & 0xFFFFFFFF:#010x}"
    if code == errno.ENOENT:
        gone = removed_unused()
        return (
            f"no segment has {name} in this IPC namespace; pass IPC_CREAT | 0o600 to create one{gone and f' ({gone})'}"
        )
    if code == errno.EPERM and not shmflg & SHM_HUGETLB:
        return forbidden("shmget")
    row = _of_key(key)
    if code == errno.EEXIST:
        return f"{name} is taken by {_told(row) if row else 'another segment'}; leave IPC_EXCL out to use it"
    if code == errno.EACCES:
        asked = f"you are uid {os.geteuid()}" + (f" and ask for mode {shmflg & 0o777:04o}" if shmflg & 0o777 else "")
        return f"{name} is {_told(row) if row else 'not open to you'}; {asked}"
    if code == errno.EINVAL and row:
        return f"{name} has {row.size} bytes, fewer than the {size} asked for; ask for at most that, or for 0"
    if code == errno.EINVAL and shmflg & SHM_HUGETLB and (power := shmflg >> SHM_HUGE_SHIFT & SHM_HUGE_MASK):
        sizes = huge_page_sizes()
        known = (
            "sizes that cannot be read"
            if sizes is None
            else ", ".join([f"{size // 1024} kB" for size in sizes]) or "none"
        )
        return f"huge pages of {(1 << power) // 1024} kB asked for; this kernel has: {known}"
    if code == errno.EINVAL:
        smaller = "" if _table() is not None else f", or {name} has fewer (what exists cannot be read)"
        return f"{size} bytes asked for; a new segment has 1 to shmmax bytes: {limit('kernel.shmmax')}{smaller}"
    if code == errno.ENOSPC:
        return f"{size} bytes asked for; {_exhausted(size)}"
    if code == errno.ENOMEM and shmflg & SHM_HUGETLB:
        return f"{size} bytes asked for; {free_huge_pages()}; raise vm.nr_hugepages (sysctl) or leave SHM_HUGETLB out"
    if code == errno.ENOMEM:
        return (
            f"{size} bytes asked for; {limit('kernel.shmmax')}, {limit('vm.overcommit_memory')}; "
            "ask for less, or pass SHM_NORESERVE, which reserves no memory"
        )
    if code == errno.EPERM:
        return f"SHM_HUGETLB needs CAP_IPC_LOCK or membership in a group: {limit('vm.hugetlb_shm_group')}"
    return f"{name}, {size} bytes, shmflg {shmflg:#o}"


def _exhausted(size: int) -> str:
    """Which of the two limits on all segments was reached."""
    table, segments_max, pages_max = _table(), limit("kernel.shmmni"), limit("kernel.shmall")
    if table is None:
        return f"{segments_max} segments, {pages_max} pages of {PAGE} bytes; how many exist cannot be read"
    pages = sum([(row.size + PAGE - 1) // PAGE for row in table])
    count = f"{segments_max} segments, {len(table)} exist"
    extent = f"{pages_max} pages of {PAGE} bytes, {pages} are taken"
    remove = "remove unused segments (ipcs -m, ipcrm)"
    if segments_max.endswith(f" is {len(table)}"):
        return f"{count}; {remove}, or raise the limit (sysctl -w kernel.shmmni=..)"
    allowed = pages_max.rpartition(" ")[2]
    if allowed.isdigit() and pages + (size + PAGE - 1) // PAGE > int(allowed):
        return f"{extent}; {remove}, or raise the limit (sysctl -w kernel.shmall=..)"
    return f"{count}; {extent}; {remove} or raise the limit (sysctl)"


def about_id(code: int, shmid: int, call: str = "shmctl") -> str:
    """The cause for any call that takes an id."""
    if said := common(call, code):
        return said
    row = _of_id(shmid)
    if code == errno.EIDRM:
        return f"segment {shmid} was removed"
    if code in (errno.EACCES, errno.EPERM):
        return f"it is {_told(row) if row else f'segment {shmid}'}; you are uid {os.geteuid()}"
    if code == errno.EINVAL and row is None and _table() is not None:
        gone = removed_unused()
        return (
            f"no segment has id {shmid} in this IPC namespace: it was removed, or never existed{gone and f' ({gone})'}"
        )
    if code == errno.ENOMEM:
        return no_room(row.size if row else 0, _told(row) if row else f"segment {shmid}")
    if code == errno.EAGAIN:
        return f"it is {_told(row) if row else f'segment {shmid}'}; {locked_too_much()}"
    return _told(row) if row else f"segment {shmid}"


def about_shmat(code: int, shmid: int, shmaddr: int, shmflg: int) -> str:
    if code == errno.EPERM and (shmaddr == 0 or shmaddr >= MMAP_MIN_ADDR_MAX):
        return forbidden("shmat")
    row = _of_id(shmid)
    if code not in (errno.EINVAL, errno.EPERM) or row is None:
        return about_id(code, shmid, "shmat")
    it = f"it is {_told(row)}"
    if code == errno.EPERM:
        return f"{it}; only CAP_SYS_RAWIO may map {shmaddr:#x}: {limit('vm.mmap_min_addr')}"
    if shmaddr == 0:
        return f"{it}; SHM_REMAP needs an address" if shmflg & SHM_REMAP else it
    if shmaddr % SHMLBA and not shmflg & SHM_RND:
        return f"{it}; {shmaddr:#x} is not a multiple of {SHMLBA} (SHMLBA); add SHM_RND to round it down"
    there = mapping_at(shmaddr // SHMLBA * SHMLBA, row.size)
    if there and not shmflg & SHM_REMAP:
        return f"{it}; {shmaddr:#x} is taken by {there}; SHM_REMAP would replace that"
    return f"{it}; {shmaddr:#x} cannot be its address"


def about_shmctl(code: int, shmid: int, cmd: int) -> str:
    if said := common("shmctl", code):
        return said
    if code == errno.EPERM and cmd not in (IPC_RMID, IPC_SET, SHM_LOCK, SHM_UNLOCK):
        return forbidden("shmctl")
    if cmd in (SHM_STAT, SHM_STAT_ANY):
        if code == errno.EIDRM:
            return f"the segment at index {shmid} was removed"
        if code == errno.EINVAL:
            return f"no segment is at index {shmid} (or this kernel has no SHM_STAT_ANY: Linux 4.17)"
        return f"uid {os.geteuid()} may not read the segment at index {shmid}; SHM_STAT_ANY shows it"
    if code == errno.EPERM:
        doing = "its owner, its creator and CAP_SYS_ADMIN may do this"
        if cmd == SHM_LOCK:
            doing = f"its owner and its creator may lock as much as {ulimit('l')}, CAP_IPC_LOCK without limit"
        return f"{about_id(code, shmid)}; {doing}"
    if code == errno.ENOMEM and cmd == SHM_LOCK:
        row = _of_id(shmid)
        it = _told(row) if row else f"segment {shmid}"
        return f"{it} is more than may be locked: {ulimit('l')}, for all of uid {os.getuid()}"
    if code == errno.EINVAL and cmd == IPC_SET and (row := _of_id(shmid)):
        return f"it is {_told(row)}; the uid or gid asked for does not exist in this user namespace"
    return about_id(code, shmid)
