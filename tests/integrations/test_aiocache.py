"""The cache for aiocache: what its own tests do not ask."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from typing import Any

import pytest

import shmstore

pytest.importorskip("aiocache", reason="aiocache is not installed: pip install '.[integrations]'")

from aiocache import AIOCACHE_CACHES, Cache, caches
from aiocache.lock import OptimisticLock, OptimisticLockError
from aiocache.serializers import JsonSerializer, StringSerializer

from shmstore.integrations.aiocache import ShmCache


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


@pytest.fixture
def cache(key: str) -> ShmCache:
    return ShmCache(key, size="1M")


COUNT = """
import asyncio, sys
from shmstore.integrations.aiocache import ShmCache

async def count():
    for _ in range(200):
        await ShmCache(sys.argv[1]).increment("hits")

asyncio.run(count())
"""


def test_processes_count_together(cache: ShmCache, key: str) -> None:
    run(cache.set("hits", 0))
    workers = [subprocess.Popen([sys.executable, "-c", COUNT, key]) for _ in range(3)]
    assert [worker.wait(120) for worker in workers] == [0, 0, 0]
    assert run(cache.get("hits")) == 600


def test_texts_of_numbers_are_counted(key: str) -> None:
    cache = ShmCache(key, StringSerializer(), size="1M")
    run(cache.set("a", 5))
    assert run(cache.increment("a", 2)) == 7 and run(cache.increment("b")) == 1
    run(cache.set("c", "x"))
    with pytest.raises(TypeError, match="not an integer"):
        run(cache.increment("c"))


def test_a_conflict_of_two_writers(cache: ShmCache, key: str) -> None:
    async def conflict() -> None:
        await cache.set("a", {"n": 1}, ttl=50)
        async with OptimisticLock(cache, "a") as lock:
            await lock.cas({"n": 2}, ttl=60)
        async with OptimisticLock(cache, "a") as lock:
            await ShmCache(key).set("a", {"n": 3})
            await lock.cas({"n": 4})

    with pytest.raises(OptimisticLockError):
        run(conflict())
    assert run(cache.get("a")) == {"n": 3}


def test_values_larger_than_the_cache(cache: ShmCache, caplog: pytest.LogCaptureFixture) -> None:
    run(cache.multi_set([("a", 1), ("b", 1)]))
    with caplog.at_level(logging.WARNING, "shmstore"):
        assert run(cache.set("a", b"x" * (2 << 20))) and run(cache.add("c", b"x" * (2 << 20)))
        assert run(cache.multi_set([("b", b"x" * (2 << 20))]))
    assert run(cache.multi_get(["a", "b", "c"])) == [None, None, None] and len(caplog.records) == 3


def test_options(key: str) -> None:
    cache = ShmCache(key, JsonSerializer(), size="2M", ttl=50, timeout=1, namespace="shop:", codec="msgpack")
    run(cache.set("a", [1, 2]))
    assert run(cache.get("a")) == [1, 2]
    with shmstore.Cache[Any](key) as seen:
        assert list(seen) == ["shop:a"] and 40 < (seen.ttl("shop:a") or 0) <= 50
    with pytest.raises(TypeError, match="no option 'sise'"):
        ShmCache(key, sise="2M")


def test_it_is_configured_as_others(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AIOCACHE_CACHES, "shmstore", ShmCache)
    caches.set_config({"default": {"cache": "shmstore.integrations.aiocache.ShmCache", "name": key, "size": "1M"}})
    run(caches.get("default").set("a", 7))
    assert run(Cache.from_url(f"shmstore:///{key}").get("a")) == 7


def test_clear_of_a_namespace(cache: ShmCache) -> None:
    run(cache.multi_set([("a:1", 1), ("b:1", 2)]))
    run(cache.clear(namespace="a:"))
    assert run(cache.multi_get(["a:1", "b:1"])) == [None, 2]


def test_a_cache_that_cannot_be_opened_is_a_miss(key: str) -> None:
    shmstore.Store[Any](key, size="1M")  # not a cache
    cache = ShmCache(key, on_error="miss")

    async def calls() -> list[Any]:
        await cache.set("a", 1)
        await cache.add("b", 1)
        async with OptimisticLock(cache, "a"):
            pass
        return [
            await cache.get("a"),
            await cache.multi_get(["a"]),
            await cache.exists("a"),
            await cache.increment("a"),
            await cache._redlock_release("a", 1),
        ]

    assert run(calls()) == [None, [None], False, 1, 0]
