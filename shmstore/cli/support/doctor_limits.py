"""Checks of what the kernel gives: limits of System V memory, /dev/shm, huge pages, memory that may be locked."""

from __future__ import annotations

import resource

from shmstore.cli.support.human import amount
from shmstore.cli.support.machine import Finding, Machine, note, ok, problem, unread

__all__ = ["CHECKS"]

DEFAULT_SIZE = 64 << 20  # of a store
DOCKER_SHM = 64 << 20  # the default size of a container's /dev/shm
UNLIMITED = 1 << 60
CAP_IPC_LOCK = 14
ROOT_SETS = "as root: sysctl -w"


def table(machine: Machine) -> Finding:
    """Does the kernel have System V shared memory, and does /proc show it?"""
    segments = machine.segments()
    if segments is not None:
        return ok("System V", f"{len(segments)} segments in this IPC namespace")
    if machine.exists("/proc/sysvipc/shm"):
        return unread("System V", "/proc/sysvipc/shm", "shmstore ls shows nothing")
    return problem(
        "System V",
        "/proc/sysvipc/shm is missing: the kernel lacks CONFIG_SYSVIPC, which System V stores need, or /proc is hidden",
        "mount -t proc proc /proc, or another kernel (gVisor and old WSL have none)",
    )


def shmmax(machine: Machine) -> Finding:
    """How large may one segment be?"""
    limit = machine.number("/proc/sys/kernel/shmmax")
    if limit is None:
        return unread("shmmax", "kernel.shmmax")
    if limit >= UNLIMITED:
        return ok("shmmax", "a segment can have any size")
    total = machine.memory("MemTotal") or 0
    if limit < DEFAULT_SIZE:
        return problem(
            "shmmax",
            f"a segment can have at most {amount(limit)}, less than the default size of a store ({amount(DEFAULT_SIZE)})",
            f"{ROOT_SETS} kernel.shmmax={max(total, 1 << 30)}",
        )
    if limit < total // 2:
        return note("shmmax", f"a segment can have at most {amount(limit)}", f"{ROOT_SETS} kernel.shmmax={total}")
    return ok("shmmax", f"a segment can have up to {amount(limit)}")


