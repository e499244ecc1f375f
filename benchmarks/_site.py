"""The site that `benchmarks.servers` puts behind gunicorn: pages that take some milliseconds, with one of the caches in front.

    SHMSTORE_BENCH_SITE="shmstore NAME" gunicorn benchmarks._site:application

A page that was computed for a request has the header X-Computed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

SECONDS = 0.005  # of a core, that a page takes
REPEATS = 500  # load.lua gets the same; a page has some 7 kB
Pages = Callable[[int, list[bool]], str]


def compute(number: int, computed: list[bool]) -> str:
    computed.append(True)
    end = time.thread_time() + SECONDS
    while time.thread_time() < end:
        pass
    return f"<h1>Page {number}</h1>" + f"\n{number} is tea." * REPEATS


def _shmstore(place: str) -> Pages:
    import shmstore

    memoized: Pages = shmstore.Cache[str](place).memoize(compute, ignore="computed")
    return memoized


def _locmem(place: str) -> Pages:
    from django.conf import settings
    from django.core.cache.backends.locmem import LocMemCache

    settings.configure()
    cache = LocMemCache(place, {"OPTIONS": {"MAX_ENTRIES": 100_000}, "TIMEOUT": None})
    return lambda number, computed: cache.get_or_set(f"page:{number}", lambda: compute(number, computed))


def _diskcache(place: str) -> Pages:
    import diskcache

    cache = diskcache.Cache(place)

    def page(number: int, computed: list[bool]) -> Any:
        found = cache.get(number)
        if found is None:
            found = compute(number, computed)
            cache.set(number, found)
        return found

    return page


def _redis(place: str) -> Pages:
    import redis

    client = redis.Redis(unix_socket_path=place)

    def page(number: int, computed: list[bool]) -> str:
        found: Any = client.get(f"page:{number}")
        if found is not None:
            return str(found, "utf-8")
        text = compute(number, computed)
        client.set(f"page:{number}", text)
        return text

    return page


def _none(place: str) -> Pages:
    return compute


CACHES: dict[str, Callable[[str], Pages]] = {
    "shmstore": _shmstore, "LocMemCache": _locmem, "diskcache": _diskcache, "Redis": _redis, "no cache": _none,
}  # fmt: skip


def _site(kind: str, place: str) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    page = CACHES[kind](place)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        computed: list[bool] = []
        body = page(int(environ["PATH_INFO"].rpartition("/")[2]), computed).encode()
        headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers + [("X-Computed", "1")] * len(computed))
        return [body]

    return application


if "SHMSTORE_BENCH_SITE" in os.environ:
    application = _site(*os.environ["SHMSTORE_BENCH_SITE"].rsplit(" ", 1))
