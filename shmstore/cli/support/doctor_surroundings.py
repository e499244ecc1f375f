"""Checks of the surroundings: namespaces, systemd, memory, control groups, and the existing stores."""

from __future__ import annotations

import configparser
import os
import shlex

from shmstore.cli.support.header import parse_header
from shmstore.cli.support.human import ago, amount, mode, user
from shmstore.cli.support.machine import Finding, Machine, note, ok, problem, unread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shmstore.cli.support.header import Header
    from shmstore.cli.support.objects import Object
    from shmstore.cli.support.segments import Segment

__all__ = ["CHECKS"]

# The first namespaces of a kernel have these numbers (include/linux/proc_ns.h).
FIRST = {"ipc": 0xEFFFFFFF, "pid": 0xEFFFFFFC, "time": 0xEFFFFFFA}
SYSTEM_USERS = 999  # the last uid that systemd counts as a system user, where /etc/login.defs says nothing


def namespaces(machine: Machine) -> Finding:
    """Which processes share stores with this one, and whose deaths can it prove?"""
    links = {kind: machine.link(f"/proc/self/ns/{kind}") for kind in FIRST}
    if links["ipc"] is None or links["pid"] is None:  # that of time is new in Linux 5.6
        return unread("namespaces", "/proc/self/ns", "it is unknown whose deaths this process can prove")
    inner = [kind for kind, first in FIRST.items() if links[kind] not in (None, f"{kind}:[{first}]")]
    if "ipc" in inner:
        return note(
            "namespaces",
            "this process is in an IPC namespace of its own, as in a container: it shares no System V stores with other namespaces, and its stores end with the namespace",
            "to share stores: docker run --ipc=container:NAME with --network=container:NAME or --pid=container:NAME, so that deaths can be proved; the containers of a Kubernetes pod share both anyway",
        )
    if "pid" in inner:
        return note(
            "namespaces",
            "this process is in a pid namespace of its own: it cannot always prove that a process outside is dead, and then waits for the locks of that process",
            "docker run --pid=host, if all processes that share a store are yours",
        )
    return ok("namespaces", "this process is in those of the host, and can share stores with every process")


def hidden_proc(machine: Machine) -> Finding:
    """Can the processes of other users be seen?"""
    mounts = machine.mounts()
    if mounts is None:
        return unread("/proc", "/proc/self/mounts", "deaths may not be provable; is /proc mounted?")
    options = mounts.get("/proc", ("", ""))[1].split(",")
    hidden = [
        option for option in options if option.startswith("hidepid=") and option not in ("hidepid=0", "hidepid=off")
    ]
    if hidden and machine.uid:
        return note(
            "/proc",
            f"it is mounted with {hidden[0]}: this process cannot always prove that a process of another user is dead, and then waits for its locks",
            "as root: mount -o remount,hidepid=0 /proc",
        )
    return ok("/proc", "it shows all processes")


def remove_ipc(machine: Machine) -> Finding:
    """Does systemd remove this user's segments at logout?"""
    topic = "RemoveIPC"
    if not machine.exists("/run/systemd/system"):
        return ok(topic, "systemd does not run here")
    if machine.uid <= _last_system_uid(machine):
        return ok(
            topic, f"{user(machine.uid)} is a system user, and systemd does not remove the shared memory of those"
        )
    value, where = _removes_ipc(machine)
    if not value:
        return ok(topic, f"systemd does not remove shared memory ({where})")
    if user(machine.uid) in machine.names("/var/lib/systemd/linger"):
        return note(
            topic,
            f"RemoveIPC=yes ({where}), but {user(machine.uid)} lingers, so systemd removes the stores only when lingering ends",
        )
    return problem(
        topic,
        f"RemoveIPC=yes ({where}): when the last session of {user(machine.uid)} ends, systemd removes all stores of this user, even those in use",
        "run as a system user; or loginctl enable-linger; or as root: mkdir -p /etc/systemd/logind.conf.d && "
        "printf '[Login]\\nRemoveIPC=no\\n' > /etc/systemd/logind.conf.d/ipc.conf && systemctl restart systemd-logind",
    )


def _removes_ipc(machine: Machine) -> tuple[bool, str]:
    """What logind.conf and its drop-ins say, and which of them; the default is yes."""
    drop_ins: dict[str, str] = {}
    for folder in ("/usr/lib/systemd", "/run/systemd", "/etc/systemd"):  # each shadows those before it
        for name in machine.names(f"{folder}/logind.conf.d"):
            if name.endswith(".conf"):
                drop_ins[name] = f"{folder}/logind.conf.d/{name}"
    mains = [f"{folder}/logind.conf" for folder in ("/etc/systemd", "/run/systemd", "/usr/lib/systemd")]
    main = next((path for path in mains if machine.exists(path)), None)
    value, where = True, "the default"
    for path in [*([main] if main else []), *(drop_ins[name] for name in sorted(drop_ins))]:
        parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
        try:
            parser.read_string(machine.text(path) or "")
            text = parser.get("Login", "RemoveIPC", fallback=None)
        except configparser.Error:
            continue
        if text is not None:
            value, where = text.strip().lower() in ("yes", "true", "1", "on"), path
    return value, where


