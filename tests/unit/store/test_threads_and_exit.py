"""Threads that close what others use, handles that are dropped, and calls on a store that is gone."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

import shmstore

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from fresh_process import assert_quiet, run  # noqa: E402

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


@pytest.mark.usefixtures("separate_clients")
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


@pytest.mark.usefixtures("separate_clients")
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


@pytest.mark.usefixtures("separate_clients")
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
