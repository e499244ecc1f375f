"""What the kernel does not tell is not told as a number: after dropping privileges, in sandboxes, with /proc hidden."""

from __future__ import annotations

import errno
import os
import resource
import sys
import time
from pathlib import Path

import pytest

import shmstore
from shmstore import SharedMemory, Store, sysv
from shmstore._system.limits import free_huge_pages, huge_page_sizes, room_for_mappings

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "faults" / "crash"))

import seccomp_faults

sys.path.insert(0, str(Path(__file__).resolve().parent))
from eventually import comes_to

STRANGER = 54321
F_OFD_GETLK, F_OFD_SETLK = 36, 37
KERNELS_WORD = ("mode", "uid", "gid", "creator_uid", "attached")
seccomp = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the filters have the numbers of x86-64")


@pytest.fixture(params=["sysv", "posix"])
def memory(request):
    return request.param


@pytest.fixture
def own(key, memory):
    """A store that only its owner may read."""
    with Store(key, backend=memory, size="1M", mode=0o600) as store:
        yield store


def refused(*refusals):
    return lambda: seccomp_faults.install(refusals)


def test_info_after_dropping_privileges_is_what_it_was(own, in_child):
    """Daemons open as root and go on as somebody else. Both processes have the store mapped."""
    comes_to(lambda: in_child(own.info, uid=STRANGER).as_dict(), lambda: {**own.info().as_dict(), "attached": 2})
    assert own.info().mode == 0o600 and own.info().uid == os.geteuid()


def test_stats_and_clients_after_dropping_privileges(own, in_child):
    own["k"] = 1
    stats, clients = in_child(lambda: (own.stats(), own.clients()), uid=STRANGER)
    assert (stats.entries, stats.bytes_used, stats.puts) == (1, own.stats().bytes_used, 1)
    (mine,) = [client for client in clients if not client.is_me]
    assert (mine.pid, mine.program, mine.alive) == (os.getpid(), Path("/proc/self/comm").read_text().strip(), True)


def test_a_removal_is_noticed_after_dropping_privileges(key, in_child):
    """By ipcrm: no word in the store says it."""
    with Store(key, size="1M", mode=0o600) as store:
        shmid = store.info().id

        def lose():
            os.setuid(STRANGER)
            os.write(into, b"x")
            os.read(removed[0], 1)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    store.get("k")
                except shmstore.StoreDestroyed:
                    return True
                time.sleep(0.05)
            return False

        (out, into), removed = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            os._exit(0 if lose() else 1)
        os.read(out, 1)
        sysv.shmctl(shmid, sysv.IPC_RMID)
        os.write(removed[1], b"x")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        for end in (out, into, *removed):
            os.close(end)


@seccomp
def test_info_where_the_kernel_may_not_be_asked(own, memory, in_child):
    calls = ("shmctl",) if memory == "sysv" else ("fstat", "newfstatat")
    told = in_child(own.info, before=refused(*[seccomp_faults.Refusal(call, errno.EACCES) for call in calls]))
    assert {field: getattr(told, field) for field in KERNELS_WORD} == dict.fromkeys(KERNELS_WORD)
    assert (told.name, told.size, told.creator) == (own.info().name, 1 << 20, os.getpid())  # the store's own word


@seccomp
def test_how_many_are_attached_where_locks_may_not_be_asked(key, in_child):
    with Store(key, backend="posix", size="1M") as own:
        filter_ = seccomp_faults.Refusal("fcntl", errno.EACCES, ((1, 0xFFFFFFFF, F_OFD_GETLK),))
        told = in_child(own.info, before=refused(filter_))
        assert (told.attached, told.mode) == (None, 0o600)


@seccomp
def test_no_page_goes_back_while_others_may_be_attached(key, in_child):
    """That nobody else is attached must be shown: an unanswered question is no answer. A reader would die of it."""
    with Store(key, backend="posix", size="8M") as store:
        path = Path(f"/dev/shm/shmstore-{key}")

        def put_and_delete():
            before = path.stat().st_blocks
            for _ in range(3):
                store["k"] = bytes(4 << 20)
                del store["k"]
            return path.stat().st_blocks - before

        filter_ = seccomp_faults.Refusal("fcntl", errno.EACCES, ((1, 0xFFFFFFFF, F_OFD_GETLK),))
        assert in_child(put_and_delete, before=refused(filter_)) * 512 >= 4 << 20


