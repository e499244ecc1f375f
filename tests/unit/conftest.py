"""A key, and children that run as another user or in another namespace, for tests of system calls."""

from __future__ import annotations

import ctypes
import fcntl
import os
import pickle
import struct
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shmstore.sysv import IPC_RMID, shmctl, shmget

STRANGER = 54321  # a uid that nobody has
CLONE_NEWNS, CLONE_NEWIPC = 0x00020000, 0x08000000
MS_REC_PRIVATE = 0x4000 | 0x40000


@pytest.fixture
def free_key() -> Iterator[int]:
    """A key of this process alone, above 2**31, where key_t is negative; its segment is removed at the end."""
    key = 0xA5000000 | os.getpid() & 0xFFFFFF
    yield key
    try:
        shmctl(shmget(key, 0), IPC_RMID)
    except FileNotFoundError:
        pass


@pytest.fixture
def in_child() -> Callable[..., Any]:
    """Call something in a forked child and give its result, or raise its OSError here.

    Forked, since another user may not be able to read this Python; and a child that ends badly takes its
    namespaces with it.
    """

    def in_child(
        function: Callable[[], Any], *, uid: int | None = None, before: Callable[[], object] | None = None
    ) -> Any:
        if (uid is not None or before is not None) and os.geteuid() != 0:
            pytest.skip("needs root: becomes somebody else, or sets limits")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                if before is not None:
                    before()
                if uid is not None:
                    os.setgroups([])
                    os.setgid(uid)
                    os.setuid(uid)
                answer = (True, function())
            except NoNamespace:
                answer = (False, None)
            except OSError as error:
                answer = (False, error.args)
            except BaseException:
                answer = (False, (traceback.format_exc(),))
            try:
                os.write(writer, pickle.dumps(answer))  # no more calls than that: the child may be allowed few
            finally:
                os._exit(0)
        os.close(writer)
        with open(reader, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        assert told, f"the child ended with status {status}"
        well, answer = pickle.loads(told)
        if well:
            return answer
        if answer is None:
            pytest.skip("namespaces are not allowed here")
        assert len(answer) > 1, answer[0]
        raise OSError(*answer)

    return in_child


@pytest.fixture
def becomes_attached() -> Callable[[Any, int], None]:
    """Wait until as many are attached to a store; fail if that never happens.

    Tests of `ls` and `prune` in other workers attach to every segment for a moment, which the kernel counts.
    """

    def becomes_attached(store: Any, count: int) -> None:
        deadline = time.monotonic() + 60
        while (found := store.info().attached) != count:
            assert time.monotonic() < deadline, f"{found} are attached, not {count}"
            time.sleep(0.001)

    return becomes_attached


class NoNamespace(Exception):
    pass


def _call(name: str, *arguments: Any) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        raise NoNamespace(name, os.strerror(ctypes.get_errno()))


@pytest.fixture
def unshare_ipc() -> Callable[..., None]:
    """Enter a new IPC namespace with these limits: shmmni=2."""

    def unshare_ipc(**limits: int) -> None:
        _call("unshare", CLONE_NEWIPC)
        for name, value in limits.items():
            with open(f"/proc/sys/kernel/{name}", "w") as file:
                file.write(str(value))

    return unshare_ipc


@pytest.fixture
def small_dev_shm() -> Callable[[str], None]:
    """Enter a mount namespace whose /dev/shm has options such as "size=64K"."""

    def small_dev_shm(options: str) -> None:
        _call("unshare", CLONE_NEWNS)
        _call("mount", b"none", b"/", None, MS_REC_PRIVATE, None)
        _call("mount", b"tmpfs", b"/dev/shm", b"tmpfs", 0, options.encode())

    return small_dev_shm


@pytest.fixture
def hide() -> Callable[[str], None]:
    """Enter a mount namespace where this directory is empty."""

    def hide(path: str) -> None:
        _call("unshare", CLONE_NEWNS)
        _call("mount", b"none", b"/", None, MS_REC_PRIVATE, None)
        _call("mount", b"tmpfs", path.encode(), b"tmpfs", 0, None)

    return hide


@pytest.fixture
def hide_proc(hide: Callable[[str], None]) -> Callable[[], None]:
    """Enter a mount namespace without /proc/sysvipc."""
    return lambda: hide("/proc/sysvipc")


@pytest.fixture
def without_proc(hide: Callable[[str], None]) -> Callable[[], None]:
    """Enter a mount namespace where /proc is empty."""
    return lambda: hide("/proc")


@pytest.fixture
def forbid_shmctl() -> Callable[..., None]:
    """Let the kernel answer these commands of shmctl with an errno, by a seccomp filter, for the rest of a process."""

    def forbid_shmctl(code: int, *commands: int) -> None:
        number = {"x86_64": 31, "aarch64": 195}[os.uname().machine]
        count = len(commands)
        rows = [(0x20, 0, 0, 0), (0x15, 0, count + 1, number), (0x20, 0, 0, 24)]  # this call? its second argument:
        rows += [(0x15, count - at, 0, command) for at, command in enumerate(commands)]
        rows += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050000 | code)]  # allow; refuse with errno
        filter_ = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
        program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(rows), ctypes.addressof(filter_)))
        _call("prctl", 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        _call("prctl", 22, 2, ctypes.byref(program))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER

    return forbid_shmctl


class HugePages:
    """The machine's huge pages of 2 MB."""

    pool = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
    sysctl = Path("/proc/sys/vm/nr_hugepages")

    def free(self) -> int:
        """Pages that are neither used nor reserved."""
        return int((self.pool / "free_hugepages").read_text()) - int((self.pool / "resv_hugepages").read_text())

    def set_aside(self, count: int, taken: int = 0) -> None:
        self.sysctl.write_text(str(count))
        if self.free() < count - taken:
            pytest.skip(f"memory is too fragmented for {count} huge pages")


@pytest.fixture
def huge_pages() -> Iterator[HugePages]:
    """No page is reserved; the setting is restored at the end. One test at a time has them."""
    if not HugePages.pool.exists():
        pytest.skip("this kernel has no huge pages of 2 MB")
    lock = os.open(HugePages.pool, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = HugePages.sysctl.read_text()
        try:
            HugePages.sysctl.write_text("0")
        except OSError as error:
            pytest.skip(f"vm.nr_hugepages cannot be set here: {error.strerror}")
        try:
            if HugePages().free():
                pytest.skip("huge pages are in use on this machine")
            yield HugePages()
        finally:
            HugePages.sysctl.write_text(before)
    finally:
        os.close(lock)


def _created_here() -> set[int]:
    with open("/proc/sysvipc/shm") as lines:
        rows = [line.split() for line in list(lines)[1:]]
    # Marked for removal is as good as gone: it goes with the last handle, which a traceback may still hold.
    return {int(row[1]) for row in rows if int(row[4]) == os.getpid() and not int(row[2], 8) & 0o1000}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """A test removes each segment and each object in /dev/shm that it creates."""
    segments, objects = _created_here(), set(os.listdir("/dev/shm"))
    yield
    left = _created_here() - segments
    for shmid in left:
        shmctl(shmid, IPC_RMID)
    mine = {name for name in set(os.listdir("/dev/shm")) - objects if f"-{os.getpid()}-" in name}
    for name in mine:
        os.unlink(f"/dev/shm/{name}")
    assert not left and not mine
