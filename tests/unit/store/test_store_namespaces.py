"""Namespaces: mappings of their own in one store, each cleared at once."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import sys
import threading
from pathlib import Path

import pytest

import shmstore
from shmstore import PRIVATE, Cache, Store

sys.path.insert(0, str(Path(__file__).resolve().parent))
from crowd import Crowd
from forked_child import Child
from segment_words import Memory

NAMESPACES = 1984  # in the header: how many counters were given


def test_a_mapping_of_its_own(store):
    users, posts = store.namespace("users"), store.namespace("posts")
    for mapping in (store, users, posts):
        assert not mapping and len(mapping) == 0 and list(mapping) == []
    users["7"], users[b"7"], posts["7"], store["7"] = "Ada", "bytes", "hello", "root"
    assert users["7"] == "Ada" and users[b"7"] == "bytes" and posts["7"] == "hello" and store["7"] == "root"
    assert dict(users) == {"7": "Ada", b"7": "bytes"} and dict(posts) == {"7": "hello"} and dict(store) == {"7": "root"}
    assert len(users) == 2 and len(store) == 1 and bool(users) and "7" in users and "8" not in users
    assert sorted(users.keys("7")) == ["7"] and list(users.keys(b"")) == [b"7"] and list(users.keys("8")) == []
    assert len(users.keys("7")) == 1 and "7" in users.keys("7") and users == {"7": "Ada", b"7": "bytes"}
    assert sorted(users.values()) == ["Ada", "bytes"] and users.get_many(["7", "8"]) == {"7": "Ada"}
    del users["7"]
    assert "7" not in users and posts["7"] == "hello" and store["7"] == "root"
    assert users.popitem() == (b"7", "bytes") and len(users) == 0
    store.check()


def test_every_call_stays_in_it(store):
    users = store.namespace("users")
    store["n"] = 100
    assert users.incr("n") == 1 and users.incr("n", 4) == 5 and users.decr("n") == 4
    assert users.add("a", 1) and not users.add("a", 2) and users.replace("a", 3) and not store.replace("a", 3)
    value, version = users.get_versioned("a")
    assert users.cas("a", value + 1, version) and users.modify("a", lambda v: v * 2) == 8
    assert users.setdefault("b", 1) == 1 and users.touch("a", 60) and 0 < users.ttl("a") <= 60
    assert users.put_many({"c": 1, "d": b"data"}) == 2 and users.add_many({"c": 2, "e": 3}) == 1
    assert bytes(users.view("d")) == b"data" and users.get_into("d", bytearray(4)) == 4
    assert users.describe("d").size == 6 and users.pop("e") == 3 and users.delete_many(["c", "x"]) == 1
    assert users.get_with_ttl("b") == (1, None) and users.expire("b", 0) and "b" not in users
    users.update(f=1)
    assert users.wait("f", timeout=1) == users.get_versioned("f")[1]
    assert asyncio.run(users.wait_async("f", timeout=1))
    assert users.get_or_set("g", lambda: 7) == 7 == users["g"]
    assert asyncio.run(users.aget_or_set("h", lambda: 8)) == 8
    assert dict(store) == {"n": 100} and sorted(users) == ["a", "d", "f", "g", "h", "n"]
    assert users.stats().entries == store.stats().entries and users.info().uuid == store.info().uuid
    users.check(), users.compact(), users.recover(), users.expire_due()
    with pytest.raises(TypeError, match="whole store"):
        users.destroy()


def test_clear_takes_everything_in_it_and_nothing_else(store):
    users, posts = store.namespace("users"), store.namespace("posts")
    europe = users.namespace("eu")
    for mapping in (store, users, posts, europe):
        mapping.update(a=1, b=2)
        mapping.put("c", 3, ttl=60, tags=["t"])
        mapping.incr("n")
    assert users.clear() == 0
    assert len(users) == len(europe) == 0 and len(posts) == len(store) == 4
    europe["a"] = 1
    users["a"] = 2
    assert europe.clear() == 0 and dict(users) == {"a": 2} and dict(europe) == {}
    store.evict_tag("t")
    assert len(posts) == len(store) == 3
    assert store.clear() == 3 and len(posts) == len(users) == len(store) == 0
    assert store.expire_due() > 0 and store.stats().entries == 3  # the entries that say which namespaces there are
    users["a"] = 1
    assert dict(store.namespace("users")) == {"a": 1}


def test_names(store):
    names = ["a", b"a", "a/b", "b", "\0", "ä" * 127, "x" * 255]
    spaces = [store.namespace(name) for name in names] + [store.namespace("a").namespace("b")]
    for number, space in enumerate(spaces):
        space["k"] = number
    assert [space["k"] for space in spaces] == list(range(len(spaces)))
    assert [store.namespace(name)["k"] for name in names] == list(range(len(names)))
    for name, kind in [("", shmstore.InvalidKey), ("x" * 256, shmstore.InvalidKey), (5, TypeError), (None, TypeError),
                       ("\ud800", shmstore.InvalidKey)]:  # fmt: skip
        with pytest.raises(kind):
            store.namespace(name)
    deep = store
    for _ in range(16):
        deep = deep.namespace("deep")
    deep["k"] = 1
    with pytest.raises(shmstore.InvalidKey, match="16 levels"):
        deep.namespace("deeper")
    store.namespace("deep").clear()
    assert "k" not in deep


def test_keys(store):
    users = store.namespace("users")
    for key in ("", b"", "\0", "ä", b"\xff", "k" * 32759, b"k" * 32759):
        users[key] = 1
        assert users[key] == 1 and key in users
    assert len(users) == 7 and set(users) == {"", b"", "\0", "ä", b"\xff", "k" * 32759, b"k" * 32759}
    for key, kind in [("k" * 32760, shmstore.InvalidKey), (5, TypeError), ("\ud800", shmstore.InvalidKey)]:
        with pytest.raises(kind) as caught:
            users[key] = 1
        assert key not in users and users.get(key) is None and not users.delete(key)
        with pytest.raises(kind):
            users.put_many({key: 1})
    assert "32759" in str(caught.value) or "surrogate" in str(caught.value)
    with pytest.raises(KeyError) as caught:
        users["absent"]
    assert caught.value.args == ("absent",)
    users.clear()
    assert list(users) == []


def test_errors_and_repr_name_it(store):
    users = store.namespace("users")
    europe = users.namespace(b"eu")
    assert repr(users) == f"<shmstore.Store {store.info().name!r} / 'users' open>"
    assert "/ 'users' / b'eu'" in repr(europe)
    with pytest.raises(TypeError, match="/ 'users', entry 'k'"):
        users["k"] = "text"
        users.incr("k")


def test_pickles_and_other_processes(store):
    users = store.namespace("users").namespace("eu")
    again = pickle.loads(pickle.dumps(users))
    users["k"] = 1
    assert dict(again) == {"k": 1} and repr(again) == repr(users)

    def work():
        again["l"] = 2
        return dict(store.namespace("users").namespace("eu"))

    assert Child(work).answer() == {"k": 1, "l": 2}
    for copied in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copied(users)


def test_many_processes_agree_on_it(key, make):
    store = make()

    def work(crowd, number):
        with Store(key, create=False) as mine:
            for n in range(20):
                mine.namespace(f"space{n}")[f"{number}"] = n

    crowd = Crowd(8, work)
    for pid in crowd.children:
        assert os.waitpid(pid, 0)[1] == 0
    for n in range(20):
        assert dict(store.namespace(f"space{n}")) == {f"{number}": n for number in range(8)}


def test_options_are_those_of_the_store(make):
    store = make(ttl=50, codec="pickle", timeout=1)
    users = store.namespace("users")
    users["k"] = {1, 2}
    assert users["k"] == {1, 2} and 0 < users.ttl("k") <= 50


def test_handles_of_its_own(key):
    with Store(key, size="1M") as store:
        users = store.namespace("users")
        users.close()
        with pytest.raises(shmstore.StoreClosed):
            users["k"] = 1
        with store.namespace("users") as users:
            users["k"] = 1
    with pytest.raises(shmstore.StoreClosed):
        store.namespace("users")
    with Store(key) as store:
        users = store.namespace("users")
        assert users["k"] == 1
        store.destroy()
        with pytest.raises(shmstore.StoreDestroyed):
            users.get("k")
        with pytest.raises(shmstore.StoreDestroyed):
            store.namespace("users")


@pytest.mark.parametrize("backend_", ["sysv", "posix"])
def test_private_stores(backend_):
    with Store(PRIVATE, size="1M", backend=backend_) as store:
        users = store.namespace("users")
        users["k"] = 1
        assert dict(users) == {"k": 1} and dict(store) == {}
        users.close()
    gc.collect()


def test_posix_memory(key):
    with Store(key, size="1M", backend="posix") as store:
        users = store.namespace("users")
        users.put("k", 1, tags=["t"])
        assert dict(Store(key, create=False, backend="posix", readonly=True).namespace("users")) == {"k": 1}
        users.clear()
        assert dict(users) == {}
        store.put("k", 1, tags=["t"])
        store.evict_tag("t")
        assert dict(store) == {}
        store.check()
        store.destroy()


def test_read_only(store, make):
    reader = make(readonly=True)
    users = reader.namespace("users")
    assert dict(users) == {} and users.get("k") is None and "k" not in users and not users
    for write in (lambda: users.put("k", 1), users.clear, lambda: users.incr("k"), lambda: users.delete("k")):
        with pytest.raises(shmstore.ReadOnlyStore):
            write()
    assert Memory(store).word(NAMESPACES) == 0
    store.namespace("users")["k"] = 1  # made after that handle
    assert dict(users) == {"k": 1}
    store.namespace("users").clear()
    assert dict(users) == {}


def test_locks_of_its_own(store):
    users = store.namespace("users")
    with users.lock("x", timeout=0) as mine, store.lock("x", timeout=0) as other:
        assert mine and other
        assert not users.lock("x").acquire(timeout=0) and users.lock("x").locked()
        users.clear()
        assert not store.namespace("users").lock("x").acquire(timeout=0)
        with users.lease("y"), store.lease("y"):
            pass
        with users.semaphore("s", 1, timeout=0) as one, store.semaphore("s", 1, timeout=0) as two:
            assert one and two
    assert users.barrier("b", 1).wait() == 0


def test_recovering_frees_locks_of_the_dead_in_it(key, make):
    store = make()

    def work():
        held.append(Store(key, create=False).namespace("users").lock("x"))
        held[0].acquire()

    held = []
    Child(work).answer()
    assert any(raw.startswith(b"lock:x") for raw in store._walk(b"", 64))
    store.recover()
    assert not any(raw.startswith(b"lock:x") for raw in store._walk(b"", 64))
    with store.namespace("users").lock("x", timeout=0) as mine:
        assert mine


def test_get_or_set_of_one_key_in_two_namespaces(store):
    users = store.namespace("users")
    assert users.get_or_set("k", lambda: store.get_or_set("k", lambda: 1) + 1) == 2
    assert store["k"] == 1 and users["k"] == 2


def test_get_or_set_while_it_is_cleared(store):
    users = store.namespace("users")
    assert users.get_or_set("k", lambda: users.clear()) == 0 and "k" not in users
    assert users.modify("k", lambda v: users.clear() + v, 5) == 5 and "k" not in users


def test_memoize_in_it(store):
    users, calls = store.namespace("users"), []

    @users.memoize(ttl=60)
    def double(x):
        calls.append(x)
        return 2 * x

    assert double(1) == double(1) == 2 and double.cache_info().currsize == 1 and len(store) == 0
    users.clear()
    assert double(1) == 2 and calls == [1, 1]
    double.cache_clear()
    assert double(1) == 2 and calls == [1, 1, 1] and double.cache_info().currsize == 1


def test_tags_are_those_of_the_store(store):
    users = store.namespace("users")
    users.put("k", 1, tags=["t"])
    store.put("k", 1, tags=["t"])
    users.evict_tag("t")
    assert "k" not in users and "k" not in store


def test_a_cache(key):
    with Cache(key, size="1M", max_entries=500) as cache:
        users = cache.namespace("users")
        assert isinstance(users, Cache) and "Cache" in repr(users)
        for n in range(2000):
            users[f"{n}"] = n
        assert 300 < len(users) <= 500 and cache.stats().evictions > 1000
        cache.destroy()
        assert dict(users) == {}  # opened again, and made again
        users["k"] = 1
        assert dict(users) == {"k": 1} == dict(cache.namespace("users")) and dict(cache) == {}
        cache.destroy()


def test_a_cache_that_is_made_again_with_other_namespaces(key):
    """A handle finds its own namespace by the name, not by the place that it had."""
    with Cache(key, size="1M") as cache:
        users, posts = cache.namespace("users"), cache.namespace("posts")
        users["k"], posts["k"] = 1, 2
        cache.destroy()
        cache.namespace("posts")["k"] = 3
        cache.namespace("users")["k"] = 4
        assert users["k"] == 4 and posts["k"] == 3
        cache.destroy()


def test_cache_that_cannot_be_opened(key):
    Store(key, size="1M").close()
    with Cache(key, size="1M", on_error="miss") as cache:
        users = cache.namespace("users")
        assert users.get("k", 5) == 5 and users.put("k", 1) == 0 and dict(users) == {} and users.clear() == 0
        users.evict_tag("t")
    shmstore.destroy(key)
    with pytest.raises(shmstore.StoreClosed):
        cache.namespace("users")


def test_the_largest_number_of_namespaces(store):
    memory = Memory(store)
    store.namespace("first")["k"] = 1
    memory.set(NAMESPACES, 8190)
    last = store.namespace("last")
    last["k"] = 2
    with pytest.raises(shmstore.TooManyNamespaces):
        store.namespace("one more")
    with pytest.raises(shmstore.TooManyNamespaces):
        last.namespace("one more")
    assert dict(store.namespace("last")) == {"k": 2} and memory.word(NAMESPACES) == 8191
    store.clear()
    assert len(last) == len(store.namespace("first")) == 0


def test_a_full_store_has_no_new_namespace(store):
    with pytest.raises(shmstore.StoreFull):
        for n in range(100_000):
            store[f"{n}"] = "x" * 400
    with pytest.raises(shmstore.StoreFull):
        for n in range(8000):
            store.namespace(f"{n}")
    store.clear()
    store.namespace("users")["k"] = 1


def test_what_a_scribbled_id_leads_to(store):
    store.namespace("users")["k"] = 1
    for raw in store._walk(b"", 64):
        store.put(shmstore._store.keys.KeptKey(raw), b"\xff" * 8)
    with pytest.raises(shmstore.StoreCorrupt):
        store.namespace("users")


def test_threads_of_one_handle(store):
    users = store.namespace("users")

    def work(number):
        for n in range(200):
            users[f"{number}-{n}"] = n

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(users) == 800 and len(store) == 0


def test_an_entry_is_in_no_other_namespace_after_a_clear(store):
    """Memory of what is gone comes back to the store."""
    users = store.namespace("users")
    for n in range(300):
        users[f"{n}"] = "x" * 500
    used = store.stats().bytes_used
    users.clear()
    for n in range(400):
        users["k"] = n
    assert store.stats().bytes_used < used / 20 and store.stats().expirations == 300


def test_a_handle_that_is_made_anew_is_one_of_the_store(store):
    users = store.namespace("users")
    users["k"] = 1
    users.__init__(store.info().name, create=False)
    assert dict(users) == {} and "users" not in repr(users)
    users["k"] = 2
    assert store["k"] == 2
    users.close()
