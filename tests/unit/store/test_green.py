"""Under gevent and eventlet, what waits lets the others run. Each test is a program of its own, for the patches stay."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from fresh_process import run  # noqa: E402

BEGIN = {
    "gevent": """
import gevent
spawn, nap = gevent.spawn, gevent.sleep
def results(threads):
    return [thread.get() for thread in threads]
def stopped(thread):
    thread.kill()
""",
    "eventlet": """
import eventlet, eventlet.hubs
eventlet.hubs.get_hub()
spawn, nap = eventlet.spawn, eventlet.sleep
def results(threads):
    return [thread.wait() for thread in threads]
def stopped(thread):
    thread.kill()
""",
}
PATCH = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
STORE = """
import os, signal, threading
import shmstore
from shmstore._store import listening
store = shmstore.Store(shmstore.PRIVATE, size="1M")
def in_child(function):
    pid = os.fork()
    if pid == 0:
        try:
            function()
        finally:
            os._exit(0)
    return pid
"""
END = """
assert listening.ears == {}, listening.ears
store.close()
"""


@pytest.fixture(params=["gevent", "gevent patched", "eventlet", "eventlet patched"])
def hub(request):
    """What a program begins with."""
    package, _, patched = request.param.partition(" ")
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    return (PATCH[package] if patched else "") + BEGIN[package] + STORE


def check(hub, program):
    done = run("import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n" + hub + program + END)
    assert "EventletDeprecationWarning" in done.stderr or done.stderr == "", done.stderr
    assert done.returncode == 0, done.stderr


def test_wait(hub):
    check(
        hub,
        """
def waits(i):
    return store.wait(f"k{i}", timeout=60)
waiters = [spawn(waits, i) for i in range(200)]
nap(0.01)
before = len(os.listdir("/proc/self/task"))
versions = [store.put(f"k{i}", i) for i in range(200)]
assert results(waiters) == versions
assert before <= 4, before
""",
    )


def test_another_process_ends_a_wait(hub):
    check(
        hub,
        """
waiter = spawn(lambda: store.wait("k", timeout=60))
nap(0.01)
pid = in_child(lambda: store.put("k", 1))
assert results([waiter]) == [store.get_versioned("k")[1]]
os.waitpid(pid, 0)
""",
    )


def test_timeout(hub):
    check(
        hub,
        """
def times_out():
    try:
        store.wait("never", timeout=0.05)
    except TimeoutError as error:
        return "within 0.05" in str(error)
waiters = [spawn(times_out) for _ in range(10)]
assert results(waiters) == [True] * 10
assert not store.lock("x", timeout=0).acquire() or not store.lock("x", timeout=0.05).acquire()
""",
    )


def test_killed(hub):
    check(
        hub,
        """
waiter = spawn(lambda: store.wait("never"))
nap(0.01)
stopped(waiter)
nap(0.01)
""",
    )


def test_locks(hub):
    """Each green thread holds for itself, also a reentrant lock."""
    check(
        hub,
        """
inside = []
def work(guard):
    with guard(), guard() if guard is reentrant else open(os.devnull):
        inside.append(1)
        assert len(inside) == 1
        nap(0.001)
        inside.pop()
def reentrant():
    return store.lock("x", reentrant=True)
for guard in (lambda: store.lock("x"), reentrant, lambda: store.lease("x"), lambda: store.semaphore("x", 1)):
    results([spawn(work, guard) for _ in range(8)])
barrier = store.barrier("b", 5)
assert sorted(results([spawn(barrier.wait, 60) for _ in range(5)])) == [0, 1, 2, 3, 4]
""",
    )


def test_get_or_set(hub):
    check(
        hub,
        """
calls = []
def compute():
    calls.append(1)
    nap(0.02)
    return 42
assert results([spawn(store.get_or_set, "k", compute) for _ in range(50)]) == [42] * 50
assert calls == [1]
""",
    )


def test_a_death_ends_the_wait_for_a_lock(hub):
    check(
        hub,
        """
read, write = os.pipe()
def hold():
    with store.lock("x"):
        os.write(write, b".")
        while True:
            signal.pause()
pid = in_child(hold)
assert os.read(read, 1) == b"."
def acquires():
    with store.lock("x") as held:
        return held.token > 0
waiter = spawn(acquires)
nap(0.01)
os.kill(pid, signal.SIGKILL)
assert results([waiter]) == [True]
os.waitpid(pid, 0)
""",
    )


def test_a_plain_thread_sleeps_as_ever():
    """It has no hub, though another thread may have one."""
    pytest.importorskip("gevent")
    check(
        BEGIN["gevent"] + STORE,
        """
gevent.get_hub()
found = []
thread = threading.Thread(target=lambda: found.append(store.wait("k", timeout=60)))
thread.start()
with store.lock("x"):
    other = threading.Thread(target=lambda: found.append(store.lock("x").acquire(timeout=0.05)))
    other.start()
    other.join()
version = store.put("k", 1)
thread.join()
assert found == [False, version]
""",
    )
