"""Every errno of the System V calls, said by the kernel, and the sentence that goes with it."""

from __future__ import annotations

import errno
import mmap
import os
import resource
import struct
import time

import pytest

from shmstore.sysv import (
    IPC_CREAT,
    IPC_EXCL,
    IPC_PRIVATE,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    SHM_EXEC,
    SHM_HUGE_16GB,
    SHM_HUGE_SHIFT,
    SHM_HUGETLB,
    SHM_LOCK,
    SHM_NORESERVE,
    SHM_RDONLY,
    SHM_STAT,
    _errors,
    shmat,
    shmctl,
    shmget,
)

SIZE = 27
STRANGER = 54321

# The children that become somebody else do system calls only.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@pytest.fixture
def shmid(free_key):
    return shmget(free_key, SIZE, IPC_CREAT | IPC_EXCL | 0o600)


@pytest.fixture
def private():
    """Create segments without a key; all are removed at the end."""
    ids = []

    def private(size, flags=0o600):
        ids.append(shmget(IPC_PRIVATE, size, flags))
        return ids[-1]

    yield private
    for shmid in ids:
        shmctl(shmid, IPC_RMID)


def refusal(number, call, *arguments):
    with pytest.raises(OSError) as refused:
        call(*arguments)
    assert refused.value.errno == number, refused.value
    return str(refused.value)


def sysctl(name):
    with open(f"/proc/sys/{name.replace('.', '/')}") as file:
        return f"{name} is {file.read().strip()}"


# ---- of shmget ----


def test_eexist_and_enoent_name_the_key(free_key, shmid):
    text = refusal(errno.EEXIST, shmget, free_key, SIZE, IPC_CREAT | IPC_EXCL | 0o600)
    assert f"{free_key:#010x}" in text and f"segment {shmid} of uid {os.geteuid()}, mode 0600, 27 bytes" in text
    shmctl(shmid, IPC_RMID)
    assert f"no segment has key {free_key:#010x}" in refusal(errno.ENOENT, shmget, free_key, SIZE)


def test_einval_says_the_size(free_key, shmid):
    assert "has 27 bytes, fewer than the 28 asked for" in refusal(errno.EINVAL, shmget, free_key, 28)


@pytest.mark.parametrize("size", [0, 2**64 - 1])
def test_einval_says_the_limit(size):
    text = refusal(errno.EINVAL, shmget, IPC_PRIVATE, size, 0o600)
    assert f"{size} bytes asked for" in text and sysctl("kernel.shmmax") in text


def test_enospc_says_the_limits(in_child, unshare_ipc):
    """In an IPC namespace of its own, so that nobody else meets these limits."""

    def three():
        for _ in range(3):
            shmget(IPC_PRIVATE, 100000, 0o600)

    text = refusal(errno.ENOSPC, lambda: in_child(three, before=lambda: unshare_ipc(shmmni=2)))
    assert "100000 bytes asked for; kernel.shmmni is 2 segments, 2 exist" in text
    text = refusal(errno.ENOSPC, lambda: in_child(three, before=lambda: unshare_ipc(shmall=60)))
    assert "kernel.shmall is 60 pages" in text and "50 are taken" in text


def test_einval_of_a_small_shmmax(in_child, unshare_ipc):
    def too_large():
        in_child(lambda: shmget(IPC_PRIVATE, 4097, 0o600), before=lambda: unshare_ipc(shmmax=4096))

    assert "kernel.shmmax is 4096" in refusal(errno.EINVAL, too_large)


def test_enomem_says_what_to_do():
    """More than memory and swap space together, which heuristic overcommitment refuses."""
    if not sysctl("vm.overcommit_memory").endswith("0"):
        pytest.skip(sysctl("vm.overcommit_memory"))
    text = refusal(errno.ENOMEM, shmget, IPC_PRIVATE, 1 << 46, 0o600)
    assert f"{1 << 46} bytes asked for" in text and sysctl("vm.overcommit_memory") in text and "SHM_NORESERVE" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="others are not allowed to ask for huge pages")
