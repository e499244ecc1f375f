"""Handles of one process on one store are one client: they share a slot, a mapping and pins, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import shmstore


def owners(store):
    return [client.pid for client in store.clients()]


def in_child(function):
    """What a forked child says: True, or its exception."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, str(function()).encode())
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as said:
        text = said.read()
    assert os.waitpid(pid, 0)[1] == 0
    return text


@pytest.fixture
def first(key):
    store = shmstore.open(key, size="1M")
    yield store
    try:
        store.check()
        store.destroy()
    except shmstore.ShmStoreError:
        pass


def test_a_process_is_one_client(first, key, becomes_attached):
    handles = [shmstore.open(key) for _ in range(100)]
    assert owners(first) == [os.getpid()]
    becomes_attached(first, 1)
    handles[0]["a"] = 1
    first.close()
    for handle in handles[:-1]:
        handle.close()
    assert handles[-1]["a"] == 1 and owners(handles[-1]) == [os.getpid()]
    with pytest.raises(shmstore.StoreClosed):
        first["a"]
    handles[-1].destroy()


def test_threads_that_open_at_once(key, becomes_attached):
    with shmstore.open(key, size="1M", max_clients=1):  # a second slot is not there to be had
        pass
    barrier, handles, failures = threading.Barrier(8), [], []

    def work():
        barrier.wait()
        try:
            for n in range(20):
                handle = shmstore.open(key)
                handle.incr("n")
                handles.append(handle)
                if n % 3:
                    handle.close()
        except shmstore.ShmStoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with shmstore.open(key) as store:
        assert failures == [] and store["n"] == 160 and owners(store) == [os.getpid()]
    for handle in handles:
        handle.close()
    with shmstore.open(key) as store:
        becomes_attached(store, 1)
        store.destroy()


def test_what_a_handle_keeps_to_itself(first, key):
    other = shmstore.open(key, ttl=1000, codec="pickle", timeout=0)
    reader = shmstore.open(key, readonly=True)
    other["a"] = {1, (2,)}
    first["b"] = 1
    assert other.ttl("a") > 900 and first.ttl("b") is None
    assert reader["b"] == 1 and owners(first) == [os.getpid()]
    with pytest.raises(shmstore.CodecError):
        first["a"]
    for call in (lambda: reader.put("b", 2), lambda: reader.view("b"), reader.destroy):
        with pytest.raises(shmstore.ReadOnlyStore):
            call()
    first.close()
    assert reader["b"] == 1
    other.close()
    assert reader["b"] == 1 and reader.clients() == []
    with shmstore.open(key) as again:
        assert again["b"] == 1
        again.destroy()


def test_views_outlive_their_handles(first, key):
    first["a"] = b"a" * 5000
    handles = [shmstore.open(key) for _ in range(3)]
    views = [handle.view("a") for handle in handles]
    for handle in handles:
        handle.close()
    del handle, handles
    first["a"] = b"b" * 5000
    assert all(view == b"a" * 5000 for view in views)
    assert first.stats().zombies == 1  # one pin, of one client
    views.pop().release()
    assert first.stats().zombies == 1 and views[0] == b"a" * 5000
    first.close()
    assert views[0] == b"a" * 5000
    del views
    with shmstore.open(key) as store:
        assert store.stats().zombies == 0
        store.check()
        store.destroy()


def test_a_client_whose_pins_are_half_used_takes_no_more_handles(first, key):
    first.update({f"k{n}": b"v" for n in range(200)})
    views = [first.view(f"k{n}") for n in range(104)]
    other = shmstore.open(key)
    assert len(owners(first)) == 2
    views += [other.view(f"k{n}") for n in range(200)]
    assert len(owners(shmstore.open(key))) == 3  # neither of the two has room
    views.clear()
    assert all(first[f"k{n}"] == b"v" for n in range(200))


def test_a_forked_child_is_a_client_of_its_own(first, key):
    other = shmstore.open(key)
    first["a"] = b"a" * 500
    view = first.view("a")

    def child():
        assert first["a"] == view
        other["a"] = b"b"
        third = shmstore.open(key)
        assert third["a"] == b"b" and view == b"a" * 500
        mine = [pid for pid in owners(third) if pid == os.getpid()]
        return len(mine), len(owners(third))

    assert in_child(child) == "(1, 2)"
    assert first["a"] == b"b" and view == b"a" * 500


def test_a_child_that_closes_its_handles_is_no_client(first, key):
    """Its parent's handle, which it did not use, does not keep the slot that the child's own handles had."""

    def child():
        with shmstore.open(key) as store:
            store["a"] = 1
            assert len(owners(store)) == 2
        with shmstore.open(key, readonly=True) as reader:
            before = owners(reader)
        first["b"] = 2
        return before == [os.getppid()] and len(owners(first))

    assert in_child(child) == "2"
    assert first["a"] == 1 and first["b"] == 2


def test_a_full_client_table(key):
    """A process with a slot goes on, one without is told which option to change, and a forked child reads."""
    with shmstore.open(key, size="1M", max_clients=1) as store:
        store["a"] = 1
        assert shmstore.open(key)["a"] == 1
        said = in_child(lambda: (store["a"], shmstore.open(key)))
        assert said.startswith("TooManyClients: ") and "max_clients" in said
        said = in_child(lambda: (store["a"], store.put("a", 2)))
        assert said.startswith("TooManyClients: ") and "max_clients" in said
        assert in_child(lambda: store["a"]) == "1" == in_child(lambda: shmstore.open(key, readonly=True)["a"])
        command = f"import shmstore; shmstore.open({key!r}, backend={store.info().backend!r})"
        done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, cwd="/")
        assert "shmstore.errors.TooManyClients" in done.stderr and "max_clients" in done.stderr
        store["a"] = 3
        store.destroy()


def test_another_store_of_the_same_name(first, key):
    first["a"] = 1
    first.destroy()
    with shmstore.open(key, size="1M") as second:
        assert "a" not in second and len(owners(second)) == 1
        with pytest.raises(shmstore.StoreDestroyed):
            first["a"]
        second.destroy()


def in_memory(store):
    info = store.info()
    if info.backend == "posix":
        return max(file.stat().st_blocks for file in Path("/dev/shm").iterdir() if info.name in file.name) * 512
    for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        if line.split()[1] == str(info.id):
            return int(line.split()[14])
    raise AssertionError(info)


def test_unused_slots_use_no_memory(key):
    with shmstore.open(key, size="1M", max_clients=65_000) as store:
        assert store.info().max_clients == 65_000
        before = in_memory(store)
        assert before < 1 << 20
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("shmstore._store.opening.SHARES_SLOT", False)
            others = [shmstore.open(key) for _ in range(50)]
        assert len(owners(store)) == 51 and in_memory(store) - before <= 50 * 4096
        for other in others:
            other.close()
        store.destroy()
    for number in (0, 65_001):
        with pytest.raises(ValueError, match="max_clients is from 1 to 65000"):
            shmstore.open(key, max_clients=number)