def test_info_from_another_ipc_namespace(key, in_child, unshare_ipc):
    with Store(key, size="1M") as store:
        told = in_child(store.info, before=unshare_ipc)
        assert [getattr(told, field) for field in KERNELS_WORD] == [None] * len(KERNELS_WORD)


def test_info_of_a_private_store_whose_descriptor_was_closed(in_child):
    with Store(shmstore.PRIVATE, backend="posix", size="1M") as store:
        store["k"] = 1
        told = in_child(store.info, before=lambda: os.close(store._raw_info().descriptor))
        assert (told.mode, told.attached, told.size) == (None, None, 1 << 20)


def test_clients_where_proc_is_hidden(own, in_child, without_proc):
    clients = in_child(own.clients, before=without_proc)
    assert [(client.program, client.is_me) for client in clients] == [(None, False), (None, True)]
    assert clients[0].alive is None or clients[0].alive is True  # shown by its lock, where it has one


def test_limits_where_proc_is_hidden(in_child, without_proc):
    said = in_child(room_for_mappings, before=without_proc)
    assert "vm.max_map_count cannot be read" in said and "how many mappings exist cannot be read" in said


def test_huge_pages_where_sys_is_hidden(in_child, hide):
    sizes, said = in_child(lambda: (huge_page_sizes(), free_huge_pages()), before=lambda: hide("/sys"))
    assert sizes is None and said == "/sys/kernel/mm/hugepages cannot be read"


def test_the_size_of_huge_pages_where_proc_is_hidden(key, in_child, without_proc):
    with pytest.raises(OSError, match=r"/proc/meminfo.* cannot be read .*hugepages=\"2M\""):
        in_child(lambda: Store(key, hugepages=True), before=without_proc)


# ---- lists


def test_stores_where_proc_is_hidden(key, in_child, without_proc):
    with Store(key, size="1M"):
        assert key in in_child(lambda: [info.name for info in shmstore.stores()], before=without_proc)


@seccomp
def test_stores_without_a_list_of_segments(key, in_child, without_proc):
    def before():
        without_proc()
        refused(seccomp_faults.Refusal("shmctl", errno.EPERM))()

    with (
        Store(key, size="1M"),
        pytest.raises(OSError, match="neither the kernel's table nor /proc/sysvipc/shm") as caught,
    ):
        in_child(shmstore.stores, before=before)
    assert caught.value.errno == errno.EPERM


def test_stores_without_a_descriptor(key, in_child):
    """An empty list would say that there is none."""

    def before():
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (os.open("/", os.O_RDONLY), soft))

    with Store(key, backend="posix", size="1M"), pytest.raises(OSError) as caught:
        in_child(shmstore.stores, before=before)
    assert caught.value.errno == errno.EMFILE


# ---- the layers below the store


def test_segments_after_dropping_privileges(key, in_child):
    with Store(key, size="1M", mode=0o600) as store:
        shmid = store.info().id

        def rows():
            found = [row for row in sysv.segments() if row.stat and row.stat.id == shmid]
            return [(row.readable, row.stat.nattch, row.stat.mode & 0o777) for row in found]

        comes_to(lambda: in_child(rows, uid=STRANGER), [(False, 2, 0o600)])


def test_shared_memory_after_dropping_privileges(in_child):
    block = SharedMemory(create=True, size=5000)
    try:
        block.buf[0] = 7
        told = in_child(lambda: (block.name, block.size, block.buf.nbytes, block.buf[0], repr(block)), uid=STRANGER)
        assert told == (block.name, 5000, 5000, 7, repr(block))
        with pytest.raises(PermissionError, match="mode 0600") as caught:
            in_child(block.unlink, uid=STRANGER)
        assert caught.value.errno == errno.EACCES
    finally:
        block.unlink()
        block.close()
