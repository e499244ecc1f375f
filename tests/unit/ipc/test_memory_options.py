"""hugepages=, prefault=, lock_memory=: seen in what the kernel says of the mapping, on both kinds of memory; refusals
say what to do, and doing it helps."""

from __future__ import annotations

import os
import re
import resource
import sys
from pathlib import Path

import pytest

import shmstore
from shmstore import PRIVATE, Store, sysv
from shmstore._core import ffi, lib
from shmstore._store.names import parse_key

sys.path.insert(0, str(Path(__file__).resolve().parent))
from segment_sizes import M, of_segment

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="locks more memory than users may")
BOTH = pytest.mark.parametrize("memory", ["sysv", "posix"])
HUGE = pytest.mark.parametrize(
    "options", [{}, {"name": PRIVATE}, {"name": PRIVATE, "backend": "posix"}], ids=["named", "private", "memfd"]
)


def mapping(store: Store) -> dict[str, int]:
    """What /proc/self/smaps says of a store's mapping: bytes by field."""
    address = int(ffi.cast("uintptr_t", lib.shms_memory(store._handle, ffi.new("uint64_t *"))))
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        if line.startswith((f"{address:x}-", f"{address:08x}-")):
            break
    fields = {}
    for line in lines:
        if not re.match(r"\w+: +\d+ kB", line):
            break
        name, value, _ = line.split()
        fields[name.rstrip(":")] = int(value) * 1024
    return fields


def locked() -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmLck:")]
    return int(line.split()[1]) * 1024


def without_limits() -> None:
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))


# ---- hugepages= ----


@HUGE
def test_huge_pages(huge_pages, key, options):
    huge_pages.set_aside(4)
    with Store(**{"name": key, "size": "7M", "hugepages": "2M", "codec": "raw", **options}) as store:
        assert store.info().size == 7 * M  # as asked for
        assert (mapping(store)["KernelPageSize"], mapping(store)["Size"]) == (2 * M, 8 * M)
        assert huge_pages.free() == 0  # promised at creation: none can be missing later
        store["a"] = value = os.urandom(3 * M)
        pid = os.fork()
        if pid == 0:
            os._exit(0 if store["a"] == value else 1)
        assert os.waitpid(pid, 0)[1] == 0
        store.delete("a")
        store["a"] = value
        store.check()
        store.destroy()
    assert huge_pages.free() == 4


def test_true_means_the_kernels_own_size(huge_pages, key):
    huge_pages.set_aside(4)
    with Store(key, size="3M", hugepages=True) as store:
        assert (mapping(store)["KernelPageSize"], mapping(store)["Size"]) == (2 * M, 4 * M)
        with Store(key, create=False) as same:  # who attaches need not know
            same["a"] = 1
            assert store["a"] == 1 and mapping(same)["KernelPageSize"] == 2 * M
        store.destroy()


@HUGE
def test_too_few_huge_pages_and_the_command_that_helps(huge_pages, key, options):
    huge_pages.set_aside(1)
    wish = {"name": key, "size": "8M", "hugepages": "2M", **options}  # a fifth one for what lies beside the size
    with pytest.raises(shmstore.StoreSystemError) as refused:
        Store(**wish)
    said = str(refused.value)
    assert (
        "hugepages='2M' needs 5 of them; vm.nr_hugepages is 1, 1 free; reserve more: sysctl -w vm.nr_hugepages=5"
        in said
    )
    name, count = re.search(r"sysctl -w (\S+)=(\d+)", said).groups()
    assert name == "vm.nr_hugepages"
    huge_pages.set_aside(int(count))
    with Store(**wish) as store:
        store["a"] = 1
        store.destroy()


@pytest.mark.parametrize("clients", [None, 2, 200])
def test_max_clients_does_not_change_the_size(huge_pages, key, clients):
    """Rounding up to huge pages adds memory, more or less of it; who attaches compares what was asked for."""
    huge_pages.set_aside(4)
    with Store(key, size="7000K", hugepages="2M", max_clients=clients) as store:
        for other in (None, 1, 300):
            Store(key, size="7000K", hugepages="2M", max_clients=other).close()
        Store(key, size=store.info().size).close()
        assert store.info().requested_size is None
        Store(key, size="7M", hugepages="2M").close()
        assert store.info().requested_size == 7 * M
        store["a"] = bytes(6 * M)
        store.check()
        store.destroy()


def test_promised_pages_are_not_free(huge_pages, key):
    """They are set aside for a store that has yet to touch them; the command counts them in."""
    huge_pages.set_aside(4)
    with Store(PRIVATE, size="7M", hugepages="2M"):
        with pytest.raises(shmstore.StoreSystemError, match="vm.nr_hugepages is 4, 0 free; .* vm.nr_hugepages=8"):
            Store(key, size="7M", hugepages="2M")
        huge_pages.set_aside(8, taken=4)
        with Store(key, size="7M", hugepages="2M") as store:
            store.destroy()


def test_huge_pages_without_the_right(huge_pages, key, in_child):
    """In System V memory the administrator says who; the message says where."""
    huge_pages.set_aside(4)
    sentence = r"hugepages='2M' needs CAP_IPC_LOCK or membership in a group; vm\.hugetlb_shm_group is \d+"
    with pytest.raises(OSError, match=sentence):
        in_child(lambda: Store(key, size="4M", hugepages="2M").close(), uid=NOBODY, before=without_limits)
    in_child(lambda: Store(PRIVATE, backend="posix", size="4M", hugepages="2M").close(), uid=NOBODY)
    assert huge_pages.free() == 4


