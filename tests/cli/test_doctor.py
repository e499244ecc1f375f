"""``shmstore doctor`` on machines of paper: each check reports settings that cause problems, and only those."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import shmstore
from shmstore.cli.support import doctor_limits as limits
from shmstore.cli.support import doctor_surroundings as surroundings
from shmstore.cli.support.found import stores as found_stores
from shmstore.cli.support.machine import Machine

GIB = 1 << 30
HEADER = "key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap\n"


@pytest.fixture
def machine(tmp_path):
    """A machine of files: machine(**{"/path": content}), uid 1000, 4 GiB of memory."""

    def machine(files=None, **fields):
        content = {
            "/proc/sysvipc/shm": HEADER,
            "/proc/meminfo": "MemTotal: 4194304 kB\nMemAvailable: 2097152 kB\nSwapTotal: 0 kB\nHugepagesize: 2048 kB\nHugePages_Total: 0\nHugePages_Free: 0\n",
            "/proc/self/mounts": "tmpfs /dev/shm tmpfs rw 0 0\nproc /proc proc rw 0 0\n",
            **(files or {}),
        }
        for path, text in content.items():
            target = tmp_path / path[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(str(text))
        made = Machine(str(tmp_path))
        made.uid, made.page = 1000, 4096
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    return machine


def row(shmid=1, size=4096, mode="600", uid=1000, nattch=1, rss=0, swap=0):
    return f"{shmid} {shmid} {mode} {size} 1 1 {nattch} {uid} 0 {uid} 0 0 0 0 {rss} {swap}\n"


def level(finding, *words):
    assert all(word in finding.says for word in words), finding.says
    assert (finding.level == "problem") <= bool(finding.fix) <= (finding.level != "ok")
    return finding.level


def test_shmmax(machine):
    path = "/proc/sys/kernel/shmmax"
    assert level(limits.shmmax(machine({path: 18446744073692774399})), "any size") == "ok"
    assert level(limits.shmmax(machine({path: 4 << 20})), "4M", "64M") == "problem"
    assert level(limits.shmmax(machine({path: GIB})), "1G") == "note"
    assert level(limits.shmmax(machine({path: 3 * GIB}))) == "ok"


def test_shmall(machine):
    path, table = "/proc/sys/kernel/shmall", "/proc/sysvipc/shm"
    assert level(limits.shmall(machine({path: 18446744073692774399}))) == "ok"
    full = machine({path: GIB // 4096, table: HEADER + row(size=GIB - 4096)})
    assert level(limits.shmall(full), "too little is left") == "problem"
    assert limits.shmall(full).fix.startswith("as root: sysctl -w kernel.shmall=")
    assert level(limits.shmall(machine({path: GIB // 2048, table: HEADER + row(size=GIB + 5)}))) == "note"


def test_shmmni(machine):
    path, table = "/proc/sys/kernel/shmmni", "/proc/sysvipc/shm"
    assert level(limits.shmmni(machine({path: 4096, table: HEADER + row()})), "1 of 4096") == "ok"
    nine = HEADER + "".join(row(i) for i in range(9))
    assert level(limits.shmmni(machine({path: 10, table: nine}))) == "note"
    assert level(limits.shmmni(machine({path: 9, table: nine})), "no store can be created") == "problem"


def test_dev_shm(machine):
    assert level(limits.dev_shm(machine(room=lambda path: (8 * GIB, 8 * GIB))), "8G of 8G") == "ok"
    assert level(limits.dev_shm(machine(room=lambda path: (64 << 20, 64 << 20))), "64M", "not affected") == "note"
    assert level(limits.dev_shm(machine(room=lambda path: (64 << 20, 1 << 20))), "SIGBUS") == "problem"
    assert level(limits.dev_shm(machine(room=lambda path: None)), "missing") == "note"
    store = {"/dev/shm/shmstore-a": "SHMSTORE".ljust(1 << 20, "\0"), "/dev/shm/other": "x"}
    assert (
        level(limits.dev_shm(machine(store, room=lambda path: (GIB, GIB))), "POSIX stores (1, with 1M in all)") == "ok"
    )
    os.truncate(machine(store).root + "/dev/shm/shmstore-a", 3 * GIB)  # it is sparse, and will want its pages
    found = limits.dev_shm(machine(room=lambda path: (GIB, GIB)))
    assert level(found, "grow by 3", "before the stores are full") == "problem"
    assert found.fix.startswith("as root: mount -o remount,size=4G /dev/shm; or docker run --shm-size=4G")


def test_huge_pages(machine):
    info, mighty = (
        "Hugepagesize: 2048 kB\nHugePages_Total: 4\nHugePages_Free: {}\n",
        {"/proc/self/status": "CapEff:\t0000000000004000\n"},
    )
    none = limits.huge_pages(machine())
    assert level(none, "needs vm.nr_hugepages=32, of 2M each") == "ok"
    assert level(limits.huge_pages(machine({"/proc/meminfo": info.format(3), **mighty})), "3 of 4", "2M") == "ok"
    weak = {"/proc/self/status": "CapEff:\t0000000000000000\n", "/proc/sys/vm/hugetlb_shm_group": 27}
    assert level(limits.huge_pages(machine({"/proc/meminfo": info.format(3), **weak}, uid=0)), "group 27") == "note"
    assert level(limits.huge_pages(machine({"/proc/meminfo": info.format(0)})), "raises an error") == "note"
    assert level(limits.huge_pages(machine({"/proc/meminfo": ""}))) == "note"


def test_locking(machine, monkeypatch):
    """Root in a container lacks the capability, and has a limit like anybody."""
    weak = machine({"/proc/self/status": "CapEff:\t00000000a80425fb\n"}, uid=0)
    monkeypatch.setattr(limits.resource, "getrlimit", lambda which: (8 << 20, 8 << 20))
    assert level(limits.locking(weak), "8M", "lock_memory=") == "note"
    monkeypatch.setattr(limits.resource, "getrlimit", lambda which: (GIB, GIB))
    assert level(limits.locking(weak), "1G") == "ok"
    assert level(limits.locking(machine({"/proc/self/status": "CapEff:\t0000000000004000\n"})), "any amount") == "ok"


def test_no_system_v(machine, tmp_path):
    made = machine()
    assert level(limits.table(made), "0 segments") == "ok"
    (tmp_path / "proc/sysvipc/shm").unlink()
    assert level(limits.table(made), "CONFIG_SYSVIPC") == "problem"


def test_namespaces(machine):
    def links(**inodes):
        return lambda path: (
            f"{os.path.basename(path)}:[{inodes.get(os.path.basename(path), surroundings.FIRST[os.path.basename(path)])}]"
        )

    assert level(surroundings.namespaces(machine(link=links()))) == "ok"
    assert level(surroundings.namespaces(machine(link=links(ipc=4026532000))), "IPC namespace of its own") == "note"
    assert level(surroundings.namespaces(machine(link=links(pid=4026532000))), "pid namespace") == "note"
    assert level(surroundings.namespaces(machine(link=lambda path: None)), "cannot be read") == "note"


def test_hidden_proc(machine):
    mounts = {"/proc/self/mounts": "proc /proc proc rw,hidepid=invisible 0 0\n"}
    assert level(surroundings.hidden_proc(machine(mounts)), "hidepid=invisible") == "note"
    assert level(surroundings.hidden_proc(machine(mounts, uid=0))) == "ok"
    assert level(surroundings.hidden_proc(machine({"/proc/self/mounts": "proc /proc proc rw,hidepid=0 0 0\n"}))) == "ok"


SYSTEMD = {"/run/systemd/system/x": ""}


def test_remove_ipc(machine, tmp_path):
    check = surroundings.remove_ipc
    assert level(check(machine()), "does not run") == "ok"
    assert level(check(machine(SYSTEMD)), "RemoveIPC=yes (the default)") == "problem"
    assert level(check(machine(SYSTEMD, uid=999)), "system user") == "ok"
    assert level(check(machine(SYSTEMD, uid=0))) == "ok"
    assert level(check(machine({**SYSTEMD, "/etc/login.defs": "# x\nSYS_UID_MAX 1500\n"}))) == "ok"
    (tmp_path / "etc/login.defs").unlink()
    assert level(check(machine({**SYSTEMD, "/etc/systemd/logind.conf": "[Login]\n#RemoveIPC=no\n"}))) == "problem"
    assert (
        level(check(machine({"/etc/systemd/logind.conf": "[Login]\nRemoveIPC=no\n"})), "/etc/systemd/logind.conf")
        == "ok"
    )
    assert (
        level(check(machine({"/usr/lib/systemd/logind.conf.d/50.conf": "[Login]\nRemoveIPC=yes\n"})), "50.conf")
        == "problem"
    )
    assert level(check(machine({"/etc/systemd/logind.conf.d/50.conf": "[Login]\nRemoveIPC=off\n"}))) == "ok"  # shadows
    assert level(check(machine({"/etc/systemd/logind.conf.d/60.conf": "no section\n"}))) == "ok"
    assert level(check(machine({"/etc/systemd/logind.conf.d/70.conf": "[Login]\nRemoveIPC=1\n"}))) == "problem"
    lingering = {"/var/lib/systemd/linger/" + surroundings.user(1000): ""}
    assert level(check(machine(lingering)), "lingers") == "note"


def test_memory_and_swap(machine):
    table = "/proc/sysvipc/shm"
    assert level(surroundings.memory(machine({table: HEADER + row(size=GIB)})), "2G of 4G", "1G") == "ok"
    assert level(surroundings.memory(machine({table: HEADER + row(size=9 * GIB, rss=GIB)})), "8G") == "problem"
    assert level(surroundings.swap(machine())) == "ok"
    assert level(surroundings.swap(machine({table: HEADER + row(swap=1 << 20)})), "1M") == "note"
    assert level(surroundings.overcommit(machine({"/proc/sys/vm/overcommit_memory": 0}))) == "ok"
    assert level(surroundings.overcommit(machine({"/proc/sys/vm/overcommit_memory": 2})), "whole size") == "note"


def test_control_groups(machine, tmp_path):
    check, table = surroundings.control_group, "/proc/sysvipc/shm"
    group = {"/proc/self/cgroup": "0::/a/b\n", table: HEADER + row(size=GIB)}
    assert level(check(machine(group))) == "ok"
    assert (
        level(
            check(machine({**group, "/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/memory.max": 2 * GIB})),
            "2G",
            "1G",
        )
        == "note"
    )
    assert level(check(machine({**group, "/sys/fs/cgroup/a/b/memory.max": GIB // 2})), "512M") == "problem"
    old = {
        **group,
        "/proc/self/cgroup": "4:memory:/c\n2:cpu:/a/b\n",
        "/sys/fs/cgroup/memory/c/memory.limit_in_bytes": 9223372036854771712,
    }
    assert level(check(machine(old))) == "ok"
    assert (
        level(check(machine({**old, "/sys/fs/cgroup/memory/c/memory.limit_in_bytes": GIB // 4})), "256M") == "problem"
    )


def test_permissions_and_left_overs(machine):
    table = "/proc/sysvipc/shm"
    assert level(surroundings.permissions(machine({table: HEADER + row(mode="666", uid=5)}))) == "ok"
    found = surroundings.permissions(machine({table: HEADER + row(7, mode="666")}))
    assert level(found, "segment 7 has mode 0666") == "problem" and found.fix == "shmstore chmod o-w --id 7"
    made = machine({"/dev/shm/shmstore-a": "SHMSTORE".ljust(1 << 20, "\0")}, uid=os.geteuid())
    os.chmod(made.root + "/dev/shm/shmstore-a", 0o600)  # whatever the umask
    assert level(surroundings.permissions(made)) == "ok"
    os.chmod(made.root + "/dev/shm/shmstore-a", 0o666)
    found = surroundings.permissions(made)
    assert (
        level(found, "shmstore-a has mode 0666") == "problem" and found.fix == "shmstore chmod o-w --object shmstore-a"
    )
    assert (
        level(surroundings.forgotten(machine({table: HEADER + row(nattch=0, rss=4096)})), "1 of your segments") == "ok"
    )
    assert level(surroundings.forgotten(machine({table: HEADER + row(nattch=0, rss=GIB)})), "1G") == "note"
    assert level(surroundings.forgotten(machine({table: HEADER + row(mode="1600")})), "still attached: 1") == "note"


def test_clients(machine, store, key, make):
    """Of real stores: the one that is fullest. Tests beside this one may have fuller ones."""
    here = machine()
    here.stores = list
    assert level(surroundings.clients(here), "no store") == "ok"
    with shmstore.Store(f"{key}-other", size="64K", max_clients=2) as other:
        found = [one for one in found_stores("sysv") if str(one.header.name).startswith(key)]
        other.destroy()
    (mine,) = [one for one in found if one.header.name == key]
    here.stores = lambda: [mine]
    assert level(surroundings.clients(here), "1 of 1,024 client slots", key) == "ok"
    mine.clients = 922
    assert len(found) == 2
    here.stores = lambda: found
    said = surroundings.clients(here)
    assert level(said, "922 of 1,024 client slots", key) == "note" and "max_clients" in said.fix


def test_a_machine_that_says_nothing(tmp_path):
    """Every check stands a machine without /proc, /sys and /etc, and calls nothing fine that it could not read."""
    empty = Machine(str(tmp_path / "nothing"))
    found = [check(empty) for check in (*limits.CHECKS, *surroundings.CHECKS)]
    assert {one.topic for one in found if one.level == "ok"} <= {
        "RemoveIPC",
        "memlock",
        "file size",
    }  # no systemd; limits of this process
    assert all(
        "cannot be read" in one.says
        for one in found
        if one.level == "note" and one.topic not in ("memlock", "file size")
    )
    assert not any(" 0 " in one.says for one in found)


def test_a_table_that_may_not_be_read(machine):
    """A number that the kernel did not tell is not 0."""
    closed = machine({"/proc/sys/kernel/shmmni": 9, "/proc/sys/kernel/shmall": GIB})
    closed.text = lambda path, text=closed.text: None if path == "/proc/sysvipc/shm" else text(path)
    for check in (
        limits.table,
        limits.shmall,
        limits.shmmni,
        surroundings.memory,
        surroundings.swap,
        surroundings.permissions,
        surroundings.forgotten,
    ):
        assert level(check(closed), "/proc/sysvipc/shm cannot be read") == "note"


def test_here(cli):
    done = cli("doctor", "--json")
    document = done.json
    assert [check["level"] for check in document["checks"]].count("problem") == document["problems"]
    assert done.code == (1 if document["problems"] else 0) and done.err == ""
    assert all(check["fix"] for check in document["checks"] if check["level"] == "problem")
    assert not any(check["fix"] for check in document["checks"] if check["level"] == "ok")
    text = cli("doctor")  # others may have made or removed something since
    assert text.lines[-1].endswith(".") and (text.code == 0) == text.lines[-1].startswith("no problems")


def test_in_a_container_s_dev_shm(as_user):
    """A 64 MB /dev/shm in a mount namespace of its own: said, with the way out."""
    probe = "mount -t tmpfs -o size=64m tmpfs /dev/shm"
    command = f"{probe} && exec '{sys.executable}' -m shmstore doctor"
    done = subprocess.run(["unshare", "--mount", "--ipc", "sh", "-c", command], capture_output=True, text=True, cwd="/")
    if "System V" not in done.stdout:
        pytest.skip(f"no mount namespace to be had: {done.stderr}")
    assert "its size is 64M, the default of containers" in done.stdout
    assert "System V stores are not affected" in done.stdout
    assert "in an IPC namespace of its own" in done.stdout
