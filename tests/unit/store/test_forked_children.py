"""A forked child is a client of its own: it takes a slot when it first writes, and gives it up when it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest

import shmstore

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from forked_child import Child, places  # noqa: E402


def test_grandchildren(store):
    def generation(depth):
        me = os.getpid()
        assert store.incr("n") == depth
        below = Child(generation, depth + 1).answer() if depth < 5 else []
        assert store.incr("back") == 6 - depth
        assert [client.pid for client in store.clients() if client.is_me] == [me]
        return [me, *below]

    pids = Child(generation, 1).answer()
    assert len(set(pids)) == 5
    assert store["n"] == store["back"] == 5
    store.recover()
    assert places(store) == [os.getpid()]


# In a program of its own, which forks ten times as fast as a process as large as that of the tests.
CHILDREN_THAT_EXIT = """
import os, sys, shmstore
store = shmstore.Store(sys.argv[1], create=False)
room = store.info().max_clients
for number in range(200):
    pid = os.fork()
    if pid == 0:
        try:
            store.put(f"child:{number % 10}", [number] * 50)
            store.incr("n")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert len(store.clients()) <= room
store.recover()
assert sum(client.is_me for client in store.clients()) == 1
store.close()
"""


def test_many_children_that_exit_without_closing(make):
    """200 children end by os._exit, some in the middle of a put: no slot stays occupied."""
    store = make(size="256K")
    subprocess.run([sys.executable, "-c", CHILDREN_THAT_EXIT, store.info().name], cwd="/", check=True)
    assert store["n"] == 200
    store.recover()
    assert [client.is_me for client in store.clients()] == [True]
    store.check()


def test_many_children_at_once(make):
    """Zombies, which nobody has waited for yet, hold no place either."""
    store = make(size="1M")
    room = store.info().max_clients
    children = []
    try:
        for _ in range(min(60, 2 * room)):
            pid = os.fork()
            if pid == 0:
                try:
                    store.incr("n")
                finally:
                    os._exit(0)
            children.append(pid)
        deadline = time.monotonic() + 60
        while store.get("n", 0) < len(children) and time.monotonic() < deadline:
            time.sleep(0.005)
        for pid in children:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        store.recover()
        assert [client.is_me for client in store.clients()] == [True]
    finally:
        for pid in children:
            os.waitpid(pid, 0)
    assert store["n"] == len(children)


def test_a_child_that_never_uses_the_handle_takes_no_slot(store):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    try:
        assert [client.is_me for client in store.clients()] == [True]
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(pid, 0)
    assert store.recover() == 0


def test_a_child_without_a_slot_reads_and_writes_once_there_is_one(make):
    store = make(size="64K")
    store["k"] = [1, 2]
    others = [make(create=False) for _ in range(store.info().max_clients - 1)]
    full, free = os.pipe(), os.pipe()

    def child():
        try:
            assert store["k"] == [1, 2] and dict(store) == {"k": [1, 2]} and "k" in store and len(store) == 1
            assert store.stats().entries == 1 and not store.info().readonly and store.get_many(["k"]) == {"k": [1, 2]}
            with pytest.raises(TimeoutError):
                store.wait("none", timeout=0.01)
            calls = [
                lambda: store.put("k", 3), lambda: store.delete("k"), lambda: store.incr("n"), lambda: store.view("k"),
                lambda: store.touch("k"), lambda: store.put_many({"a": 1}), lambda: store.popitem(), lambda: store.clear(),
                lambda: store.check(repair=True), lambda: store.delete(1), lambda: store.delete("k", 1),
                lambda: store.get("k", touch=1), lambda: store.expire("k", 0), lambda: store.expire_due(),
                lambda: store.incr("n", create=False), lambda: store.put_many({"a": 1}, on_error="skip"),
            ]  # fmt: skip
            for call in calls:
                with pytest.raises(shmstore.TooManyClients):
                    call()
            assert store["k"] == [1, 2] and store.check() == 0
            os.write(full[1], b"x")
            os.read(free[0], 1)
            store["k"] = "written"
            assert store["k"] == "written" and store.delete("none") is False
            return 0
        except BaseException:
            traceback.print_exc()
            return 1

    pid = os.fork()
    if pid == 0:
        os._exit(child())
    os.read(full[0], 1)
    others.pop().close()
    os.write(free[1], b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert store["k"] == "written"
    for end in (*full, *free):
        os.close(end)


def test_the_threads_of_a_child_are_one_client(store):
    def use():
        barrier, versions = threading.Barrier(6), []

        def put(i):
            barrier.wait()
            versions.append(store.put(f"k{i}", i))

        threads = [threading.Thread(target=put, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(set(versions)), [client.pid for client in store.clients()].count(os.getpid())

    assert Child(use).answer() == (6, 1)


def test_closing_in_the_child_closes_nothing_of_the_parents(store):
    def close_unused():
        store.close()
        with pytest.raises(shmstore.StoreClosed):
            store.get("a")

    def close_used():
        store.incr("n")
        store.close()

    for child in (close_unused, close_used):
        Child(child).answer()
        assert store.incr("n") > 0
        assert [client.is_me for client in store.clients()] == [True]
    assert store.recover() == 0 and store["n"] == 3


def test_the_child_works_on_when_the_parent_closes(make, key):
    store = make()
    store["a"] = 1
    with shmstore.Store(key) as other:

        def work():
            other.wait("closed", timeout=60)
            assert store["a"] == 1
            return store.incr("a"), set(places(store)) == {os.getpid(), os.getppid()}

        child = Child(work)
        store.close()
        other["closed"] = True
        assert child.answer() == (2, True)
        assert other["a"] == 2


def test_the_child_works_on_when_the_parent_is_killed(make):
    """What the child inherited does not make its dead parent look alive."""
    store = make()
    program = (
        "import os, sys, signal, shmstore\n"
        "store = shmstore.Store(sys.argv[1], create=False)\n"
        "store.incr('n')\n"
        "if os.fork() == 0:\n"
        "    store['child'] = os.getpid()\n"
        "    store.wait('go', timeout=60)\n"
        "    store['recovered'] = store.recover()\n"
        "    store.wait('end', timeout=60)\n"
        "    os._exit(0)\n"
        "signal.pause()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, store.info().name], cwd="/")
    try:
        store.wait("child", timeout=60)
        parent.kill()
        parent.wait()
        store["go"] = True
        store.wait("recovered", timeout=60)
        assert store["recovered"] == 1
        assert places(store) == sorted([os.getpid(), store["child"]])
    finally:
        parent.kill()
        parent.wait()
        store["go"] = store["end"] = True


def test_read_only_handles_are_inherited_too(make):
    store = make()
    store["a"] = 1
    reader = make(readonly=True)

    def use():
        assert reader["a"] == 1 and list(reader) == ["a"] and reader.wait("a", timeout=1)
        with pytest.raises(shmstore.ReadOnlyStore):
            reader["a"] = 2
        return len(store.clients())  # the handle that may write takes its place only now

    assert Child(use).answer() == 2


@pytest.mark.sysv
def test_the_child_does_not_hold_its_parents_sockets(store):
    """The sign of life that others may look for must go out with its owner."""

    def sockets():
        names = []
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                names.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            except OSError:
                continue
        return {name for name in names if name.startswith("socket:")}

    before = sockets()
    store.incr("n")
    with shmstore.Store(store.info().name) as more:
        more.incr("n")
        mine = sockets() - before
        with open("/proc/net/unix") as table:
            beacons = {f"socket:[{line.split()[6]}]" for line in table if "@shmstore/" in line}
        assert beacons & sockets()
        assert not Child(sockets).answer() & beacons
        assert mine <= sockets()
