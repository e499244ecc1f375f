"""The numbers of <sys/ipc.h> and <sys/shm.h>: keys, flags, commands, and bits of the mode.

Linux never changes them; csrc/sysv.c compares them with the system's headers when it is compiled. They stand
here as literals so that type checkers know which command gives which result.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

IPC_PRIVATE: Final = 0  # key: a new segment that no key finds

IPC_CREAT: Final = 0o1000  # shmget
IPC_EXCL: Final = 0o2000
SHM_HUGETLB: Final = 0o4000
SHM_NORESERVE: Final = 0o10000
SHM_R: Final = 0o400  # permission of the owner; the low nine bits of shmflg are a mode
SHM_W: Final = 0o200

# shmget with SHM_HUGETLB: the binary logarithm of the page size. Without one, the kernel's default size.
SHM_HUGE_SHIFT: Final = 26
SHM_HUGE_MASK: Final = 0x3F
SHM_HUGE_64KB: Final = 16 << 26
SHM_HUGE_512KB: Final = 19 << 26
SHM_HUGE_1MB: Final = 20 << 26
SHM_HUGE_2MB: Final = 21 << 26
SHM_HUGE_8MB: Final = 23 << 26
SHM_HUGE_16MB: Final = 24 << 26
SHM_HUGE_32MB: Final = 25 << 26
SHM_HUGE_256MB: Final = 28 << 26
SHM_HUGE_512MB: Final = 29 << 26
SHM_HUGE_1GB: Final = 30 << 26
SHM_HUGE_2GB: Final = 31 << 26
SHM_HUGE_16GB: Final = 34 << 26

SHM_RDONLY: Final = 0o10000  # shmat
SHM_RND: Final = 0o20000
SHM_REMAP: Final = 0o40000
SHM_EXEC: Final = 0o100000
SHMLBA = os.sysconf("SC_PAGE_SIZE")  # what an address is a multiple of, and SHM_RND rounds down to

IPC_RMID: Final = 0  # shmctl: one segment
IPC_SET: Final = 1
IPC_STAT: Final = 2
SHM_LOCK: Final = 11
SHM_UNLOCK: Final = 12
IPC_INFO: Final = 3  # shmctl: the kernel's table
SHM_INFO: Final = 14
SHM_STAT: Final = 13
SHM_STAT_ANY: Final = 15

SHM_DEST: Final = 0o1000  # bits of ShmidDs.mode: marked for removal, and locked into memory
SHM_LOCKED: Final = 0o2000
