"""fork in every state that a parent can be in: the child is a process of its own, at once, and the parent goes on."""

from __future__ import annotations

import hashlib
import os
import pathlib
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
import traceback

import pytest

import shmstore

LARGE = 9 << 20  # bytes: copies of more than 8 MiB give the GIL up


class Child:
    """A forked child that runs *function* and hands its answer back. It never returns into the test."""

    def __init__(self, function, *args):
        self.read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                try:
                    answer = (True, function(*args))
                except BaseException:
                    answer = (False, traceback.format_exc())
                os.write(write, pickle.dumps(answer))
            finally:
                os._exit(0)
        os.close(write)

    def answer(self, seconds=60):
        text = b""
        try:
            while select.select([self.read], [], [], seconds)[0]:
                more = os.read(self.read, 65536)
                if not more:
                    break
                text += more
            else:
                os.kill(self.pid, signal.SIGKILL)
        finally:
            os.close(self.read)
            os.waitpid(self.pid, 0)
        assert text, "the child died, or hung and was killed"
        good, answer = pickle.loads(text)
        assert good, answer
        return answer


def sound(value):
    return hashlib.md5(value[1]).digest() == value[0]


def checked(body):
    return [hashlib.md5(body).digest(), body]


def places(store):
    """Of the living, by process id."""
    return sorted(client.pid for client in store.clients() if client.alive is not False)


def use_everything(store, tag):
    """What a child does first; returns how often it counted."""
    me = os.getpid()
    assert store.incr("count") > 0
    assert [client.pid for client in store.clients() if client.is_me] == [me]
    store[f"child:{tag}"] = checked(str(me).encode())
    assert sound(store[f"child:{tag}"])
    for name in ("small", "large"):
        assert sound(store[name])
    assert {f"child:{tag}", "small", "large"} <= set(store)
    assert len(store) >= 3 and "small" in store and store.info().attached >= 1
    assert store.wait("small", timeout=10) > 0
    with pytest.raises(TimeoutError):
        store.wait(f"never:{tag}", timeout=0.01)
    store.put(f"big:{tag}", checked(bytes([tag % 256]) * LARGE))
    assert sound(store[f"big:{tag}"])
    assert store.pop(f"big:{tag}") and store.delete(f"child:{tag}")
    store.incr("count")
    return 2


def small_work(store, round):
    store["small"] = checked(str(round).encode())
    assert sound(store["small"])
    store.incr("parent")


def large_work(store, round):
    store["large"] = checked(bytes([round % 256]) * LARGE)
    assert sound(store["large"])
    store.incr("parent")


def waiting_work(store, round):
    try:
        store.wait("never", timeout=0.02)
    except TimeoutError:
        store.incr("parent")


def looking_work(store, round):
    store.check()
    store.recover()
    len(store), list(store), store.stats()
    store.incr("parent")


def opening_work(store, round):
    with shmstore.Store(store.info().name, create=False) as another:
        another.incr("parent")


