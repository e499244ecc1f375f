"""fork in every state that a parent can be in: the child is a process of its own, at once, and the parent goes on."""

from __future__ import annotations

import os
import pathlib
import signal
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
from forked_child import LARGE, Child, checked, places, sound  # noqa: E402


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
        deadline = time.monotonic() + 300
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
deadline, after = time.monotonic() + 300, 0
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
            cwd="/", capture_output=True, text=True, timeout=600,
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
