"""The backend for Django: what Django's own tests do not ask. Those are run by test_django_own_tests.py."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import shmstore

django = pytest.importorskip("django", reason="Django is not installed: pip install '.[integrations]'")

from django.conf import settings  # noqa: E402
from django.core.cache.backends.base import CacheKeyWarning  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402

from shmstore.integrations.django import ShmCache  # noqa: E402

Make = Callable[..., ShmCache]


@pytest.fixture
def cache(key: str) -> ShmCache:
    return ShmCache(key, {"OPTIONS": {"size": "1M"}})


@pytest.fixture
def caches(key: str) -> Any:
    """Django's own registry of caches, whose default is the cache of this test."""
    if not settings.configured:
        settings.configure(SECRET_KEY="of the tests", CACHES={})
        django.setup()
    from django.core.cache import CacheHandler, caches
    from django.test import override_settings

    default = {"BACKEND": "shmstore.integrations.django.ShmCache", "LOCATION": key, "OPTIONS": {"size": "2M"}}
    with override_settings(CACHES={"default": default}):
        assert isinstance(caches, CacheHandler)
        yield caches


def test_options(key: str) -> None:
    cache = ShmCache(key, {"OPTIONS": {"SIZE": "1M", "MAX_ENTRIES": 50, "CULL_FREQUENCY": 3, "backend": "posix"}})
    cache.set("a", 1)
    info = shmstore.Cache(key, backend="posix", create=False).info()
    assert (info.max_entries, info.backend) == (50, "posix")
    for number in range(100):
        cache.set(f"{number}", number)
    assert cache.get("99") == 99 and sum(cache.has_key(f"{number}") for number in range(100)) <= 50


@pytest.mark.parametrize(("location", "options"), [("", {}), ("x", {"ttl": 5}), ("x", {"TTL": 5})])
def test_wrong_settings(location: str, options: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured):
        ShmCache(location, {"OPTIONS": options})


def test_settings_are_read_without_a_cache(key: str) -> None:
    ShmCache(key, {})
    with pytest.raises(shmstore.StoreNotFound):
        shmstore.open(key, create=False)


@pytest.mark.parametrize(("given", "left"), [(None, None), (60, 60), (0.5, 0.5), (10**12, 3_000_000_000)])
def test_timeouts(key: str, given: Any, left: float | None) -> None:
    cache, seen = ShmCache(key, {}), shmstore.Cache[Any](key)
    cache.set("a", 1, timeout=given)
    cache.add("b", 1, timeout=given)
    cache.set_many({"c": 1}, timeout=given)
    cache.set("d", 1)
    assert cache.touch("d", given)
    for name in "abcd":
        assert seen.ttl(f":1:{name}") == (None if left is None else pytest.approx(left, rel=0.9))


@pytest.mark.parametrize("timeout", [0, -1, -0.5])
def test_timeouts_of_the_past(cache: ShmCache, timeout: float) -> None:
    cache.set_many(dict.fromkeys("abc", 1))
    cache.set("a", 2, timeout=timeout)
    assert cache.touch("b", timeout) and not cache.touch("b", timeout)
    assert cache.set_many({"c": 3}, timeout=timeout) == []
    assert cache.add("d", 4, timeout=timeout)
    assert cache.get_many("abcd") == {}


@pytest.mark.parametrize(("timeout", "default"), [(300, 300), (None, None), (7, 7)])
def test_default_timeout(key: str, timeout: int | None, default: int | None) -> None:
    cache = ShmCache(key, {"TIMEOUT": timeout})
    cache.set("a", 1)
    left = shmstore.Cache[Any](key).ttl(":1:a")
    assert left is default is None or (left is not None and default is not None and default - 5 < left <= default)


@pytest.mark.parametrize(
    ("value", "delta", "result"),
    [(1, 1, 2), (1, -3, -2), (2**63 - 1, 1, 2**63), (2**70, 1, 2**70 + 1), (0.5, 1, 1.5), (1, 0.5, 1.5), (True, 1, 2)],
)
def test_incr_keeps_the_time_to_live(cache: ShmCache, key: str, value: Any, delta: Any, result: Any) -> None:
    cache.set("a", value, timeout=1000)
    assert cache.incr("a", delta) == result == cache.get("a")
    assert cache.decr("a", delta) == result - delta == cache.get("a")
    assert 900 < (shmstore.Cache[Any](key).ttl(":1:a") or 0) <= 1000