@pytest.mark.parametrize("work", [small_work, large_work, waiting_work, looking_work, opening_work])
def test_fork_while_threads_are_inside(make, work):
    store = make(size="96M", max_entries=1000)
    store["small"], store["large"] = checked(b""), checked(b"")
    stop, faults, done = threading.Event(), [], [0, 0]

    def loop(thread):
        try:
            while not stop.is_set():
                work(store, done[thread])
                done[thread] += 1
        except BaseException:
            faults.append(traceback.format_exc())

    threads = [threading.Thread(target=loop, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    counted = 0
    try:
        for tag in range(4):
            time.sleep(0.003 * tag)
            counted += Child(use_everything, store, tag).answer()
        before = list(done)
        deadline = time.monotonic() + 30
        while any(now == then for now, then in zip(done, before, strict=True)) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert all(now > then for now, then in zip(done, before, strict=True)) or faults  # the parent goes on
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert faults == []
    assert store["count"] == counted and store["parent"] == sum(done)
    store.recover()
    assert places(store) == [os.getpid()]
    store.check()


def test_fork_while_a_thread_waits(store):
    """The parent's sleeper is woken by the child; the child's by the parent."""
    woken = []
    sleeper = threading.Thread(target=lambda: woken.append(store.wait("from child", timeout=60)))
    sleeper.start()
    time.sleep(0.05)

    def answer_and_wait():
        version = store.put("from child", 1)
        return version, store.wait("from parent", timeout=60)

    child = Child(answer_and_wait)
    sleeper.join(60)
    version = store.put("from parent", 1)
    assert child.answer() == (woken[0], version)


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


def test_who_never_uses_the_handle_takes_no_place(store):
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


def test_exec_after_fork_gives_the_place_up(store):
    """The process id and its start time stay; the mapping and the sign of life are gone."""
    pid = os.fork()
    if pid == 0:
        try:
            store.incr("n")
            os.execv("/bin/sleep", ["sleep", "60"])
        finally:
            os._exit(1)
    try:
        deadline = time.monotonic() + 30
        while (recovered := store.recover()) == 0 and time.monotonic() < deadline:
            time.sleep(0.002)
        assert recovered == 1
        while pathlib.Path(f"/proc/{pid}/comm").read_text() != "sleep\n" and time.monotonic() < deadline:
            time.sleep(0.002)  # the new name comes a moment after the new memory map
        assert [client.is_me for client in store.clients()] == [True]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert store.incr("n") == 2


def test_starting_programs_changes_nothing(store):
    """subprocess may fork or vfork: the parent stays the client that it was."""
    store["a"] = 1
    number = next(client.number for client in store.clients() if client.is_me)
    for preexec in (None, lambda: None):
        assert subprocess.run(["/bin/true"], preexec_fn=preexec).returncode == 0
        store["a"] += 1
        assert [(client.number, client.is_me) for client in store.clients()] == [(number, True)]
    assert subprocess.run(["/bin/true"], preexec_fn=lambda: store.incr("a")).returncode == 0
    assert store["a"] == 4
    store.recover()
    assert [(client.number, client.is_me) for client in store.clients()] == [(number, True)]


FORKING_HANDLER = """
import os, signal, sys, time
import shmstore

store, results, forks = shmstore.Store(sys.argv[1], create=False), sys.argv[2], int(sys.argv[3])
children, child, numbers, left, parent = [], False, [], forks, os.getpid()

def handler(*_):
    # Returns into whatever was interrupted, a wait for a lock within put or incr among it, in both processes. A signal
    # that the interpreter has noted and not yet served is served in the child, too, before it knows that it is one; and
    # a signal served right after getpid() forks, and its child comes back to here with the parent's number in hand.
    global child, left
    if os.getpid() != parent or child or not left:
        return
    left -= 1
    pid = os.fork()
    if pid == 0:
        child = True
    else:
        children.append(pid)

def note(name):
    with open(f"{results}/{name}", "w") as file:
        print(*numbers, file=file)

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.004, 0.004)
deadline, after = time.monotonic() + 60, 0
try:
    while left and time.monotonic() < deadline and not child:
        for _ in range(20):
            numbers.append(store.incr("count"))
            store.put("value", [len(numbers)] * 500)
            assert len(set(store["value"])) == 1
    if child:
        for _ in range(5):
            numbers.append(store.incr("count"))
        assert [c.pid for c in store.clients() if c.is_me] == [os.getpid()]
        note(os.getpid())
        os._exit(0)
except BaseException:
    import traceback
    traceback.print_exc()
    os._exit(1)
signal.setitimer(signal.ITIMER_REAL, 0)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * forks
note("parent")
"""
BUSY = """
import os, sys, shmstore
store, parent = shmstore.Store(sys.argv[1], create=False), os.getppid()
store["busy"] = True
while os.getppid() == parent:
    store.check()  # holds the heap's lock for milliseconds, so that the others have to wait
"""


def test_fork_in_a_signal_handler(make, tmp_path):
    """Every number that the counter had was given to somebody: nothing was lost, and nothing done twice."""
    store = make(size="8M")
    store.put_many({f"fill:{i}": i for i in range(20_000)})
    name = store.info().name
    busy = subprocess.Popen([sys.executable, "-c", BUSY, name], cwd="/")
    try:
        store.wait("busy", timeout=60)
        main = subprocess.run(
            [sys.executable, "-c", FORKING_HANDLER, name, tmp_path, "60"],
            cwd="/", capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    finally:
        busy.kill()
        busy.wait()
    # A child may find that others before it ended without a word, and log it.
    assert [line for line in main.stderr.splitlines() if "died in the midst of" not in line] == []
    assert main.returncode == 0
    files = [file.read_text().split() for file in tmp_path.iterdir()]
    assert len(files) == 61, sorted(file.name for file in tmp_path.iterdir())
    assert {int(number) for numbers in files for number in numbers} == set(range(1, store["count"] + 1))
    store.recover()
    assert places(store) == [os.getpid()]
    store.check()


def test_a_childs_first_call_is_a_spinning_wait(store):
    def use():
        faults = []

        def wait():
            try:
                store.wait("never", timeout=0.5, spin=0.5)
            except TimeoutError:
                pass
            except shmstore.ShmStoreError as error:
                faults.append(repr(error))

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.1)
        store.incr("n")
        thread.join()
        store.incr("n")
        return faults

    assert Child(use).answer() == []
    assert store["n"] == 2