def _last_system_uid(machine: Machine) -> int:
    for line in (machine.text("/etc/login.defs") or "").splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "SYS_UID_MAX" and words[1].isdigit():
            return int(words[1])
    return SYSTEM_USERS


def memory(machine: Machine) -> Finding:
    """Is there enough memory for all stores if they fill up?"""
    available, total = machine.memory("MemAvailable"), machine.memory("MemTotal")
    if available is None or total is None:
        return unread("memory", "/proc/meminfo")
    segments, objects = machine.segments(), machine.posix_stores()
    if segments is None or objects is None:
        return unread(
            "memory", "/dev/shm" if segments else "/proc/sysvipc/shm", "it is unknown how much stores can still grow"
        )
    promised = sum(max(0, segment.size - segment.row.rss - segment.row.swap) for segment in segments)
    growth = sum(max(0, one.size - one.allocated) for one in objects)
    promised += min(growth, (machine.room("/dev/shm") or (0, 0))[1])
    says = f"{amount(available)} of {amount(total)} are available; stores and segments can still grow by {amount(promised)}"
    if promised > available:
        return problem(
            "memory",
            f"{says}, which is more, and the kernel may then kill a process",
            "remove what you do not need (shmstore ls, shmstore rm); create smaller stores",
        )
    return ok("memory", says)


def swap(machine: Machine) -> Finding:
    """May stores be swapped out?"""
    segments, size = machine.segments(), machine.memory("SwapTotal")
    if segments is None or size is None:
        return unread("swap", "/proc/sysvipc/shm" if segments is None else "/proc/meminfo")
    swapped = sum(segment.row.swap for segment in segments)
    if swapped:
        return note(
            "swap",
            f"{amount(swapped)} of shared memory are swapped out, and reads of it take milliseconds",
            "as root: swapoff -a && swapon -a, with enough memory free",
        )
    if not size:
        return ok("swap", "there is none, so stores stay in memory")
    return ok("swap", f"{amount(size)}; no shared memory is in it")


def overcommit(machine: Machine) -> Finding:
    """Does the kernel count memory that was not used yet?"""
    policy = machine.number("/proc/sys/vm/overcommit_memory")
    if policy is None:
        return unread("overcommit", "vm.overcommit_memory")
    if policy == 2:
        limit, committed = machine.memory("CommitLimit") or 0, machine.memory("Committed_AS") or 0
        return note(
            "overcommit",
            f"vm.overcommit_memory=2: the kernel counts the whole size of a store when it is created; {amount(max(0, limit - committed))} are left",
            "as root: sysctl -w vm.overcommit_memory=0",
        )
    return ok("overcommit", "the kernel counts memory when it is used")


def control_group(machine: Machine) -> Finding:
    """How much memory does this process's control group allow? A page of a store is charged to the process that uses it first."""
    if machine.text("/proc/self/cgroup") is None:
        return unread("control group", "/proc/self/cgroup", "its memory limit is unknown")
    limit, where = _group_limit(machine)
    total = machine.memory("MemTotal") or 1 << 62
    if limit is None or limit >= total:
        return ok("control group", "it allows all the memory of the machine")
    segments = machine.segments()
    says = f"{where} allows {amount(limit)}, including shared memory that this process uses first"
    if segments is None:
        return unread("control group", f"{says}; /proc/sysvipc/shm")
    size = sum(segment.size for segment in segments if segment.uid == machine.uid)
    says += f"; your segments have {amount(size)}"
    if size > limit:
        return problem(
            "control group",
            f"{says}: if they fill up, the kernel kills a process",
            "raise the limit (docker run --memory, systemd MemoryMax=), or make stores smaller",
        )
    return note("control group", says)


