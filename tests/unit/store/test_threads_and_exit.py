"""Threads that close what others use, processes that end in the midst of it, and code that runs inside of calls.

What might bring a process down runs in one of its own.
"""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import threading
import time
import weakref

import pytest

import shmstore


def run(program, *args):
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program, *map(str, args)],
        cwd="/", capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )  # fmt: skip


def assert_quiet(done):
    assert done.stderr == "" and done.returncode == 0


def assert_nothing_is_held(store):
    """Another process can write every name at once, and the store is what its format says."""
    store.recover()
    assert [client.is_me for client in store.clients()] == [True]
    with shmstore.Store(store.info().name, create=False, timeout=2) as other:
        for name in list(other):
            other.put(name, 0)
        other.clear()
        other.check()
        assert other.stats().bytes_used == 0


# ---- close -------------------------------------------------------------------------------------------------

OPERATIONS = {
    "get": "store.get('small')",
    "put": "store.put(f'k{i}', [i] * 9)",
    "large get": "store.get('large')",
    "large put": "store.put(f'large{i % 2}', large)",
    "incr": "store.incr('n')",
    "modify": "store.modify('m', lambda n: n + 1, 0)",
    "get many": "store['k'] = 1; store.get_many([f'k{j}' for j in range(20)] + ['k'])",
    "put many": "store.put_many({f'm{i}{j}': j for j in range(20)})",
    "delete many": "store.delete_many([f'm{i}{j}' for j in range(20)])",
    "iteration": "dict(store.items())",
    "wait": "store.wait('never', timeout=0.03)",
    "wait for ever": "store.wait('never')",
    "spin": "store.wait('never', timeout=0.01, spin=0.01)",
    "check": "store.check(); store.recover(); store.stats(); store.info(); store.clients()",
}
CLOSING = """
import sys, threading, time, traceback
import shmstore
key, operation = sys.argv[1], compile(sys.argv[2], "operation", "exec")
large, ends, rounds = bytes(9 << 20), [], [0] * 4

for turn, closers in enumerate((1, 3, 1, 3)):
    store, ends[:] = shmstore.Store(key, create=False), []

    def use(i):
        try:
            while True:
                try:
                    exec(operation, {"store": store, "i": i, "large": large})
                except (TimeoutError, KeyError) as error:
                    if isinstance(error, shmstore.ShmStoreError):
                        raise
                rounds[i] += 1
        except shmstore.StoreClosed:
            ends.append("closed")
        except BaseException:
            ends.append(traceback.format_exc())

    users = [threading.Thread(target=use, args=(i,)) for i in range(4)]
    for user in users:
        user.start()
    time.sleep(0.005 + 0.01 * turn)
    barrier = threading.Barrier(closers)
    ending = [threading.Thread(target=lambda: (barrier.wait(), store.close())) for _ in range(closers)]
    for thread in ending:
        thread.start()
    for thread in ending + users:
        thread.join(60)
    assert not any(thread.is_alive() for thread in users), f"a thread stays inside, {closers=}"
    assert ends == ["closed"] * 4, (closers, ends)
    assert store.closed
"""


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_close_while_threads_are_inside(make, becomes_attached, operation):
    """They finish what they do, or get StoreClosed; the last one out detaches."""
    store = make(size="128M", max_entries=1000)
    store["small"], store["large"] = [1, 2, 3], bytes(9 << 20)
    assert_quiet(run(CLOSING, store.info().name, operation))
    becomes_attached(store, 1)
    assert [client.is_me for client in store.clients()] == [True]  # each left its place in order
    store.check()


