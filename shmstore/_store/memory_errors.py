"""Explain error numbers of the kernel: the cause, the limit that was reached, and the remedy.

*call* is the name that the engine gives a call (csrc/segment/memory_sysv.c, memory_posix.c). A part in parentheses
distinguishes calls in which the same number has different causes. docs/system-errors.md has the table.
"""

from __future__ import annotations

import errno
import os

from shmstore._base.foreign import is_foreign
from shmstore._store.names import OBJECTS, Key, parse_huge_page
from shmstore._system import causes
from shmstore._system.files import read
from shmstore._system.limits import amount, limit, ulimit
from shmstore.sysv._errors import about_id, about_shmget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["about", "about_absence", "about_removal", "no_page"]

_RIGHTS = (errno.EACCES, errno.EPERM)
_CREATOR = "mode={mode:#o} must let its creator read and write"


def no_page(code: int) -> str:
    """Why the kernel had no page for an operation, and what to do."""
    if code == errno.EINVAL:
        return (
            "this process closed the descriptor of the store's file, and Linux before 5.14 gives no page without it; "
            "open the store again, and close no descriptors that the program did not open (os.closerange)"
        )
    if code == errno.EOPNOTSUPP:
        return _no_tmpfs()
    said = (
        _of_folder(code)
        or causes.common("fallocate", code)
        or (causes.forbidden("fallocate") if code in _RIGHTS else None)
    )
    return f"the system has no page left for it: {said or os.strerror(code)}"


def about(call: str, code: int, key: Key, request: Any, result: Any) -> str:
    """The cause and the remedy for a call that failed while a store was opened."""
    size = result.size
    if call in ("shmctl(IPC_SET)", "fchown"):  # resize() gives the new segment the group of the old one
        return (
            "members of the store's group may use it, and this process cannot give the new segment that group; change to that "
            "group (newgrp), and resize it again"
        )
    said = causes.common(call, code)
    if said is not None:
        return said + (_other_backend(key) if code == errno.ENOSYS else "")
    if key.backend == "sysv":
        return _about_sysv(call, code, key, size, request, result)
    return _about_posix(call, code, key, size, request) or (causes.forbidden(call) if code in _RIGHTS else key.place)


def about_absence(key: Key) -> str:
    """Why a store may be missing although no program removed it; empty if there is no known cause."""
    if key.backend == "sysv":
        return causes.removed_unused()
    return "" if os.path.isdir(OBJECTS) else _of_folder(errno.ENOENT) or ""


def about_removal(call: str, code: int, key: Key, id: int) -> str | None:
    """The same for a call that failed while a store was removed; None if the permission is missing."""
    if "namespace" in call:
        return "this process has left the IPC namespace that the store is in; remove it from there"
    if code in _RIGHTS and call in ("shmctl(IPC_RMID)", "shm_unlink"):
        return None
    return causes.common(call, code) or _of_folder(code) or (about_id(code, id) if key.backend == "sysv" else key.place)


def _about_sysv(call: str, code: int, key: Key, size: int, request: Any, result: Any) -> str:
    if call == "shmget(SHM_HUGETLB)":
        return _about_huge_pages(code, size, request.huge_page)
    if call == "shmctl(SHM_LOCK)":
        return _about_locking(code, size)
    if call == "madvise(MADV_POPULATE_WRITE)":
        return _about_prefault(code, size)
    if call == "shmat" and code in (errno.ENOMEM, errno.EAGAIN):
        return causes.no_room(size) if code == errno.ENOMEM else causes.locked_too_much()
    if code == errno.EACCES and result.created:
        return causes.forbidden(call) if request.mode & 0o600 == 0o600 else _CREATOR.format(mode=request.mode)
    if code == errno.EACCES:
        whose = about_shmget(code, key.number, 0, 0) if key.kind != 4 else about_id(code, result.id)
        advice = f"{whose}; ask its owner for a mode that gives you access"
        return advice if request.readonly else f"{advice}, or attach with readonly=True if it lets you read"
    if code == errno.EPERM and call != "shmctl(IPC_RMID)":
        return causes.forbidden(call) + _other_backend(key)
    if call.startswith("shmget"):
        return about_shmget(code, key.number, size, request.mode)
    return about_id(code, result.id, call)


