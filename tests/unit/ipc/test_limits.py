"""The limits themselves, not a filter that pretends: each error names the limit that was reached and what helps."""

from __future__ import annotations

import ctypes
import errno
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


from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from refused_calls import (  # noqa: E402
    told,
)
from segment_sizes import ONE_MIB, of_segment  # noqa: E402


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
        in_child, lambda: Store(key if name == "named" else PRIVATE, backend="posix", **ONE_MIB), before=before
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
        in_child, lambda: Store(key, backend=backend, **of_segment(64 << 30)), before=limit(resource.RLIMIT_AS, 4 << 30)
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

    code, text = told(in_child, lambda: Store(key, backend=backend, **ONE_MIB, lock_memory=True), before=before)
    assert code in (errno.ENOMEM, errno.EPERM)
    assert "lock_memory=True needs 1M, ulimit -l is 4096 bytes (4K); raise it" in text


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
            r"uid 54321 may not create files in /dev/shm, which belongs to uid 0, mode 0755; as root: chmod 1777 /dev/shm",
        ),
        ("mode=0700", r"uid 54321 may not create files in /dev/shm, which belongs to uid 0, mode 0700"),
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
        (lambda folder: folder / "file" / "below", "is not a directory"),
        (lambda folder: folder / ("x" * 300), "is too long"),
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
