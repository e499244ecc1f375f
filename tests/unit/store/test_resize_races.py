"""What others do between two steps of a resize, and what a header says that no resize has written."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from segment_words import CLIENT_SIZE, RECORDS, Memory

import shmstore
from shmstore._core import ffi, lib
from shmstore._store import opening
from shmstore._store.names import parse_size

STATE, RESIZE, SUCCESSOR = 8, 1136, 1144  # docs/format.md
FROZEN, SUPERSEDED = 1 << 16, 4


@pytest.fixture(params=["sysv", "posix"])
def backend(request):
    return request.param


@pytest.fixture
def store(make, backend):
    return make(backend=backend, size="2M")


def other(store, **options):
    return shmstore.Store(store._key.name.decode(), backend=store._key.backend, **options)


def fill(store, entries=500):
    values = {f"key:{i}": {"n": i, "text": "x" * (i % 300)} for i in range(entries)}
    store.put_many(values)
    return values


class Steps:
    """A resize, step by step."""

    def __init__(self, store, size):
        options = store._options.replaced(
            create=None, size=parse_size(size), max_entries=store.info().max_entries, uuid=None
        )
        self.request, self.memory = opening.request_of(store._key, options)
        self.result, self.resizing = ffi.new("struct shms_open_result *"), ffi.new("void **")
        assert lib.shms_resize_start(store._handle, self.request, self.result, self.resizing) == lib.SHMS_OK

    def go_on(self):
        while (status := lib.shms_w_resize(self.resizing[0])) == lib.SHMS_AGAIN:
            pass
        return status

    def end(self):
        status = self.go_on()
        lib.shms_resize_leave(self.resizing)
        return status


@pytest.mark.parametrize("gone", ["ttl", "tags"])
def test_what_is_deleted_during_a_resize_stays_deleted(make, backend, gone):
    """As many entries have expired in the old segment as were deleted: the numbers of entries are the same. No put comes after
    the expiry, which would free some of them."""
    store = make(backend=backend, size="16M")
    values = fill(store, 30_000)
    for i in range(200):
        store.put(f"gone:{i}", i, **({"ttl": 0.001} if gone == "ttl" else {"tags": ["t"]}))
    if gone == "tags":
        store.evict_tag("t")
    while "gone:0" in store or "gone:199" in store:
        time.sleep(0.001)
    steps = Steps(store, "32M")
    assert lib.shms_w_resize(steps.resizing[0]) == lib.SHMS_AGAIN
    expired = store.stats().entries - len(values)
    deleted = list(store)[:expired]  # in the order of the table, so they are copied
    for key in deleted:
        del store[key]
    assert deleted and store.stats().entries == len(values)
    assert steps.end() == lib.SHMS_OK
    assert dict(store) == {key: values[key] for key in values if key not in deleted}


@pytest.mark.parametrize("prefault", [False, True])
def test_nothing_large_is_made_while_the_gil_is_held(store, prefault):
    """That is left to the calls which release it: those named shms_w_*."""
    store._options = store._options.replaced(prefault=prefault)
    values = fill(store)
    before = held_memory(store)
    steps = Steps(store, "4M")
    assert held_memory(store) <= before
    assert steps.go_on() == lib.SHMS_OK
    assert held_memory(store) <= before  # the new segment has been left already
    lib.shms_resize_leave(steps.resizing)
    assert dict(store) == values


def held_memory(store):
    """The maps of this process that are of shared memory."""
    kind = "SYSV" if store._key.backend == "sysv" else "/dev/shm/"
    with open("/proc/self/maps") as lines:
        return {line.split()[0] for line in lines if kind in line}


def test_a_store_of_the_same_name_that_came_meanwhile_stays(store, backend):
    """The store was removed, and another one has its name, before the resize was committed."""
    fill(store)
    steps = Steps(store, "4M")
    name = store._key.name.decode()
    if backend == "posix":
        os.unlink("/dev/shm/" + os.fsdecode(store._key.object))
    else:
        subprocess.run(["ipcrm", "-m", str(store.info().id)], check=True)
    with shmstore.Store(name, backend=backend, size="1M", create=True) as new:
        new["key"] = "new"
        steps.end()
        assert new["key"] == "new"
        with shmstore.Store(name, backend=backend, create=False) as again:
            assert again["key"] == "new" and again.info().size == 1 << 20
        with pytest.raises(shmstore.StoreDestroyed):
            while True:  # a handle asks the kernel once in a second of use
                store.get("key:1")
        new.destroy()
    assert not [file for file in os.listdir("/dev/shm") if file.startswith(".shmstore-resized")]


def test_a_forked_child_has_no_part_in_a_resize(store):
    """A signal handler may fork between two steps."""
    values = fill(store)
    steps = Steps(store, "4M")
    child = os.fork()
    if child == 0:
        forked = steps.end() == lib.SHMS_FORKED
        os._exit(0 if forked and dict(store) == values else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert steps.end() == lib.SHMS_OK
    assert dict(store) == values and store.info().size == 4 << 20


@pytest.mark.parametrize("blank", [False, True])
def test_a_segment_of_another_program_is_left_alone(make, blank):
    """Its identifier is in the header, because of overwritten bytes, or because the kernel has given it once more."""
    store = make(backend="sysv", size="2M")
    words = Memory(store)
    number = shmstore.sysv.shmget(shmstore.sysv.IPC_PRIVATE, len(words.bytes), shmstore.sysv.IPC_CREAT | 0o600)
    try:
        first = b"\0" * 16 if blank else b"another program's"[:16]
        with shmstore.sysv.shmat(number) as memory:
            memory[:16] = first
        words.set(SUCCESSOR, number + 1)
        words.set(RESIZE, FROZEN | 77)  # of a client that there is not
        store["key"] = "value"  # gives that resize up
        assert store["key"] == "value"
        words.set(SUCCESSOR, number + 1)
        words.set(STATE, words.word(STATE) & ~(15 << 44) | SUPERSEDED << 44)
        with pytest.raises(shmstore.StoreNotFound):
            other(store, create=False)
        store.close()
        with other(store, size="1M") as new:  # what leads to nothing is removed
            assert len(new) == 0
            with shmstore.sysv.shmat(number, None, shmstore.sysv.SHM_RDONLY) as memory:
                assert bytes(memory[:16]) == first
            new.destroy()
    finally:
        shmstore.sysv.shmctl(number, shmstore.sysv.IPC_RMID)


def test_a_stopped_writer_does_not_keep_the_others_waiting(make):
    """It holds a lock."""
    store = make(backend="sysv", size="2M")
    values = fill(store)
    words = Memory(store)
    start, end = os.pipe()
    child = os.fork()
    if child == 0:
        store["of the child"] = 1  # it is a client of its own from now on
        os.write(end, b"x")
        time.sleep(1000)
    os.read(start, 1)
    lock = words.home("of the child")
    assert lock != words.home("key:1")
    words.hold("of the child", 2)
    steps = Steps(store, "4M")
    assert lib.shms_w_resize(steps.resizing[0]) == lib.SHMS_AGAIN
    store["key:1"] = values["key:1"] = "others go on"
    assert lib.shms_w_resize(steps.resizing[0]) == lib.SHMS_AGAIN
    store["key:1"] = values["key:1"] = "between two tries"
    words.set(words.header("clients") + CLIENT_SIZE + RECORDS, 0)
    words.set(lock, (words.word(lock) & ~0xFFFF) + 2**32)
    assert steps.end() == lib.SHMS_OK
    assert {key: store[key] for key in values} == values
    os.kill(child, 9), os.waitpid(child, 0)
    os.close(start), os.close(end)


@pytest.mark.parametrize("tagged", [False, True])
def test_a_full_dev_shm_refuses_a_resize(key, in_child, small_dev_shm, tagged):
    """With each number of pages free that is not enough: no page without memory is touched, which would be SIGBUS."""

    def resize_with_few_pages():
        outcomes = set()
        with shmstore.Store(key, backend="posix", size="256K") as store:
            values = {f"key:{i}": i for i in range(200)}
            store.put_many(values, tags=("a", "b") if tagged else ())
            filler = os.open("/dev/shm/filler", os.O_CREAT | os.O_RDWR, 0o600)
            room = os.statvfs("/dev/shm")
            for left in range(0, 120, 1):
                os.ftruncate(filler, 0)
                os.posix_fallocate(filler, 0, (os.statvfs("/dev/shm").f_bavail - left) * room.f_bsize or 1)
                try:
                    store.resize("300K" if store.info().size == 256 << 10 else "256K")
                    outcomes.add("resized")
                except (shmstore.StoreFull, shmstore.StoreSystemError):
                    outcomes.add("refused")
                assert dict(store) == values
            os.close(filler)
            store.check()
        return outcomes

    assert in_child(resize_with_few_pages, before=lambda: small_dev_shm("size=2M")) == {"refused", "resized"}
