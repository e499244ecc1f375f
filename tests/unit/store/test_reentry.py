"""Python code that runs in the middle of a call: conversions, finalisers and signal handlers that close the handle, or
fork. Each program has a process of its own: what goes wrong here is a crash."""

import subprocess
import sys

import pytest

SECONDS = 300  # nothing here takes one of them on an idle machine

PRELUDE = """
import datetime, gc, os, signal, struct, sys, threading, time
import shmstore
from shmstore._store import waiting
from shmstore._core import ffi, lib

key = sys.argv[1]
store = shmstore.Store(key, size="1M")
store["n"] = 1

class Runs:
    "A number that does something when it is asked for its value."
    def __init__(self, action):
        self.action = action
    def __index__(self):
        self.action()
        return 1

class Lasts(datetime.timedelta):
    "A duration that does something when it is asked for its length."
    def __new__(cls, action):
        self = super().__new__(cls, seconds=1000)
        self.action = action
        return self
    @property
    def days(self):
        self.action()
        return super().days

CALLS = {
    "incr": lambda n: store.incr("n", n),
    "initial": lambda n: store.incr("new", initial=n),
    "put": lambda n: store.put("n", 2, ttl=Lasts(n.action)),
    "add": lambda n: store.add("new", 2, ttl=Lasts(n.action)),
    "replace": lambda n: store.replace("n", 2, ttl=Lasts(n.action)),
    "cas": lambda n: store.cas("n", 2, store.get_versioned("n")[1], ttl=Lasts(n.action)),
    "touch": lambda n: store.touch("n", Lasts(n.action)),
    "put_many": lambda n: store.put_many({"n": 2, "new": 3}, ttl=Lasts(n.action)),
    "add_many": lambda n: store.add_many({"n": 2, "new": 3}, ttl=Lasts(n.action)),
}

def outcome(operation):
    try:
        operation()
    except shmstore.ShmStoreError as error:
        return type(error).__name__
    return "fine"

def say(*words):
    "In one write, so that lines of parent and child stay whole."
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

children = []

def fork():
    "True in the child; its parent waits for it at the end."
    pid = os.fork()
    if pid:
        children.append(pid)
    else:
        children.clear()
    return pid == 0

def join():
    "The child ends here; its parent when it ended well."
    if not children:
        os._exit(0)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.fixture
def said(key):
    """What a program prints, line by line, after the prelude and on the test's key."""

    def run(program, *arguments):
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + program, key, *arguments],
            capture_output=True, text=True, cwd="/", timeout=SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


CALLS = ["incr", "initial", "put", "add", "replace", "cas", "touch", "put_many", "add_many"]


@pytest.mark.parametrize("call", CALLS)
def test_an_argument_that_closes_the_handle(said, call):
    lines = said(
        """
say(outcome(lambda: CALLS[sys.argv[2]](Runs(store.close))), outcome(lambda: store.get("n")))
with shmstore.Store(key) as other:
    other.check()
    say(other["n"], "new" in other)
""",
        call,
    )
    assert lines == ["StoreClosed StoreClosed", "1 False"]


@pytest.mark.parametrize("call", CALLS)
def test_an_argument_that_forks(said, call):
    """Parent and child each make the call once, as clients of their own."""
    lines = said(
        """
call = sys.argv[2]
forked = False
def fork_once():
    global forked
    if not forked:
        forked = True
        fork()
result = outcome(lambda: CALLS[call](Runs(fork_once)))
me = [client for client in store.clients() if client.is_me]
assert [client.pid for client in me] == [os.getpid()], me
say(result)
join()
say(store["n"], store.get("new"))
store.check()
""",
        call,
    )
    values = {"incr": "3 None", "initial": "1 3", "put": "2 None", "add": "1 2", "replace": "2 None", "cas": "2 None",
              "touch": "1 None", "put_many": "2 3", "add_many": "1 3"}  # fmt: skip
    assert lines == ["fine", "fine", values[call]]


def test_a_finaliser_that_closes_the_handle(said):
    """Up to Python 3.11 garbage is collected wherever memory is asked for, also inside get_many."""
    lines = said("""
store.put_many({f"k{i}": i for i in range(5)})
class Closes:
    def __del__(self):
        store.close()
names = tuple(f"k{i}" for i in range(5))
get_many, found = store._get_many, {}
gc.collect()
gc.disable()
closes = Closes()
closes.me = closes
pad = [[] for _ in range(2000)]
del closes
gc.set_threshold(1, 1, 1)
gc.enable()
result = outcome(lambda: found.update(get_many(names)))
gc.collect()
say(len(found) == 5 if result == "fine" else result == "StoreClosed", outcome(lambda: store.get("n")))
""")
    assert lines == ["True StoreClosed"]


