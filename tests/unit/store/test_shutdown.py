"""Stores are used while Python shuts down: every public call, in finalizers that come when no module is left, in atexit, in
threads that outlive the main one. It works, or raises what its documentation says; nothing is written to stderr."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import shmstore

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import every_call  # noqa: E402

# pickle imports what it names, and asyncio runs no loop then: no call of ours is reached.
NOT_AT_SHUTDOWN = {"Store pickled", "SharedMemory pickled", "ShareableList pickled", "wait_async"}
# CPython 3.13.0 dies when a timedelta is made then, by whomever; 3.13.1 does not.
MAKES_TIMEDELTAS = (
    {"put and [] timedelta", "put and [] aware", "key of dates", "expire at a datetime"}
    if sys.version_info[:3] == (3, 13, 0)
    else set()
)

PROGRAM = f"""
import atexit, os, sys
sys.path.insert(0, {str(HERE)!r})
key, where, before = sys.argv[1:4]

class Last:
    def run(self, write=os.write, encode=str.encode):
        for call, function in self.calls.items():
            try:
                said = "" if function() else "wrong"
            except BaseException as error:
                said = type(error).__name__ + ": " + str(error)
            if said:
                write(1, encode(call + ": " + said + chr(10)))
        write(1, b"done\\n")

last = Last()
if where == "atexit, registered before the import":
    atexit.register(last.run)
import every_call, shmstore
last.calls = every_call.calls(shmstore, key)
for call in {NOT_AT_SHUTDOWN | MAKES_TIMEDELTAS!r}:
    del last.calls[call]
if before == "used before":
    assert every_call.failures(last.calls) == []
if not where.startswith(("atexit", "a thread", "weakref")):
    Last.__del__ = Last.run
"""
WHERES = {
    "a global of the program": "",
    "a cycle": "last.me = last",
    "a global of a module": "every_call.last = last; del last",
    "builtins": "import builtins; builtins.last = last; del last",
    "a generator": "def generate(last):\n    yield\nlast = generate(last); next(last)",
    "a closure that a signal handler is": "import signal; signal.signal(signal.SIGUSR1, (lambda last: lambda *_: last)(last)); del last",
    "weakref.finalize": "import weakref; weakref.finalize(every_call, last.run)",
    "atexit, registered before the import": "",
    "atexit, registered after the import": "atexit.register(last.run)",
    "a thread that outlives the main one": "import threading\nthreading.Thread(target=lambda: (threading.main_thread().join(), last.run())).start()",
}


@pytest.fixture
def end(key):
    """Run a program with a key of its own until it has ended: what it printed."""

    def run(program, *arguments):
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", program, key, *arguments],
            capture_output=True, text=True, cwd="/", timeout=600,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    yield run
    every_call.remove(shmstore, key)


@pytest.mark.parametrize("before", ["used before", "not used before"])
@pytest.mark.parametrize("where", WHERES)
def test_every_call(end, where, before):
    """At shutdown import statements fail, and the globals of modules are gone one after the other."""
    assert end(PROGRAM + WHERES[where], where, before) == ["done"]


def test_calls_of_the_package_alone(end):
    """Nothing was opened before: what the first open needs cannot be imported any more."""
    assert end("""
import os, shmstore, sys
class Last:
    def __del__(self, key=sys.argv[1], write=os.write, package=shmstore):
        store = package.open(key, size="1M")
        store["a"] = (1, {2}, 2**70, bytearray(b"x"), b"x" * 100_000)
        assert store["a"] == (1, {2}, 2**70, bytearray(b"x"), b"x" * 100_000)
        assert store.stats().entries == len(store.items()) == 1 == len(store.clients())
        assert key in [found.name for found in package.stores()]
        package.destroy(key)
        write(1, b"done\\n")
last = Last()
last.me = last
""") == ["done"]


def test_what_cannot_be_imported_any_more_says_so(end):
    lines = end("""
import os, shmstore, sys
store = shmstore.open(sys.argv[1], size="1M")
other = shmstore.open(sys.argv[1], codec="pickle")
class Last:
    def __del__(self, key=sys.argv[1], write=os.write, package=shmstore, store=store):
        for call in (lambda: package.SharedMemory, lambda: package.open(key, codec="msgspec"), lambda: store["decimal"]):
            try:
                call()
            except Exception as error:
                write(1, (type(error).__name__ + ": " + str(error) + chr(10)).encode())
        package.destroy(key)
store._put_if_("decimal", bytes([0xD6, 6]) + b"1.25", None, 0, 0, False, 1)
last = Last()
last.me = last
""")
    assert [line.partition(":")[0] for line in lines] == ["ImportError", "ImportError", "CodecError"]
    assert all("cannot be imported while Python shuts down; import it before" in line for line in lines)


@pytest.mark.parametrize("logging", ["", "import logging, sys; logging.basicConfig(stream=sys.stdout)"])
def test_a_takeover_at_shutdown_is_logged_if_logging_is_imported(end, logging):
    lines = end(f"""
{logging}
import sys
sys.path.insert(0, {str(HERE)!r})
import interpreters, shmstore
store = shmstore.open(sys.argv[1], size="1M")
class Last:
    def __del__(self, store=store):
        store["after"] = (1,)
        assert store["after"] == (1,) and store.check() == 0
last = Last()
last.me = last
interpreters.leave_a_lock(shmstore, store)
""")
    assert len(lines) == (1 if logging else 0)
    assert not logging or "died while it used the store" in lines[0]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_end(end, store, method):
    """They end by os._exit after their own finalizers, or at once; a pool ends its workers by a signal."""
    assert end(f"""
import multiprocessing, sys
import shmstore
name = sys.argv[2]

def work(number):
    store = shmstore.open(name, create=False)
    return store.incr("n") and (store.put("v", (number, {{number}})) > 0)

if __name__ == "__main__":
    import types
    module = sys.modules["__mp_main__"] = sys.modules["__main__"]
    context = multiprocessing.get_context({method!r})
    inherited = shmstore.open(name, create=False)
    process = context.Process(target=inherited.incr, args=("n",))
    process.start()
    process.join()
    with context.Pool(2) as pool:
        pool.map(inherited.incr, ["n"] * 10)
        pool.close()
        pool.join()
    print(process.exitcode, inherited["n"])
""", store.info().name) == ["0 11"]  # fmt: skip
    assert [client.is_me for client in store.clients()] == [True]


def test_a_store_that_sys_holds_is_closed_in_order(end, store):
    """sys is the last to go, when the globals of all modules are None. What is in C still works."""
    assert end(
        """
import os, shmstore, sys
class Last:
    def __init__(self, store):
        self.store = store
    def __del__(self, write=os.write):
        self.store.put("a", [1, {"b": 2}])
        write(1, b"done\\n" if self.store["a"] == [1, {"b": 2}] and self.store.incr("n") == 1 else b"wrong\\n")
sys.last = Last(shmstore.open(sys.argv[2], create=False))
""",
        store.info().name,
    ) == ["done"]
    assert [client.is_me for client in store.clients()] == [True] and store.recover() == 0
