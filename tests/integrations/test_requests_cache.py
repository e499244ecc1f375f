"""The backend for requests-cache: what its own tests do not ask."""

from __future__ import annotations

import logging
import os
from io import BytesIO
from typing import Any

import pytest

import shmstore

pytest.importorskip("requests_cache", reason="requests-cache is not installed: pip install '.[integrations]'")

from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse

from shmstore.integrations.requests_cache import ShmCache, ShmDict

URL = "http://site/page"


class Site(HTTPAdapter):
    """A server without a network."""

    def __init__(self, body: bytes = b"page") -> None:
        super().__init__()
        self.body, self.asked = body, 0

    def send(self, request: Any, **_: Any) -> Any:  # type: ignore[override]
        self.asked += 1
        raw = HTTPResponse(BytesIO(self.body), status=200, preload_content=False, request_url=request.url)
        return self.build_response(request, raw)


def session(name: str, site: Site, **options: Any) -> Any:
    settings = {"expire_after": options.pop("expire_after", 60)}
    made = CachedSession(backend=ShmCache(name, **{"size": "4M", **options}), **settings)
    made.mount("http://", site)
    return made


def test_processes_share_responses(key: str) -> None:
    site = Site()
    child = os.fork()
    if child == 0:
        os._exit(session(key, site).get(URL).from_cache)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    found = session(key, site).get(URL)
    assert found.from_cache and found.content == b"page" and site.asked == 0


@pytest.mark.parametrize(
    "options, least, most",
    [({}, 3600, 3660), ({"ttl_offset": 10}, 60, 70), ({"ttl": False}, None, None), ({"expire_after": -1}, None, None)],
)
def test_an_expired_response_stays_for_a_while(key: str, options: Any, least: Any, most: Any) -> None:
    session(key, Site(), **options).get(URL)
    with shmstore.Cache[Any](key) as cache:
        left = cache.ttl(next(iter(cache.keys("responses:"))))
    assert left is None if least is None else least < (left or 0) <= most


def test_a_response_larger_than_the_cache_is_answered(key: str, caplog: pytest.LogCaptureFixture) -> None:
    site = Site(b"x" * (2 << 20))
    mine = session(key, site, size="1M")
    with caplog.at_level(logging.WARNING, "shmstore"):
        assert [len(mine.get(URL).content) for _ in range(2)] == [2 << 20] * 2
    assert site.asked == 2 and "not cached" in caplog.text


def test_a_response_that_cannot_be_read_is_fetched_again(key: str) -> None:
    site = Site()
    mine = session(key, site)
    mine.get(URL)
    with shmstore.Cache[Any](key) as cache:
        cache[next(iter(cache.keys("responses:")))] = b"not a pickle"
    assert not mine.get(URL).from_cache and mine.get(URL).from_cache and site.asked == 2


def test_tables_of_one_cache_are_apart(key: str) -> None:
    tables = [ShmDict(key, name, size="4M") for name in ("a", "b")]
    for number, table in enumerate(tables):
        table["same"] = number
    tables[0].clear()
    assert dict(tables[0]) == {} and dict(tables[1]) == {"same": 1} and "same" in tables[1] and 7 not in tables[1]


def test_a_removed_cache_starts_anew(key: str) -> None:
    site = Site()
    mine = session(key, site)
    mine.get(URL)
    shmstore.destroy(key)
    assert [mine.get(URL).from_cache for _ in range(2)] == [False, True]