CALLS = {
    "get": lambda store: store.get("a"),
    "[]": lambda store: store["a"],
    "in": lambda store: "a" in store,
    "get_versioned": lambda store: store.get_versioned("a"),
    "get_into": lambda store: store.get_into("a", bytearray(100)),
    "ttl": lambda store: store.ttl("a"),
    "get_many": lambda store: store.get_many(["a"]),
    "iteration": list,
    "items": lambda store: dict(store.items()),
    "len": len,
    "bool": bool,
    "wait": lambda store: store.wait("a", timeout=1),
    "spinning wait": lambda store: store.wait("a", timeout=1, spin=1),
    "put": lambda store: store.put("a", 1),
    "add": lambda store: store.add("a", 1),
    "replace": lambda store: store.replace("a", 1),
    "cas": lambda store: store.cas("a", 1, 1),
    "modify": lambda store: store.modify("a", lambda n: n),
    "setdefault": lambda store: store.setdefault("a", 1),
    "incr": lambda store: store.incr("a"),
    "decr": lambda store: store.decr("a"),
    "touch": lambda store: store.touch("a", 1),
    "expire": lambda store: store.expire("a", 2**40),
    "expire_due": lambda store: store.expire_due(),
    "get and touch": lambda store: store.get("a", touch=1),
    "get_with_ttl": lambda store: store.get_with_ttl("a"),
    "describe": lambda store: store.describe("a"),
    "incr of what is there": lambda store: store.incr("a", create=False),
    "delete of a version": lambda store: store.delete("a", 1),
    "delete of the version 0": lambda store: store.delete("a", 0),
    "put_many that skips": lambda store: store.put_many({"a": 1}, on_error="skip"),
    "put_many of nothing that skips": lambda store: store.put_many({}, on_error="skip"),
    "delete": lambda store: store.delete("a"),
    "pop": lambda store: store.pop("a"),
    "popitem": lambda store: store.popitem(),
    "put_many": lambda store: store.put_many({"a": 1}),
    "add_many": lambda store: store.add_many({"a": 1}),
    "update": lambda store: store.update(a=1),
    "delete_many": lambda store: store.delete_many(["a"]),
    "clear": lambda store: store.clear(),
    "stats": lambda store: store.stats(),
    "info": lambda store: store.info(),
    "clients": lambda store: store.clients(),
    "check": lambda store: store.check(),
    "recover": lambda store: store.recover(),
    "destroy": lambda store: store.destroy(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_call_says_that_the_store_is_gone(make, call):
    store = make()
    store["a"] = 1
    other = make(create=False)
    other.close()
    with pytest.raises(shmstore.StoreClosed):
        call(other)
    other = make(create=False)
    store.destroy()
    with pytest.raises(shmstore.StoreDestroyed):
        call(other)


def test_a_thread_that_closes_detaches_after_the_last_one_inside(make, key, becomes_attached):
    store = make()
    with shmstore.Store(key) as other:
        inside = threading.Thread(target=lambda: pytest.raises(shmstore.StoreClosed, other.wait, "never", timeout=60))
        inside.start()
        time.sleep(0.02)
        other.close()
        with pytest.raises(shmstore.StoreClosed):
            other.get("a")
        inside.join(60)
    becomes_attached(store, 1)
    assert len(store.clients()) == 1


# ---- the end of a process ----------------------------------------------------------------------------------

ENDING = """
import atexit, os, sys, threading, time
atexit.register(time.sleep, 0.02)  # runs after what was registered later: threads go on for a while
import shmstore
store, how, delay = shmstore.Store(sys.argv[1], create=False), sys.argv[2], float(sys.argv[3])
large = bytes(9 << 20)

def loop(i):
    n = 0
    while True:
        n += 1
        choice = (i + n) % 6
        if choice == 0:
            store.put(f"k{n % 20}", [n] * (n % 200))
            store.delete(f"k{n % 17}")
        elif choice == 1:
            store.get(f"k{n % 20}")
            store.get_many([f"k{j}" for j in range(9)])
        elif choice == 2:
            store.incr("n")
        elif choice == 3 and i < 2:
            store.put("large", large)
            store.get("large")
        elif choice == 4:
            try:
                store.wait("n", after=store.get_versioned("n")[1], timeout=0.002)
            except TimeoutError:
                pass
        elif choice == 5 and i == 3:
            store.check()

store.incr("n")
for i in range(4):
    if how == "nameless":
        import _thread
        _thread.start_new_thread(loop, (i,))
    else:
        threading.Thread(target=loop, args=(i,), daemon=True).start()
time.sleep(delay)
if how == "sys.exit":
    sys.exit(0)
if how == "os._exit":
    os._exit(0)
if how == "close":
    threading.excepthook = lambda args: None  # the threads get StoreClosed
    store.close()
"""


def end_many(store, how, times):
    """Two at a time, as there are two cores."""
    name, faults = store.info().name, []
    for i in range(0, times, 2):
        pair = [
            subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-c", ENDING, name, how, str(0.003 * (i + j))],
                cwd="/",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )  # fmt: skip
            for j in range(2)
        ]
        for process in pair:
            try:
                output, _ = process.communicate(timeout=60)
            finally:
                process.kill()
                process.wait()
            # The next one may warn that the last one went without a word: a place of somebody who is gone.
            lines = [line for line in output.splitlines() if "died in the midst of" not in line]
            if lines or process.returncode:
                faults.append((process.returncode, lines))
    return faults


@pytest.mark.parametrize(
    "how, times", [("end", 20), ("sys.exit", 6), ("os._exit", 10), ("close", 6)], ids=lambda value: str(value)
)
def test_the_process_ends_while_daemon_threads_are_inside(make, how, times):
    store = make(size="192M", max_entries=1000)
    assert end_many(store, how, times) == []
    assert_nothing_is_held(store)


def test_the_process_ends_while_threads_are_inside_that_threading_does_not_know(make):
    store = make(size="192M", max_entries=1000)
    faults = end_many(store, "nameless", 2)
    assert_nothing_is_held(store)
    assert faults == []


@pytest.mark.parametrize("how", ["", "sys.exit(3)", "raise SystemExit(3)", "store.close(); sys.exit(3)", "del store"])
def test_who_ends_in_order_leaves_no_place_behind(store, how):
    program = f"import shmstore, sys\nstore = shmstore.Store(sys.argv[1], create=False)\nstore.incr('n')\n{how}"
    done = run(program, store.info().name)
    assert done.stderr == "" and done.returncode == (3 if "3" in how else 0)
    assert len(store.clients()) == 1 and store.recover() == 0  # it was not found dead: it said goodbye


def test_the_store_in_code_that_runs_at_exit(store):
    program = """
import atexit, shmstore, sys, threading
store = shmstore.Store(sys.argv[1], create=False)
class Last:
    def __del__(self, store=store):
        try:
            store.incr("finalizer")
        except shmstore.StoreClosed:
            pass
keep, keep.me = (lambda: 0), Last()
atexit.register(lambda: store.incr("atexit"))
threading.Thread(target=lambda: [store.incr("threads") for _ in range(2000)]).start()
"""
    assert_quiet(run(program, store.info().name))
    assert store["threads"] == 2000 and store["atexit"] == 1
    assert_nothing_is_held(store)


# ---- code that runs inside of calls ------------------------------------------------------------------------

CONTENDER = """
import os, sys, shmstore
store, parent, n = shmstore.Store(sys.argv[1], create=False), os.getppid(), 0
store["busy"] = True
while os.getppid() == parent and "stop" not in store:
    store.incr("main")
    store.incr("handler")
    n += 1
    if n % 50 == 0:
        store.check()
store["contender"] = n
"""
HANDLER = """
import os, signal, sys, time
import shmstore
store, depth, ran, nested = shmstore.Store(sys.argv[1], create=False), 0, 0, 0

def handler(*_):
    global depth, ran, nested
    if depth == 3:
        return
    depth += 1
    nested += depth > 1
    try:
        ran += 1
        store.put("value", ["handler", ran, [ran] * (ran % 300)])
        value = store.get("value")
        assert value[2] == [value[1]] * len(value[2])
        store.incr("handler")
        store.modify("modified", lambda n: n + 1, 0)
    finally:
        depth -= 1

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
end, n = time.monotonic() + 2, 0
while time.monotonic() < end:
    n += 1
    store.put("value", ["main", n, [n] * (n % 300)])
    value = store.get("value")
    assert value[2] == [value[1]] * len(value[2])
    store.incr("main")
    store.modify("modified", lambda n: n + 1, 0)
    store.get_many(["value", "main", "handler"])
    "value" in store, store.ttl("value"), store.touch("value", None)
    try:
        store.wait("never", timeout=0.0001)
    except TimeoutError:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
print(n, ran, nested)
"""


def test_a_signal_handler_calls_the_store_during_calls(make):
    store = make(size="4M")
    store.put_many({f"fill:{i}": i for i in range(5000)})
    name = store.info().name
    contender = subprocess.Popen([sys.executable, "-c", CONTENDER, name], cwd="/")
    try:
        store.wait("busy", timeout=60)
        done = run(HANDLER, name)
        store["stop"] = True
        assert contender.wait(60) == 0
    finally:
        contender.kill()
        contender.wait()
    assert_quiet(done)
    n, ran, nested = map(int, done.stdout.split())
    others = store["contender"]
    print(f"{n} rounds, {ran} handlers, {nested} of them within a handler, {others} rounds of another process")
    assert ran > 5  # a thousand on an idle machine
    assert (store["main"], store["handler"], store["modified"]) == (n + others, ran + others, n + ran)
    store.check()


COLLECTING = """
import gc, sys
import shmstore
store, finalized = shmstore.Store(sys.argv[1], create=False), 0

class Cycle:
    def __init__(self):
        self.me = self
    def __del__(self):
        global finalized
        finalized += 1
        store.incr("finalized")
        store.put("value", [finalized] * (finalized % 100))
        value = store.get("value")
        assert len(set(value)) <= 1
        assert sorted(store.get_many(["value", "finalized"])) == ["finalized", "value"]

gc.set_threshold(5, 2, 2)
for n in range(4000):
    Cycle()
    keep = [[] for _ in range(n % 90)]  # uses the interpreter's spare lists up, so that making one collects
    store.put("mine", {"n": n, "list": [n, [n]]})
    assert store.get("mine") == {"n": n, "list": [n, [n]]}
    assert store.incr("count") == n + 1
    assert store.get_many(["mine", "count"]) == {"mine": {"n": n, "list": [n, [n]]}, "count": n + 1}
    if n % 50 == 0:
        list(store.items()), len(store), store.put_many({"a": (n,), "b": {n}}), store.stats(), store.clients()
gc.collect()
assert finalized == 4000 == store["finalized"], finalized
"""


def test_finalizers_call_the_store_from_within_its_calls(store):
    assert_quiet(run(COLLECTING, store.info().name))
    assert store["count"] == 4000
    assert_nothing_is_held(store)


def test_a_codec_calls_the_store(make):
    calls = []

    class Nosy:
        name = "nosy"

        def encode(self, obj):
            calls.append(plain.incr("encoded"))
            plain.put("last", obj)
            if obj > 0:
                store.put("below", obj - 1)
                assert store["below"] == obj - 1
            gc.collect()
            return str(obj).encode()

        def decode(self, data):
            calls.append(plain.incr("decoded"))
            assert plain.get_many(["encoded", "last"])
            store.delete("absent")
            return int(data)

    plain = make()
    store = make(codec=Nosy(), create=False)
    store["k"] = 5
    assert store["k"] == 5 and store["below"] == 4
    assert store.modify("k", lambda n: n + 1) == 6
    assert store.pop("k") == 6
    assert store.get_many(["below", "encoded"]) == {"below": 5, "encoded": plain["encoded"]}
    assert plain["encoded"] + plain["decoded"] == len(calls)


def test_a_codec_closes_the_store(make):
    class Closing:
        name = "closing"

        def encode(self, obj):
            if obj == "close":
                store.close()
            return obj.encode()

        def decode(self, data):
            if data == b"closing":
                store.close()
            return data.decode()

    plain = make()
    store = make(codec=Closing(), create=False)
    store["a"] = "closing"
    with pytest.raises(shmstore.StoreClosed):
        store["b"] = "close"
    assert "b" not in plain
    store = make(codec=Closing(), create=False)
    assert store.get("a") == "closing" and store.closed  # the copy was taken before
    store = make(codec=Closing(), create=False)
    with pytest.raises(shmstore.StoreClosed):
        list(store.items()), list(store.values())
    store = make(codec=Closing(), create=False)
    with pytest.raises(shmstore.StoreClosed):
        store.modify("a", lambda value: value + "!")
    assert len(plain.clients()) == 1
    plain.check()


CLOSING_ARGUMENT = """
import sys
import shmstore
keep, store = shmstore.Store(sys.argv[1], create=False), shmstore.Store(sys.argv[1], create=False)
class Number:
    def __float__(self):
        store.close()
        return 5.0
    def __index__(self):
        store.close()
        return 5
store.put("n", 1)
try:
    exec(sys.argv[2])
except (shmstore.StoreClosed, TypeError):
    pass
assert keep.incr("n") > 0
keep.check()
"""


@pytest.mark.parametrize(
    "call",
    [
        "store.put('n', 1, ttl=Number())",
        "store.add('m', 1, ttl=Number())",
        "store.touch('n', Number())",
        "store.put_many({'n': 1}, ttl=Number())",
        "store.incr('n', Number())",
        "store.incr('n', initial=Number())",
    ],
)
def test_an_argument_closes_the_store(store, call):
    assert_quiet(run(CLOSING_ARGUMENT, store.info().name, call))


CLOSING_COLLECTION = """
import gc, sys
import shmstore
keep, closed = shmstore.Store(sys.argv[1], create=False), 0
class Cycle:
    def __init__(self, store):
        self.me, self.store = self, store
    def __del__(self):
        global closed
        closed += 1
        self.store.close()
keep["a"] = 1
for i in range(60):
    store = shmstore.Store(sys.argv[1], create=False)
    gc.collect()
    gc.disable()
    Cycle(store)
    spare = [[] for _ in range(300)]
    gc.set_threshold(300 + i)  # so that the collection comes once at each allocation of the call
    gc.enable()
    try:
        store.get_many(("a", "a"))
    except shmstore.StoreClosed:
        pass
    gc.disable()
    gc.set_threshold(700)
    gc.collect()
    assert store.closed
assert closed == 60
"""


def test_a_finalizer_closes_the_store_within_its_call(store):
    assert_quiet(run(CLOSING_COLLECTION, store.info().name))


# ---- handles as objects ------------------------------------------------------------------------------------


def test_a_dropped_handle_detaches(make, key, becomes_attached):
    store = make()
    for drop in ("del", "cycle"):
        handle = shmstore.Store(key)
        watch = weakref.ref(handle)
        becomes_attached(store, 2)
        assert len(store.clients()) == 2
        if drop == "cycle":
            trap = [handle]
            trap.append(trap)
            del trap
        del handle
        gc.collect()
        assert watch() is None
        becomes_attached(store, 1)
        assert len(store.clients()) == 1


def test_views_and_iterators_keep_a_dropped_handle_open(make, key, becomes_attached):
    store = make()
    store.update(a=1, b=2)
    names, items, iterator = shmstore.Store(key).keys(), shmstore.Store(key).items(), iter(shmstore.Store(key))
    gc.collect()
    becomes_attached(store, 4)
    assert set(names) == {"a", "b"} == set(iterator) and dict(items) == {"a": 1, "b": 2}
    del names, items, iterator
    gc.collect()
    becomes_attached(store, 1)


def test_a_half_made_handle_is_no_trouble(key):
    for bad in ({"create": False}, {"size": 1}, {"codec": "nope"}, {"ttl": -1}, {"nonsense": 1}):
        with pytest.raises((shmstore.ShmStoreError, ValueError, TypeError)):
            shmstore.Store(key, **bad)
    bare = shmstore.Store.__new__(shmstore.Store)
    assert "Store" in repr(bare)
    del bare
    gc.collect()


def test_handles_are_not_confused(make, key, becomes_attached):
    """The number of a closed handle is used again, under another generation."""
    store = make()
    old = []
    for i in range(100):
        handle = shmstore.Store(key)
        handle["i"] = i
        handle.close()
        old.append(handle)
    fresh = shmstore.Store(key)
    for handle in old:
        with pytest.raises(shmstore.StoreClosed):
            handle.get("i")
        handle.close()
        assert handle.closed
    assert fresh["i"] == 99
    becomes_attached(store, 2)
    fresh.close()
