"""System calls that fail: a filter (seccomp) which a victim puts on itself before its operation. No right is needed.

What the kernel refuses once in a year (no memory, no descriptor, no segment left) so is refused each time, and the victim
can be killed at each instruction of what it does then.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from dataclasses import dataclass

# x86-64, like the driver
CALLS = {
    "open": 2, "stat": 4, "fstat": 5, "lstat": 6, "mmap": 9, "mincore": 27, "madvise": 28, "shmget": 29, "shmat": 30, "shmctl": 31,
    "socket": 41, "bind": 49, "connect": 42, "kill": 62, "fcntl": 72, "ftruncate": 77, "link": 86, "unlink": 87, "readlink": 89, "fchmod": 91,
    "shmdt": 67, "openat": 257, "newfstatat": 262, "unlinkat": 263, "linkat": 265, "readlinkat": 267, "dup3": 292, "fallocate": 285,
    "getrandom": 318, "memfd_create": 319, "mlock2": 325, "futex_waitv": 449, "pidfd_open": 434, "fstatfs": 138, "statfs": 137, "read": 0, "pread64": 17,
}  # fmt: skip
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, AND, EQUAL, RETURN = 0x20, 0x54, 0x15, 0x06
NO_NEW_PRIVS, SECCOMP, FILTER = 38, 22, 2


@dataclass(frozen=True)
class Refusal:
    """This call fails with this error; of its arguments: (which, mask, value) must hold for the lower half."""

    call: str
    error: int
    arguments: tuple[tuple[int, int, int], ...] = ()

    def program(self) -> list[tuple[int, int, int, int]]:
        """Instructions as (code, jump if true, jump if false, constant); falls through when it does not apply."""
        steps = [(LOAD, 0, 0, 0), (EQUAL, 0, -1, CALLS[self.call])]
        for which, mask, value in self.arguments:
            steps += [(LOAD, 0, 0, 16 + 8 * which), (AND, 0, 0, mask), (EQUAL, 0, -1, value)]
        steps.append((RETURN, 0, 0, ERRNO | self.error))
        last = len(steps)
        return [(code, yes, last - i - 1 if no < 0 else no, k) for i, (code, yes, no, k) in enumerate(steps)]


FULL = (Refusal("fallocate", errno.ENOSPC),)  # a full /dev/shm


def install(refusals: tuple[Refusal, ...]) -> None:
    """From now on, in this process."""
    if not refusals:
        return
    steps = [step for refusal in refusals for step in refusal.program()] + [(RETURN, 0, 0, ALLOW)]
    code = b"".join(struct.pack("<HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(steps), ctypes.addressof(buffer)), 16)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or libc.prctl(SECCOMP, FILTER, ctypes.byref(program)) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")
