"""Say what the kernel said of memory only as a number: which limit was met, how far it is, and what raises it.

System V's own calls are in _sysv_errors; here is the rest: /dev/shm, huge pages, locked memory, memory at once.
"""

from __future__ import annotations

import errno
import os

from shmstore._foreign import is_foreign
from shmstore._keys import OBJECTS
from shmstore._limits import amount, limit, room, ulimit

__all__ = ["about", "no_page"]


def no_page(code: int) -> str:
    """Why a page could not be had in the middle of an operation, and what to do."""
    if code == errno.ENOSPC:
        return (
            f"the system has no page left for it: {room(OBJECTS)}; remove what nobody needs from {OBJECTS}, make it larger "
            '(mount -o remount,size=..; docker run --shm-size=..), or use backend="sysv", which it does not bound'
        )
    return f"the system has no page for it: {os.strerror(code)}"


def about(call: str, code: int, wish_size: int, huge_page: int, path: str) -> str | None:
    """The remedy for a call that failed while a store was opened; None: not one of those known here."""
    if huge_page and call in ("shmget", "memfd_create", "mmap", "ftruncate"):
        return _about_huge_pages(code, wish_size, huge_page)
    if call in ("shmctl(SHM_LOCK)", "mlock"):
        return _about_locking(code, wish_size)
    if call == "madvise(MADV_POPULATE_WRITE)":
        return f"prefault=True wants {amount(wish_size)} of memory at once; make size smaller, or leave prefault=True out"
    if call == "fallocate" or (code == errno.ENOSPC and call != "shmget"):  # shmget's is a limit of its own
        return no_page(code)
    if call in ("shm_open", "shm_unlink") and code in (errno.EACCES, errno.EPERM):
        return f"{_owner(path)}; you are uid {os.geteuid()}"
    if call == "linkat" or (call == "open(/proc/self/fd)" and code == errno.ENOENT):
        return "the store's file is named and opened again through /proc, which must be mounted"
    if call == "open(/proc/self/fd)":
        return "its mode must let its creator read and write"
    if call == "open(O_TMPFILE)":
        return f'backend="posix" needs {OBJECTS} mounted as tmpfs and writable; backend="sysv" does not'
    if call == "mmap":
        return f"this process has no room for {amount(wish_size)} (ulimit -v, {limit('vm.max_map_count')})"
    if call in ("shm_open", "fchmod", "ftruncate", "memfd_create", "fstat"):
        return path
    return None


def _about_huge_pages(code: int, size: int, page: int) -> str:
    needed = (size + page - 1) // page
    which = f"hugepages={amount(page)!r}"
    if code == errno.EPERM:
        return f"{which} needs CAP_IPC_LOCK or membership in a group; {limit('vm.hugetlb_shm_group')}"
    folder = f"/sys/kernel/mm/hugepages/hugepages-{page >> 10}kB"
    if not os.path.isdir(folder) and os.path.isdir("/sys/kernel/mm"):
        return f"{which}: this kernel has no pages of that size (see /sys/kernel/mm/hugepages)"
    counts = [_number(f"{folder}/{name}_hugepages") for name in ("nr", "free", "resv")]
    if None in counts:
        return f"{which} takes {needed} of them; how many are free cannot be read ({folder}); the administrator sets them aside"
    total, free, promised = [count or 0 for count in counts]
    free -= promised
    if page == _default():
        have, remedy = limit("vm.nr_hugepages"), f"sysctl -w vm.nr_hugepages={total - free + needed}"
    else:
        have, remedy = f"{folder}/nr_hugepages is {total}", f"echo {total - free + needed} > {folder}/nr_hugepages"
    return f"{which} takes {needed} of them; {have}, {free} free; set more aside: {remedy}"


def _number(path: str) -> int | None:
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError) as error:
        if is_foreign(error):
            raise
        return None


def _default() -> int:
    from shmstore._keys import parse_huge_page

    return parse_huge_page(True)


def _about_locking(code: int, size: int) -> str:
    return (
        f"lock_memory=True wants {amount(size)}, {ulimit('l')}; raise it (ulimit -l {size >> 10}, which counts in K, or "
        "LimitMEMLOCK= of the service), or give the process CAP_IPC_LOCK"
    )


def _owner(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError as error:
        if is_foreign(error):
            raise
        return path
    return f"{path} is of uid {found.st_uid}, mode {found.st_mode & 0o777:04o}, {found.st_size} bytes"
