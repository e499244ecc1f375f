"""Explain error numbers of the kernel: the owner and size of the object, the limit that was reached."""

from __future__ import annotations

import errno
import os

from shmstore._base.foreign import is_foreign
from shmstore._system.causes import common, forbidden, locked_too_much, no_room, of_file_system, of_folder, too_large
from shmstore._system.limits import PAGE, free_huge_pages, limit, mapping_at

__all__ = ["FOLDER", "about_descriptor", "about_mmap", "about_name", "failure"]

MAP_FIXED = 0x10  # as in posix.py, which imports this file
FOLDER = "/dev/shm"  # where the C library keeps the objects


def failure(call: str, code: int, advice: str) -> OSError:
    return OSError(code, f"{call}: {os.strerror(code)}: {advice}")


def _told(stat: os.stat_result) -> str:
    return f"of uid {stat.st_uid}, mode {stat.st_mode & 0o777:04o}, {stat.st_size} bytes"


def _object(name: str) -> str:
    path = f"{FOLDER}/{name.lstrip('/')}"
    try:
        return f"{path} {_told(os.stat(path))}"
    except (OSError, ValueError) as error:
        if is_foreign(error):
            raise
        return path


def about_name(code: int, name: str, oflag: int = 0) -> str:
    """What can be said of shm_open and shm_unlink."""
    if said := common("shm_open", code) or of_file_system(code, FOLDER):
        return said
    if code in (errno.ENOENT, errno.ENOTDIR) and not os.path.isdir(FOLDER):
        return f"{FOLDER} is missing: POSIX shared memory needs a tmpfs there"
    it = _object(name)
    if code == errno.ENOENT:
        return f"there is no {it}; pass O_CREAT | O_RDWR and a mode to shm_open to create one"
    if code == errno.EEXIST:
        return f"{name} is taken by {it}; leave O_EXCL out to use it"
    if code == errno.EACCES and oflag & os.O_CREAT and os.geteuid() == 0:
        protected = limit("fs.protected_regular")
        return f"it is {it}; with O_CREAT not even root opens another's: {protected}; leave O_CREAT out"
    if code in (errno.EACCES, errno.EPERM):
        if oflag & os.O_CREAT and not os.path.lexists(f"{FOLDER}/{name.lstrip('/')}"):
            return of_folder(FOLDER)
        return f"it is {it}; you are uid {os.geteuid()}"
    if code in (errno.EINVAL, errno.ENAMETOOLONG):
        return f"a name is a slash and 1 to 255 bytes without one, this is {name!r}"
    return it


def about_descriptor(code: int, fd: int, length: int) -> str:
    """What can be said of ftruncate and posix_fallocate."""
    asked = f"{length} bytes asked for"
    if said := common("ftruncate", code) or of_file_system(code, _folder_of(fd)):
        return f"{asked}; {said}"
    if code == errno.EFBIG:
        return too_large(length)
    try:
        stat = os.fstat(fd)
    except OSError as error:
        if is_foreign(error):
            raise
        return f"{fd} is no open descriptor"
    it = f"the object is {_told(stat)}"
    if code in (errno.EINVAL, errno.EBADF) and not _may_write(fd):
        return f"{asked}; {it}, and was opened with O_RDONLY: open it with O_RDWR"
    if code == errno.ENOMEM:
        return f"{asked}; no memory is free, in the whole system or in this cgroup; {it}"
    if code in (errno.EPERM, errno.EACCES):
        return f"{asked}; {it}; it is sealed (F_SEAL_GROW, F_SEAL_SHRINK), or {forbidden('ftruncate')}"
    if code in (errno.EOPNOTSUPP, errno.ENODEV, errno.ESPIPE):
        return f"{asked}; {it}; what this descriptor is of cannot set memory aside: it is no file of a tmpfs"
    return f"{asked}; {it}"


def about_mmap(code: int, fd: int, address: int, length: int, offset: int, flags: int) -> str:
    asked = f"{length} bytes at offset {offset} asked for"
    if said := common("mmap", code):
        return f"{asked}; {said}"
    if code == errno.EEXIST:
        there = mapping_at(address, length) or "another mapping"
        return f"{address:#x} is taken by {there}; MAP_FIXED would replace it"
    if code == errno.EINVAL and (address % PAGE or offset % PAGE):
        return f"{asked}, at address {address:#x}; offset and fixed address are multiples of the page size, {PAGE}"
    if code == errno.EPERM and flags & MAP_FIXED and address < 1 << 16:
        return f"{asked}; only CAP_SYS_RAWIO may map {address:#x}: {limit('vm.mmap_min_addr')}"
    if code == errno.ENOMEM:
        return f"{asked}; {no_room(length)}; {free_huge_pages()}"
    if code == errno.EAGAIN:
        return f"{asked}; {locked_too_much()}"
    if fd < 0:
        return asked
    try:
        stat = os.fstat(fd)
    except OSError as error:
        if is_foreign(error):
            raise
        return f"{fd} is no open descriptor"
    it = f"the object is {_told(stat)}"
    if code == errno.EACCES and not _may_write(fd):
        return f"{asked}; {it}, and was opened with O_RDONLY: a shared mapping may not write to it"
    if code == errno.EPERM:
        return f"{asked}; {it}; its file system is mounted noexec, or it is sealed, or {forbidden('mmap')}"
    if code == errno.ENODEV:
        return f"{asked}; {it}; what this descriptor is of cannot be mapped"
    return f"{asked}; {it}"


def _may_write(fd: int) -> bool:
    try:
        os.write(
            fd, b""
        )  # changes nothing; the module fcntl is a file, and cannot be imported where no descriptor is left
    except OSError as error:
        if is_foreign(error):
            raise
        return error.errno != errno.EBADF
    return True


def _folder_of(fd: int) -> str:
    """The folder of an object: /dev/shm, unless the descriptor refers to another file."""
    try:
        path = os.readlink(f"/proc/self/fd/{fd}").removesuffix(" (deleted)")
    except OSError as error:
        if is_foreign(error):
            raise
        return FOLDER
    folder = os.path.dirname(path)
    return folder if os.path.isdir(folder) else FOLDER