def test_enomem_of_huge_pages_counts_them():
    text = refusal(errno.ENOMEM, shmget, IPC_PRIVATE, 1 << 46, SHM_HUGETLB | 0o600)
    assert "huge pages of 2048 kB are free" in text and "vm.nr_hugepages" in text


@pytest.mark.parametrize("flags, size", [(SHM_HUGE_16GB, 16 << 20), (13 << SHM_HUGE_SHIFT, 8)])
def test_einval_of_huge_pages_lists_the_sizes(flags, size):
    if os.path.exists(f"/sys/kernel/mm/hugepages/hugepages-{size}kB"):
        pytest.skip("this kernel has them")
    text = refusal(errno.EINVAL, shmget, IPC_PRIVATE, 1, SHM_HUGETLB | flags | 0o600)
    assert f"huge pages of {size} kB asked for; this kernel has: " in text and "2048 kB" in text


def test_eperm_of_huge_pages_names_the_right(in_child):
    def huge():
        shmctl(shmget(IPC_PRIVATE, 1, SHM_HUGETLB | 0o600), IPC_RMID)

    text = refusal(errno.EPERM, lambda: in_child(huge, uid=STRANGER))
    assert "CAP_IPC_LOCK" in text and sysctl("vm.hugetlb_shm_group") in text


# ---- of the calls that take an id ----


def test_eacces_and_eperm_say_owner_and_mode(free_key, shmid, in_child):
    whose = f"segment {shmid} of uid 0, mode 0600, 27 bytes"
    calls = [
        (errno.EACCES, lambda: shmget(free_key, 0, 0o600)),
        (errno.EACCES, lambda: shmat(shmid)),
        (errno.EACCES, lambda: shmctl(shmid, IPC_STAT)),
        (errno.EPERM, lambda: shmctl(shmid, IPC_RMID)),
        (errno.EPERM, lambda: shmctl(shmid, SHM_LOCK)),
    ]
    for number, call in calls:
        text = refusal(number, lambda call=call: in_child(call, uid=STRANGER))
        assert f"{whose}; you are uid {STRANGER}" in text
    assert "CAP_IPC_LOCK" in text and "ulimit -l is" in text


def test_eacces_tells_owner_from_creator(shmid, in_child):
    if os.geteuid() != 0:
        pytest.skip("only root gives a segment away")
    stat = shmctl(shmid, IPC_STAT)
    stat.uid = 12345
    shmctl(shmid, IPC_SET, stat)
    text = refusal(errno.EACCES, lambda: in_child(lambda: shmat(shmid), uid=STRANGER))
    assert f"segment {shmid} of uid 12345 (created by uid 0)" in text


def test_what_may_be_read_but_not_written_or_run(private, in_child):
    shmid = private(SIZE, 0o604)

    def look():
        with shmat(shmid, None, SHM_RDONLY) as memory:
            return bytes(memory)

    assert in_child(look, uid=STRANGER) == bytes(SIZE)
    for flags in (0, SHM_RDONLY | SHM_EXEC):
        text = refusal(errno.EACCES, lambda flags=flags: in_child(lambda: shmat(shmid, None, flags), uid=STRANGER))
        assert "mode 0604" in text


def test_eperm_with_the_right_to_read_only(private, in_child):
    shmid = private(SIZE, 0o604)
    stat = shmctl(shmid, IPC_STAT)
    text = refusal(errno.EPERM, lambda: in_child(lambda: shmctl(shmid, IPC_SET, stat), uid=STRANGER))
    assert "its owner, its creator and CAP_SYS_ADMIN may do this" in text


