"""Why the kernel refused a call, and what to do: a sentence for each cause that many calls share.

An error number alone does not name the cause. EPERM from ``shmget`` for huge pages is a missing permission; from any other
``shmget`` it is a sandbox. So each caller gives the call and its arguments. docs/system-errors.md has the table of all causes. The
code looks up what a sentence claims, and names a limit only if it was reached.
"""

from __future__ import annotations

import errno
import os

from shmstore._base.foreign import is_foreign
from shmstore._system.files import read
from shmstore._system.limits import (
    amount,
    limit,
    mappings_are_used_up,
    room,
    room_for_mappings,
    taken_of_addresses,
    ulimit,
)

__all__ = [
    "SYSV_CALLS", "common", "forbidden", "locked_too_much", "no_path", "no_room", "of_file_system", "of_folder",
    "removed_unused", "too_large",
]  # fmt: skip

SYSV_CALLS = ("shmget", "shmat", "shmctl", "shmdt")
_SINCE = {
    "memfd_create": "3.17", "getrandom": "3.17", "mlock": "4.4", "open(O_TMPFILE)": "3.11", "fcntl(F_OFD_SETLK)": "3.15",
    "fcntl(F_ADD_SEALS)": "3.17",
}  # fmt: skip


def common(call: str, code: int) -> str | None:
    """The cause, if the number has the same cause in all calls; otherwise None."""
    if code == errno.EMFILE:
        return (
            f"this process has no file descriptor left: {ulimit('n')}; close what it does not need, or raise the limit "
            "(ulimit -n, LimitNOFILE= of the service)"
        )
    if code == errno.ENFILE:
        return f"the whole system has no open file left: {limit('fs.file-max')}; as root: sysctl -w fs.file-max=.."
    if code == errno.ENOSYS:
        return _lacking(call)
    if code == errno.ENOLCK:
        return "the kernel has no memory left for a lock on a file"
    return None


def _lacking(call: str) -> str:
    if _filtered():
        return _by_filter()
    if call.partition("(")[0] in SYSV_CALLS:
        return "this kernel has no System V shared memory (CONFIG_SYSVIPC; gVisor and old WSL have none), or a sandbox hides it"
    since = _SINCE.get(call.removesuffix("(MFD_HUGETLB)"))
    return (
        f"it needs Linux {since} or later, or a sandbox hides it"
        if since
        else "this kernel lacks it, or a sandbox hides it"
    )


def forbidden(call: str) -> str:
    """EPERM and EACCES of a call that needs no permission."""
    filtered = _filtered()
    if filtered:
        return _by_filter()
    module = "a security module (SELinux, AppArmor, ..) forbids it; the kernel's log says by which rule"
    return module if filtered is False else f"a filter (seccomp) or {module}"


def _by_filter() -> str:
    return (
        "a system call filter (seccomp) of this process refuses it: a container's profile, a service's SystemCallFilter= or a "
        "sandbox, which must allow it"
    )


def _filtered() -> bool | None:
    """Does this process have a system call filter? None: /proc does not tell."""
    try:
        for line in read("/proc/self/status").splitlines():
            if line.startswith(b"Seccomp:"):
                return int(line.split()[1]) != 0
    except (OSError, ValueError) as error:
        if is_foreign(error):
            raise
    return None


def of_file_system(code: int, folder: str) -> str | None:
    """The cause, if it is the file system of a folder; otherwise None."""
    if code == errno.ENOSPC:
        return _no_space(folder)
    if code == errno.EDQUOT:
        return f"uid {os.geteuid()} has used its quota of {folder} (mount options usrquota, grpquota)"
    if code == errno.EROFS:
        return f"{folder} is mounted read-only; as root: mount -o remount,rw {folder}"
    return None


def _no_space(folder: str) -> str:
    """No page, or no inode."""
    try:
        found = os.statvfs(folder)
        lacks_inodes = found.f_files > 0 and found.f_ffree == 0
    except OSError as error:
        if is_foreign(error):
            raise
        lacks_inodes = False
    if lacks_inodes:
        return f"{room(folder)}; remove files from it that you do not need, or let it hold more files (mount -o remount,nr_inodes=..)"
    return f"{room(folder)}; remove files from it that you do not need, or make it larger (mount -o remount,size=..; docker run --shm-size=..)"


def of_folder(folder: str) -> str:
    """EACCES and EPERM of creating a file in a folder."""
    try:
        found = os.stat(folder)
        may = os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
    except OSError as error:
        if is_foreign(error):
            raise
        return f"{folder} cannot be read ({error.strerror})"
    if may:
        return forbidden("open")
    return (
        f"uid {os.geteuid()} may not create files in {folder}, which belongs to uid {found.st_uid}, mode {found.st_mode & 0o7777:04o}; "
        f"as root: chmod 1777 {folder}"
    )


def too_large(size: int) -> str:
    """EFBIG of a file of this size."""
    limited = ulimit("f")
    if limited.endswith("unlimited"):
        return f"{size} bytes are more than a file can have in this file system"
    return (
        f"{size} bytes asked for; {limited}: a file cannot be larger, and POSIX shared memory is a file; raise the limit "
        "(ulimit -f unlimited, LimitFSIZE=infinity of the service)"
    )


def no_room(size: int, what: str = "") -> str:
    """ENOMEM of a mapping: the limit of the process that it reached."""
    said = f"this process has no room for {what or f'{amount(size)} more'}: {room_for_mappings()}"
    allowed, taken = taken_of_addresses()
    if allowed is not None and taken is not None and taken + size > allowed:
        return f"{said}, {amount(taken)} of addresses are taken; raise ulimit -v (LimitAS= of the service)"
    if mappings_are_used_up():
        return f"{said}; as root: sysctl -w vm.max_map_count=.."
    return f"{said}, {limit('vm.overcommit_memory')}"


def locked_too_much() -> str:
    """EAGAIN of a mapping: the process locks all its mappings."""
    return (
        f"the process locks what it maps (mlockall, or MAP_LOCKED), and that is more than it may lock: {ulimit('l')}; raise it "
        "(ulimit -l, LimitMEMLOCK= of the service)"
    )


def no_path(code: int, path: str) -> str:
    """ftok() cannot read the file."""
    if code == errno.ENOENT:
        return f"there is no file {path!r}"
    if code == errno.EACCES:
        return f"a directory on the way to {path!r} may not be searched by uid {os.geteuid()}"
    if code == errno.ENOTDIR:
        return f"a part of {path!r} is not a directory"
    if code == errno.ELOOP:
        return f"the symbolic links of {path!r} form a cycle"
    if code == errno.ENAMETOOLONG:
        return f"the path {path!r} is too long"
    return common("stat", code) or f"{path!r} cannot be read"


def removed_unused() -> str:
    """Why the kernel may have removed a System V segment; empty if it does not do that here."""
    if not limit("kernel.shm_rmid_forced").endswith(" is 1"):
        return ""
    return (
        "kernel.shm_rmid_forced is 1 here: the kernel removes System V memory as soon as no process is attached; "
        'as root: sysctl -w kernel.shm_rmid_forced=0; or use POSIX memory (backend="posix"), which stays'
    )
