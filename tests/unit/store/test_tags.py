"""Tags: entries that end together."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import shmstore
from shmstore import DEFAULT, KEEP

sys.path.insert(0, str(Path(__file__).resolve().parent))
from forked_child import Child
from segment_words import Memory

GENERATIONS, COUNTERS, OF_NAMESPACES, OUTDATED = 304, 312, 316, 1992  # in the header


class Evicting:
    """A codec that evicts a tag while it encodes: in the midst of a put."""

    name = "evicting"

    def __init__(self, key, tag):
        self.key, self.tag = key, tag

    def encode(self, value):
        with shmstore.Store(self.key, create=False) as other:
            other.evict_tag(self.tag)
        return json.dumps(value).encode()

    def decode(self, data):
        return json.loads(bytes(data))


TAGS = ["a", "b", "new", "none", "other", "t", "u", "user:1", "user:2", "x", "y", b"y", "nobody has it"]


def apart(make):
    """A store in which no two of TAGS share a counter. In one of a hundred stores some do."""
    store = make()
    while store.put("k", 1, tags=TAGS) and store.describe("k").tags < len(TAGS):
        store.destroy()
        store = make(size="1M")
    store.delete("k")
    return store


@pytest.fixture
def store(make):
    store = apart(make)
    yield store
    store.check()


def test_all_entries_of_a_tag_go_and_no_others(store):
    store.put("a", 1, tags=["x"])
    store.put("b", 2, tags=("x", b"y"))
    store.put("c", 3, tags={"y"})
    store["d"] = 4
    store.evict_tag("x")
    assert dict(store) == {"c": 3, "d": 4} and len(store) == 2 and "a" not in store
    store.evict_tag(b"y")  # another one than "y"
    assert dict(store) == {"c": 3, "d": 4}
    store.evict_tag("nobody has it")
    store.evict_tag("y")
    assert dict(store) == {"d": 4}


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.get("k") is None,
        lambda s: s.get("k", touch=60) is None,
        lambda s: "k" not in s,
        lambda s: not s and len(s) == 0 and list(s) == [] and list(s.keys("k")) == [],
        lambda s: s.get_many(["k"]) == {} and list(s.items()) == [] and dict(s) == {},
        lambda s: s.pop("k", 7) == 7,
        lambda s: s.add("k", 1),
        lambda s: not s.replace("k", 1),
        lambda s: s.cas("k", 1, 0),
        lambda s: s.incr("k") == 1,
        lambda s: not s.touch("k", 60) and not s.expire("k", 2**40),
        lambda s: not s.delete("k") and s.stats().expirations == 1,
        lambda s: s.delete_many(["k"]) == 0,
        lambda s: s.setdefault("k", 9) == 9,
        lambda s: s.modify("k", lambda v: v + 1, 1) == 2,
        lambda s: s.get_or_set("k", lambda: 8) == 8,
        lambda s: s.add_many({"k": 1}) == 1,
        lambda s: s.put("k", 1, ttl=KEEP) and s.ttl("k") is None,
        lambda s: s.clear() == 0,
        lambda s: s.expire_due() == 1 and s.stats().entries == 0,
        lambda s: s.wait("k", after=1, timeout=1) == 0,
        lambda s: s.check() == 0 and s.check(repair=True) == 0,
    ],
)
def test_an_evicted_entry_is_absent(store, call):
    store.put("k", 5, ttl=1000, tags=["t"])
    store.evict_tag("t")
    assert call(store)
    for missing in (store.__getitem__, store.get_versioned, store.view, store.describe, store.ttl, store.popitem):
        if store.get("k") is None:
            with pytest.raises(KeyError):
                missing("k") if missing != store.popitem else missing()


def test_a_put_replaces_tags_and_changes_keep_them(store):
    for change in (
        lambda: store.incr("k"),
        lambda: store.decr("k", tags=["other"]),
        lambda: store.touch("k", 60),
        lambda: store.modify("k", lambda v: v + 1),
        lambda: store.compact(),
        lambda: store.put("k", 7, tags=KEEP),
        lambda: store.replace("k", 7, tags=KEEP),
        lambda: store.put_many({"k": 7}, tags=KEEP),
        lambda: store.put_many({"k": 7}, tags=KEEP, on_error="skip"),
        lambda: store.incr("k", tags=KEEP),
    ):
        store.put("k", 1, tags=["a", "b"])
        change()
        assert store.describe("k").tags == 2
        store.evict_tag("b")
        assert "k" not in store
    for change in (
        lambda: store.put("k", 1),
        lambda: store.update(k=1),
        lambda: store.replace("k", 1),
        lambda: store.put("k", 1, tags=["new"]),
        lambda: store.cas("k", 1, store.get_versioned("k")[1]),
        lambda: store.modify("k", lambda v: v, tags=["new"]),
        lambda: store.put_many({"k": 1}, tags=iter(["new"])),
    ):
        store.put("k", 1, tags=["a", "b"])
        change()
        store.evict_tag("a")
        assert store["k"] == 1
    assert store.cas("k", 2, store.get_versioned("k")[1], tags=KEEP)
    store.evict_tag("new")
    assert "k" not in store


def test_a_counter_takes_the_tags_of_its_creation(store):
    assert store.incr("n", tags=["a"]) == store.decr("m", -1, tags=["a"]) == 1
    assert store.incr("n") == 2 and store.incr("n", tags=["b"]) == 3
    store.evict_tag("b")
    assert store["n"] == 3
    store.evict_tag("a")
    assert store.incr("n", tags=["b"]) == 1 and "m" not in store
    store.evict_tag("b")
    assert "n" not in store
    with pytest.raises(KeyError):
        store.incr("n", create=False)


@pytest.mark.parametrize("codec", ["msgpack", "pickle", "raw"])
def test_values_of_all_kinds_and_lengths(make, codec):
    store = make(codec=codec)
    for length in (0, 1, 100, 4090, 5000, 100_000):
        store.put("k", b"v" * length, tags=[f"{n}" for n in range(40)])
        assert store["k"] == b"v" * length and 30 < store.describe("k").tags <= 40
        if length and codec != "raw":
            with store.view("k") as view:
                store.evict_tag("7")
                assert bytes(view) == b"v" * length
        store.evict_tag("39")
        assert "k" not in store
    store.check()


def test_codec_and_cost_and_tags_in_one_entry(key, make):
    codec = Evicting(key, "none")
    store = make(codec=codec, decoders=["msgpack"])
    assert store.get_or_set("k", lambda: [1], ttl=60, early=1.0, tags=["t"]) == [1]
    assert store["k"] == [1] and store.describe("k").codec == "evicting" and store._cost("k") > 0
    store.evict_tag("t")
    assert "k" not in store


def test_an_eviction_during_a_put_leaves_nothing(key, make):
    """What is put was made before the eviction, or may have been."""
    apart(make)
    store = make(codec=Evicting(key, "t"), create=False)
    store.put("k", 1, tags=["t"])
    assert "k" not in store
    assert store.put_many({"k": 1, "l": 2}, tags=["t"]) == 2 and len(store) == 0
    assert store.put_many({"k": 1, "l": 2}, tags=["t"], on_error="skip") == 2 and len(store) == 0
    store.put("k", 1, tags=["u"])
    assert store["k"] == 1


def test_an_eviction_during_a_computation_leaves_nothing(store):
    def compute(*old):
        store.evict_tag("t")
        return 5

    async def acompute():
        return compute()

    calls = [
        lambda: store.get_or_set("k", compute, tags=["t"]),
        lambda: store.get_or_set("k", compute, ttl=60, stale=60, tags=["t"]),
        lambda: asyncio.run(store.aget_or_set("k", acompute, tags=["t"])),
        lambda: store.modify("k", compute, 1, tags=["t"]),
        lambda: store.get_or_set("other", lambda: store.get_or_set("k", compute, tags=["t"])),
        store.memoize(compute, tags=["t"]),
        store.memoize(compute, tags=lambda: {"t"}),
    ]
    for call in calls:
        assert call() == 5
        assert all(store.get(key) is None for key in store if key != "other")
        store.clear()
    store.put("k", 1, tags=["t"])
    with pytest.raises(KeyError):  # as if it had been deleted meanwhile
        store.modify("k", compute)


def test_memoized_results_have_tags(store):
    calls = []

    @store.memoize(tags=lambda user, **_: [f"user:{user}"])
    def profile(user, lang="en"):
        calls.append(user)
        return user * 10

    assert profile(1) == profile(1) == 10 and profile(2) == 20 and calls == [1, 2]
    store.evict_tag("user:1")
    assert profile(2) == 20 and profile(1) == 10 and calls == [1, 2, 1]


def test_a_waiting_process_notices(store):
    version = store.put("k", 1, tags=["t"])
    threading.Timer(0.05, store.evict_tag, ["t"]).start()
    assert store.wait("k", after=version, timeout=60) == 0


def test_other_processes_see_it_at_once(key, make):
    store = make()
    store.put("k", 1, tags=["t"])
    store.put("l", 1, tags=["t"])

    def work():
        with shmstore.Store(key, create=False) as other:
            assert other["k"] == 1
            other.evict_tag("t")
            other.put("k", 2, tags=["t"])

    Child(work).answer()
    assert dict(store) == {"k": 2}
    reader = make(readonly=True)
    assert dict(reader) == {"k": 2}
    store.evict_tag("t")
    assert dict(reader) == {} and reader.get("k") is None
    with pytest.raises(shmstore.ReadOnlyStore):
        reader.evict_tag("t")


def test_memory_comes_back_with_later_puts(store):
    for n in range(300):
        store.put(f"{n}", "x" * 500, tags=["t"])
    store.evict_tag("t")
    before = store.stats()
    for n in range(400):
        store.put("k", n)
    after = store.stats()
    assert after.entries == 1 and after.bytes_used < before.bytes_used / 20 and after.expirations == 300
    assert after.evictions == 0


def test_a_full_store_reuses_the_memory_of_ended_entries(make):
    store = make(max_entries=4000)
    with pytest.raises(shmstore.StoreFull):
        for n in range(100_000):
            store.put(f"{n}", "x" * 500, tags=["t"])
    store.evict_tag("t")
    store.put("large", b"x" * 600_000)
    assert len(store) == 1 and store.stats().entries == 1
    store.check()


def test_a_cache_frees_ended_entries_before_it_evicts(key):
    with shmstore.Cache(key, size="1M", max_entries=1000) as cache:
        for n in range(1000):
            cache.put(f"{n}", n, tags=["t"] if n % 2 else ())
        cache.evict_tag("t")
        for n in range(490):
            cache.put(f"new{n}", n)
        assert cache.stats().evictions == 0 and len(cache) == 500 + 490
        cache.check()
        cache.destroy()


def test_sweeping_ends(store):
    """Once everything was looked at, puts look for nothing any more."""
    for n in range(50):
        store.put(f"{n}", n, tags=["t"])
    memory = Memory(store)
    store.evict_tag("u")
    assert memory.word(OUTDATED) == 1
    for n in range(300):
        store["k"] = n
    assert memory.word(OUTDATED + 8) == 1 and len(store) == 51


def test_an_entry_whose_tag_is_evicted_before_it_is_published_is_swept(key, make):
    store = make(codec=Evicting(key, "t"))
    store.put("k", 1, tags=["t"])
    for n in range(300):
        store.put("l", n)
    assert store.stats().entries == 1 and store.stats().expirations == 1


def test_tags_share_counters(store):
    """They evict too much, never too little: of ten thousand tags, nearly all others stay."""
    for n in range(3000):
        store.put(f"{n}", n, tags=[f"user:{n}"])
    for n in range(10):
        store.evict_tag(f"user:{n}")
        assert f"{n}" not in store
    assert len(store) > 2900  # 2986 on average


def test_what_is_no_tag(store):
    many = [f"{n}" for n in range(257)]
    for tags, kind in [("x", TypeError), (b"x", TypeError), (5, TypeError), ([1], TypeError), ([None], TypeError),
                       (["a", "\ud800"], shmstore.InvalidTag), (["a" * 40_000], shmstore.InvalidTag),
                       (many, shmstore.InvalidTag)]:  # fmt: skip
        for call in (
            lambda: store.put("k", 1, tags=tags),
            lambda: store.add("k", 1, tags=tags),
            lambda: store.incr("k", tags=tags),
            lambda: store.put_many({"k": 1}, tags=tags),
            lambda: store.modify("k", int, 1, tags=tags),
            lambda: store.get_or_set("k", int, tags=tags),
            lambda: store.memoize(name="f", tags=tags)(lambda: 1)(),
        ):
            with pytest.raises(kind):
                call()
    for tag, kind in [(5, TypeError), (["a"], TypeError), (None, TypeError), ("\ud800", shmstore.InvalidTag)]:
        with pytest.raises(kind):
            store.evict_tag(tag)
    assert len(store) == 0
    store.put("k", 1, tags=many[1:])
    assert 200 < store.describe("k").tags <= 256
    store.put("k", 1, tags=None)
    store.put("k", 1, tags=[""])
    assert store.describe("k").tags == 1


def test_what_iterating_over_tags_raises(store):
    def tags():
        yield "a"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.put("k", 1, tags=tags())
    assert "k" not in store


def test_cache_reopened_in_a_computation(key):
    """The generations of the store that is gone say nothing about the new one: the entry is absent."""
    with shmstore.Cache(key, size="1M") as cache:
        cache.evict_tag("t")

        def compute():
            shmstore.destroy(key)
            with shmstore.Cache(key, size="1M") as other:
                other.evict_tag("t")
            return 5

        assert cache.get_or_set("k", compute, tags=["t"]) == 5
        assert "k" not in cache
        cache.put("k", 6, tags=["t"])
        assert cache["k"] == 6
        cache.destroy()


def test_store_of_a_version_without_counters(store):
    memory = Memory(store)
    memory.bytes[COUNTERS : COUNTERS + 8] = bytes(8)
    with shmstore.Store(store.info().name, create=False, timeout=1) as other:
        pass  # it shares the attachment of this process
    code = (
        "import shmstore, sys\n"
        "s = shmstore.Store(sys.argv[1], create=False)\n"
        "s['k'] = 1; s.put('l', 2, tags=()); s.incr('n')\n"
        "for call in (lambda: s.put('k', 1, tags=['t']), lambda: s.evict_tag('t'), lambda: s.namespace('n')):\n"
        "    try:\n"
        "        call()\n"
        "    except shmstore.FormatMismatch as error:\n"
        "        print('refused')\n"
        "s.clear(); s.check()\n"
    )
    run = subprocess.run([sys.executable, "-c", code, store.info().name], capture_output=True, text=True, cwd="/")
    assert run.stdout.split() == ["refused"] * 3, run.stderr
    assert other.closed


@pytest.mark.parametrize("damage", ["index", "count", "length"])
def test_words_that_make_no_sense(store, damage):
    """They are outdated; nothing outside of the table is read."""
    store.put("k", 5, tags=["t"])
    memory = Memory(store)
    at = memory.block("k") + 40
    if damage == "index":
        memory.set(at + 16, 0xFFFF << 48)
    elif damage == "count":
        memory.bytes[at + 12 : at + 16] = (2**32 - 1).to_bytes(4, "little")
    else:
        memory.bytes[at + 10 : at + 12] = (40_000).to_bytes(2, "little")
    assert "k" not in store and store.get("k") is None and len(store) == 0
    assert store.expire_due() == 1


def test_counters_that_make_no_sense(key, make):
    make(max_clients=4).close()
    with shmstore.Store(key, create=False) as store:
        memory = Memory(store)
        memory.bytes[COUNTERS : COUNTERS + 4] = (1 << 20).to_bytes(4, "little")
    with pytest.raises(shmstore.StoreCorrupt):
        shmstore.Store(key, create=False)
    memory.bytes[COUNTERS : COUNTERS + 4] = (16384).to_bytes(4, "little")
    memory.bytes[OF_NAMESPACES : OF_NAMESPACES + 4] = (16384).to_bytes(4, "little")
    with pytest.raises(shmstore.StoreCorrupt):
        shmstore.Store(key, create=False)
    memory.bytes[OF_NAMESPACES : OF_NAMESPACES + 4] = (8192).to_bytes(4, "little")


def test_default_is_no_tag(store):
    with pytest.raises(TypeError):
        store.put("k", 1, tags=DEFAULT)