def test_enomem_of_the_lock_says_how_much(in_child):
    """Locked by its creator, who has no capability: by more than its limit, by its limit 0, and within it."""

    def lock(size):
        shmid = shmget(IPC_PRIVATE, size, 0o600)
        try:
            shmctl(shmid, SHM_LOCK)
            return shmctl(shmid, IPC_STAT).mode
        finally:
            shmctl(shmid, IPC_RMID)

    def limit(size):
        return lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (size, size))

    text = refusal(errno.ENOMEM, lambda: in_child(lambda: lock(1 << 20), uid=STRANGER, before=limit(65536)))
    assert "1048576 bytes is more than may be locked: ulimit -l is 65536 bytes" in text
    text = refusal(errno.EPERM, lambda: in_child(lambda: lock(4096), uid=STRANGER, before=limit(0)))
    assert "ulimit -l is 0 bytes" in text
    assert in_child(lambda: lock(4096), uid=STRANGER, before=limit(65536)) == 0o2600


def test_einval_of_an_id_that_is_gone(shmid):
    shmctl(shmid, IPC_RMID)
    for call in (lambda: shmat(shmid), lambda: shmctl(shmid, IPC_STAT), lambda: shmctl(shmid, IPC_RMID)):
        text = refusal(errno.EINVAL, call)
        assert f"no segment has id {shmid} in this IPC namespace: it was removed, or never existed" in text
    assert "no segment is at index" in refusal(errno.EINVAL, shmctl, 2**31 - 1, SHM_STAT)


@pytest.mark.parametrize("call", [shmat, lambda shmid: shmctl(shmid, IPC_STAT)])
def test_eidrm_of_an_id_that_is_going(monkeypatch, in_child, call):
    """The kernel says it to a process that has found the segment and waits for its lock, while another process removes it.

    One removal in twenty or so is met at that moment; to the rest it says EINVAL.
    """
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    monkeypatch.setattr(_errors, "rows_of_proc", list)  # no message for the rest: that takes longer
    box = mmap.mmap(-1, 16)
    until = time.monotonic() + 20
    child = os.fork()
    if child == 0:
        try:
            run_on(0)
            while not box[8] and time.monotonic() < until:
                shmid = shmget(IPC_PRIVATE, 4096, 0o600)
                struct.pack_into("q", box, 0, shmid)
                time.sleep(0.0001)
                shmctl(shmid, IPC_RMID)
        finally:
            os._exit(0)

    def look():
        run_on(1)
        going = None
        while time.monotonic() < until:
            shmid = struct.unpack_from("q", box, 0)[0]
            if shmid == going:
                continue  # gone; wait for the next
            try:
                while True:
                    call(shmid)
            except OSError as error:
                going = shmid
                if error.errno == errno.EIDRM:
                    return str(error), going
        return None, going

    try:
        text, going = in_child(look)
    finally:
        box[8] = 1
        os.waitpid(child, 0)
    if text is None:
        pytest.skip("the kernel did not say EIDRM within 20 seconds")
    assert f"segment {going} was removed" in text


def run_on(which):
    """Choose a processor: a race needs two processes that run at once, also on a busy machine."""
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[which % len(processors)]})
    if os.geteuid() == 0:
        os.nice(-15)


def test_enomem_says_what_limits_this_process(private, in_child):
    """An address space of 4 GiB has no place for a segment of 1 TiB."""
    shmid = private(1 << 40, SHM_NORESERVE | 0o600)

    def attach():
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        shmat(shmid)

    text = refusal(errno.ENOMEM, lambda: in_child(attach))
    assert f"no room for segment {shmid}" in text and f"ulimit -v is {4 << 30} bytes" in text
    assert sysctl("vm.max_map_count") in text


def test_messages_do_without_proc(free_key, shmid, in_child, hide_proc):
    """SHM_STAT_ANY names the owner of a segment where /proc does not."""
    text = refusal(errno.EACCES, lambda: in_child(lambda: shmat(shmid), uid=STRANGER, before=hide_proc))
    assert f"segment {shmid} of uid 0, mode 0600, 27 bytes" in text
