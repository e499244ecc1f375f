"""Signal handlers, finalizers, codecs and arguments that call the store from within its calls."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

import shmstore

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from fresh_process import assert_nothing_is_held, assert_quiet, run  # noqa: E402

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
while time.monotonic() < end or ran < 6:  # a thousand on an idle machine
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