@pytest.mark.parametrize("delta", [1, 0.5, 2**70])
def test_incr_of_an_absent_key(cache: ShmCache, delta: Any) -> None:
    with pytest.raises(ValueError, match="'absent' not found"):
        cache.incr("absent", delta)
    cache.set("text", "a")
    with pytest.raises(TypeError):
        cache.incr("text", delta)


def test_plain_values_are_no_pickles(cache: ShmCache, key: str) -> None:
    plain = {"none": None, "int": 7, "float": 0.5, "text": "ä", "bytes": b"\0", "bool": True}
    cache.set_many(plain)
    cache.set("tuple", (1, [2]))
    seen = shmstore.Cache[Any](key)
    assert {name: seen[f":1:{name}"] for name in plain} == plain
    assert seen.describe(":1:tuple").codec == "pickle" and cache.get("tuple") == (1, [2])


@pytest.mark.parametrize("codec", ["pickle", "msgpack"])
def test_values_that_cannot_be_stored(key: str, codec: str) -> None:
    cache = ShmCache(key, {"OPTIONS": {"codec": codec}})
    with pytest.raises(pickle.PicklingError):
        cache.set("a", lambda: 0)
    with pytest.raises(pickle.PicklingError):
        cache.add("a", lambda: 0)
    with pytest.raises(pickle.PicklingError):
        cache.set_many({"a": lambda: 0, "b": 1})
    assert cache.get("b") == 1 and not cache.has_key("a")


def test_values_larger_than_the_cache(cache: ShmCache, caplog: pytest.LogCaptureFixture) -> None:
    large = b"x" * (2 << 20)
    cache.set_many({"a": 1, "b": 1})
    with caplog.at_level(logging.WARNING, "shmstore"):
        cache.set("a", large)
        assert cache.set_many({"b": large, "c": 1}) == ["b"]
        assert cache.add("d", large) is False
    assert cache.get_many("abcd") == {"c": 1}  # the old values are outdated
    assert [record.name for record in caplog.records] == ["shmstore"] * 3
    assert cache.get_or_set("e", lambda: large) == large


@pytest.mark.parametrize("on_error", ["raise", "miss"])
def test_no_outdated_value_stays(key: str, on_error: str) -> None:
    cache = ShmCache(key, {"OPTIONS": {"size": "1M", "on_error": on_error}})
    cache.set_many({"a": 1, "b": 1})
    cache.set("a", b"x" * (2 << 20))
    assert cache.set_many({"b": b"x" * (2 << 20)}) == ["b"]
    assert cache.get_many("ab") == {}


def test_a_cache_that_cannot_be_opened_is_a_miss(key: str) -> None:
    shmstore.Store(key, size="1M")  # not a cache
    cache = ShmCache(key, {"OPTIONS": {"on_error": "miss"}})
    cache.set("a", 1)
    assert cache.set_many({"b": 1}) == [] and not cache.add("c", 1) and not cache.touch("a") and not cache.delete("a")
    assert cache.get("a", 7) == 7 and cache.get_many("ab") == {} and not cache.has_key("a")
    assert cache.get_or_set("a", lambda: 8) == 8
    with pytest.raises(ValueError, match="not found"):
        cache.incr("a")
    with pytest.raises(shmstore.NotACache):
        ShmCache(key, {}).get("a")


def test_a_removed_cache_comes_back(cache: ShmCache, key: str) -> None:
    cache.set("a", 1)
    shmstore.destroy(key)
    assert cache.get("a") is None
    cache.set("a", 2)
    assert cache.get("a") == 2


def test_values_that_cannot_be_read_are_absent(cache: ShmCache, key: str) -> None:
    """As after a deploy that renames a class."""

    class Other:
        name, encode, decode = "other", staticmethod(bytes), staticmethod(bytes)

    shmstore.Cache[Any](key, codec=Other()).put(":1:a", b"value")
    assert cache.get("a", 7) == 7 and cache.get_many(["a"]) == {}
    assert cache.get_or_set("a", 8) == 8 == cache.get("a")


