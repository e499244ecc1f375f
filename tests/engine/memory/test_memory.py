"""Memory follows the contents, and the kernel's figures say so; where the kernel says no, the error names the limit."""

import errno
import os
import shutil
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.sample  # minutes together: CI runs them once, beside the suite

MIB = 1 << 20


def resident(store):
    """Bytes of the segment that have pages, as the kernel counts them."""
    with open("/proc/sysvipc/shm") as table:
        columns = next(table).split()
        rows = (dict(zip(columns, line.split(), strict=True)) for line in table)
        row = next(row for row in rows if int(row["shmid"]) == store.info().id)
    return int(row["rss"]) + int(row["swap"])


def repair(store):
    """Seconds of processor time to look at everything and find nothing."""
    began = time.process_time()
    assert store.check(repair=True) == 0
    return time.process_time() - began


@pytest.fixture(params=[None, 10**9], ids=["default entries", "a billion entries"])
def sparse(make, request):
    """A store of a tebibyte with 1,000 entries: two handles to it."""
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
        "repair": lambda: repair(store),
        "reading what is absent": lambda: [store.get(f"absent{i}") for i in range(2000)],
        "deleting what is absent": lambda: [store.delete(f"absent{i}") for i in range(2000)],
        "attaching": lambda: make().close(),
    }
    for what, do in did.items():
        began = time.perf_counter()
        do()
        print(f"{what}: {(time.perf_counter() - began) * 1000:.1f} ms, {resident(store) - before:+} bytes")
        assert abs(resident(store) - before) < MIB, what
    assert len(store) == 1000


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
    """A span whose last block is free is closed."""
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
    (["shmall=20000"], errno.ENOSPC, "17443 are taken"),
    (["shmmni=1"], errno.ENOSPC, "kernel.shmmni is 1 segments, 1 exist"),
])  # fmt: skip
def test_the_kernels_limits_are_named(key, limits, code, said):
    """In an IPC namespace of its own, so that nobody else meets them."""
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "--ipc", "true"], capture_output=True).returncode:
        pytest.skip("a new IPC namespace is not allowed here")
    command = [unshare, "--ipc", sys.executable, "-c", LIMITED, key, *limits]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=900)
    if "PermissionError" in done.stderr:
        pytest.skip("the limits of an IPC namespace may not be changed here")
    assert done.returncode == 0, done.stderr
    number, _, text = done.stdout.partition(" ")
    assert int(number) == code and said in text and key in text


def entries_repaired(make, count):
    store = make(size=count * 250 + (300 << 20), max_entries=count)
    began = time.process_time()
    for at in range(0, count, 100_000):
        store.put_many({f"name{i}": i for i in range(at, min(at + 100_000, count))})
    filled, before, used = time.process_time() - began, resident(store), store.stats().bytes_used
    took = repair(store)
    assert store.stats().entries == count and store.stats().bytes_used == used
    print(
        f"{count} entries: filled in {filled:.1f} s of processor time, looked at in {took:.2f} s, {before // MIB} MiB resident"
    )
    assert abs(resident(store) - before) < MIB
    store.check()


def test_a_repair_of_a_million_entries(make):
    entries_repaired(make, 10**6)


@pytest.mark.slow
def test_a_repair_of_ten_million_entries(make):
    entries_repaired(make, 10**7)
