"""The store for Litestar. Its sdist has no tests, so these ask what its documentation promises."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

import shmstore

pytest.importorskip("litestar", reason="Litestar is not installed: pip install '.[integrations]'")

from litestar import Litestar, Request, get
from litestar.config.response_cache import ResponseCacheConfig
from litestar.middleware.rate_limit import RateLimitConfig
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.testing import TestClient

from shmstore.integrations.litestar import ShmStore


@pytest.fixture
def store(key: str) -> ShmStore:
    return ShmStore(key, size="1M")


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def test_values(store: ShmStore, key: str) -> None:
    assert run(store.get("a")) is None and not run(store.exists("a")) and run(store.expires_in("a")) is None
    run(store.set("a", "tëxt"))
    run(ShmStore(key).set("b", b"bytes", expires_in=50))
    assert run(store.get("a")) == "tëxt".encode() and run(store.get("b")) == b"bytes" and run(store.exists("b"))
    assert run(store.expires_in("a")) is None and 40 < run(store.expires_in("b")) <= 50
    run(store.delete("a"))
    run(store.delete("a"))
    assert not run(store.exists("a"))
    run(store.delete_all())
    assert not run(store.exists("b"))


def test_expiry(store: ShmStore) -> None:
    run(store.set("a", b"1", expires_in=timedelta(seconds=10)))
    run(store.set("b", b"2"))
    assert run(store.get("a", renew_for=100)) == b"1" and 90 < run(store.expires_in("a")) <= 100
    assert run(store.get("a", renew_for=timedelta(seconds=200))) == b"1" and run(store.expires_in("a")) > 100
    assert run(store.get("b", renew_for=100)) == b"2" and run(store.expires_in("b")) is None
    assert run(store.get("c", renew_for=100)) is None
    run(store.set("a", b"1", expires_in=-1))
    assert run(store.get("a")) is None
    run(store.set("a", b"1", expires_in=0.05))  # type: ignore[arg-type]
    run(asyncio.to_thread(lambda: [None for _ in iter(lambda: run(store.exists("a")), False)]))
    assert run(store.get("a")) is None


def test_namespaces(store: ShmStore) -> None:
    parent, other = store.with_namespace("a"), store.with_namespace("ab")
    child = parent.with_namespace("b")
    stores = {b"root": store, b"a": parent, b"ab": other, b"a/b": child}
    for name, each in stores.items():
        run(each.set("key", name))
        run(each.set("1:b=key", name))
    assert [run(each.get("key")) for each in stores.values()] == list(stores)
    assert [run(each.get("1:b=key")) for each in stores.values()] == list(stores)
    run(parent.delete_all())
    assert [run(each.get("key")) for each in stores.values()] == [b"root", None, b"ab", None]
    run(store.delete_all())
    assert run(other.get("key")) is None


def test_a_value_larger_than_the_cache(store: ShmStore) -> None:
    run(store.set("a", b"1"))
    run(store.set("a", b"x" * (2 << 20)))
    assert run(store.get("a")) is None


def test_applications_share_responses_sessions_and_limits(key: str) -> None:
    made: list[int] = []

    @get("/page", cache=60)
    async def page() -> str:
        made.append(1)
        return "page"

    @get("/visits")
    async def visits(request: Request[Any, Any, Any]) -> int:
        request.session["visits"] = request.session.get("visits", 0) + 1
        return int(request.session["visits"])

    def worker() -> Any:
        limit = RateLimitConfig(rate_limit=("hour", 5), exclude=["page"], store="shm")
        return Litestar(
            [page, visits],
            middleware=[ServerSideSessionConfig(store="shm").middleware, limit.middleware],
            stores={"shm": ShmStore(key, size="4M")},
            response_cache_config=ResponseCacheConfig(store="shm"),
        )

    with TestClient(worker()) as one, TestClient(worker()) as two:
        assert one.get("/page").text == two.get("/page").text == "page" and made == [1]
        cookies = one.get("/visits").cookies
        two.cookies = cookies
        assert two.get("/visits").json() == 2
        assert [two.get("/visits").status_code for _ in range(4)] == [200, 200, 200, 429]
    shmstore.destroy(key)