def shmall(machine: Machine) -> Finding:
    """How much may all segments have together?"""
    limit = machine.number("/proc/sys/kernel/shmall")
    if limit is None:
        return unread("shmall", "kernel.shmall")
    segments = machine.segments()
    if segments is None:
        return unread(
            "shmall",
            "/proc/sysvipc/shm",
            f"it is unknown how much all segments together use of {amount(limit * machine.page)}",
        )
    taken = sum(-(-segment.size // machine.page) for segment in segments)
    left = max(0, limit - taken) * machine.page
    if limit * machine.page >= UNLIMITED:
        return ok("shmall", f"all segments together use {amount(taken * machine.page)}; there is no limit")
    says = f"all segments together use {amount(taken * machine.page)} of {amount(limit * machine.page)}"
    fix = f"{ROOT_SETS} kernel.shmall={max(limit * 2, (taken * machine.page + (1 << 30)) // machine.page)}"
    if left < DEFAULT_SIZE:
        return problem(
            "shmall", f"{says}: too little is left for a store of the default size ({amount(DEFAULT_SIZE)})", fix
        )
    return ok("shmall", says) if left > (1 << 30) else note("shmall", says, fix)


def shmmni(machine: Machine) -> Finding:
    """How many segments may there be?"""
    limit = machine.number("/proc/sys/kernel/shmmni")
    if limit is None:
        return unread("shmmni", "kernel.shmmni")
    segments = machine.segments()
    if segments is None:
        return unread("shmmni", "/proc/sysvipc/shm", f"it is unknown how many of at most {limit} segments exist")
    count = len(segments)
    says = f"{count} of {limit} segments exist"
    fix = f"{ROOT_SETS} kernel.shmmni={min(32768, limit * 2)}"
    if count >= limit:
        return problem(
            "shmmni",
            f"{says}: no store can be created",
            f"{fix}; or remove what you do not need (shmstore ls, shmstore rm)",
        )
    return note("shmmni", says, fix) if count > limit * 0.8 else ok("shmmni", says)


def removed_unused(machine: Machine) -> Finding:
    """Does a store outlive its processes?"""
    topic, forced = "shm_rmid_forced", machine.number("/proc/sys/kernel/shm_rmid_forced")
    if forced is None:
        return unread(topic, "kernel.shm_rmid_forced")
    if forced:
        return problem(
            topic,
            "kernel.shm_rmid_forced=1: the kernel removes a store in System V memory as soon as no process is attached to it",
            f'{ROOT_SETS} kernel.shm_rmid_forced=0; or use backend="posix", which this setting does not affect',
        )
    return ok(topic, "a store stays when no process is attached")


def file_size(machine: Machine) -> Finding:
    """How large may a file be? A POSIX store is one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if soft == resource.RLIM_INFINITY:
        return ok("file size", "this process can create files of any size")
    says = f"ulimit -f: this process can create files of at most {amount(soft)}, and a POSIX store is a file"
    fix = 'ulimit -f unlimited (systemd: LimitFSIZE=infinity); or use backend="sysv", the default'
    return note("file size", says, fix) if soft < DEFAULT_SIZE else ok("file size", says)


def dev_shm(machine: Machine) -> Finding:
    """Is there room for POSIX shared memory, and for the stores in it? They do not limit System V segments."""
    room, mounts = machine.room("/dev/shm"), machine.mounts()
    if mounts is None:
        return unread("/dev/shm", "/proc/self/mounts", "it is unknown whether /dev/shm is mounted")
    if room is None or "/dev/shm" not in mounts:
        return note(
            "/dev/shm",
            'it is missing, so backend="posix" cannot work; System V stores can',
            "as root: mount -t tmpfs -o mode=1777 tmpfs /dev/shm",
        )
    if "ro" in mounts["/dev/shm"][1].split(","):
        return note(
            "/dev/shm",
            'it is mounted read-only, so backend="posix" cannot open stores for writing; System V stores are not affected',
            "as root: mount -o remount,rw /dev/shm",
        )
    total, free = room
    stores = machine.posix_stores()
    if stores is None:
        return unread(
            "/dev/shm", "the directory", f"its contents are unknown; {amount(free)} of {amount(total)} are free"
        )
    size = sum(one.size for one in stores)
    growth = sum(max(0, one.size - one.allocated) for one in stores)
    says = f"{amount(free)} of {amount(total)} are free"
    if stores:
        says += f"; the POSIX stores ({len(stores)}, with {amount(size)} in all) can still grow by {amount(growth)}"
    enough = amount(_enough(total, growth))
    enlarge = f"as root: mount -o remount,size={enough} /dev/shm; or docker run --shm-size={enough}"
    if total and free < total // 10:
        return problem(
            "/dev/shm",
            f"{says}: puts into POSIX stores raise StoreFull, and other programs end by SIGBUS; System V stores are not affected",
            f'{enlarge}; or use backend="sysv"; or remove what you do not need (shmstore ls, shmstore rm)',
        )
    if growth > free:
        return problem(
            "/dev/shm",
            f"{says}: puts will raise StoreFull before the stores are full; System V stores are not affected",
            f'{enlarge}; or use backend="sysv"',
        )
    if total and total <= DOCKER_SHM:
        return note(
            "/dev/shm",
            f"{says}; its size is {amount(total)}, the default of containers, and POSIX stores together cannot hold more; "
            "System V stores are not affected",
            f'{enlarge}; or use backend="sysv", the default',
        )
    return ok("/dev/shm", says)


def _enough(total: int, growth: int) -> int:
    """A round size that has room for what is there, and for what the stores may become."""
    size = 2 << 30
    while size < total + growth:
        size *= 2
    return size


def huge_pages(machine: Machine) -> Finding:
    """Are there huge pages? Only stores with hugepages= need them."""
    total, free, promised, size = (
        machine.memory(field) for field in ("HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "Hugepagesize")
    )
    if machine.text("/proc/meminfo") is None:
        return unread("huge pages", "/proc/meminfo")
    if not size:
        return note("huge pages", "this kernel has none, so hugepages= raises an error")
    if not total:
        wanted = -(-DEFAULT_SIZE // size)
        return ok(
            "huge pages",
            f"none are reserved, so hugepages= raises an error; a store of the default size ({amount(DEFAULT_SIZE)}) "
            f"needs vm.nr_hugepages={wanted}, of {amount(size)} each",
        )
    group = machine.number("/proc/sys/vm/hugetlb_shm_group")
    who = "" if machine.capable(CAP_IPC_LOCK) else f"; only root and group {group or 0} may use them in System V memory"
    free = (free or 0) - (promised or 0)
    says = f"{free} of {total} are free, {amount(size)} each{who}"
    if not free:
        return note("huge pages", f"{says}, so hugepages= raises an error", f"{ROOT_SETS} vm.nr_hugepages={total * 2}")
    if who:
        return note("huge pages", says, f"{ROOT_SETS} vm.hugetlb_shm_group=GID")
    return ok("huge pages", says)


def locking(machine: Machine) -> Finding:
    """May this process lock memory?"""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if machine.capable(CAP_IPC_LOCK) or soft == resource.RLIM_INFINITY:
        return ok("memlock", "this user can lock any amount of memory (lock_memory=)")
    if soft < DEFAULT_SIZE:
        return note(
            "memlock",
            f"this user can lock at most {amount(soft)}, less than the default size of a store ({amount(DEFAULT_SIZE)}); this matters only for lock_memory=",
            "ulimit -l unlimited (as root, or in /etc/security/limits.conf; systemd: LimitMEMLOCK=infinity; docker run --ulimit memlock=-1)",
        )
    return ok("memlock", f"this user can lock at most {amount(soft)} (lock_memory=)")


CHECKS = (table, shmmax, shmall, shmmni, removed_unused, dev_shm, file_size, huge_pages, locking)
