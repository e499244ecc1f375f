"""The storages for limits: what its own tests do not ask."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

import shmstore

pytest.importorskip("limits", reason="limits is not installed: pip install '.[integrations]'")

import limits
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string
from limits.strategies import STRATEGIES

from shmstore.integrations import limits as ours


@pytest.fixture
def storage(key: str) -> ours.ShmStorage:
    return ours.ShmStorage(f"shmstore://{key}?size=4M")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_of_several_processes_each_gets_what_is_left(storage: ours.ShmStorage, strategy: str) -> None:
    limiter, limit = STRATEGIES[strategy](storage), limits.parse("100/hour")
    storage.incr("other", 60)  # opened before the fork
    read, write = os.pipe()
    children = []
    for _ in range(4):
        children.append(os.fork())
        if children[-1] == 0:
            os.write(write, bytes([sum([limiter.hit(limit, "ada") for _ in range(60)])]))
            os._exit(0)
    for child in children:
        os.waitpid(child, 0)
    assert sum(os.read(read, 4)) == 100
    os.close(read)
    os.close(write)
    assert limiter.get_window_stats(limit, "ada").remaining == 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock:
        now = 1000.0

    monkeypatch.setattr(ours.time, "time", lambda: Clock.now)
    return Clock


def test_a_moving_window_moves_hit_by_hit(storage: ours.ShmStorage, clock: Any) -> None:
    taken = []
    for second in range(16):
        clock.now = 1000.0 + second
        taken.append(storage.acquire_entry("a", 3, 5))
    assert taken == [True] * 3 + [False] * 3 + [True] * 3 + [False] * 3 + [True] * 3 + [False]
    assert storage.get_moving_window("a", 3, 5) == (1012.0, 3)
    clock.now = 1030.0
    assert storage.get_moving_window("a", 3, 5) == (1030.0, 0)


def test_a_moving_window_counts_costs_and_forgets_what_is_old(storage: ours.ShmStorage, clock: Any, key: str) -> None:
    assert not storage.acquire_entry("a", 10, 5, amount=11)
    assert storage.acquire_entry("a", 10, 5, amount=7) and not storage.acquire_entry("a", 10, 5, amount=4)
    clock.now += 2
    assert storage.acquire_entry("a", 10, 5, amount=3) and storage.get_moving_window("a", 10, 5) == (1000.0, 10)
    clock.now += 3.5  # the seven are out of the window
    assert storage.get_moving_window("a", 10, 5) == (1002.0, 3)
    assert storage.acquire_entry("a", 10, 5, amount=7) and not storage.acquire_entry("a", 10, 5)
    for _ in range(1000):
        clock.now += 1
        storage.acquire_entry("a", 10, 5)
    assert shmstore.Cache[bytes](key).describe("moving a").size <= 16 * 8


def test_a_clock_that_was_put_back(storage: ours.ShmStorage, clock: Any) -> None:
    assert storage.acquire_entry("a", 3, 5)
    clock.now -= 2
    assert storage.acquire_entry("a", 3, 5)
    assert storage.get_moving_window("a", 3, 5) == (1000.0, 2)


def test_a_sliding_window_weighs_the_one_before(storage: ours.ShmStorage, clock: Any) -> None:
    assert all([storage.acquire_sliding_window_entry("a", 10, 10) for _ in range(10)])
    assert not storage.acquire_sliding_window_entry("a", 10, 10)
    clock.now += 10  # the next window: all ten still weigh
    assert storage.get_sliding_window("a", 10) == (10, 10.0, 0, 20.0)
    assert not storage.acquire_sliding_window_entry("a", 10, 10)
    clock.now += 5  # and now one half
    assert [storage.acquire_sliding_window_entry("a", 10, 10) for _ in range(6)] == [True] * 5 + [False]
    assert storage.get_sliding_window("a", 10) == (10, 5.0, 5, 15.0)
    clock.now += 30
    assert storage.get_sliding_window("a", 10) == (0, 0.0, 0, 20.0)
    storage.acquire_sliding_window_entry("a", 10, 10, amount=10)
    storage.clear_sliding_window("a", 10)
    assert storage.acquire_sliding_window_entry("a", 10, 10, amount=10)


def test_a_fixed_window_begins_with_its_first_hit(storage: ours.ShmStorage, key: str) -> None:
    assert storage.incr("a", 50) == 1
    assert storage.incr("a", 5000, amount=4) == 5 == storage.get("a")
    assert 40 < (shmstore.Cache[int](key).ttl("a") or 0) <= 50
    storage.clear("a")
    assert storage.get("a") == 0


@pytest.mark.parametrize("client", ["x" * 100_000, "\udc80" * 2000, "a" * 1001])
def test_clients_with_long_names(storage: ours.ShmStorage, client: str) -> None:
    assert [storage.incr(client, 60), storage.incr(client + "y", 60), storage.incr(client, 60)] == [1, 1, 2]
    assert storage.acquire_entry(client, 1, 60) and not storage.acquire_entry(client, 1, 60)


def test_options_are_in_the_uri_or_beside_it(key: str) -> None:
    storage: Any = storage_from_string(f"shmstore://{key}?size=2M&max_entries=500", codec="msgpack")
    storage.incr("a", 60)
    with shmstore.Cache[Any](key) as cache:
        assert cache.info().max_entries == 500 and cache.info().size < 4 << 20
    with pytest.raises(ConfigurationError, match="names the cache"):
        storage_from_string("shmstore://")


def test_coroutines(key: str) -> None:
    async def hits() -> list[Any]:
        storage: Any = storage_from_string(f"async+shmstore://{key}?size=4M")
        limit = limits.parse("2/hour")
        found: list[Any] = [await storage.check()]
        for strategy in limits.aio.strategies.STRATEGIES.values():
            limiter = strategy(storage)
            found += [await limiter.hit(limit) for _ in range(3)]
            await limiter.clear(limit)
            found.append((await limiter.get_window_stats(limit)).remaining)
        return [*found, await storage.reset()]

    assert asyncio.run(hits()) == [True, *[True, True, False, 2] * 3, 0]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_removed_cache_starts_anew(storage: ours.ShmStorage, key: str, strategy: str) -> None:
    limiter, limit = STRATEGIES[strategy](storage), limits.parse("1/hour")
    assert limiter.hit(limit) and not limiter.hit(limit)
    shmstore.destroy(key)
    assert limiter.hit(limit) and not limiter.hit(limit)


def test_what_is_wrong_is_said_or_lets_everybody_pass(key: str) -> None:
    shmstore.Store[Any](key, size="1M")  # not a cache
    storage = ours.ShmStorage(f"shmstore://{key}", wrap_exceptions=True)
    assert not storage.check()
    with pytest.raises(StorageError):
        storage.incr("a", 60)
    passing = ours.ShmStorage(f"shmstore://{key}?on_error=miss")
    for strategy in STRATEGIES.values():
        assert all([strategy(passing).hit(limits.parse("1/hour")) for _ in range(3)])


def test_flask_limiter(key: str) -> None:
    flask_limiter = pytest.importorskip(
        "flask_limiter", reason="Flask-Limiter is not installed: pip install '.[integrations]'"
    )
    from flask import Flask

    codes = []
    for _ in range(2):  # workers
        app = Flask(__name__)
        limiter = flask_limiter.Limiter(lambda: "ada", app=app, storage_uri=f"shmstore://{key}?size=4M")
        app.add_url_rule("/", view_func=limiter.limit("3/hour")(lambda: "hello"))
        codes += [app.test_client().get("/").status_code for _ in range(2)]
    assert codes == [200, 200, 200, 429]


def test_slowapi(key: str) -> None:
    slowapi = pytest.importorskip("slowapi", reason="slowapi is not installed: pip install '.[integrations]'")
    testclient = pytest.importorskip(
        "starlette.testclient", reason="httpx is not installed: pip install '.[integrations]'"
    )
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    codes = []
    for _ in range(2):
        limiter = slowapi.Limiter(key_func=lambda request: "ada", storage_uri=f"shmstore://{key}?size=4M")

        def hello(request: Any) -> Any:
            return PlainTextResponse("hello")

        hello.__annotations__["request"] = Any
        app = Starlette(routes=[Route("/", limiter.limit("3/hour")(hello))])
        app.state.limiter = limiter
        app.add_exception_handler(slowapi.errors.RateLimitExceeded, slowapi._rate_limit_exceeded_handler)
        client = testclient.TestClient(app)
        codes += [client.get("/").status_code for _ in range(2)]
    assert codes == [200, 200, 200, 429]
