"""The kernel's limits on shared memory, as text for messages: the name and the current value of each."""

from __future__ import annotations

import os

from shmstore._base.foreign import is_foreign
from shmstore._core import lib
from shmstore._system.files import read

__all__ = [
    "PAGE", "amount", "free_huge_pages", "huge_page_sizes", "limit", "mapping_at", "mappings_are_used_up",
    "room", "room_for_mappings",
    "taken_of_addresses", "ulimit",
]  # fmt: skip

PAGE = os.sysconf("SC_PAGE_SIZE")

_RESOURCES = {"f": 1, "n": 7, "l": 8, "v": 9}  # RLIMIT_FSIZE, _NOFILE, _MEMLOCK, _AS; csrc/os/posix.c compares them
_UNLIMITED = 2**64 - 1


def amount(count: float) -> str:
    """Bytes in at most five characters, in units of 1024: 640, 1.5K, 64M."""
    for unit in ("", "K", "M", "G", "T", "P"):
        if count < 999.5 or unit == "P":
            break
        count /= 1024
    if unit == "" or count == int(count) or count >= 99.95:
        return f"{count:.0f}{unit}"
    return f"{count:.1f}{unit}"


def _bytes(count: int) -> str:
    """The exact number, and a short form."""
    return f"{count} bytes" if count < 1024 else f"{count} bytes ({amount(count)})"


def limit(name: str) -> str:
    """A sysctl such as kernel.shmmni."""
    try:
        path = "/proc/sys/" + name.replace(".", "/")
        return f"{name} is {int(read(path))}"
    except (OSError, ValueError) as error:
        if is_foreign(error):
            raise
        return f"{name} cannot be read"


def ulimit(letter: str) -> str:
    """A limit of this process, as the shell's ``ulimit`` names it: a number of descriptors, or bytes."""
    soft = lib.shms_posix_getrlimit(_RESOURCES[letter])
    if soft == _UNLIMITED:
        return f"ulimit -{letter} is unlimited"
    return f"ulimit -{letter} is {soft if letter == 'n' else _bytes(soft)}"


def room(folder: str) -> str:
    """The size and the free space of the file system of a folder, mostly /dev/shm."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        if is_foreign(error):
            raise
        return f"{folder} cannot be read ({error.strerror})"
    size, free = found.f_blocks * found.f_frsize, found.f_bfree * found.f_frsize
    files = f", {found.f_files} files of which {found.f_ffree} are free" if found.f_files else ""
    return f"{folder} has {_bytes(size)}, {_bytes(free)} free{files}"


def huge_page_sizes() -> list[int] | None:
    """The sizes of this kernel's huge pages in bytes; None if /sys does not show them."""
    try:
        names = os.listdir("/sys/kernel/mm/hugepages")
        return sorted([int(name.removeprefix("hugepages-").removesuffix("kB")) * 1024 for name in names])
    except (OSError, ValueError) as error:
        if is_foreign(error):
            raise
        absent = isinstance(error, FileNotFoundError) and os.path.isdir("/sys/kernel/mm")
        return [] if absent else None


def free_huge_pages() -> str:
    """How many huge pages of each size are free, and of how many."""
    words = []
    sizes = huge_page_sizes()
    if sizes is None:
        return "/sys/kernel/mm/hugepages cannot be read"
    for size in sizes:
        counts = []
        for name in ("free_hugepages", "nr_hugepages"):
            try:
                counts.append(read(f"/sys/kernel/mm/hugepages/hugepages-{size // 1024}kB/{name}").decode().strip())
            except OSError as error:
                if is_foreign(error):
                    raise
                counts.append("?")
        words.append(f"{counts[0]} of {counts[1]} huge pages of {size // 1024} kB are free")
    return ", ".join(words) or "this kernel has no huge pages"


def mappings() -> list[tuple[int, int, str]] | None:
    """The mappings of this process: first address, address after the last, name; None if /proc does not show them."""
    try:
        text = read("/proc/self/maps").decode("utf-8", "replace")
        rows = [line.split(maxsplit=5) for line in text.rstrip("\n").split("\n")]
    except OSError as error:
        if is_foreign(error):
            raise
        return None
    found = []
    for row in rows:
        start, _, stop = row[0].partition("-")
        found.append((int(start, 16), int(stop, 16), row[5].strip() if len(row) == 6 else "private memory"))
    return found


def taken_of_addresses() -> tuple[int | None, int | None]:
    """How many bytes of addresses this process may use (None: no limit), and how many it uses (None: unknown)."""
    soft = lib.shms_posix_getrlimit(_RESOURCES["v"])
    allowed = None if soft == _UNLIMITED else soft
    try:
        taken = int(read("/proc/self/statm").split()[0]) * PAGE
    except (OSError, ValueError, IndexError) as error:
        if is_foreign(error):
            raise
        return allowed, None
    return allowed, taken


def room_for_mappings() -> str:
    """The limits on the mappings of this process, and how many mappings exist."""
    found = mappings()
    count = "how many mappings exist cannot be read" if found is None else f"{len(found)} mappings exist"
    return f"{ulimit('v')}, {limit('vm.max_map_count')}, {count}"


def mappings_are_used_up() -> bool:
    """Whether this process has reached its limit of mappings."""
    found, allowed = mappings(), limit("vm.max_map_count").rpartition(" ")[2]
    return found is not None and allowed.isdigit() and len(found) + 1 >= int(allowed)


def mapping_at(address: int, size: int) -> str | None:
    """The existing mapping in a range of addresses."""
    for start, stop, name in mappings() or ():
        if start < address + max(size, 1) and address < stop:
            return f"{name} at {start:#x} to {stop:#x}"
    return None
