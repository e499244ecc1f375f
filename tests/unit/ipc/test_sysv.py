"""The raw System V calls: what they do with one segment."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import sys
from pathlib import Path

import pytest

from shmstore.sysv import (
    IPC_CREAT,
    IPC_EXCL,
    IPC_PRIVATE,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    SHM_DEST,
    SHM_EXEC,
    SHM_HUGE_1GB,
    SHM_HUGE_2MB,
    SHM_HUGE_16GB,
    SHM_HUGE_MASK,
    SHM_HUGE_SHIFT,
    SHM_HUGETLB,
    SHM_LOCK,
    SHM_LOCKED,
    SHM_NORESERVE,
    SHM_RDONLY,
    SHM_REMAP,
    SHM_RND,
    SHM_UNLOCK,
    SHMLBA,
    ftok,
    shmat,
    shmctl,
    shmdt,
    shmget,
)

sys.path.insert(0, str(Path(__file__).resolve().parent))
from eventually import comes_to

SIZE = 27


@pytest.fixture
def key(free_key):
    return free_key


@pytest.fixture
def shmid(key):
    return shmget(key, SIZE, IPC_CREAT | IPC_EXCL | 0o600)


# ---- what they do ----


def test_two_attachments_show_the_same_memory(shmid):
    with shmat(shmid) as one, shmat(shmid) as other:
        assert one.nbytes == SIZE
        assert (one.format, one.readonly) == ("B", False)
        one[:3] = b"abc"
        assert bytes(other[:3]) == b"abc"
        comes_to(lambda: shmctl(shmid, IPC_STAT).nattch, 2)
    comes_to(lambda: shmctl(shmid, IPC_STAT).nattch, 0)


def test_stat_tells_what_the_kernel_knows(key, shmid):
    stat = shmctl(shmid, IPC_STAT)
    assert (stat.key & 0xFFFFFFFF, stat.id, stat.size, stat.mode) == (key, shmid, SIZE, 0o600)
    assert (stat.uid, stat.gid, stat.cuid, stat.cgid) == (os.geteuid(), os.getegid()) * 2
    assert stat.cpid == os.getpid() and stat.ctime > 0
    assert (stat.lpid, stat.atime, stat.dtime) == (0, 0, 0) or stat.lpid != os.getpid()  # a test of ls came by

    def used():
        shmdt(shmat(shmid))
        return shmctl(shmid, IPC_STAT).lpid

    comes_to(used, os.getpid())
    stat = shmctl(shmid, IPC_STAT)
    assert stat.atime > 0 and stat.dtime > 0
    assert f"{key:#010x}" in repr(stat)


def test_a_key_may_be_given_with_or_without_sign(key, shmid):
    assert shmget(key, SIZE) == shmget(key - 2**32, SIZE) == shmid


def test_set_changes_the_mode_and_nothing_else(shmid):
    stat = shmctl(shmid, IPC_STAT)
    stat.mode = 0o440
    stat.size = 1
    shmctl(shmid, IPC_SET, stat)
    stat = shmctl(shmid, IPC_STAT)
    assert (stat.mode, stat.size, stat.uid) == (0o440, SIZE, os.geteuid())


def test_a_removed_segment_lives_until_its_last_detach(shmid):
    attachment = shmat(shmid)
    shmctl(shmid, IPC_RMID)
    stat = shmctl(shmid, IPC_STAT)
    assert stat.mode & SHM_DEST
    assert stat.key == IPC_PRIVATE
    attachment.memory[0] = 1
    shmdt(attachment)
    with pytest.raises(OSError, match="was removed"):
        shmctl(shmid, IPC_STAT)


def test_private_segments_have_no_key():
    ids = [shmget(IPC_PRIVATE, SIZE, SHM_NORESERVE | 0o600) for _ in range(2)]
    assert ids[0] != ids[1]
    for shmid in ids:
        shmctl(shmid, IPC_RMID)


def test_ftok_is_the_c_librarys(tmp_path):
    file = tmp_path / "file"
    file.touch()
    stat = file.stat()
    low = stat.st_ino & 0xFFFF | (stat.st_dev & 0xFF) << 16
    assert ftok(file, 0x53) == ftok(str(file), 0x53) == ftok(os.fsencode(file), 0x153) == low | 0x53 << 24
    assert ftok(file, 0xFF) == (low | 0xFF << 24) - 2**32
    with pytest.raises(FileNotFoundError, match="missing"):
        ftok(tmp_path / "missing", 1)
    with pytest.raises(ValueError, match="NUL"):
        ftok("a\0b", 1)


def test_a_chosen_address(shmid):
    wide = shmget(IPC_PRIVATE, 1 << 20, 0o600)
    hole = shmat(wide)
    shmctl(wide, IPC_RMID)
    shmdt(hole)  # nothing is mapped there any more
    chosen = hole.address + 65536
    attachment = shmat(shmid, chosen | 5, SHM_RND)
    assert attachment.address == chosen
    shmdt(attachment)
    attachment = shmat(shmid, chosen)
    assert attachment.address == chosen
    with pytest.raises(OSError, match="is taken by .*SYSV.*SHM_REMAP would replace") as refused:
        shmat(shmid, chosen)
    assert refused.value.errno == errno.EINVAL
    shmdt(attachment)
    with pytest.raises(OSError, match=f"{SIZE} bytes; .*is not a multiple of {SHMLBA}") as refused:
        shmat(shmid, chosen | 5)
    assert refused.value.errno == errno.EINVAL


def test_remap_replaces_what_lies_there(shmid):
    other = shmget(IPC_PRIVATE, SIZE, 0o600)
    below, above = shmat(other), shmat(shmid)
    shmctl(other, IPC_RMID)
    above.memory[0], below.memory[0] = 1, 2
    replaced = shmat(shmid, below.address, SHM_REMAP)
    assert (replaced.address, replaced.memory[0]) == (below.address, 1)
    assert below.memory[0] == 1  # the same addresses
    below.memory[0] = 3
    assert above.memory[0] == 3
    shmdt(below)  # ends the mapping at this address, whichever it is
    with pytest.raises(OSError, match="nothing is attached at") as refused:
        shmdt(replaced)
    assert refused.value.errno == errno.EINVAL
    shmdt(above)
    with pytest.raises(OSError, match="SHM_REMAP needs an address"):
        shmat(shmid, None, SHM_REMAP)


def test_nothing_is_attached_at_the_null_address(shmid):
    """Which root might; others are refused by the kernel."""
    with pytest.raises(OSError, match="0x5 cannot be its address|may map 0x5: vm.mmap_min_addr is") as refused:
        shmat(shmid, 5, SHM_RND)
    assert refused.value.errno in (errno.EINVAL, errno.EPERM)
    comes_to(lambda: shmctl(shmid, IPC_STAT).nattch, 0)


def protection(address):
    with open("/proc/self/maps") as lines:
        return next(line.split()[1] for line in lines if line.startswith(f"{address:x}-"))


def test_exec_and_readonly_are_what_the_kernel_maps():
    """Needs the x bit; that of the group, too, since root has all where anybody has it."""
    shmid = shmget(IPC_PRIVATE, SIZE, 0o700)
    try:
        for flags, rights in [(0, "rw-s"), (SHM_RDONLY, "r--s"), (SHM_EXEC, "rwxs"), (SHM_EXEC | SHM_RDONLY, "r-xs")]:
            with shmat(shmid, None, flags):
                attachment = shmat(shmid, None, flags)
                assert protection(attachment.address) == rights
                shmdt(attachment)
    finally:
        shmctl(shmid, IPC_RMID)


def test_one_segment_many_times(shmid):
    """Each attachment has an address of its own, and all of them one memory; also in a forked child."""
    attachments = [shmat(shmid) for _ in range(20)]
    assert len({attachment.address for attachment in attachments}) == 20
    comes_to(lambda: shmctl(shmid, IPC_STAT).nattch, 20)
    for number, attachment in enumerate(attachments):
        attachment.memory[number] = number + 1
    assert bytes(attachments[0].memory[:20]) == bytes(range(1, 21))
    for attachment in attachments[1:]:
        shmdt(attachment)
    assert attachments[0].memory[19] == 20


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_has_the_attachment_and_detaches_for_itself(shmid, in_child):
    attachment = shmat(shmid)

    def child():
        attachment.memory[0] = 9
        comes_to(lambda: shmctl(shmid, IPC_STAT).nattch, 2)
        shmdt(attachment)
        comes_to(lambda: shmctl(shmid, IPC_STAT).nattch, 1)

    in_child(child)
    assert attachment.memory[0] == 9
    shmdt(attachment)


def test_locked_pages_are_told(shmid):
    """SHM_LOCK shows in the mode, and in what the process has locked."""
    shmctl(shmid, SHM_LOCK)
    assert shmctl(shmid, IPC_STAT).mode == 0o600 | SHM_LOCKED
    shmctl(shmid, SHM_UNLOCK)
    assert shmctl(shmid, IPC_STAT).mode == 0o600


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_the_owner_can_be_changed(shmid, in_child):
    """The new owner has the rights of one; the creator keeps them."""
    if os.geteuid() != 0:
        pytest.skip("only root gives a segment away")
    stat = shmctl(shmid, IPC_STAT)
    stat.uid, stat.gid = 54321, 54322
    shmctl(shmid, IPC_SET, stat)
    stat = shmctl(shmid, IPC_STAT)
    assert (stat.uid, stat.gid, stat.cuid, stat.cgid) == (54321, 54322, 0, 0)

    def owner():
        with shmat(shmid) as memory:
            memory[0] = 5
        stat = shmctl(shmid, IPC_STAT)
        stat.mode = 0o400
        shmctl(shmid, IPC_SET, stat)
        shmctl(shmid, IPC_RMID)

    in_child(owner, uid=54321)
    with pytest.raises(OSError):
        shmctl(shmid, IPC_STAT)


def test_huge_pages_of_a_size():
    """The encodings are binary logarithms."""
    assert 1 << (SHM_HUGE_1GB >> SHM_HUGE_SHIFT) == 1 << 30
    assert 1 << (SHM_HUGE_16GB >> SHM_HUGE_SHIFT & SHM_HUGE_MASK) == 1 << 34


def test_huge_pages(huge_pages):
    size = 2 << 20
    huge_pages.set_aside(1)
    shmid = shmget(IPC_PRIVATE, size, SHM_HUGETLB | SHM_HUGE_2MB | 0o600)
    try:
        with shmat(shmid) as memory:
            assert memory.nbytes == size and huge_pages.free() == 0
            memory[size - 1] = 1
    finally:
        shmctl(shmid, IPC_RMID)


# ---- memory cannot be used after detaching ----


def test_detached_memory_raises(shmid):
    attachment = shmat(shmid)
    memory = attachment.memory
    shmdt(attachment)
    for view in (memory, attachment.memory):
        with pytest.raises(ValueError, match="released"):
            view[0]
    assert "detached" in repr(attachment)
    with pytest.raises(OSError) as refused:
        shmdt(attachment)
    assert refused.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    "export", [lambda memory: memory[1:3], lambda memory: memory.cast("b"), memoryview, memoryview.toreadonly]
)
def test_a_view_in_use_forbids_detaching(shmid, export):
    attachment = shmat(shmid)
    attachment.memory[1] = 7
    view = export(attachment.memory)
    with pytest.raises(BufferError):
        shmdt(attachment)
    assert 7 in bytes(view)
    assert attachment.memory[1] == 7  # still attached
    view.release()
    shmdt(attachment)


def test_a_buffer_held_by_another_object_forbids_detaching(shmid):
    attachment = shmat(shmid)
    holder = pickle.PickleBuffer(attachment.memory)
    with pytest.raises(BufferError):
        shmdt(attachment)
    holder.release()
    shmdt(attachment)


def test_readonly_memory(shmid):
    attachment = shmat(shmid, None, SHM_RDONLY)
    assert attachment.readonly
    with pytest.raises(TypeError, match="read-only"):
        attachment.memory[0] = 1
    part = attachment.memory[1:]
    with pytest.raises(BufferError):
        shmdt(attachment)
    assert attachment.memory.readonly  # also after the refusal
    part.release()
    shmdt(attachment)


def test_a_dropped_attachment_goes_with_its_last_view(shmid):
    view = shmat(shmid).memory[:3]
    gc.collect()
    comes_to(lambda: shmctl(shmid, IPC_STAT).nattch, 1)
    assert bytes(view) == bytes(3)
    del view
    gc.collect()
    comes_to(lambda: shmctl(shmid, IPC_STAT).nattch, 0)


def test_the_error_of_a_with_block_is_not_hidden(shmid):
    def fail():
        with shmat(shmid) as memory:
            part = memory[1:]
            raise KeyError(part[0])

    with pytest.raises(KeyError) as raised:
        fail()
    del raised
    gc.collect()
    comes_to(lambda: shmctl(shmid, IPC_STAT).nattch, 0)


def owned_by(uid):
    shmid = shmget(IPC_PRIVATE, SIZE, 0o600)
    stat = shmctl(shmid, IPC_STAT)
    shmctl(shmid, IPC_RMID)
    stat.uid = uid
    return stat


# ---- what is refused without asking the kernel ----


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda: shmget("key", 1), TypeError),
        (lambda: shmget(2**32, 1), ValueError),
        (lambda: shmget(-(2**31) - 1, 1), ValueError),
        (lambda: shmget(1, -1), ValueError),
        (lambda: shmget(1, 2**64), ValueError),
        (lambda: shmget(1, 1, 2**32), ValueError),
        (lambda: shmat(2**31), ValueError),
        (lambda: shmat(0, -1), ValueError),
        (lambda: shmdt(4096), TypeError),
        (lambda: shmctl(0, 99), ValueError),
        (lambda: shmctl(0, IPC_SET), TypeError),
        (lambda: shmctl(0, IPC_SET, owned_by(-1)), ValueError),
    ],
)
def test_wrong_arguments_never_reach_the_kernel(call, error):
    with pytest.raises(error):
        call()