def test_a_full_cache_goes_on(cache: ShmCache) -> None:
    for number in range(5_000):
        cache.set(f"{number}", b"x" * 1_000)
        assert cache.get(f"{number}") == b"x" * 1_000


def test_long_keys_warn_and_work(cache: ShmCache) -> None:
    with pytest.warns(CacheKeyWarning):
        cache.set("a" * 300, 1)
    with pytest.warns(CacheKeyWarning):
        assert cache.get("a" * 300) == 1


def test_async_calls_use_no_thread(cache: ShmCache) -> None:
    async def calls() -> None:
        assert await cache.aadd("a", 1) and not await cache.aadd("a", 2)
        await cache.aset("b", 5, timeout=50)
        assert await cache.aget("b") == 5 and await cache.aget("x", "default") == "default"
        assert await cache.atouch("b", 60) and not await cache.atouch("x")
        assert await cache.aincr("b") == 6 and await cache.adecr("b", 2) == 4
        assert await cache.aget_or_set("c", lambda: 7) == 7 == await cache.aget_or_set("c", 8)
        assert await cache.aget_many(["a", "b", "x"]) == {"a": 1, "b": 4}
        assert await cache.aset_many({"d": 1, "e": 2}) == []
        await cache.adelete_many(["d"])
        assert await cache.ahas_key("e") and not await cache.ahas_key("d")
        assert await cache.aincr_version("e") == 2 and await cache.aget("e", version=2) == 2
        assert await cache.adelete("a") and not await cache.adelete("a")
        await cache.aclose()

    before = threading.active_count()
    asyncio.run(calls())
    assert threading.active_count() <= before
    asyncio.run(cache.aclear())
    assert cache.get("c") is None


def test_threads_share_one_handle(caches: Any) -> None:
    caches["default"].set("a", 1)
    made, seen = [caches["default"]], []

    def work() -> None:
        made.append(caches["default"])
        seen.append(caches["default"].get("a"))

    for _ in range(20):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert seen == [1] * 20
    assert len({id(cache) for cache in made}) == 21  # Django makes one for each thread
    assert len({id(cache._cache) for cache in made}) == 1


def test_the_end_of_a_request_leaves_it_open(caches: Any) -> None:
    from django.core.signals import request_finished

    caches["default"].set("a", 1)
    request_finished.send(sender=None)
    assert caches["default"].get("a") == 1


COUNT = """
import sys
from shmstore.integrations.django import ShmCache
cache = ShmCache(sys.argv[1], {})
for _ in range(200):
    cache.incr("hits")
"""


def test_processes_count_together(cache: ShmCache, key: str) -> None:
    cache.set("hits", 0)
    workers = [subprocess.Popen([sys.executable, "-c", COUNT, key]) for _ in range(3)]
    assert [worker.wait(120) for worker in workers] == [0, 0, 0]
    assert cache.get("hits") == 600


def test_a_forked_worker_goes_on(cache: ShmCache) -> None:
    """As with gunicorn --preload: the handle is open before the fork."""
    cache.set("hits", 0)
    child = os.fork()
    if child == 0:
        os._exit(cache.incr("hits"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1 == cache.get("hits")


def test_sessions(caches: Any) -> None:
    from django.contrib.sessions.backends.cache import SessionStore

    session = SessionStore()
    session["user"] = {"id": 7, "rights": ("read", "write")}
    session.save()
    assert SessionStore(session.session_key)["user"] == {"id": 7, "rights": ("read", "write")}
    session.delete()
    assert not SessionStore().exists(session.session_key)


def test_template_fragments(caches: Any) -> None:
    from django.template import Context, Engine

    engine = Engine(libraries={"cache": "django.templatetags.cache"})
    template = engine.from_string("{% load cache %}{% cache 60 greeting user %}Hello {{ name }}{% endcache %}")
    assert template.render(Context({"user": 1, "name": "<Ada>"})) == "Hello &lt;Ada&gt;"
    assert template.render(Context({"user": 1, "name": "Bob"})) == "Hello &lt;Ada&gt;"
    assert template.render(Context({"user": 2, "name": "Bob"})) == "Hello Bob"
