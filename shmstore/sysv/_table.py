"""All segments of this IPC namespace, of every owner: from the kernel's table, or from /proc/sysvipc/shm.

SHM_STAT shows only the segments that the caller may read. SHM_STAT_ANY shows all, but Linux has it since 4.17, and
sandboxes refuse it. /proc/sysvipc/shm shows all, too, if /proc is mounted. They are tried in this order.
"""

from __future__ import annotations

import errno
import os

from shmstore._base.foreign import is_foreign
from shmstore._core import ffi, lib
from shmstore.sysv._proc import read_table
from shmstore.sysv._records import Segment, ShmidDs

__all__ = ["rows_of_proc", "segments"]

_REFUSED = (-errno.EACCES, -errno.EPERM, -errno.ENOSYS)


def segments() -> list[Segment]:
    """Return every segment of this IPC namespace, including those that this process may not read.

    Not a snapshot: segments that are created or removed meanwhile may be in the list or not.

    Cost: one or two system calls for each index up to the highest used one.

    Raises: OSError if this process may read neither the kernel's table nor /proc/sysvipc/shm.
    """
    usage = ffi.new("struct shms_sysv_usage *")
    highest: int = lib.shms_sysv_shm_info(usage)
    if highest < 0:
        rows = rows_of_proc()
        if rows is None:
            advice = "this process may see neither the kernel's table nor /proc/sysvipc/shm"
            raise OSError(-highest, f"shmctl: {os.strerror(-highest)}: {advice}")
        return _checked(rows)
    found: list[Segment] = []
    hidden: list[int] = []
    stat = ffi.new("struct shms_sysv_stat *")
    for index in range(highest + 1):
        code = lib.shms_sysv_shm_stat(index, False, stat)
        if code >= 0:
            found.append(Segment(index=index, readable=True, stat=ShmidDs(stat)))
        elif code in _REFUSED:
            if lib.shms_sysv_shm_stat(index, True, stat) >= 0:
                found.append(Segment(index=index, readable=False, stat=ShmidDs(stat)))
            elif lib.shms_sysv_shm_stat(index, False, stat) in _REFUSED:  # not removed in between
                hidden.append(index)
    return found + _of_hidden(hidden, found) if hidden else found


def _of_hidden(hidden: list[int], found: list[Segment]) -> list[Segment]:
    """What /proc says about segments that the kernel's table did not show."""
    rows = rows_of_proc()
    if rows is None:
        return [Segment(index=index, readable=False, stat=None) for index in hidden]
    known = {segment.stat.id for segment in found if segment.stat}
    return _checked([row for row in rows if row.id not in known])


def _checked(rows: list[ShmidDs]) -> list[Segment]:
    """Segments of /proc, which does not say which of them may be read."""
    found = []
    stat = ffi.new("struct shms_sysv_stat *")
    for row in rows:
        code = lib.shms_sysv_ipc_stat(row.id, stat)
        if code == 0 or code in _REFUSED:
            found.append(Segment(index=None, readable=code == 0, stat=row))
    return found


def rows_of_proc() -> list[ShmidDs] | None:
    """The lines of /proc/sysvipc/shm, which every process may read; None if it is not mounted."""
    try:
        return [ShmidDs(row) for row in read_table()]
    except (OSError, ValueError) as error:
        if is_foreign(error):
            raise
        return None
