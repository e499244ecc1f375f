"""One process, one store: what the mapping and its single operations promise."""

import os
import pathlib
import pickle
import time

import pytest

import shmstore
from shmstore import Store


def test_the_installed_package_is_tested():
    checkout = pathlib.Path(__file__).resolve().parents[3]
    assert checkout not in pathlib.Path(shmstore.__file__).resolve().parents


def test_mapping(store):
    store["a"] = 1
    store[b"a"] = 2
    assert (store["a"], store[b"a"], len(store), bool(store)) == (1, 2, 2, True)
    assert set(store) == {"a", b"a"}
    assert dict(store) == {"a": 1, b"a": 2} == store
    assert store.pop("a") == 1
    assert store.pop("a", 5) == 5
    with pytest.raises(KeyError):
        store["a"]
    with pytest.raises(KeyError):
        del store["a"]
    assert store.setdefault("s", [1]) == [1] == store.setdefault("s", [2])
    assert store.popitem()[0] in (b"a", "s")
    store.clear()
    assert not store
    with pytest.raises(KeyError):
        store.popitem()


def test_values_are_copies(store):
    store["list"] = [1]
    store["list"].append(2)
    assert store["list"] == [1]
    assert store.modify("list", lambda value: [*value, 2]) == [1, 2] == store["list"]


def test_conditions(store):
    assert store.add("k", 1) and not store.add("k", 2)
    assert not store.replace("absent", 1) and store.replace("k", 3)
    value, version = store.get_versioned("k")
    assert value == 3 and version > 0
    assert store.cas("k", 4, version) and not store.cas("k", 5, version)
    assert store.cas("new", 1, 0) and not store.cas("new", 2, 0)
    assert store["k"] == 4 and store["new"] == 1


def test_versions_never_come_twice(store):
    seen = {store.put("k", i) for i in range(1000)}
    assert len(seen) == 1000 and all(v > 0 for v in seen)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 255, 256, 65535, 65536, 2**32, 2**63 - 2, -1, -32, -33, -(2**63)])
def test_counters_are_ints_of_msgpack(store, number):
    store["n"] = number
    assert store.incr("n") == number + 1 == store["n"]
    assert store.decr("n") == number == store["n"]


def test_counters_refuse(store):
    store["n"] = 2**63 - 1
    with pytest.raises(OverflowError):
        store.incr("n")
    store["text"] = "1"
    store["flag"] = True
    for name in ("text", "flag"):
        with pytest.raises(TypeError):
            store.incr(name)
    assert dict(store) == {"n": 2**63 - 1, "text": "1", "flag": True}
    assert store.incr("new", 5, initial=10) == 15


def test_time_to_live(make):
    store = make(ttl=60)
    store["default"] = 1
    store.put("long", 2, ttl=120)
    store.put("ever", 3, ttl=None)
    assert 59 < store.ttl("default") <= 60 and 119 < store.ttl("long") <= 120 and store.ttl("ever") is None
    assert store.delete("default")
    store = make(create=False, ttl=0.05)
    store["short"] = 1
    assert store.incr("count", initial=0) == 1
    time.sleep(0.06)
    assert set(store) == {"long", "ever"} and len(store) == 2
    assert store.add("short", 4)
    assert store.touch("short", None) and store.ttl("short") is None
    assert not store.touch("count", 5)
    with pytest.raises(KeyError):
        store.ttl("count")
    for _ in range(2000):
        store.put("other", 0, ttl=None)
    assert store.stats().entries == 4
    store.check()


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
def test_no_time_to_live(store, ttl):
    with pytest.raises(ValueError):
        store.put("k", 1, ttl=ttl)


def test_full_keeps_the_old_value(store):
    store["keep"] = b"old"
    with pytest.raises(shmstore.StoreFull) as caught:
        for i in range(10_000):
            store[f"fill:{i}"] = b"x" * 1000
    assert isinstance(caught.value, MemoryError) and "bytes free" in str(caught.value)
    with pytest.raises(shmstore.StoreFull):
        store["keep"] = b"y" * 100_000
    assert store["keep"] == b"old"
    with pytest.raises(shmstore.ValueTooLarge):
        store["keep"] = b"y" * 2_000_000
    store.clear()
    stats = store.stats()
    assert (stats.bytes_used, stats.entries) == (0, 0)
    store["large"] = b"z" * 420_000  # two fifths of the size


