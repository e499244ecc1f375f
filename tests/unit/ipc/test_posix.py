"""The POSIX calls: what they do, what they refuse, and what the refusal says."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import resource
import signal
import subprocess
import sys
import time

import pytest

from shmstore.posix import (
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_HUGETLB,
    MAP_LOCKED,
    MAP_NORESERVE,
    MAP_POPULATE,
    MAP_PRIVATE,
    MAP_SHARED,
    O_CREAT,
    O_EXCL,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
    ftruncate,
    mmap,
    munmap,
    posix_fallocate,
    shm_open,
    shm_unlink,
)

SIZE = 27
STRANGER = 54321
PAGE = os.sysconf("SC_PAGE_SIZE")

# The children that become somebody else do system calls only.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@pytest.fixture
def name():
    """A name of this test alone; the fixture of all tests here removes what a failure leaves."""
    name = f"/shmstore-test-{os.getpid()}-"
    yield name
    try:
        shm_unlink(name)
    except FileNotFoundError:
        pass


@pytest.fixture
def fd(name):
    fd = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0o600)
    ftruncate(fd, SIZE)
    yield fd
    os.close(fd)


@pytest.fixture
def reading(name, fd):
    fd = shm_open(name, O_RDONLY)
    yield fd
    os.close(fd)


# ---- what they do ----


def test_two_mappings_show_the_same_memory(name, fd, reading):
    with mmap(None, SIZE, fd=fd) as one, mmap(None, SIZE, PROT_READ, MAP_SHARED, reading) as other:
        assert (one.nbytes, one.format, one.readonly, other.readonly) == (SIZE, "B", False, True)
        one[:3] = b"abc"
        assert bytes(other[:3]) == b"abc"
    with open(f"/dev/shm{name}", "rb") as file:
        assert file.read() == b"abc" + bytes(SIZE - 3)


def test_the_mapping_outlives_descriptor_and_name(name, fd):
    copy = os.dup(fd)
    mapping = mmap(None, SIZE, fd=copy)
    os.close(copy)
    shm_unlink(name)
    mapping.memory[0] = 1
    munmap(mapping)
    with pytest.raises(FileNotFoundError):
        shm_open(name, O_RDWR)


def test_a_name_with_or_without_slash_and_what_a_new_object_is(name):
    old = os.umask(0)
    try:
        fd = shm_open(name.lstrip("/"), O_CREAT | O_RDWR, 0o640)
    finally:
        os.umask(old)
    assert os.fstat(fd).st_mode & 0o7777 == 0o640
    assert os.fstat(fd).st_size == 0
    assert not os.get_inheritable(fd)
    ftruncate(fd, 5)
    os.close(shm_open(name, O_RDWR | O_TRUNC))
    assert os.fstat(fd).st_size == 0
    os.close(fd)


def test_private_mappings_and_offsets(fd):
    ftruncate(fd, 2 * PAGE)
    with mmap(None, 2 * PAGE, fd=fd) as whole, mmap(None, 7, fd=fd, offset=PAGE) as part:
        part[0] = 5
        assert whole[PAGE] == 5
        with mmap(None, PAGE, flags=MAP_PRIVATE, fd=fd) as own:
            own[0] = 9
            assert (own[0], whole[0]) == (9, 0)


def test_a_chosen_address(fd):
    ftruncate(fd, 2 * PAGE)
    hole = mmap(None, 16 * PAGE, flags=MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
    munmap(hole)
    mapping = mmap(hole.address + PAGE, PAGE, flags=MAP_SHARED | MAP_FIXED_NOREPLACE, fd=fd)
    assert mapping.address == hole.address + PAGE
    with pytest.raises(FileExistsError, match="is taken by /dev/shm/shmstore-test-.*MAP_FIXED would replace"):
        mmap(mapping.address, PAGE, flags=MAP_SHARED | MAP_FIXED_NOREPLACE, fd=fd)
    mapping.memory[0] = 1
    replacing = mmap(mapping.address, PAGE, flags=MAP_SHARED | MAP_FIXED, fd=fd, offset=PAGE)
    assert (replacing.address, mapping.memory[0]) == (mapping.address, 0)
    munmap(replacing)
    munmap(mapping)  # nothing is there any more; that is no error to the kernel


def test_nothing_is_mapped_at_the_null_address(fd):
    """Which root might; others are refused by the kernel."""
    with pytest.raises(OSError, match="at address 0x0|may map 0x0: vm.mmap_min_addr|27 bytes at offset 0"):
        mmap(0, SIZE, flags=MAP_SHARED | MAP_FIXED, fd=fd)
    with open("/proc/self/maps") as lines:
        assert not next(iter(lines)).startswith("00000000-")


def test_the_interpreters_end_with_mappings_left():
    """Whatever is taken apart first."""
    program = (
        "from shmstore import posix, sysv, SharedMemory\n"
        "mapping = posix.mmap(None, 5, flags=posix.MAP_PRIVATE | posix.MAP_ANONYMOUS)\n"
        "shmid = sysv.shmget(0, 5, 0o600); attachment = sysv.shmat(shmid); sysv.shmctl(shmid, sysv.IPC_RMID)\n"
        "block = SharedMemory(create=True, size=5); block.unlink()\n"
        "views = [mapping.memory[1:], attachment.memory[1:], block.buf[1:]]; views.append(views)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_huge_pages(huge_pages):
    huge_pages.set_aside(1)
    with mmap(None, 2 << 20, flags=MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB) as memory:
        memory[-1] = 1
        assert huge_pages.free() == 0
    assert huge_pages.free() == 1


def test_populated_and_executable(fd):
    with mmap(None, SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_POPULATE | MAP_LOCKED, fd) as memory:
        memory[0] = 0xC3
        with open("/proc/self/maps") as lines:
            assert [line.split()[1] for line in lines if "shmstore-test" in line] == ["rwxs"]


def test_a_child_has_the_mapping_and_unmaps_for_itself(fd, in_child):
    mapping = mmap(None, SIZE, fd=fd)

    def child():
        mapping.memory[0] = 9
        munmap(mapping)

    in_child(child)
    assert mapping.memory[0] == 9
    munmap(mapping)


def test_what_is_set_aside_is_there(fd):
    posix_fallocate(fd, PAGE, 3 * PAGE)
    stat = os.fstat(fd)
    assert (stat.st_size, stat.st_blocks * 512) == (4 * PAGE, 3 * PAGE)


# ---- memory cannot be used after unmapping ----


def test_unmapped_memory_raises(fd):
    mapping = mmap(None, SIZE, fd=fd)
    memory = mapping.memory
    assert hex(mapping.address) in repr(mapping)
    munmap(mapping)
    for view in (memory, mapping.memory):
        with pytest.raises(ValueError, match="released"):
            view[0]
    assert "unmapped" in repr(mapping)
    with pytest.raises(OSError, match="ended before") as refused:
        munmap(mapping)
    assert refused.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    "export", [lambda memory: memory[1:3], lambda memory: memory.cast("b"), memoryview, pickle.PickleBuffer]
)
def test_a_view_in_use_forbids_unmapping(fd, export):
    mapping = mmap(None, SIZE, fd=fd)
    mapping.memory[1] = 7
    view = export(mapping.memory)
    with pytest.raises(BufferError):
        munmap(mapping)
    assert 7 in bytes(view)
    assert mapping.memory[1] == 7  # still mapped
    view.release()
    munmap(mapping)


def test_a_dropped_mapping_goes_with_its_last_view(name, fd):
    def mapped():
        gc.collect()
        with open("/proc/self/maps") as lines:
            return sum(name in line for line in lines)

    view = mmap(None, SIZE, fd=fd).memory[:3]
    assert mapped() == 1
    assert bytes(view) == bytes(3)
    del view
    assert mapped() == 0


def test_the_error_of_a_with_block_is_not_hidden(fd):
    with pytest.raises(KeyError):
        with mmap(None, SIZE, fd=fd) as memory:
            part = memory[1:]
            raise KeyError(part[0])
    with pytest.raises(BufferError):
        with mmap(None, SIZE, fd=fd) as memory:
            part = memory[1:]


# ---- what a refusal says ----


def refusal(number, call, *arguments, **options):
    with pytest.raises(OSError) as refused:
        call(*arguments, **options)
    assert refused.value.errno == number, refused.value
    return str(refused.value)


def test_eexist_and_enoent_name_the_object(name, fd):
    text = refusal(errno.EEXIST, shm_open, name, O_CREAT | O_EXCL | O_RDWR)
    assert f"/dev/shm{name} of uid {os.geteuid()}, mode 0600, 27 bytes; leave O_EXCL out" in text
    shm_unlink(name)
    assert f"there is no /dev/shm{name}" in refusal(errno.ENOENT, shm_open, name, O_RDWR)
    assert f"there is no /dev/shm{name}" in refusal(errno.ENOENT, shm_unlink, name)


@pytest.mark.parametrize("bad, number", [("/", errno.EINVAL), ("/a/b", errno.EINVAL), ("x" * 256, errno.ENAMETOOLONG)])
def test_names_that_cannot_be(bad, number):
    if number == errno.ENAMETOOLONG:
        assert "1 to 255 bytes" in refusal(number, shm_open, bad, O_CREAT | O_RDWR)
        return
    with pytest.raises(OSError, match="1 to 255 bytes|there is no") as refused:  # glibc and musl differ
        shm_open(bad, O_CREAT | O_RDWR)
    assert refused.value.errno in (errno.EINVAL, errno.ENOENT)


def test_eacces_and_eperm_say_owner_and_mode(name, fd, in_child):
    whose = f"/dev/shm{name} of uid 0, mode 0600, 27 bytes; you are uid {STRANGER}"
    for call in (lambda: shm_open(name, O_RDONLY), lambda: shm_unlink(name)):
        with pytest.raises(PermissionError) as refused:
            in_child(call, uid=STRANGER)
        assert whose in str(refused.value)


def test_not_even_root_creates_what_another_has(name, in_child):
    with open("/proc/sys/fs/protected_regular") as file:
        if file.read().strip() == "0":
            pytest.skip("fs.protected_regular is 0")
    in_child(lambda: os.close(shm_open(name, O_CREAT | O_RDWR)), uid=STRANGER)
    text = refusal(errno.EACCES, shm_open, name, O_CREAT | O_RDWR)
    assert "fs.protected_regular is" in text and f"of uid {STRANGER}" in text
    os.close(shm_open(name, O_RDWR))


def test_enospc_says_the_size_of_dev_shm(name, in_child, small_dev_shm):
    """An object that grows beyond /dev/shm, and one more object than it has room for."""

    def before():
        small_dev_shm(f"size={16 * PAGE},nr_inodes=3")

    def grow():
        posix_fallocate(shm_open(name, O_CREAT | O_RDWR), 0, 17 * PAGE)

    text = refusal(errno.ENOSPC, lambda: in_child(grow, before=before))
    assert f"{17 * PAGE} bytes asked for; /dev/shm has {16 * PAGE} bytes (64K), {16 * PAGE} bytes (64K) free" in text
    assert "--shm-size" in text

    def create():
        for number in range(3):
            shm_open(f"{name}{number}", O_CREAT | O_RDWR)

    text = refusal(errno.ENOSPC, lambda: in_child(create, before=before))
    assert "3 files of which 0 are free" in text and "nr_inodes" in text


def test_emfile_says_the_limit(name, fd, in_child):
    def open_many():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        while True:
            shm_open(name, O_RDWR)

    assert "ulimit -n is 40" in refusal(errno.EMFILE, lambda: in_child(open_many))


def test_einval_says_the_size(fd):
    text = refusal(errno.EINVAL, mmap, None, SIZE + 1, fd=fd)
    assert "the object has 27 bytes, fewer than the 28 at offset 0 asked for; ftruncate it first" in text
    assert "has 27 bytes, fewer than the 1 at offset 4096" in refusal(errno.EINVAL, mmap, None, 1, fd=fd, offset=4096)
    assert "multiples of the page size" in refusal(errno.EINVAL, mmap, None, 1, fd=fd, offset=1)
    refusal(errno.EINVAL, mmap, None, 0, fd=fd)
    refusal(errno.EINVAL, mmap, None, SIZE, flags=0, fd=fd)
    text = refusal(errno.EINVAL, mmap, 5, SIZE, flags=MAP_SHARED | MAP_FIXED_NOREPLACE, fd=fd)
    assert "at address 0x5" in text


def test_what_was_opened_for_reading(reading):
    text = refusal(errno.EACCES, mmap, None, SIZE, fd=reading)
    assert "mode 0600, 27 bytes, and was opened with O_RDONLY" in text
    assert "open it with O_RDWR" in refusal(errno.EINVAL, ftruncate, reading, 1)
    assert "open it with O_RDWR" in refusal(errno.EBADF, posix_fallocate, reading, 0, 1)


def test_ebadf(fd):
    for call in (lambda: ftruncate(2**31 - 1, 1), lambda: mmap(None, 1, fd=2**31 - 1)):
        assert "is no open descriptor" in refusal(errno.EBADF, call)


def test_efbig_says_the_limit(fd, in_child):
    def grow():
        resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE, PAGE))
        ftruncate(fd, PAGE + 1)

    text = refusal(errno.EFBIG, lambda: in_child(grow))
    assert f"{PAGE + 1} bytes asked for; ulimit -f is {PAGE} bytes" in text


def test_enomem_says_what_limits_this_process(fd, in_child):
    ftruncate(fd, 1 << 40)

    def attach():
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        mmap(None, 1 << 40, flags=MAP_SHARED | MAP_NORESERVE, fd=fd)

    text = refusal(errno.ENOMEM, lambda: in_child(attach))
    assert f"ulimit -v is {4 << 30} bytes (4G), vm.max_map_count is" in text and "mappings exist" in text
    text = refusal(errno.ENOMEM, mmap, None, 1 << 40, flags=MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB)
    assert "huge pages of 2048 kB are free" in text


def test_eagain_of_locked_memory_says_how_much(fd, in_child):
    ftruncate(fd, 1 << 20)
    text = refusal(
        errno.EAGAIN,
        lambda: in_child(
            lambda: mmap(None, 1 << 20, flags=MAP_SHARED | MAP_LOCKED, fd=fd),
            uid=STRANGER,
            before=lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536)),
        ),
    )
    assert "ulimit -l is 65536 bytes" in text


def test_eperm_of_sealed_memory():
    import fcntl

    fd = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
    ftruncate(fd, SIZE)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE)
    assert "27 bytes" in refusal(errno.EPERM, ftruncate, fd, 1)
    assert "sealed" in refusal(errno.EPERM, mmap, None, SIZE, fd=fd)
    os.close(fd)


def test_without_dev_shm(name, in_child, small_dev_shm):
    def before():
        small_dev_shm("size=64K")
        import ctypes

        ctypes.CDLL(None).mount(b"tmpfs", b"/dev", b"tmpfs", 0, None)

    text = refusal(errno.ENOENT, lambda: in_child(lambda: shm_open(name, O_CREAT | O_RDWR), before=before))
    assert "/dev/shm is missing" in text


def test_a_signal_while_memory_is_set_aside(fd):
    """posix_fallocate is interrupted, its handler runs, and it goes on; or ends, if the handler raises."""
    size = 256 << 20
    if os.statvfs("/dev/shm").f_bavail * os.statvfs("/dev/shm").f_frsize < 2 * size:
        pytest.skip("/dev/shm is too small")
    seen = []

    def handler(signum, frame):
        seen.append(time.monotonic())
        if len(seen) == 3:
            raise InterruptedError

    old = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        with pytest.raises(InterruptedError):
            while True:
                posix_fallocate(fd, 0, size)
                ftruncate(fd, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert len(seen) >= 3  # one more may come before the timer is stopped


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda: shm_open("a\0b", O_RDWR), ValueError),
        (lambda: shm_open(5, O_RDWR), TypeError),
        (lambda: shm_unlink("a\0b"), ValueError),
        (lambda: ftruncate(0, -1), ValueError),
        (lambda: posix_fallocate(0, 0, 2**63), ValueError),
        (lambda: mmap(-1, 1), ValueError),
        (lambda: mmap(None, 2**64), ValueError),
        (lambda: mmap(None, 1, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS), ValueError),
        (lambda: munmap(4096), TypeError),
    ],
)
def test_wrong_arguments_never_reach_the_kernel(call, error):
    with pytest.raises(error):
        call()
