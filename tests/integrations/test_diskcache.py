"""The core of diskcache's interface: what its own tests do not ask. It needs no diskcache."""

from __future__ import annotations

import logging
import os
import pickle
import time
from io import BytesIO
from typing import Any

import pytest

import shmstore
from shmstore.integrations.diskcache import Cache


@pytest.fixture
def cache(key: str) -> Cache:
    return Cache(key, size_limit=4 << 20, eviction_policy="least-recently-used", cull_limit=10, sqlite_mmap_size=1)


KEYS = [
    "text",
    b"text",
    7,
    2.5,
    None,
    ("a", 1),
    frozenset({1}),
    True,
    "\0",
    "",
    "x" * 50_000,
    b"y" * 50_000,
    ["list", 1],
    "\udc80",
]


@pytest.mark.parametrize("name", KEYS, ids=lambda key: repr(key)[:20])
def test_keys_of_all_types(cache: Cache, name: Any) -> None:
    assert name not in cache and cache.get(name, 3) == 3
    assert cache.add(name, [1]) and not cache.add(name, [2])
    cache[name] = {"a": 1}
    assert cache[name] == {"a": 1} and name in cache and list(cache) == [name] and list(cache.iterkeys()) == [name]
    assert cache.touch(name, 100) and 90 < cache.get(name, expire_time=True)[1] - time.time() <= 100
    assert cache.pop(name) == {"a": 1} and len(cache) == 0
    assert [cache.incr(name), cache.incr(name, 5), cache.decr(name, default=None)] == [1, 6, 5] and list(cache) == [
        name
    ]
    del cache[name]
    for call in (lambda: cache[name], lambda: cache.__delitem__(name), lambda: cache.incr(name, default=None)):
        with pytest.raises(KeyError):
            call()


def test_tags_and_expiry(cache: Cache) -> None:
    cache.set("a", 1, tag="red", expire=50)
    cache.set(("b", 2), 2, tag="red")
    cache.set("c", 3, tag="blue")
    cache.set("d", 4)
    value, expires, tag = cache.get("a", expire_time=True, tag=True)
    assert (value, tag) == (1, "red") and 40 < expires - time.time() <= 50
    assert cache.get("x", 7, expire_time=True, tag=True) == (7, None, None) and cache.get("d", tag=True) == (4, None)
    assert (
        cache.incr("a") == 2
        and cache.get("a", tag=True) == (2, "red")
        and cache.get("a", expire_time=True)[1] is not None
    )
    assert cache.pop("c", tag=True) == (3, "blue")
    assert cache.evict("red") == 2 and list(cache) == ["d"] and cache.evict(None) == 1
    cache.set("e", 1)
    assert cache.set("e", 2, expire=0) and "e" not in cache and cache.add("e", 1, expire=-1) and "e" not in cache


def test_floats_and_large_numbers_are_counted(cache: Cache) -> None:
    cache["a"], cache["b"], cache["c"] = 1.5, 2**80, "x"
    assert cache.incr("a") == 2.5 and cache.incr("b") == 2**80 + 1
    with pytest.raises(TypeError):
        cache.incr("c")


def test_files(cache: Cache) -> None:
    cache.set("a", BytesIO(b"bytes"), read=True)
    assert cache.read("a").read() == b"bytes" == cache.get("a", read=True).read() and cache.get("b", 1, read=True) == 1


def test_memoize(cache: Cache) -> None:
    computed = []

    @cache.memoize(tag="sums", expire=100, ignore={0, "log"})
    def total(_: Any, *numbers: int, log: Any = None) -> int:
        computed.append(numbers)
        return sum(numbers)

    assert [total("x", 1, 2), total("y", 1, 2, log=3), total("x", 1, 3)] == [3, 3, 4] and computed == [(1, 2), (1, 3)]
    assert cache[total.__cache_key__("x", 1, 2)] == 3
    assert cache.evict("sums") == 2 and total("x", 1, 2) == 3 and len(computed) == 3

    @cache.memoize(expire=0)
    def never() -> int:
        computed.append(())
        return 0

    assert [never(), never()] == [0, 0] and len(computed) == 5
    with pytest.raises(TypeError, match="name cannot be callable"):
        cache.memoize(total)

    @cache.memoize(typed=True, name="same")
    def same(number: Any) -> Any:
        return number

    assert [type(same(1)), type(same(1.0))] == [int, float]


def test_processes(cache: Cache) -> None:
    cache.incr("a")
    again = pickle.loads(pickle.dumps(cache))
    child = os.fork()
    if child == 0:
        os._exit(again.incr("a"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2 == cache["a"]


def test_the_cache_itself(cache: Cache, key: str, caplog: pytest.LogCaptureFixture) -> None:
    with cache as entered:
        entered["a"] = 1
    cache.stats(reset=True)
    assert cache.get("a") == 1 and cache.get("b") is None and cache.stats() == (1, 1)
    assert cache.volume() > 0 and cache.check() == [] and cache.cull() == 0 and cache.expire() == 0
    with caplog.at_level(logging.WARNING, "shmstore"):
        assert not cache.set("a", b"x" * (8 << 20))
    assert "a" not in cache and "not cached" in caplog.text
    cache["c"] = 1
    assert cache.clear() == 1 and shmstore.Cache[Any](key).info().size < 8 << 20
