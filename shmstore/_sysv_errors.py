"""Say what the kernel said only as a number: whose segment it is, how large, which limit was met.

/proc/sysvipc/shm shows every segment to everybody, also to those who may not attach it.
"""

from __future__ import annotations

import errno
import os


def failure(call: str, code: int, advice: str) -> OSError:
    return OSError(code, f"{call}: {os.strerror(code)}: {advice}")


class _Row:
    """One line of /proc/sysvipc/shm."""

    def __init__(self, line: bytes) -> None:
        key, shmid, perms, size, _cpid, _lpid, _nattch, uid, _gid, cuid = line.split()[:10]
        self.key, self.shmid, self.size = int(key), int(shmid), int(size)
        self.mode = int(perms, 8) & 0o777
        self.uid, self.cuid = int(uid), int(cuid)

    def __str__(self) -> str:
        creator = "" if self.cuid == self.uid else f" (created by uid {self.cuid})"
        return f"segment {self.shmid} of uid {self.uid}{creator}, mode {self.mode:04o}, {self.size} bytes"


def _table() -> list[_Row]:
    try:
        with open("/proc/sysvipc/shm", "rb") as lines:
            return [_Row(line) for line in list(lines)[1:]]
    except (OSError, ValueError):
        return []  # /proc is hidden: the message must do without


def _limit(name: str) -> str:
    try:
        with open(f"/proc/sys/{name.replace('.', '/')}", "rb") as file:
            return f"{name} is {int(file.read())}"
    except (OSError, ValueError):
        return f"{name} cannot be read"


def about_shmget(code: int, key: int, size: int, shmflg: int) -> str:
    name = f"key {key & 0xFFFFFFFF:#010x}"
    table = _table()
    row = next((row for row in table if row.key == key != 0), None)
    if code == errno.ENOENT:
        return f"no segment has {name} in this IPC namespace; pass IPC_CREAT | 0o600 to create one"
    if code == errno.EEXIST:
        return f"{name} is taken by {row or 'another segment'}; leave IPC_EXCL out to use it"
    if code == errno.EACCES:
        wish = f"you are uid {os.geteuid()} and ask for mode {shmflg & 0o777:04o}"
        return f"{name} is {row or 'not open to you'}; {wish}"
    if code == errno.EINVAL and row:
        return f"{name} has {row.size} bytes, fewer than the {size} asked for; ask for at most that, or for 0"
    if code == errno.EINVAL:
        return f"{size} bytes asked for; a new segment has 1 to shmmax bytes: {_limit('kernel.shmmax')}"
    if code == errno.ENOSPC:
        page = os.sysconf("SC_PAGE_SIZE")
        pages = sum((row.size + page - 1) // page for row in table)
        return (
            f"{size} bytes asked for; {_limit('kernel.shmmni')} segments, {len(table)} exist; "
            f"{_limit('kernel.shmall')} pages of {page} bytes, {pages} are taken; "
            "remove unused segments (ipcs -m, ipcrm) or raise the limit (sysctl)"
        )
    if code == errno.ENOMEM:
        return (
            f"{size} bytes asked for; {_limit('kernel.shmmax')}, {_limit('vm.overcommit_memory')}; "
            "SHM_NORESERVE sets no memory aside, SHM_HUGETLB needs free huge pages (vm.nr_hugepages)"
        )
    if code == errno.EPERM:
        return f"SHM_HUGETLB needs CAP_IPC_LOCK or membership in a group; {_limit('vm.hugetlb_shm_group')}"
    return f"{name}, {size} bytes, shmflg {shmflg:#o}"


def about_id(code: int, shmid: int) -> str:
    row = next((row for row in _table() if row.shmid == shmid), None)
    if code == errno.EIDRM:
        return f"segment {shmid} was removed"
    if code in (errno.EACCES, errno.EPERM):
        return f"it is {row or f'segment {shmid}'}; you are uid {os.geteuid()}"
    if code == errno.EINVAL and row is None:
        return f"no segment has id {shmid} in this IPC namespace: it was removed, or never existed"
    if code == errno.EINVAL:
        return f"it is {row}; an address must be free and a multiple of the page size (or SHM_RND)"
    if code == errno.ENOMEM:
        limits = f"ulimit -v, {_limit('vm.max_map_count')}"
        return f"this process has no room for {row or f'segment {shmid}'} ({limits})"
    return str(row or f"segment {shmid}")
