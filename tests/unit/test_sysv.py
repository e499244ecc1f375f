"""The raw System V calls: what they do, what they refuse, and what the refusal says."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import resource
import subprocess
import sys

import pytest

from shmstore.sysv import (
    IPC_CREAT,
    IPC_EXCL,
    IPC_PRIVATE,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    SHM_DEST,
    SHM_NORESERVE,
    SHM_RDONLY,
    SHM_RND,
    ftok,
    shmat,
    shmctl,
    shmdt,
    shmget,
)

SIZE = 27


@pytest.fixture
def key():
    """A key of this process alone, above 2**31, where key_t is negative; what has it at the end goes."""
    key = 0xA5000000 | os.getpid() & 0xFFFFFF
    yield key
    try:
        shmctl(shmget(key, 0), IPC_RMID)
    except FileNotFoundError:
        pass


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
        assert shmctl(shmid, IPC_STAT).nattch == 2
    assert shmctl(shmid, IPC_STAT).nattch == 0


def test_stat_tells_what_the_kernel_knows(key, shmid):
    stat = shmctl(shmid, IPC_STAT)
    assert (stat.key & 0xFFFFFFFF, stat.id, stat.size, stat.mode) == (key, shmid, SIZE, 0o600)
    assert (stat.uid, stat.gid, stat.cuid, stat.cgid) == (os.geteuid(), os.getegid()) * 2
    assert (stat.cpid, stat.lpid, stat.atime, stat.dtime) == (os.getpid(), 0, 0, 0)
    assert stat.ctime > 0
    shmdt(shmat(shmid))
    stat = shmctl(shmid, IPC_STAT)
    assert stat.lpid == os.getpid()
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
    with pytest.raises(OSError, match=f"{SIZE} bytes; an address must be free") as refused:
        shmat(shmid, chosen | 5)
    assert refused.value.errno == errno.EINVAL


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
    assert shmctl(shmid, IPC_STAT).nattch == 1
    assert bytes(view) == bytes(3)
    del view
    gc.collect()
    assert shmctl(shmid, IPC_STAT).nattch == 0


def test_the_error_of_a_with_block_is_not_hidden(shmid):
    def fail():
        with shmat(shmid) as memory:
            part = memory[1:]
            raise KeyError(part[0])

    with pytest.raises(KeyError) as raised:
        fail()
    del raised
    gc.collect()
    assert shmctl(shmid, IPC_STAT).nattch == 0


# ---- what a refusal says ----


def refusal(number, call, *arguments):
    with pytest.raises(OSError) as refused:
        call(*arguments)
    assert refused.value.errno == number
    return str(refused.value)


def test_eexist_and_enoent_name_the_key(key, shmid):
    text = refusal(errno.EEXIST, shmget, key, SIZE, IPC_CREAT | IPC_EXCL | 0o600)
    assert f"{key:#010x}" in text and f"segment {shmid} of uid {os.geteuid()}, mode 0600, 27 bytes" in text
    shmctl(shmid, IPC_RMID)
    assert f"no segment has key {key:#010x}" in refusal(errno.ENOENT, shmget, key, SIZE)


def test_einval_says_the_size(key, shmid):
    assert "has 27 bytes, fewer than the 28 asked for" in refusal(errno.EINVAL, shmget, key, 28)


def test_einval_says_the_limit():
    with open("/proc/sys/kernel/shmmax") as file:
        shmmax = file.read().strip()
    for size in (0, 2**64 - 1):
        text = refusal(errno.EINVAL, shmget, IPC_PRIVATE, size, 0o600)
        assert f"{size} bytes asked for" in text and f"kernel.shmmax is {shmmax}" in text


def test_an_id_that_is_gone(shmid):
    shmctl(shmid, IPC_RMID)
    gone = f"no segment has id {shmid}|segment {shmid} was removed"
    for call in (lambda: shmat(shmid), lambda: shmctl(shmid, IPC_STAT), lambda: shmctl(shmid, IPC_RMID)):
        with pytest.raises(OSError, match=gone) as refused:
            call()
        assert refused.value.errno in (errno.EINVAL, errno.EIDRM)


def in_another_process(program, *, prepare=None, command=()):
    """Run some Python that is to be refused, and give the text of the refusal."""
    program = (
        "from shmstore.sysv import *\n"
        "try:\n" + "".join(f"    {line}\n" for line in program.splitlines()) + "except OSError as error:\n"
        "    print(error)\n"
    )
    argv = [*command, sys.executable, "-c", program]
    done = subprocess.run(argv, preexec_fn=prepare, cwd="/", text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes somebody else, or sets limits")


@needs_root
@pytest.mark.parametrize("call", ["shmget({key}, 0, 0o600)", "shmat({shmid})", "shmctl({shmid}, IPC_STAT)",
                                  "shmctl({shmid}, IPC_RMID)"])  # fmt: skip
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the child does system calls only
def test_eacces_and_eperm_say_owner_and_mode(key, shmid, call):
    """Asked in a forked child, since another user may not be able to read this Python."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setgid(54321)
            os.setuid(54321)
            eval(call.format(key=key, shmid=shmid))
        except PermissionError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader) as file:
        text = file.read()
    assert f"segment {shmid} of uid 0, mode 0600, 27 bytes; you are uid 54321" in text


@needs_root
def test_enospc_says_the_limits():
    """In an IPC namespace of its own, so that nobody else meets these limits."""
    if subprocess.run(["unshare", "--ipc", "true"], capture_output=True).returncode:
        pytest.skip("unshare is not allowed here")
    limits = "open('/proc/sys/kernel/{}', 'w').write('{}')\n"
    ask = "for _ in range(3): shmget(IPC_PRIVATE, 100000, 0o600)\n"
    text = in_another_process(limits.format("shmmni", 2) + ask, command=["unshare", "--ipc"])
    assert "kernel.shmmni is 2 segments, 2 exist" in text
    text = in_another_process(limits.format("shmall", 60) + ask, command=["unshare", "--ipc"])
    assert "kernel.shmall is 60 pages" in text and "50 are taken" in text


def test_enomem_says_what_limits_this_process():
    shmid = shmget(IPC_PRIVATE, 1 << 40, SHM_NORESERVE | 0o600)
    try:
        text = in_another_process(f"shmat({shmid})", prepare=lambda: limit_address_space(1 << 30))
    finally:
        shmctl(shmid, IPC_RMID)
    assert f"no room for segment {shmid}" in text and "ulimit -v" in text


def limit_address_space(size):
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda: shmget("key", 1), TypeError),
        (lambda: shmget(2**32, 1), ValueError),
        (lambda: shmget(-(2**31) - 1, 1), ValueError),
        (lambda: shmget(1, -1), ValueError),
        (lambda: shmget(1, 2**64), ValueError),
        (lambda: shmget(1, 1, 2**31), ValueError),
        (lambda: shmat(2**31), ValueError),
        (lambda: shmat(0, -1), ValueError),
        (lambda: shmdt(4096), TypeError),
        (lambda: shmctl(0, 99), ValueError),
        (lambda: shmctl(0, IPC_SET), TypeError),
    ],
)
def test_wrong_arguments_never_reach_the_kernel(call, error):
    with pytest.raises(error):
        call()
