"""The cache of responses for ASGI applications, with an application of a few lines. It needs no framework."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import pytest

import shmstore
from shmstore.integrations import _http
from shmstore.integrations.asgi import ResponseCache


class Site:
    """An application: *answer* is called for each request that reaches it."""

    def __init__(self, body: bytes = b"page", status: int = 200, **headers: str) -> None:
        self.body, self.status, self.headers = [body], status, headers
        self.seen: list[Any] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope)
        if self.gate is not None:
            await self.gate.wait()
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})
        for number, part in enumerate(self.body):
            await send({"type": "http.response.body", "body": part, "more_body": number + 1 < len(self.body)})


async def ask(app: Any, url: str = "/", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    path, _, query = url.partition("?")
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in {"host": "site", **headers}.items()]
    scope = {
        "type": "http", "method": method, "scheme": "http", "path": path, "query_string": query.encode(), "headers": pairs,
    }  # fmt: skip
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, None, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join([message.get("body", b"") for message in sent[1:]])


def get(app: Any, url: str = "/", method: str = "GET", **headers: str) -> Any:
    return asyncio.run(ask(app, url, method, **headers))


@pytest.fixture
def cached(key: str) -> Any:
    def make(site: Site, **options: Any) -> ResponseCache:
        return ResponseCache(site, key, **{"size": "4M", **options})

    return make


def test_workers_share_a_page(cached: Any) -> None:
    one, two = Site(cache_control="max-age=60"), Site(b"other")
    assert get(cached(one))[2] == b"page"
    status, headers, body = get(cached(two))
    assert (status, body, headers["age"], headers["content-length"]) == (200, b"page", "0", "4")
    assert len(one.seen) == 1 and two.seen == []


@pytest.mark.parametrize(
    "headers, stored",
    [
        ({}, False), ({"cache_control": "max-age=60"}, True), ({"cache_control": "max-age=0"}, False),
        ({"cache_control": "no-store, max-age=60"}, False), ({"cache_control": "private, max-age=60"}, False),
        ({"cache_control": "no-cache"}, False), ({"cache_control": 'private="x, max-age=9", max-age=60'}, False),
        ({"cache_control": "max-age=0, s-maxage=60"}, True), ({"cache_control": "max-age=60, s-maxage=0"}, False),
        ({"cache_control": "MAX-AGE=60"}, True), ({"cache_control": "max-age=x"}, False), ({"cache_control": "public"}, False),
        ({"cache_control": "max-age=60", "set_cookie": "a=1"}, False), ({"cache_control": "max-age=60", "vary": "*"}, False),
        ({"cache_control": "max-age=60", "age": "61"}, False), ({"cache_control": "max-age=60", "age": "10"}, True),
        ({"expires": "Fri, 01 Jan 2100 00:00:00 GMT"}, True), ({"expires": "0"}, False),
        ({"expires": "Fri, 01 Jan 2100 00:00:00 GMT", "date": "Fri, 01 Jan 2100 00:00:00 GMT"}, False),
        ({"cache_control": "max-age=60", "content_length": "5"}, False),
    ],
)  # fmt: skip
def test_what_a_response_says_about_storing(cached: Any, headers: Any, stored: bool) -> None:
    site = Site(**headers)
    app = cached(site)
    assert [get(app)[2] for _ in range(2)] == [b"page"] * 2
    assert len(site.seen) == (1 if stored else 2)


@pytest.mark.parametrize(
    "status, stored", [(200, True), (204, True), (301, True), (404, True), (206, False), (302, False), (500, False)]
)
def test_statuses(cached: Any, status: int, stored: bool) -> None:
    site = Site(status=status, cache_control="max-age=60")
    app = cached(site)
    assert [get(app)[0] for _ in range(2)] == [status] * 2 and len(site.seen) == (1 if stored else 2)


def test_a_lifetime_for_responses_without_one(cached: Any) -> None:
    site = Site()
    app = cached(site, ttl=60)
    for headers in ({}, {}, {"cookie": "user=1"}, {"authorization": "x"}):
        get(app, **headers)  # type: ignore[arg-type]
    assert len(site.seen) == 3  # clients with a cookie get an answer of their own
    site.status = 404
    assert get(app, "/missing")[0] == 404 and get(app, "/missing")[0] == 404 and len(site.seen) == 5


@pytest.mark.parametrize("says, shared", [("max-age=60", False), ("max-age=60, public", True), ("s-maxage=60", True)])
def test_authorization(cached: Any, says: str, shared: bool) -> None:
    site = Site(cache_control=says)
    app = cached(site)
    get(app, authorization="ada")
    get(app, authorization="bob")
    get(app)
    get(app)
    get(app, authorization="bob")
    assert len(site.seen) == (1 if shared else 4)


@pytest.mark.parametrize(
    "says, asked", [("no-cache", 2), ("no-store", 2), ("max-age=0", 1), ("max-age=100", 1), ("min-fresh=100", 2), ("min-fresh=10", 1)]
)  # fmt: skip
def test_what_a_request_says(cached: Any, says: str, asked: int) -> None:
    site = Site(cache_control="max-age=60")
    app = cached(site)
    get(app)
    get(app, cache_control=says)
    assert len(site.seen) == asked
    assert get(app, cache_control="only-if-cached")[0] == 200
    assert get(app, "/other", cache_control="only-if-cached")[0] == 504
    get(app, range="bytes=0-1")
    assert len(site.seen) == asked + 1


def test_a_reload_stores_what_is_new(cached: Any) -> None:
    site = Site(cache_control="max-age=60")
    app = cached(site)
    get(app)
    site.body = [b"new"]
    assert get(app, pragma="no-cache")[2] == b"new" == get(app)[2] and len(site.seen) == 2


def test_validators(cached: Any) -> None:
    site = Site(cache_control="max-age=60", etag='W/"v1"', last_modified="Fri, 02 Jan 2026 00:00:00 GMT", x_other="1")
    app = cached(site)
    first = get(app, if_none_match='"v0", "v1"')  # the application sends the whole page, for the cache
    assert first[0] == 304 and first[2] == b"" and "x-other" not in first[1] and first[1]["etag"] == 'W/"v1"'
    assert b"if-none-match" not in dict(site.seen[0]["headers"])
    for tag, status in {'"v1"': 304, "*": 304, '"v2"': 200, 'W/"v1", "v9"': 304, '"a, b"': 200}.items():
        assert get(app, if_none_match=tag)[0] == status, tag
    for since, status in {"Fri, 02 Jan 2026 00:00:00 GMT": 304, "Thu, 01 Jan 2026 00:00:00 GMT": 200, "?": 200}.items():
        assert get(app, if_modified_since=since)[0] == status, since
    assert get(app, if_none_match='"v2"', if_modified_since="Fri, 02 Jan 2026 00:00:00 GMT")[0] == 200
    assert len(site.seen) == 1


def test_a_page_without_a_validator_gets_one(cached: Any) -> None:
    app = cached(Site(cache_control="max-age=60"))
    get(app)
    tag = get(app)[1]["etag"]
    assert get(app, if_none_match=tag)[0] == 304


def test_head(cached: Any) -> None:
    site = Site(cache_control="max-age=60")
    app = cached(site)
    get(app, method="HEAD")
    get(app)
    status, headers, body = get(app, method="HEAD")
    assert (status, headers["content-length"], body) == (200, "4", b"") and len(site.seen) == 2


def test_vary(cached: Any) -> None:
    site = Site(cache_control="max-age=60", vary="Accept-Language, Accept")
    app = cached(site)
    for language in ("de", "en", "de", "en"):
        site.body = [language.encode()]
        assert get(app, accept_language=language)[2] == language.encode()
    assert len(site.seen) == 2 and get(app)[2] == b"en" and len(site.seen) == 3
    site.headers["vary"] = "Cookie"
    get(app, method="POST")
    assert get(app, cookie="a")[2] == b"en" and get(app, cookie="b")[2] == b"en" and len(site.seen) == 6


def test_urls_are_apart(cached: Any) -> None:
    site = Site(cache_control="max-age=60")
    app = cached(site)
    for url in ("/", "/?a", "/?b", "/a", "/" + "x" * 5000, "/" + "x" * 5001):
        get(app, url)
        get(app, url)
    get(app, host="other")
    assert len(site.seen) == 7


def test_a_change_ends_what_is_stored(cached: Any) -> None:
    site = Site(cache_control="max-age=60")
    app = cached(site)
    get(app)
    get(app, method="OPTIONS")
    assert get(app)[2] == b"page" and len(site.seen) == 2
    site.body = [b"new"]
    get(app, method="DELETE")
    assert get(app)[2] == b"new" == get(app)[2] and len(site.seen) == 4
    site.status = 403
    get(app, method="POST")
    assert get(app)[0] == 200


def test_a_page_computed_before_a_change_is_not_stored(cached: Any) -> None:
    async def race() -> None:
        site = Site(b"old", cache_control="max-age=60")
        site.gate = asyncio.Event()
        app = cached(site)
        slow = asyncio.create_task(ask(app))
        while not site.seen:
            await asyncio.sleep(0)
        changed = Site()
        await ask(cached(changed), method="POST")
        site.gate.set()
        assert (await slow)[2] == b"old"
        site.body = [b"new"]
        assert (await ask(app))[2] == b"new" == (await ask(app))[2] and len(site.seen) == 2

    asyncio.run(race())


def test_streams(cached: Any) -> None:
    site = Site(cache_control="max-age=60")
    site.body = [b"a" * 1000, b"", b"b" * 1000]
    app = cached(site, max_body=2000)
    assert [len(get(app)[2]) for _ in range(2)] == [2000] * 2 and len(site.seen) == 1
    site.body.append(b"c")
    assert [len(get(app, "/long")[2]) for _ in range(2)] == [2001] * 2 and len(site.seen) == 3


def test_a_stream_that_breaks_off_is_not_stored(cached: Any) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=60")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        get(cached(broken))
    site = Site(b"whole", cache_control="max-age=60")
    assert get(cached(site))[2] == b"whole" and len(site.seen) == 1


def test_requests_at_once_compute_once(cached: Any) -> None:
    async def crowd() -> None:
        site = Site(cache_control="max-age=60")
        site.gate = asyncio.Event()
        apps = [cached(site) for _ in range(10)]
        asking = [asyncio.create_task(ask(app)) for app in apps]
        while not site.seen:
            await asyncio.sleep(0)
        site.gate.set()
        assert [body for _, _, body in await asyncio.gather(*asking)] == [b"page"] * 10 and len(site.seen) == 1

    asyncio.run(crowd())


def test_no_request_waits_for_what_is_not_stored(cached: Any) -> None:
    async def crowd() -> None:
        site = Site(cache_control="private")
        app = cached(site, wait=1000)
        await ask(app)
        site.gate = asyncio.Event()
        asking = [asyncio.create_task(ask(app)) for _ in range(5)]
        while len(site.seen) < 6:  # all of them at once
            await asyncio.sleep(0)
        site.gate.set()
        await asyncio.gather(*asking)

    asyncio.run(crowd())


def test_the_lease_of_a_killed_worker_is_free(cached: Any) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:

        async def stuck(scope: Any, receive: Any, send: Any) -> None:
            os.write(write, b"x")
            signal.pause()

        get(cached(stuck))
        os._exit(1)
    assert os.read(read, 1) == b"x"
    os.close(read)
    os.close(write)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    site = Site(cache_control="max-age=60")
    app = cached(site, wait=1000)
    assert get(app)[2] == b"page" == get(app)[2] and len(site.seen) == 1


def test_a_cache_that_cannot_be_used_is_no_cache(key: str, cached: Any) -> None:
    shmstore.Store[Any](key, size="1M")  # not a cache
    site = Site(cache_control="max-age=60")
    app = cached(site)
    assert [get(app)[2] for _ in range(2)] == [b"page"] * 2 and len(site.seen) == 2
    get(app, method="POST")


def test_other_connections_pass(cached: Any) -> None:
    seen = []

    async def site(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(cached(site)({"type": "websocket"}, None, None))
    assert seen == ["websocket"]


def test_ages(cached: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(cache_control="max-age=60", age="5")
    app = cached(site)
    get(app)
    now = time.time()
    monkeypatch.setattr(_http.time, "time", lambda: now + 20)
    assert get(app)[1]["age"] == "25"
    assert get(app, cache_control="max-age=20")[2] == b"page" and len(site.seen) == 2
