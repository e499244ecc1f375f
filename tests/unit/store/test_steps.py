"""Calls that visit the whole store work in steps, and no call begins again at the start. That other threads run between two
steps is shown in test_gil_steps.py."""

import threading

import pytest

import shmstore


@pytest.fixture
def large(make):
    """A store with many entries, all with a time to live, so that counting looks at each block."""
    store = make(size="128M", max_entries=400_000)
    for first in range(0, 200_000, 20_000):
        store.put_many({f"k{n:06}": n for n in range(first, first + 20_000)}, ttl=3600)
    return store


def test_closing_while_another_thread_counts(large):
    answers = []

    def count():
        try:
            while True:
                answers.append(len(large))
        except shmstore.StoreClosed:
            answers.append("closed")

    thread = threading.Thread(target=count)
    thread.start()
    large.close()
    thread.join()
    assert answers[-1] == "closed" and set(answers[:-1]) <= {200_000}


def test_popitem_finds_every_entry(store):
    entries = {f"k{n}": n for n in range(500)}
    store.put_many(entries)
    popped = [store.popitem() for _ in range(300)]
    store.put_many({"before": -1, "behind": -2})  # wherever they land, also behind the place that it has come to
    while store:
        popped.append(store.popitem())
    assert len(popped) == 502 and dict(popped) == {**entries, "before": -1, "behind": -2}
    with pytest.raises(KeyError, match="is empty"):
        store.popitem()


def test_popitem_passes_over_what_cannot_be_read(store, make):
    strangers = make(codec="pickle")
    strangers.put_many({f"p{n}": {n} for n in range(20)})
    store.put_many({f"k{n}": n for n in range(20)})
    assert {store.popitem()[0] for _ in range(20)} == {f"k{n}" for n in range(20)}
    with pytest.raises(KeyError, match="20 that it cannot"):
        store.popitem()
    store["new"] = 1
    assert store.popitem() == ("new", 1) and len(store) == 20


def test_popitem_finds_what_was_put_last_in_a_large_table(make):
    """A queue: one process puts, and another one pops, in a table that was full once."""
    store, other = make(size="8M"), make()
    store.put_many({f"k{n}": n for n in range(5000)})
    store.clear()
    with pytest.raises(KeyError, match="is empty"):
        other.popitem()
    for n in range(200):
        store[f"new{n}"] = n
        assert other and store
        assert other.popitem() == (f"new{n}", n)
        assert not other and not store
    store.put_many({f"k{n}": n for n in range(300)})
    assert dict(other.popitem() for _ in range(300)) == {f"k{n}": n for n in range(300)}
    with pytest.raises(KeyError, match="is empty"):
        other.popitem()


def test_bool_and_popitem_with_locks_and_expired_entries(store):
    with store.lock("a lock"):
        assert not store
        with pytest.raises(KeyError, match="is empty"):
            store.popitem()
        store.put("mortal", 1, ttl=0.001)
        while store.get("mortal") is not None:
            pass
        assert not store
        store["a"] = 1
        assert store and store.popitem() == ("a", 1) and not store
    store.check()


def test_bool_of_a_store_that_others_change(store, make):
    other = make()
    assert not store
    other["a"] = 1
    assert store
    other["b"] = 2
    del other["a"]
    assert store
    del other["b"]
    assert not store
    other.put("c", 1, ttl=0.001)
    while store:
        pass
    assert len(store) == 0 and list(store) == []


def test_keys_with_a_prefix_in_a_large_table(large):
    large["x"] = large[b"x"] = 1
    assert list(large.keys("x")) == ["x"] and list(large.keys(b"x")) == [b"x"]
    assert len(large.keys("k00001")) == 10 and sorted(large.keys("k00001"))[0] == "k000010"