def _about_posix(call: str, code: int, key: Key, size: int, request: Any) -> str | None:
    if (
        request.huge_page
        and call in ("memfd_create(MFD_HUGETLB)", "mmap", "ftruncate")
        and code not in (errno.EFBIG, errno.EAGAIN)
    ):
        return _about_huge_pages(code, size, request.huge_page)
    if call == "mlock":
        return _about_locking(code, size)
    if call == "madvise(MADV_POPULATE_WRITE)":
        return _about_prefault(code, size)
    if call == "fallocate":
        return no_page(code)
    if call == "ftruncate" and code == errno.EFBIG:
        return causes.too_large(size) + _other_backend(key)
    if call == "mmap" and code in (errno.ENOMEM, errno.EAGAIN):
        return causes.no_room(size) if code == errno.ENOMEM else causes.locked_too_much()
    if call == "fchmod" and code == errno.EPERM and key.kind == 4:
        return f"mode={request.mode:#o} lets it be executed, which vm.memfd_noexec forbids here; leave the x bits out"
    if call == "shm_open" and code == errno.EACCES:
        return _about_access(key.place)
    if call in ("open(/proc/self/fd)", "linkat") and code == errno.ENOENT:
        return "the store's file is named and opened again through /proc, which must be mounted"
    if call == "open(/proc/self/fd)" and code == errno.EACCES:
        return _CREATOR.format(mode=request.mode)
    said = _of_folder(code)
    return _about_making(code) if said is None and call in ("open(O_TMPFILE)", "linkat") else said


def _other_backend(key: Key) -> str:
    if key.backend == "sysv":
        return '; POSIX memory does not need it (backend="posix")'
    return '; System V memory does not need it (backend="sysv", the default)' if key.kind != 4 else ""


def _of_folder(code: int) -> str | None:
    """What may be wrong with the folder of POSIX memory, in any call."""
    if code in (errno.ENOENT, errno.ENOTDIR):
        said: str | None = f"{OBJECTS} is missing; as root: mount -t tmpfs -o mode=1777 tmpfs {OBJECTS}"
    else:
        said = causes.of_file_system(code, OBJECTS)
    return said and f'{said}; or use backend="sysv", which does not need it'


def _about_making(code: int) -> str | None:
    """Why this process cannot create a file in /dev/shm."""
    if code in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
        return _no_tmpfs()
    return f'{causes.of_folder(OBJECTS)}; or use backend="sysv", which does not need it' if code in _RIGHTS else None


def _no_tmpfs() -> str:
    return (
        f"{OBJECTS} is not a tmpfs (its file system lacks O_TMPFILE or fallocate); "
        f'as root: mount -t tmpfs -o mode=1777 tmpfs {OBJECTS}; or use backend="sysv"'
    )


def _about_access(path: str) -> str:
    """The owner and mode of a file that this process may not open."""
    try:
        found = os.stat(path)
    except OSError as error:
        if is_foreign(error):
            raise
        return _about_making(errno.EACCES) or path
    return (
        f"{path} is of uid {found.st_uid}, mode {found.st_mode & 0o777:04o}, {found.st_size} bytes; you are uid {os.geteuid()}; "
        "ask its owner for a mode that gives you access"
    )


def _about_prefault(code: int, size: int) -> str:
    if code in _RIGHTS:
        return causes.forbidden("madvise")
    return f"prefault=True needs {amount(size)} of memory at once; make size smaller, or leave prefault=True out"


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
        return f"{which} needs {needed} of them; how many are free cannot be read ({folder}); the administrator reserves them"
    total, free, promised = [count or 0 for count in counts]
    free -= promised
    if page == parse_huge_page(True):
        have, remedy = limit("vm.nr_hugepages"), f"sysctl -w vm.nr_hugepages={total - free + needed}"
    else:
        have, remedy = f"{folder}/nr_hugepages is {total}", f"echo {total - free + needed} > {folder}/nr_hugepages"
    return f"{which} needs {needed} of them; {have}, {free} free; reserve more: {remedy}"


def _number(path: str) -> int | None:
    try:
        return int(read(path))
    except (OSError, ValueError) as error:
        if is_foreign(error):
            raise
        return None


def _about_locking(code: int, size: int) -> str:
    return (
        f"lock_memory=True needs {amount(size)}, {ulimit('l')}; raise it (ulimit -l {size >> 10}, which counts in K, or "
        "LimitMEMLOCK= of the service), or give the process CAP_IPC_LOCK"
    )