def _group_limit(machine: Machine) -> tuple[int | None, str]:
    """The lowest limit on the way from this process's control group to the root, of version 2 or 1."""
    limits = []
    for line in (machine.text("/proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        top, file = (
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes") if controllers else ("/sys/fs/cgroup", "memory.max")
        )
        while True:
            limit = machine.number(f"{top}{path.rstrip('/')}/{file}")
            if limit is not None:
                limits.append((limit, f"{top}{path.rstrip('/')}/{file}"))
            if path in ("", "/"):
                break
            path = os.path.dirname(path)
    return min(limits) if limits else (None, "")


def permissions(machine: Machine) -> Finding:
    """Can all users write to a store of this user?"""
    segments, objects = machine.segments(), machine.posix_stores()
    if segments is None or objects is None:
        return unread("permissions", "/proc/sysvipc/shm" if segments is None else "/dev/shm")
    own: list[Segment | Object] = [segment for segment in segments if not segment.removed]
    own += objects
    own = [one for one in own if one.uid == machine.uid]
    open_ = [one for one in own if one.mode & 0o002]
    if open_:
        ((option, value),) = open_[0].identity().items()
        return problem(
            "permissions",
            f"all users can write to {len(open_)} of your stores and segments ({open_[0].shown} has mode {mode(open_[0].mode)})",
            f"shmstore chmod o-w --{option} {shlex.quote(str(value))}",
        )
    return ok("permissions", f"none of your {len(own)} stores and segments is writable for all users")


def sizes(machine: Machine) -> Finding:
    """Do processes ask for sizes that their stores do not have?"""
    topic = "sizes"
    segments, objects = machine.segments(), machine.posix_stores()
    if segments is None or objects is None:
        return unread(topic, "/dev/shm" if segments else "/proc/sysvipc/shm")
    places: list[Segment | Object] = [*segments, *objects]
    stores = [(one, _header(one)) for one in places if one.uid == machine.uid and not getattr(one, "removed", False)]
    differing = [
        (one, header)
        for one, header in stores
        if header is not None and header.complete and not (header.destroyed or header.superseded) and header.requested
    ]
    if not differing:
        return ok(topic, "your stores have the sizes that processes asked for")
    said = []
    for one, header in differing:
        has = {"size": header.size, "max_entries": header.max_entries, "max_clients": header.max_clients}
        what = " and ".join(
            [
                f"{field}={_shown(field, has[field])}, where {_shown(field, asked)} was asked for"
                for field, asked in header.requested.items()
            ]
        )
        said.append(
            f"{header.name or one.shown!r} has {what} (by process {header.requested_by}, {ago(header.requested_at)})"
        )
    return note(
        topic,
        "; ".join(said) + "; a store keeps its size until it is resized",
        "; ".join([_change(one, header) for one, header in differing]),
    )


def _shown(field: str, value: int | None) -> str:
    return amount(value) if field == "size" and value else f"{value}"


def _change(one: Segment | Object, header: Header) -> str:
    """The command that gives a store what was asked for. Only a new store can have another max_clients."""
    asked = header.requested
    if header.name is None or header.kind != "name" or "max_clients" in asked:
        ((option, value),) = one.identity().items()
        return (
            f"shmstore rm --force --{option} {shlex.quote(str(value))} removes it with all its entries, and the processes open it "
            "again (a Cache does that by itself)"
        )
    entries = f" --max-entries {asked['max_entries']}" if "max_entries" in asked else ""
    backend = " --backend posix" if one.backend == "posix" else ""
    name = f"--name {shlex.quote(header.name)}" if header.name[:1] in "-0" else shlex.quote(header.name)
    return f"shmstore resize {name} {asked.get('size', header.size)}{entries}{backend}"


def _header(one: Segment | Object) -> Header | None:
    try:
        return parse_header(one.first_page())
    except OSError:
        return None  # gone, or not ours to read


def forgotten(machine: Machine) -> Finding:
    """Do unused segments occupy memory?"""
    segments = machine.segments()
    if segments is None:
        return unread("left over", "/proc/sysvipc/shm")
    idle = [segment for segment in segments if segment.attached == 0 and segment.uid == machine.uid]
    ghosts = [segment for segment in segments if segment.removed]
    held, waiting = sum(one.row.rss + one.row.swap for one in idle), sum(one.row.rss + one.row.swap for one in ghosts)
    says = f"no process is attached to {len(idle)} of your segments ({amount(held)} of memory)"
    if ghosts:
        says += f"; removed or private segments that are still attached: {len(ghosts)} ({amount(waiting)})"
    if held + waiting > (machine.memory("MemTotal") or 0) // 20 or ghosts:
        return note("left over", says, "remove what you do not need (shmstore ls, shmstore rm)")
    return ok("left over", says)


def clients(machine: Machine) -> Finding:
    """Can more processes write to each store?"""
    from shmstore.cli.support.found import store_name

    stores = machine.stores()
    if stores is None:
        return unread("clients", "/proc/sysvipc/shm or /dev/shm")
    tables = [(one.clients, one.header.max_clients, one) for one in stores if one.header and one.clients is not None]
    if not tables:
        return ok("clients", "there is no store to read")
    used, limit, fullest = max(tables, key=lambda table: table[0] / table[1])
    says = f"{used:,} of {limit:,} client slots are in use in {store_name(fullest)}, the fullest of {len(tables)}"
    if used * 10 < limit * 9:
        return ok("clients", says)
    return note(
        "clients",
        says,
        "create the store again with a larger max_clients (shmstore clients lists the processes that write)",
    )


CHECKS = (
    namespaces, hidden_proc, remove_ipc, memory, swap, overcommit, control_group, permissions, sizes, forgotten, clients
)  # fmt: skip
