"""The cache for cachelib, Flask-Caching and Flask-Session: what their own tests do not ask."""

from __future__ import annotations

import datetime
import pickle
from typing import Any

import pytest

import shmstore

pytest.importorskip("cachelib", reason="cachelib is not installed: pip install '.[integrations]'")

from cachelib.serializers import JSONSerializer

from shmstore.integrations.cachelib import ShmCache


@pytest.fixture
def cache(key: str) -> ShmCache:
    return ShmCache(key, size="1M")


@pytest.mark.parametrize("timeout", [None, 60, datetime.timedelta(minutes=1), 0, datetime.timedelta()])
def test_timeouts(key: str, timeout: Any) -> None:
    cache, seen = ShmCache(key, default_timeout=60), shmstore.Cache[Any](key)
    cache.set("a", 1, timeout)
    cache.add("b", 1, timeout)
    cache.set_many({"c": 1}, timeout)
    for name in "abc":
        left = seen.ttl(name)
        assert left is None if timeout is not None and not timeout else 50 < (left or 0) <= 60


def test_timeouts_of_the_past(cache: ShmCache) -> None:
    cache.set_many({"a": 1, "b": 1})
    assert cache.set("a", 2, -1) and cache.set_many({"b": 2}, -1) == ["b"]
    assert cache.add("c", 3, -1)
    assert cache.get_many("a", "b", "c") == [None] * 3


@pytest.mark.parametrize(
    ("value", "delta", "result"), [(1, 1, 2), (None, 2, 2), (0.5, 1, 1.5), (2**63 - 1, 1, 2**63), (True, 1, 2)]
)
def test_inc_keeps_the_time_to_live(cache: ShmCache, key: str, value: Any, delta: int, result: Any) -> None:
    cache.set("a", value, 1000)
    assert cache.inc("a", delta) == result == cache.get("a")
    assert cache.dec("a", delta) == result - delta
    assert 900 < (shmstore.Cache[Any](key).ttl("a") or 0) <= 1000


def test_a_new_counter_has_the_default_time_to_live(key: str) -> None:
    seen = shmstore.Cache[Any](key)
    assert ShmCache(key, default_timeout=100).inc("a") == 1 and 90 < (seen.ttl("a") or 0) <= 100
    assert ShmCache(key, default_timeout=0).inc("b") == 1 and seen.ttl("b") is None
    assert ShmCache(key, default_timeout=-1).inc("d") == 1 and "d" not in seen
    with_json = ShmCache(key, default_timeout=100)
    with_json.serializer = JSONSerializer()
    assert with_json.inc("c") == 1 and 90 < (seen.ttl("c") or 0) <= 100


def test_a_serializer_writes_the_bytes(cache: ShmCache, key: str) -> None:
    cache.serializer = JSONSerializer()
    cache.set("a", {"n": 1})
    assert shmstore.Cache[Any](key)["a"] == b'{"n": 1}' and cache.get("a") == {"n": 1}
    cache.set("n", 4)
    assert cache.inc("n", 3) == 7 == cache.get("n") and cache.get("absent") is None


def test_a_prefix_has_entries_of_its_own(cache: ShmCache, key: str) -> None:
    mine = ShmCache(key, key_prefix="mine:")
    cache.set("a", 1)
    mine.set_many({"a": 2, "b": 3})
    assert (cache.get("a"), mine.get("a"), cache.get("mine:b"), mine.has("b")) == (1, 2, 3, True)
    assert mine.clear() and not mine.has("a") and cache.get("a") == 1


def test_values_that_cannot_be_stored(cache: ShmCache) -> None:
    with pytest.raises(pickle.PickleError):
        cache.set("a", lambda: 0)
    cache.set("a", 1)
    assert not cache.set("a", b"x" * (2 << 20)) and cache.get("a") is None
    assert cache.set_many({"a": b"x" * (2 << 20), "b": 1}) == ["b"]


@pytest.mark.parametrize("serializer", [None, JSONSerializer()])
def test_a_cache_that_cannot_be_opened_is_a_miss(key: str, serializer: Any) -> None:
    shmstore.Store(key, size="1M")  # not a cache
    cache = ShmCache(key, on_error="miss")
    if serializer is not None:
        cache.serializer = serializer
    assert not cache.set("a", 1) and not cache.add("a", 1) and not cache.has("a") and not cache.delete("a")
    assert cache.get_many("a", "b") == [None, None] and cache.inc("a", 3) == 3 and cache.clear()


def test_flask_caching(key: str) -> None:
    flask = pytest.importorskip("flask", reason="Flask is not installed")
    flask_caching = pytest.importorskip("flask_caching", reason="Flask-Caching is not installed")
    config = {"CACHE_TYPE": "shmstore.integrations.cachelib.ShmCache", "CACHE_ARGS": [key], "CACHE_DEFAULT_TIMEOUT": 70}
    app = flask.Flask("tests", root_path=".")
    cache = flask_caching.Cache(app, config=config)
    computed = []

    @app.route("/<name>")
    @cache.cached()
    def page(name: str) -> str:
        computed.append(name)
        return f"Hello {name}"

    @cache.memoize()
    def square(number: int) -> int:
        computed.append(number)
        return number * number

    with app.test_client() as client:
        assert [client.get(path).text for path in ("/a", "/b", "/a")] == ["Hello a", "Hello b", "Hello a"]
    assert [square(3), square(3)] == [9, 9] and computed == ["a", "b", 3]
    cache.delete_memoized(square)
    assert square(3) == 9 and computed == ["a", "b", 3, 3]
    seen = shmstore.Cache[Any](key)
    assert all(60 < (seen.ttl(name) or 0) <= 70 for name in seen)


def test_flask_session(key: str) -> None:
    flask = pytest.importorskip("flask", reason="Flask is not installed")
    flask_session = pytest.importorskip("flask_session", reason="Flask-Session is not installed")
    app = flask.Flask("tests", root_path=".")
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=ShmCache(key), SESSION_PERMANENT=False)
    flask_session.Session(app)

    @app.route("/visit")
    def visit() -> str:
        flask.session["visits"] = flask.session.get("visits", 0) + 1
        return str(flask.session["visits"])

    @app.route("/leave")
    def leave() -> str:
        flask.session.clear()
        return ""

    ada, bob = app.test_client(), app.test_client()
    assert [ada.get("/visit").text, ada.get("/visit").text, bob.get("/visit").text] == ["1", "2", "1"]
    assert len(shmstore.Cache[Any](key)) == 2
    ada.get("/leave")
    assert ada.get("/visit").text == "1"
