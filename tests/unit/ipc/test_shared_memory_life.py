"""A block of shared memory outlives its processes and their failures, and nothing else stays behind."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shmstore import KeyCollision, SharedMemory
from shmstore.sysv import IPC_CREAT, IPC_SET, IPC_STAT, shmat, shmctl, shmget

sys.path.insert(0, str(Path(__file__).resolve().parent))
from eventually import comes_to

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


STRANGER = 54321


def run(program, *arguments):
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("track", [True, False])
def test_no_exit_removes_it(block, name, track):
    program = f"import sys, shmstore; b = shmstore.SharedMemory(sys.argv[1], track={track}); b.buf[0] = 8"
    assert run(program, name) == (0, "", "")
    with SharedMemory(name) as other:
        assert other.buf[0] == 8


def test_not_even_a_killed_creator_removes_it(name):
    program = "import sys, os, shmstore; b = shmstore.SharedMemory(sys.argv[1], True, 9); os.kill(os.getpid(), 9)"
    assert run(program, name) == (-signal.SIGKILL, "", "")
    with SharedMemory(name) as block:
        assert block.size == 9
        block.unlink()


def test_a_failed_attach_removes_nothing(name, in_child):
    with SharedMemory(name, create=True, size=8 << 30) as block:

        def attach():
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            SharedMemory(name)

        shmid = block._attachment.shmid
        block.close()
        with pytest.raises(OSError, match=f"no room for segment {shmid}") as refused:
            in_child(attach)
        assert refused.value.errno == errno.ENOMEM
        SharedMemory(name).close()
        block.unlink()


def test_a_failed_creation_leaves_nothing(name, in_child):
    def create():
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        SharedMemory(name, create=True, size=8 << 30)

    with pytest.raises(OSError, match="no room"):
        in_child(create)
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)


def test_unlink_never_removes_a_newer_one(block, name):
    block.unlink()
    with SharedMemory(name, create=True, size=8) as newer:
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                block.unlink()
            block.close()
        SharedMemory(name).close()
        newer.unlink()


def test_a_full_dev_shm_does_not_matter(name, in_child, small_dev_shm):
    """As under Docker, where it has 64 MB: the standard library's ends with SIGBUS here."""

    def fill():
        with SharedMemory(name, create=True, size=1 << 20) as block:
            block.buf[:] = b"x" * (1 << 20)
            block.unlink()
            return block.size

    assert in_child(fill, before=lambda: small_dev_shm("size=64K")) == 1 << 20


def test_without_room_creation_says_the_limit(name, in_child, unshare_ipc):
    def create():
        SharedMemory(name, create=True, size=60 * os.sysconf("SC_PAGE_SIZE"))

    with pytest.raises(OSError, match="kernel.shmall is 60 pages") as refused:
        in_child(create, before=lambda: unshare_ipc(shmall=60))
    assert refused.value.errno == errno.ENOSPC


def test_another_users(block, name, in_child):
    """Its user cannot be seen; so its name counts as taken."""
    with pytest.raises(FileExistsError, match="segment .* of uid 0, mode 0600"):
        in_child(lambda: SharedMemory(name, create=True, size=8), uid=STRANGER)
    with pytest.raises(PermissionError, match="segment .* of uid 0, mode 0600"):
        in_child(lambda: SharedMemory(name), uid=STRANGER)
    stat = shmctl(block._attachment.shmid, IPC_STAT)
    assert stat.mode == 0o600
    stat.mode = 0o666
    shmctl(block._attachment.shmid, IPC_SET, stat)

    def use_and_remove():
        with SharedMemory(name) as other:
            other.buf[0] = 6
            other.unlink()

    with pytest.raises(PermissionError):
        in_child(use_and_remove, uid=STRANGER)
    assert block.buf[0] == 6


def test_many_creators_of_one_name_get_one_block(name):
    """Four processes, again and again: one creates, the others attach, nobody meets a half-made one."""
    program = """if 1:
        import sys, shmstore
        for round in range(60):
            name = sys.argv[1] + str(round)
            try:
                block = shmstore.SharedMemory(name, create=True, size=100)
                print(round)
            except FileExistsError:
                block = shmstore.SharedMemory(name)
            assert block.size == 100
            block.buf[int(sys.argv[2])] = 1
            block.close()
    """
    workers = [subprocess.Popen([sys.executable, "-c", program, name, str(number)], stdout=subprocess.PIPE, text=True)
               for number in range(4)]  # fmt: skip
    told = [worker.communicate(timeout=600)[0].split() for worker in workers]
    blocks = [SharedMemory(name + str(round)) for round in range(60)]
    for block in blocks:
        block.unlink()
    assert [worker.returncode for worker in workers] == [0] * 4
    assert sorted(int(round) for rounds in told for round in rounds) == list(range(60))
    assert {bytes(block.buf[:4]) for block in blocks} == {b"\1" * 4}


def test_create_and_unlink_while_another_attaches(name):
    """Attaching gives a whole block, or an error says that there is none."""
    child = os.fork()
    if child == 0:
        try:
            for number in range(2000):
                with SharedMemory(name, create=True, size=1 + number) as block:
                    block.buf[0] = 1
                    block.unlink()
            os._exit(0)
        finally:
            os._exit(1)
    found = 0
    until = time.monotonic() + 300
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
        try:
            with SharedMemory(name) as block:
                found += block.size > 0
        except FileNotFoundError:
            pass
    assert ended[1] == 0


def test_the_mapping_of_a_bad_key_is_given_back(one_key):
    """Collisions leave no attachment."""
    shmid = shmget(one_key, 100, IPC_CREAT | 0o600)
    with shmat(shmid) as memory:
        memory[0] = 1
    for _ in range(3):
        with pytest.raises(KeyCollision):
            SharedMemory("x")
    comes_to(lambda: shmctl(shmid, IPC_STAT).nattch, 0)