def test_a_size_of_huge_page_that_there_is_not(key):
    with pytest.raises(shmstore.StoreSystemError, match="no pages of that size"):
        Store(key, size="1G", hugepages="128K")


def test_doctor_counts_huge_pages(huge_pages):
    from shmstore.cli.support import doctor_limits as limits
    from shmstore.cli.support.machine import Machine

    assert "none are reserved" in limits.huge_pages(Machine()).says
    huge_pages.set_aside(4)
    with Store(PRIVATE, size="3M", hugepages="2M"):
        assert "2 of 4 are free, 2M each" in limits.huge_pages(Machine()).says


# ---- prefault= ----


@BOTH
def test_prefault(key, memory):
    with Store(key, backend=memory, **of_segment(8 * M), codec="raw") as store:
        assert mapping(store)["Rss"] < M
        store.destroy()
    with Store(key, backend=memory, **of_segment(8 * M), prefault=True, codec="raw") as store:
        assert mapping(store)["Rss"] == 8 * M == allocated(store)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        store["a"] = value = bytes(3 * M)
        del value
        assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 900  # bytes(..) itself takes 768
        store.delete("a")
        assert allocated(store) == 8 * M  # what was asked for in advance stays
        store.check()
        store.destroy()


@BOTH
@pytest.mark.usefixtures("separate_clients")
def test_prefault_when_attaching(key, memory):
    with Store(key, backend=memory, **of_segment(8 * M)) as store:
        with Store(key, backend=memory, create=False, prefault=True) as same:
            assert mapping(same)["Rss"] == 8 * M == allocated(same)
            assert mapping(store)["Rss"] < M  # the pages are there, and this handle has yet to map them
        store.check()
        store.destroy()


def allocated(store: Store) -> int:
    """Bytes of memory that the whole store has, whichever process touched them."""
    info = store.info()
    if info.backend == "posix":
        return os.stat(parse_key(info.name, "posix").place).st_blocks * 512
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()]
    (row,) = [row for row in rows if row[1] == str(info.id)]
    return int(row[14]) + int(row[15])


# ---- lock_memory= ----


@needs_root
def test_lock_memory_of_system_v(key):
    with Store(key, size="4M", lock_memory=True, codec="raw") as store:
        store["a"] = bytes(M)
        assert sysv.shmctl(store.info().id, sysv.IPC_STAT).mode & sysv.SHM_LOCKED
    with Store(key, create=False) as store:  # for its life, whoever is attached
        assert sysv.shmctl(store.info().id, sysv.IPC_STAT).mode & sysv.SHM_LOCKED
        store.check()
        store.destroy()


@BOTH
def test_options_for_the_memory_of_a_shared_client(key, memory):
    """They apply to the mapping that all handles of the process use."""
    with Store(key, backend=memory, **of_segment(4 * M)) as store:
        with Store(key, backend=memory, create=False, prefault=True) as same:
            assert mapping(store)["Rss"] == 4 * M == allocated(same)
        store.destroy()


@needs_root
@pytest.mark.usefixtures("separate_clients")
def test_lock_memory_of_posix(key):
    before = locked()
    with Store(key, backend="posix", **of_segment(4 * M), lock_memory=True, codec="raw") as store:
        assert locked() - before == 4 * M  # counted at once, and locked as it is touched
        assert mapping(store)["Locked"] < M
        store["a"] = bytes(M)
        assert M <= mapping(store)["Locked"] < 2 * M
        with Store(key, backend="posix", create=False) as same:  # while this is attached: others lock for themselves
            assert mapping(same)["Locked"] == 0 and locked() - before == 4 * M
        store.check()
        store.destroy()
    assert locked() == before


@BOTH
@pytest.mark.parametrize("limit, amount", [(0, "0 bytes"), (M, "1048576 bytes (1M)")])
def test_lock_memory_without_the_right(key, memory, limit, amount, in_child):
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))

    with pytest.raises(OSError) as refused:
        in_child(
            lambda: Store(key, backend=memory, **of_segment(4 * M), lock_memory=True).close(),
            uid=NOBODY,
            before=limited,
        )
    said = str(refused.value)
    assert (
        f"lock_memory=True needs 4M, ulimit -l is {amount}; raise it (ulimit -l 4096" in said and "CAP_IPC_LOCK" in said
    )
    with pytest.raises(shmstore.StoreNotFound):  # nothing is left of it
        Store(key, backend=memory, create=False)


@BOTH
def test_attaching_with_lock_memory_without_the_right(key, memory, in_child):
    """The limit is about the segment, whoever made it."""
    with Store(key, backend=memory, **of_segment(4 * M), mode=0o666) as store:
        with pytest.raises(OSError, match="lock_memory=True needs 4M, ulimit -l is 0 bytes; raise it .ulimit -l 4096"):
            in_child(
                lambda: Store(key, backend=memory, create=False, owner="any", lock_memory=True).close(),
                uid=NOBODY,
                before=without_limits,
            )
        store.destroy()


@BOTH
def test_the_limit_that_the_sentence_names_is_enough(key, memory, in_child):
    def raised() -> None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096 << 10, 4096 << 10))  # ulimit -l 4096

    def lock() -> None:
        with Store(key, backend=memory, **of_segment(4 * M), lock_memory=True) as store:
            store["a"] = 1
            store.destroy()

    in_child(lock, uid=NOBODY, before=raised)