def test_full_of_the_expired_is_not_full(store):
    for i in range(700):
        store.put(f"k{i}", b"x" * 1000, ttl=0.2)
    time.sleep(0.25)
    store["large"] = b"y" * 600_000
    assert len(store) == 1


def test_table_full(make):
    store = make(size="1M", max_entries=100)
    for i in range(100):
        store[i.to_bytes(2, "big")] = i
    with pytest.raises(shmstore.StoreFull, match="max_entries"):
        for i in range(100, 500):
            store[i.to_bytes(2, "big")] = i
    assert all(store[i.to_bytes(2, "big")] == i for i in range(100))


def test_many(store):
    items = {f"k{i}": i for i in range(500)}
    assert store.put_many(items) == 500
    assert store.get_many([*items, "absent"]) == items
    assert store.add_many({"k1": 0, "new": 1}) == 1
    assert store.delete_many(["k1", "k2", "absent"]) == 2
    assert set(store.keys("k49")) == {"k49", *(f"k49{i}" for i in range(10))}
    with pytest.raises(shmstore.CodecError):
        store.put_many({"x": 1, "y": object()})
    assert "x" not in store


def test_names(store):
    long = "n" * 32768
    store[long] = 1
    store[""] = 2
    assert set(store) == {long, ""}
    with pytest.raises(ValueError):
        store[long + "n"] = 1
    for bad in (1, None, ("a",)):
        with pytest.raises(TypeError):
            store[bad] = 1
        assert bad not in store


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 100_000, 9 << 20])
def test_sizes(key, size):
    with Store(key, size="32M") as store:
        value = os.urandom(size)
        store["k"] = value
        assert store["k"] == value
        store["k"] = value
        store.check()
        store.destroy()


def test_codecs(make):
    store = make()
    with make(codec="pickle", create=False) as writer:
        writer["p"] = {1, 2}
        assert writer["p"] == {1, 2}
    with pytest.raises(shmstore.CodecError, match="pickle"):
        store["p"]
    with pytest.raises(shmstore.CodecError):
        store.get_many(["p"])
    raw = make(codec="raw", create=False)
    raw["r"] = b"bytes"
    assert store["r"] == b"bytes" and store.get_versioned("r")[0] == b"bytes"

    class Upper:
        name = "upper"

        def encode(self, obj):
            return obj.upper().encode()

        def decode(self, data):
            return data.decode()

    custom = make(codec=Upper(), create=False)
    custom["u"] = "abc"
    assert custom["u"] == "ABC" and custom.get_many(["u", "r"]) == {"u": "ABC", "r": b"bytes"}
    with pytest.raises(shmstore.CodecError, match="upper"):
        store["u"]


def test_a_planted_pickle_is_not_loaded(make, tmp_path):
    target = tmp_path / "created"

    class Bomb:
        def __reduce__(self):
            return target.touch, ()

    victim = make()
    with make(codec="pickle", create=False) as attacker:
        attacker["bomb"] = Bomb()
    for read in (victim.get, victim.pop, victim.get_versioned, lambda k: victim.get_many([k]), lambda k: dict(victim)):
        with pytest.raises(shmstore.CodecError):
            read("bomb")
    with pytest.raises(shmstore.CodecError):
        victim.modify("bomb", lambda v: v)
    assert not target.exists()


def test_read_only(make):
    store = make()
    store["a"] = 1
    reader = make(readonly=True)
    before = store.stats()
    assert reader["a"] == 1 and "a" in reader and list(reader) == ["a"] and len(reader) == 1
    reader.check()
    assert reader.info().readonly and reader.stats().hits == before.hits + 1
    assert store.stats().hits == before.hits
    for write in (
        lambda: reader.put("a", 2), lambda: reader.incr("n"), lambda: reader.delete("a"), lambda: reader.touch("a", 1),
        lambda: reader.add("b", 1), lambda: reader.clear(), lambda: reader.pop("a"), lambda: reader.destroy(),
    ):  # fmt: skip
        with pytest.raises(shmstore.ReadOnlyStore):
            write()
    assert reader.wait("a") > 0


def test_pickled_handles_attach_and_never_create(make):
    store = make()
    store["a"] = 1
    text = pickle.dumps(store)
    with pickle.loads(text) as again:
        assert again["a"] == 1
    store.destroy()
    with pytest.raises(shmstore.StoreNotFound):
        pickle.loads(text)


def test_repr_is_safe(make):
    store = make()
    assert "open" in repr(store)
    store.close()
    store.close()
    assert "closed" in repr(store)
    with pytest.raises(shmstore.StoreClosed):
        store.get("a")