LOCKED = """
# The bucket of `n` is held by another client of this process, until a thread lets go of it.
other = shmstore.Store(key)
size = ffi.new("uint64_t *")
memory = ffi.buffer(lib.shms_memory(store._handle, size), size[0])
heap = struct.unpack_from("<Q", memory, 264)[0]
held = heap + bytes(memory[heap:]).index(struct.pack("<Q", store.get_versioned("n")[1]))
SLOTS, SLOT = 216, 32
bucket = struct.unpack_from("<Q", memory, SLOTS)[0] + struct.unpack_from("<I", memory, held + SLOT)[0] // 7 * 64
number = next(client.number for client in other.clients() if client.is_me)

def release():
    time.sleep(0.6)
    count = struct.unpack_from("<I", memory, bucket + 4)[0]
    struct.pack_into("<I", memory, bucket + 4, count + 1)
    struct.pack_into("<H", memory, bucket, 0)

def forks(*ignored):
    if fork():
        assert "absent" not in store  # the child becomes a client in the middle of its parent's call

struct.pack_into("<H", memory, bucket, number)
signal.signal(signal.SIGALRM, forks)
signal.setitimer(signal.ITIMER_REAL, 0.2)
releaser = threading.Thread(target=release)
releaser.start()
"""


@pytest.mark.parametrize("call", ["store.put('n', ['value'] * 40)", "store.incr('n')", "store.delete('n')",
                                  "store.put_many({'n': 5, 'm': 6})", "store.pop('n', None)",
                                  "store.touch('n', 1000)"])  # fmt: skip
def test_a_signal_handler_that_forks_while_a_lock_is_waited_for(said, call):
    """What the interrupted call has in hand is the parent's: the child begins anew. Both end, nothing is lost."""
    lines = said(
        LOCKED
        + """
result = outcome(lambda: eval(sys.argv[2]))
say("parent" if children else "child", result)
assert outcome(lambda: store.get("n")) == "fine"
join()
releaser.join()
if "incr" in sys.argv[2]:
    assert store["n"] == 3
for i in range(20):
    store[f"more{i}"] = "Z" * 150
if sys.argv[2].startswith("store.put("):
    assert store["n"] == ["value"] * 40
store.check()
say(store.stats().entries == len(store))
""",
        call,
    )
    assert sorted(lines) == ["True", "child fine", "parent fine"]


def test_a_fork_between_the_look_and_the_wait(said):
    """A handler may fork after the caller made sure that its handle is this process's own."""
    lines = said("""
class Forking:
    def __getattr__(self, name):
        return getattr(lib, name)
    def shms_usable(self, handle):
        status = lib.shms_usable(handle)
        waiting.lib = lib
        fork()
        return status

waiting.lib = Forking()
try:
    store.wait("never", timeout=0.05, spin=0.05)
except TimeoutError:
    say("late")
me = [client for client in store.clients() if client.is_me]
assert [client.pid for client in me] == [os.getpid()], me
store.put("n", 2)
join()
store.check()
""")
    assert lines == ["late", "late"]


def test_calls_that_cannot_become_a_client_are_sent_back_in_a_child(said):
    lines = said("""
version, what = ffi.new("uint64_t *"), ffi.new("char[200]")
if fork():
    handle = store._handle
    for status in (
        lib.shms_w_wait(handle, b"never", 5, 0, 0, 0, 1000000, 1000000, version),
        lib.shms_w_recover(handle),
        lib.shms_w_check(handle, what, 200),
        lib.shms_w_destroy(handle),
    ):
        say(status == lib.SHMS_FORKED)
    store["n"] = 2
join()
assert store["n"] == 2
store.check()
""")
    assert lines == ["True"] * 4


@pytest.mark.parametrize("ending, seconds", [("store.get('n')", 0.3), ("store.close()", 200)])
def test_a_child_whose_first_call_spins_in_a_thread(said, ending, seconds):
    """Its second call comes from another thread meanwhile, and may close the handle."""
    lines = said(
        """
if fork():
    def waits():
        try:
            store.wait("never", timeout=float(sys.argv[3]), spin=float(sys.argv[3]))
        except (TimeoutError, shmstore.StoreClosed) as error:
            say(type(error).__name__)
    thread = threading.Thread(target=waits)
    thread.start()
    time.sleep(0.05)
    eval(sys.argv[2])
    thread.join()
    say(outcome(lambda: store.get("n")))
join()
store.check()
""",
        ending,
        str(seconds),
    )
    assert lines == (["StoreClosed", "StoreClosed"] if "close" in ending else ["TimeoutError", "fine"])
