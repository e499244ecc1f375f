"""Every call that opening, creating, removing and mapping make, refused with every error that it can give: each cause has
its own sentence, and what helps stands in it. docs/failure.md has the table."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import shmstore
from shmstore import PRIVATE, SharedMemory, Store, posix, sysv

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "faults" / "crash"))

import seccomp_faults

CREATES, HUGETLB = (2, 0o1000, 0o1000), (2, 0o4000, 0o4000)  # of shmget's flags
OFD_SETLK, ADD_SEALS, REMOVE, POPULATE_WRITE, STAT = 37, 1033, 0, 23, 2
WRITES, TMPFILE = (2, 0o3, os.O_RDWR), (2, 0o20000000, 0o20000000)  # of openat's flags
SANDBOX = r"a system call filter \(seccomp\) of this process refuses it"
seccomp = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the filters have the numbers of x86-64")


def refusal(call, code, *arguments):
    return seccomp_faults.Refusal(
        call, getattr(errno, code), tuple((which, mask, value) for which, mask, value in arguments)
    )


def told(in_child, function, *refusals, before=lambda: None):
    """The error that a function raises in a child where these calls are refused."""

    def prepare():
        before()
        seccomp_faults.install(refusals)

    with pytest.raises(OSError) as caught:
        in_child(function, before=prepare)
    text = str(caught.value)
    assert "Traceback" not in text, text
    return caught.value.errno, text


SYSV = {  # which call, with which error: what the message says
    "no System V memory in this sandbox": (refusal("shmget", "ENOSYS"), SANDBOX + r".*backend=\"posix\""),
    "a sandbox without shmget": (refusal("shmget", "EPERM"), SANDBOX + r".*backend=\"posix\""),
    "a sandbox that makes none": (refusal("shmget", "EPERM", CREATES), SANDBOX + r".*backend=\"posix\""),
    "a key that is not for us": (refusal("shmget", "EACCES"), r"key 0x[0-9a-f]{8} is .*ask its owner for a mode"),
    "no open file in the system": (
        refusal("shmget", "ENFILE", CREATES),
        r"whole system has no open file left: fs\.file-max is \d+",
    ),
    "too large, or too small": (
        refusal("shmget", "EINVAL", CREATES),
        r"1048576 bytes asked for; a new segment has 1 to shmmax bytes",
    ),
    "segments or pages used up": (
        refusal("shmget", "ENOSPC", CREATES),
        r"kernel\.shmmni is \d+ segments, \d+ exist; kernel\.shmall is \d+",
    ),
    "no memory for it": (refusal("shmget", "ENOMEM", CREATES), r"kernel\.shmmax is \d+, vm\.overcommit_memory is \d"),
    "it may not be looked at": (refusal("shmctl", "EACCES", (1, 0xFFFFFFFF, STAT)), SANDBOX),
    "a sandbox without shmctl": (refusal("shmctl", "EPERM", (1, 0xFFFFFFFF, STAT)), SANDBOX),
    "it may not be attached": (refusal("shmat", "EACCES"), SANDBOX),
    "a sandbox without shmat": (refusal("shmat", "EPERM"), SANDBOX),
    "no addresses for it": (
        refusal("shmat", "ENOMEM"),
        r"no room for 1M more: ulimit -v is unlimited, vm\.max_map_count is \d+, \d+ mappings exist",
    ),
    "locked mappings": (refusal("shmat", "EAGAIN"), r"locks what it maps \(mlockall.*ulimit -l is"),
    "no open file for the mapping": (refusal("shmat", "ENFILE"), r"whole system has no open file left"),
    "no random bytes": (refusal("getrandom", "ENOSYS"), SANDBOX),
    "random bytes are forbidden": (refusal("getrandom", "EPERM"), SANDBOX),
}


@seccomp
@pytest.mark.parametrize("cause", SYSV)
def test_opening_in_system_v_memory(cause, key, in_child):
    filter_, says = SYSV[cause]
    code, text = told(in_child, lambda: Store(key, size="1M"), filter_)
    assert code == filter_.error
    assert re.search(says, text), text
    assert f"store {key!r}: {filter_.call}" in text and "huge pages" not in text
    assert sysv_of(key) is None  # what was made is gone again


@seccomp
@pytest.mark.parametrize("call", ["shmctl", "shmat"])
def test_finding_in_system_v_memory(call, key, in_child):
    with Store(key, size="1M"):
        code, text = told(in_child, lambda: Store(key, create=False), refusal(call, "EACCES"))
    assert code == errno.EACCES and re.search(
        r"of uid 0, mode 0600, 1048576 bytes; you are uid 0; ask its owner for a mode", text
    ), text


def test_a_mode_that_keeps_its_creator_out(key, in_child):
    for options in ({}, {"backend": "posix"}):
        with pytest.raises(OSError, match="mode=0o60 must let its creator read and write"):
            in_child(lambda options=options: Store(key, size="1M", mode=0o060, **options), uid=54321)
    assert sysv_of(key) is None and not os.path.exists(f"/dev/shm/shmstore-{key}")


def sysv_of(key):
    from shmstore._store.names import parse_key

    number = parse_key(key).number
    return next((row for row in sysv.segments() if row.stat and row.stat.key == number), None)


POSIX = {
    "no descriptor": (refusal("openat", "EMFILE", TMPFILE), r"no file descriptor left: ulimit -n is \d+; close"),
    "no open file in the system": (
        refusal("openat", "ENFILE", TMPFILE),
        r"whole system has no open file left: fs\.file-max is",
    ),
    "not mounted": (
        refusal("openat", "ENOENT", TMPFILE),
        r"/dev/shm is missing; as root: mount -t tmpfs.*backend=\"sysv\"",
    ),
    "no directory": (refusal("openat", "ENOTDIR", TMPFILE), r"/dev/shm is missing"),
    "no tmpfs": (refusal("openat", "EOPNOTSUPP", TMPFILE), r"/dev/shm is no tmpfs"),
    "an old kernel's answer": (refusal("openat", "EISDIR", TMPFILE), r"/dev/shm is no tmpfs"),
    "read-only": (
        refusal("openat", "EROFS", TMPFILE),
        r"/dev/shm is mounted read-only; as root: mount -o remount,rw /dev/shm",
    ),
    "no inode or page": (refusal("openat", "ENOSPC", TMPFILE), r"/dev/shm has \d+ bytes.*remove what nobody needs"),
    "a quota": (refusal("openat", "EDQUOT", TMPFILE), r"uid 0 has used its quota of /dev/shm"),
    "a sandbox makes no files": (refusal("openat", "EPERM", TMPFILE), SANDBOX),
    "a security module": (refusal("openat", "EACCES", TMPFILE), SANDBOX),
    "a mode that cannot be set": (refusal("fchmod", "EPERM"), SANDBOX),
    "a file too large": (
        refusal("ftruncate", "EFBIG"),
        r"1048576 bytes are more than a file of this file system may have",
    ),
    "no memory for the size": (refusal("ftruncate", "ENOSPC"), r"/dev/shm has \d+ bytes"),
    "no addresses for it": (
        refusal("mmap", "ENOMEM", (3, 0x3, mmap.MAP_SHARED), (1, 0xFFFFFFFF, 1 << 20)),
        r"no room for 1M more: ulimit -v",
    ),
    "locked mappings": (
        refusal("mmap", "EAGAIN", (3, 0x3, mmap.MAP_SHARED), (1, 0xFFFFFFFF, 1 << 20)),
        r"locks what it maps",
    ),
    "pages used up": (refusal("fallocate", "ENOSPC"), r"no page left for it: /dev/shm has"),
    "pages of a quota": (refusal("fallocate", "EDQUOT"), r"uid 0 has used its quota of /dev/shm"),
    "pages of no tmpfs": (refusal("fallocate", "EOPNOTSUPP"), r"/dev/shm is no tmpfs"),
    "a sandbox without fallocate": (refusal("fallocate", "EPERM"), SANDBOX),
    "locks used up": (refusal("fcntl", "ENOLCK", (1, 0xFFFFFFFF, OFD_SETLK)), r"no memory left for a lock"),
    "a sandbox without locks": (refusal("fcntl", "EPERM", (1, 0xFFFFFFFF, OFD_SETLK)), SANDBOX),
    "no place for the name": (refusal("linkat", "ENOSPC"), r"/dev/shm has \d+ bytes"),
    "a name may not be given": (refusal("linkat", "EPERM"), SANDBOX),
    "names without /proc": (refusal("linkat", "ENOENT"), r"/proc, which must be mounted"),
    "no random bytes": (refusal("getrandom", "ENOSYS"), SANDBOX),
}


@seccomp
@pytest.mark.parametrize("cause", POSIX)
def test_creating_in_posix_memory(cause, key, in_child):
    filter_, says = POSIX[cause]
    code, text = told(in_child, lambda: Store(key, backend="posix", size="1M"), filter_)
    assert code == filter_.error
    assert re.search(says, text), text
    assert text.split("] ", 1)[1].startswith(f"store {key!r}: ")
    if "missing" not in says:
        assert "is missing" not in text
    assert not os.path.exists(f"/dev/shm/shmstore-{key}")


FINDING = {
    "no descriptor": (refusal("openat", "EMFILE", WRITES), r"no file descriptor left"),
    "no open file in the system": (refusal("openat", "ENFILE", WRITES), r"whole system has no open file left"),
    "read-only": (refusal("openat", "EROFS", WRITES), r"mounted read-only"),
    "not ours": (
        refusal("openat", "EACCES", WRITES),
        r"/dev/shm/shmstore-\S+ is of uid 0, mode 0600, 1048576 bytes; you are uid 0",
    ),
    "a sandbox": (refusal("openat", "EPERM", WRITES), SANDBOX),
    "it cannot be read": (refusal("pread64", "EIO"), r"pread: Input/output error: /dev/shm/shmstore-"),
    "it may not be read": (refusal("pread64", "EPERM"), SANDBOX),
}


@seccomp
@pytest.mark.parametrize("cause", FINDING)
def test_finding_in_posix_memory(cause, key, in_child):
    """Above all no NotAStore, whose message has the command that removes it."""
    filter_, says = FINDING[cause]
    with Store(key, backend="posix", size="1M"):
        code, text = told(in_child, lambda: Store(key, backend="posix", create=False), filter_)
    assert code == filter_.error and re.search(says, text), text


UNNAMED = {
    "no memfd in this kernel": (refusal("memfd_create", "ENOSYS"), SANDBOX),
    "no descriptor": (refusal("memfd_create", "EMFILE"), r"no file descriptor left"),
    "a sandbox without memfd": (refusal("memfd_create", "EPERM"), SANDBOX),
    "a sandbox without seals": (refusal("fcntl", "EPERM", (1, 0xFFFFFFFF, ADD_SEALS)), SANDBOX),
}


@seccomp
@pytest.mark.parametrize("cause", UNNAMED)
def test_creating_a_private_store(cause, in_child):
    filter_, says = UNNAMED[cause]
    code, text = told(in_child, lambda: Store(PRIVATE, backend="posix", size="1M"), filter_)
    assert code == filter_.error and re.search(says, text), text
    assert "store PRIVATE: " in text


@seccomp
@pytest.mark.parametrize(("backend", "call"), [("sysv", "shmctl"), ("posix", "unlink")])
def test_removing_in_a_sandbox(backend, call, key, in_child):
    """Not "only its owner may": it is the owner that is refused."""
    with Store(key, backend=backend, size="1M") as store:
        arguments = ((1, 0xFFFFFFFF, REMOVE),) if call == "shmctl" else ()
        code, text = told(in_child, store.destroy, seccomp_faults.Refusal(call, errno.ENOSYS, arguments))
        assert code == errno.ENOSYS and re.search(SANDBOX, text), text
        store["k"] = 1  # it is there


def test_removing_from_another_ipc_namespace(key, in_child, unshare_ipc):
    with Store(key, size="1M") as store:
        _, text = told(in_child, store.destroy, before=unshare_ipc)
        assert "left the IPC namespace" in text and repr(key) in text


# ---- the limits themselves, not a filter that pretends


def limit(which, value):
    return lambda: resource.setrlimit(which, (value, value))


def without_descriptors():
    lowest = os.open("/", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@pytest.mark.parametrize("exists", [False, True])
def test_ulimit_n(key, in_child, exists):
    made = Store(key, backend="posix", size="1M") if exists else None
    code, text = told(in_child, lambda: Store(key, backend="posix", size="1M"), before=without_descriptors)
    assert code == errno.EMFILE and re.search(r"no file descriptor left: ulimit -n is \d+", text)
    assert "is missing" not in text
    if made:
        made.close()


def test_ulimit_n_does_not_matter_in_system_v_memory(key, in_child):
    def use():
        with Store(key, size="1M") as store:
            store["k"] = 1
            return store["k"]

    assert in_child(use, before=without_descriptors) == 1


@pytest.mark.parametrize("name", ["named", "private"])
@pytest.mark.parametrize("disposition", ["ignored", "default"])
def test_ulimit_f(key, in_child, name, disposition):
    """Its signal, SIGXFSZ, ends a process that does not ignore it: one that Python is embedded in, above all."""

    def before():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN if disposition == "ignored" else signal.SIG_DFL)
        limit(resource.RLIMIT_FSIZE, 1 << 19)()

    code, text = told(
        in_child, lambda: Store(key if name == "named" else PRIVATE, backend="posix", size="1M"), before=before
    )
    assert code == errno.EFBIG
    assert "1048576 bytes asked for; ulimit -f is 524288 bytes (512K)" in text and "ulimit -f unlimited" in text
    assert ('backend="sysv"' in text) == (name == "named")


def test_ulimit_f_of_the_calls_themselves(in_child):
    def grow():
        descriptor = posix.shm_open(f"/shmstore-test-{os.getpid()}", os.O_CREAT | os.O_RDWR)
        posix.shm_unlink(f"/shmstore-test-{os.getpid()}")
        posix.ftruncate(descriptor, 1 << 19)  # as much as is allowed
        with pytest.raises(OSError, match="ulimit -f is 524288"):
            posix.posix_fallocate(descriptor, 0, 1 << 20)
        posix.ftruncate(descriptor, 1 << 20)

    def before():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        limit(resource.RLIMIT_FSIZE, 1 << 19)()

    code, text = told(in_child, grow, before=before)
    assert code == errno.EFBIG and "1048576 bytes asked for; ulimit -f is 524288" in text


def test_ulimit_f_does_not_matter_in_system_v_memory(key, in_child):
    assert in_child(lambda: Store(key, size="1M").put("k", 1) > 0, before=limit(resource.RLIMIT_FSIZE, 1))


@pytest.mark.parametrize("backend", ["sysv", "posix"])
def test_ulimit_v(key, in_child, backend):
    code, text = told(
        in_child, lambda: Store(key, backend=backend, size="64G"), before=limit(resource.RLIMIT_AS, 4 << 30)
    )
    assert code == errno.ENOMEM
    assert "no room for 64G more: ulimit -v is 4294967296 bytes (4G)" in text and "raise ulimit -v" in text


@pytest.mark.parametrize("backend", ["sysv", "posix"])
def test_ulimit_l(key, in_child, backend):
    def before():
        limit(resource.RLIMIT_MEMLOCK, 4096)()
        os.setgroups([])
        os.setgid(54321)
        os.setuid(54321)

    code, text = told(in_child, lambda: Store(key, backend=backend, size="1M", lock_memory=True), before=before)
    assert code in (errno.ENOMEM, errno.EPERM)
    assert "lock_memory=True wants 1M, ulimit -l is 4096 bytes (4K); raise it" in text


def test_a_process_that_locks_what_it_maps(key, in_child):
    allowed = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    allowed = 64 << 20 if allowed == resource.RLIM_INFINITY else min(allowed, 64 << 20)

    def before():
        limit(resource.RLIMIT_MEMLOCK, allowed)()
        os.setgroups([])
        os.setgid(54321)
        os.setuid(54321)
        assert ctypes.CDLL(None, use_errno=True).mlockall(2) == 0  # MCL_FUTURE

    code, text = told(in_child, lambda: Store(key, size="256M"), before=before)
    assert code == errno.EAGAIN and "locks what it maps (mlockall" in text and f"ulimit -l is {allowed} bytes" in text


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("size=64K,nr_inodes=1", r"/dev/shm has .*1 files of which 0 are free; remove .*nr_inodes=\.\."),
        ("size=4K", r"/dev/shm has 4096 bytes \(4K\), .*mount -o remount,size=\.\."),
        ("ro", r"/dev/shm is mounted read-only"),
        (
            "mode=0755",
            r"uid 54321 may make no files in /dev/shm, which is of uid 0, mode 0755; as root: chmod 1777 /dev/shm",
        ),
        ("mode=0700", r"uid 54321 may make no files in /dev/shm, which is of uid 0, mode 0700"),
    ],
)
def test_a_dev_shm_of_another_kind(key, in_child, small_dev_shm, options, says):
    def before():
        small_dev_shm(options)
        if "mode" in options:
            os.setgroups([])
            os.setgid(54321)
            os.setuid(54321)

    _, text = told(in_child, lambda: Store(key, backend="posix", size="1M"), before=before)
    assert re.search(says, text), text
    assert 'backend="sysv"' in text


def test_a_dev_shm_that_is_not_there(key, in_child, hide):
    """Without the mount it is a directory of another file system; here it is missing altogether."""

    def before():
        hide("/dev")

    code, text = told(in_child, lambda: Store(key, backend="posix", size="1M"), before=before)
    assert code == errno.ENOENT and "/dev/shm is missing; as root: mount -t tmpfs" in text

    def open_it():
        try:
            Store(key, backend="posix", create=False)
        except shmstore.StoreNotFound as error:
            return str(error)

    assert "/dev/shm is missing" in in_child(open_it, before=before)


def test_a_noexec_dev_shm_is_as_good(key, in_child, small_dev_shm):
    def before():
        small_dev_shm("size=8M")
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mount(b"none", b"/dev/shm", None, 32 | 8, None) == 0  # MS_REMOUNT, MS_NOEXEC

    assert in_child(lambda: Store(key, backend="posix", size="1M").put("k", 1) > 0, before=before)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"shmmax": 4096}, r"shmget\(IPC_CREAT\): .*a new segment has 1 to shmmax bytes: kernel\.shmmax is 4096"),
        (
            {"shmall": 16},
            r"kernel\.shmall is 16 pages of 4096 bytes, 0 are taken; remove .*sysctl -w kernel\.shmall=\.\.",
        ),
        ({"shmmni": 0}, r"kernel\.shmmni is 0 segments, 0 exist; remove .*sysctl -w kernel\.shmmni=\.\."),
    ],
)
def test_limits_of_the_namespace(key, in_child, unshare_ipc, limits, says):
    _, text = told(in_child, lambda: Store(key, size="1M"), before=lambda: unshare_ipc(**limits))
    assert re.search(says, text), text
    _, text = told(in_child, lambda: SharedMemory(create=True, size=1 << 20), before=lambda: unshare_ipc(**limits))
    assert re.search(says.replace(r"shmget\(IPC_CREAT\)", "shmget"), text), text


def test_memfd_noexec(in_child):
    """vm.memfd_noexec=2 refuses what could be executed; a store needs no such file. The sysctl is of a pid namespace."""
    path = Path("/proc/sys/vm/memfd_noexec")
    if not path.exists():
        pytest.skip("this kernel has no vm.memfd_noexec: Linux 6.3")
    program = (
        "import shmstore; open('/proc/sys/vm/memfd_noexec', 'w').write('2');"
        "s = shmstore.open(shmstore.PRIVATE, backend='posix', size='1M'); s['k'] = 1; print(s['k'])\n"
        "try: shmstore.open(shmstore.PRIVATE, backend='posix', size='1M', mode=0o700)\n"
        "except shmstore.StoreSystemError as error: print(error)"
    )
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd="/",
    )
    if "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert (
        done.stdout.startswith("1\n") and "mode=0o700 lets it be executed, which vm.memfd_noexec forbids" in done.stdout
    ), done


# ---- segments that the kernel removes by itself


def forced(unshare_ipc):
    unshare_ipc(shm_rmid_forced=1)


def test_a_store_that_the_kernel_removed(key, in_child, unshare_ipc):
    def open_again():
        Store(key, size="1M").close()
        said = []
        for options in ({"create": False}, {"readonly": True}):
            try:
                Store(key, **options)
            except shmstore.StoreNotFound as error:
                said.append(str(error))
        return said

    for text in in_child(open_again, before=lambda: forced(unshare_ipc)):
        assert (
            "kernel.shm_rmid_forced is 1 here: the kernel removes System V memory as soon as no process is attached"
            in text
        )
        assert "sysctl -w kernel.shm_rmid_forced=0" in text and 'backend="posix"' in text
    assert len(in_child(open_again, before=lambda: forced(unshare_ipc))) == 2


def test_a_posix_store_stays(key, in_child, unshare_ipc):
    def open_again():
        Store(key, backend="posix", size="1M").close()
        Store(key, backend="posix", create=False).destroy()
        try:
            Store(key, backend="posix", create=False)
        except shmstore.StoreNotFound as error:
            return str(error)

    assert "shm_rmid_forced" not in in_child(open_again, before=lambda: forced(unshare_ipc))


def test_a_missing_store_where_the_kernel_removes_none(key):
    with pytest.raises(shmstore.StoreNotFound) as caught:
        Store(key, create=False)
    assert "shm_rmid_forced" not in str(caught.value)


def test_a_segment_that_the_kernel_removed(in_child, unshare_ipc):
    def attach():
        shmid = sysv.shmget(0x5EED, 4096, sysv.IPC_CREAT | 0o600)
        sysv.shmat(shmid)._end()
        with pytest.raises(FileNotFoundError, match="shm_rmid_forced is 1 here"):
            sysv.shmget(0x5EED, 0)
        sysv.shmat(shmid)

    code, text = told(in_child, attach, before=lambda: forced(unshare_ipc))
    assert code in (errno.EINVAL, errno.EIDRM)
    assert code == errno.EIDRM or "kernel.shm_rmid_forced is 1 here" in text


# ---- paths


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "absent", "there is no file"),
        (lambda folder: folder / "file" / "below", "is no directory"),
        (lambda folder: folder / ("x" * 300), "too long a path"),
    ],
)
def test_a_path_that_leads_nowhere(tmp_path, make, says):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=says):
        Store(make(tmp_path))
    with pytest.raises(OSError, match=says):
        sysv.ftok(make(tmp_path), 1)


def test_a_path_that_may_not_be_searched(tmp_path_factory, in_child):
    folder = tmp_path_factory.mktemp("closed")
    (folder / "file").touch()
    folder.chmod(0o700)
    with pytest.raises(PermissionError, match="may not be searched by uid 54321"):
        in_child(lambda: Store(folder / "file"), uid=54321)
