"""Memory follows the contents, and the kernel's figures say so; where the kernel says no, the error names the limit."""

import errno
import os
import shutil
import struct
import subprocess
import sys
import time

import pytest

from shmstore._core import ffi, lib

pytestmark = pytest.mark.sample  # minutes together: CI runs them once, beside the suite

MIB = 1 << 20
ARENA_COUNT, ARENAS, SUSPECT = 252, 256, 72  # docs/format.md: header, then within an arena


def resident(store):
    """Bytes of the segment that have pages, as the kernel counts them."""
    with open("/proc/sysvipc/shm") as table:
        columns = next(table).split()
        rows = (dict(zip(columns, line.split(), strict=True)) for line in table)
        row = next(row for row in rows if int(row["shmid"]) == store.info().id)
    return int(row["rss"]) + int(row["swap"])


def suspect(store):
    """All that is derived in each arena is made anew before the arena is next used."""
    size = ffi.new("uint64_t *")
    start = lib.shms_memory(store._handle, size)
    memory = ffi.buffer(start, size[0])
    arenas, count = struct.unpack_from("<Q", memory, ARENAS)[0], struct.unpack_from("<I", memory, ARENA_COUNT)[0]
    marks = [arenas + a * arena_size(memory, arenas) + SUSPECT for a in range(count)]
    for mark in marks:
        struct.pack_into("<Q", memory, mark, 1)
    return lambda: [struct.unpack_from("<Q", memory, mark)[0] for mark in marks]


def arena_size(memory, arenas):
    """Arenas stand one after the other; each states where its heap begins, the second where the first one's ends."""
    end = struct.unpack_from("<Q", memory, arenas + 24)[0]
    return next((n for n in range(64, 16384, 64) if struct.unpack_from("<Q", memory, arenas + n + 16)[0] == end), 64)


def rebuild(store, other):
    """Seconds of processor time until both arenas are as new: clients with an odd number allocate in one of them, those
    with an even number in the other."""
    marked = suspect(store)
    assert set(marked()) == {1}
    began = time.process_time()
    for handle in (store, other):
        handle.put("rebuilt", 1)
    took = time.process_time() - began
    assert set(marked()) == {0}
    return took


@pytest.fixture(params=[None, 10**9], ids=["default entries", "a billion entries"])
def sparse(make, request):
    """A store of a tebibyte with 1,000 entries: its handles, one for each arena."""
    store = make(size="1T", max_entries=request.param)
    other = make()
    empty = resident(store)
    for handle in (store, other):
        handle.put_many({f"name{handle is store}{i}": b"x" * 100 for i in range(500)})
    print(f"resident: {empty} bytes empty, {resident(store)} with 1,000 entries")
    assert empty < MIB
    return store, other


def test_a_sparse_store_of_a_tebibyte(make, sparse):
    """Whatever looks at everything looks at what is used."""
    store, other = sparse
    before = resident(store)
    did = {
        "len": lambda: len(store),
        "keys": lambda: list(store),
        "items": lambda: dict(store.items()),
        "prefix": lambda: store.keys("nameTrue"),
        "recover": store.recover,
        "stats": store.stats,
        "rebuild": lambda: rebuild(store, other),
        "reading what is absent": lambda: [store.get(f"absent{i}") for i in range(2000)],
        "deleting what is absent": lambda: [store.delete(f"absent{i}") for i in range(2000)],
        "attaching": lambda: make().close(),
    }
    for what, do in did.items():
        began = time.perf_counter()
        do()
        print(f"{what}: {(time.perf_counter() - began) * 1000:.1f} ms, {resident(store) - before:+} bytes")
        assert abs(resident(store) - before) < MIB, what
    assert len(store) == 1001


def test_a_sparse_store_is_checked(sparse):
    store, _ = sparse
    before = resident(store)
    store.check()
    print(f"check: {resident(store) - before:+} bytes")
    assert abs(resident(store) - before) < MIB


@pytest.mark.parametrize("size", [MIB, 64 * MIB])
def test_pages_are_given_back(make, size):
    store = make(size="1G")
    empty = resident(store)
    value = os.urandom(size)
    count = 128 * MIB // size
    for round in range(2):
        for i in range(count):
            store[f"{i}"] = value
        full = resident(store)
        assert full >= count * size
        for i in range(count):
            del store[f"{i}"]
        rest = resident(store)
        print(
            f"round {round}: {full // MIB} MiB with {count} x {size // MIB} MiB, {rest // MIB} MiB after deleting them"
        )
        if round == 0:
            assert rest - empty < (full - empty) / 2
    store.check()


def test_small_values_that_go_give_their_pages_back(make):
    """Neighbours that are free are one large free stretch."""
    store = make(size="512M")
    store.put_many({f"{i}": b"x" * 1000 for i in range(100_000)})
    full = resident(store)
    store.clear()
    print(f"{full // MIB} MiB with 100,000 values of 1,000 bytes, {resident(store) // MIB} MiB without")
    assert resident(store) < full / 2


LIMITED = """
import sys
import shmstore
for setting in sys.argv[2:]:
    name, value = setting.split("=")
    with open(f"/proc/sys/kernel/{name}", "w") as file:
        file.write(value)
try:
    store = shmstore.Store(sys.argv[1], size="64M")
    shmstore.Store(sys.argv[1] + "2", size="64M")
except shmstore.StoreSystemError as error:
    print(error.errno, error)
for key in (sys.argv[1], sys.argv[1] + "2"):
    try:
        shmstore.destroy(key)
    except shmstore.StoreNotFound:
        pass
"""


@pytest.mark.parametrize("limits, code, said", [
    (["shmmax=1048576"], errno.EINVAL, "kernel.shmmax is 1048576"),
    (["shmall=1000"], errno.ENOSPC, "kernel.shmall is 1000 pages"),
    (["shmall=20000"], errno.ENOSPC, "16384 are taken"),
    (["shmmni=1"], errno.ENOSPC, "kernel.shmmni is 1 segments, 1 exist"),
])  # fmt: skip
def test_the_kernels_limits_are_named(key, limits, code, said):
    """In an IPC namespace of its own, so that nobody else meets them."""
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "--ipc", "true"], capture_output=True).returncode:
        pytest.skip("a new IPC namespace is not allowed here")
    command = [unshare, "--ipc", sys.executable, "-c", LIMITED, key, *limits]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=60)
    if "PermissionError" in done.stderr:
        pytest.skip("the limits of an IPC namespace may not be changed here")
    assert done.returncode == 0, done.stderr
    number, _, text = done.stdout.partition(" ")
    assert int(number) == code and said in text and key in text


def entries_rebuilt(make, count):
    store = make(size=count * 250 + (300 << 20), max_entries=count)
    other = make()
    half = count // 2
    began = time.process_time()
    for handle, first in ((store, 0), (other, half)):
        for at in range(first, first + half, 100_000):
            handle.put_many({f"name{i}": i for i in range(at, min(at + 100_000, first + half))})
    filled, before, used = time.process_time() - began, resident(store), store.stats().bytes_used
    took = rebuild(store, other)
    assert store.stats().entries == 2 * half + 1
    print(
        f"{count} entries: filled in {filled:.1f} s of processor time, both arenas rebuilt in {took:.2f} s, {before // MIB} MiB resident"
    )
    assert abs(resident(store) - before) < MIB
    assert store.stats().bytes_used - used == 48
    store.check()


def test_a_rebuild_of_a_million_entries(make):
    entries_rebuilt(make, 10**6)


@pytest.mark.slow
def test_a_rebuild_of_ten_million_entries(make):
    entries_rebuilt(make, 10**7)
