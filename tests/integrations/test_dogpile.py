"""The backend for dogpile.cache: what its own tests do not ask."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

import shmstore

pytest.importorskip("dogpile.cache", reason="dogpile.cache is not installed: pip install '.[integrations]'")

from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE


def region(name: str, **arguments: Any) -> Any:
    return make_region().configure("shmstore", expiration_time=60, arguments={"name": name, "size": "1M", **arguments})


@pytest.mark.parametrize("codec", ["pickle", "msgpack"])
def test_regions_with_one_name_share_values(key: str, codec: str) -> None:
    first, second = region(key, codec=codec), region(key, codec=codec, timeout=1)
    first.set_multi({"a": (1, "b"), "b": None})
    assert second.get("a") == (1, "b") and second.get("b") is None
    assert second.get_multi(["c", "a"]) == [NO_VALUE, (1, "b")]
    assert first.get_value_metadata("a").cached_time <= time.time()
    second.delete_multi(["a", "c"])
    assert first.get("a") is NO_VALUE


@pytest.mark.parametrize("expire", [None, 100])
def test_the_cache_may_forget_later_than_the_region(key: str, expire: float | None) -> None:
    mine = region(key, expire=expire)
    mine.set("a", 1)
    mine.set_multi({"b": 1})
    seen = shmstore.Cache[Any](key)
    for name in "ab":
        left = seen.ttl(name)
        assert left is None if expire is None else 90 < (left or 0) <= 100


def test_a_name_is_needed(key: str) -> None:
    with pytest.raises(TypeError, match="name of the cache"):
        make_region().configure("shmstore", arguments={"size": "1M"})


def test_a_value_that_is_too_large_is_computed_each_time(key: str) -> None:
    mine = region(key)
    assert [len(mine.get_or_create("a", lambda: b"x" * (2 << 20))) for _ in range(2)] == [2 << 20] * 2


def test_the_lock_of_a_killed_worker_is_free(key: str) -> None:
    mine = region(key)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        mine.backend.get_mutex("a").acquire()
        os.write(write, b"x")
        signal.pause()
        os._exit(1)
    assert os.read(read, 1) == b"x"
    os.close(read)
    os.close(write)
    assert not mine.backend.get_mutex("a").acquire(False)
    assert not region(key, distributed_lock=False).backend.get_mutex("a")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert mine.get_or_create("a", lambda: 7) == 7
