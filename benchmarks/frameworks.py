"""Time frameworks with each of their caches: ``python -m benchmarks.frameworks``.

Each framework gets and sets a small page with its cache in the memory of one process, with Redis on a unix socket, and with the
integration of this package. What the framework itself does for a call is part of each time, and of aiocache, a turn of the event
loop. A set of limits is a hit. Frameworks that are not installed are left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import shmstore
from benchmarks._bars import Bar
from benchmarks._guard import resources
from benchmarks._measure import Contestant, measure
from benchmarks._run import Report, Row, Setting, parser, run
from benchmarks._servers import Missing, start

OURS, MEMORY, REDIS = "shmstore", "memory of one process", "Redis"
NAMES = [f"page:{number}" for number in range(100)]
PAGE = {"title": "Tea", "body": "x" * 500, "tags": ["a", "b"]}
Calls = tuple[Callable[[str], Any], Callable[[str], Any]]  # get and set of a name
Maker = Callable[[str, str], Iterator[tuple[str, Calls]]]  # of the name of a cache and a socket


def main(argv: Sequence[str] | None = None) -> int:
    title = (__doc__ or "").partition("\n\n")[0]
    return run("frameworks", play, parser("frameworks", title, "31, quick 3").parse_args(argv))


def play(setting: Setting, report: Report) -> None:
    with resources() as stack:
        name = f"shmstore-bench-frameworks-{setting.rng.getrandbits(32):x}"
        stack.callback(_remove, name)
        socket = _redis(stack, report)
        for framework, make in FRAMEWORKS.items():
            _remove(name)
            try:
                caches = dict(make(name, socket))
            except ImportError as error:
                report.note(f"{framework} is left out: needs {error.name}")
                continue
            for number, what in enumerate(("get", "set")):
                _measure(setting, report, framework, what, {cache: caches[cache][number] for cache in caches})


def _measure(
    setting: Setting, report: Report, framework: str, what: str, calls: dict[str, Callable[[str], Any]]
) -> None:
    def loop(call: Callable[[str], Any]) -> Callable[[Sequence[str]], None]:
        def each(names: Sequence[str]) -> None:
            for name in names:
                call(name)

        return each

    report.progress(f"{framework}: {what}")
    contestants = [Contestant(cache, loop(call), NAMES) for cache, call in calls.items()]
    samples = measure(contestants, rounds=setting.rounds(31), batch=100, rng=setting.rng, servers=True)
    row = Row(f"{framework} {what}", f"{framework}: {what}", "ns", samples)
    report.add(row)
    cells = [[cache, f"{(row.median(cache) or 0) / 1000:,.2f}"] for cache in samples]
    report.table(row.title, ("", ">µs"), cells)
    ratio = row.ratio(OURS, REDIS)
    if ratio is not None:
        report.bars.append(Bar(f"{framework}: {what}, of Redis", ratio, most=1.0))


def _redis(stack: ExitStack, report: Report) -> str:
    try:
        return start(
            stack, "redis-server", "--port", "0", "--unixsocket", "{socket}", "--save", "", "--appendonly", "no"
        )
    except Missing as error:
        report.note(f"without Redis: {error}")
        return ""


def _remove(name: str) -> None:
    try:
        shmstore.destroy(name)
    except shmstore.StoreNotFound:
        pass


def _django(name: str, socket: str) -> Iterator[tuple[str, Calls]]:
    from django.conf import settings
    from django.core.cache.backends.locmem import LocMemCache
    from django.core.cache.backends.redis import RedisCache

    from shmstore.integrations.django import ShmCache

    if not settings.configured:
        settings.configure()
    caches = {OURS: ShmCache(name, {}), MEMORY: LocMemCache("bench", {})}
    if socket:
        caches[REDIS] = RedisCache(f"unix://{socket}?db=1", {})
    for title, cache in caches.items():
        yield title, _filled(cache.get, cache.set, PAGE)


def _cachelib(name: str, socket: str) -> Iterator[tuple[str, Calls]]:
    from cachelib import RedisCache, SimpleCache

    from shmstore.integrations.cachelib import ShmCache

    caches = {OURS: ShmCache(name), MEMORY: SimpleCache()}
    if socket:
        import redis

        caches[REDIS] = RedisCache(redis.Redis(unix_socket_path=socket, db=2))
    for title, cache in caches.items():
        yield title, _filled(cache.get, cache.set, PAGE)


def _limits(name: str, socket: str) -> Iterator[tuple[str, Calls]]:
    from limits.storage import storage_from_string

    import shmstore.integrations.limits  # noqa: F401

    for title, uri in {OURS: f"shmstore://{name}", MEMORY: "memory://", REDIS: f"redis+unix://{socket}?db=3"}.items():
        if title != REDIS or socket:
            storage: Any = storage_from_string(uri)
            yield title, _filled(storage.get, storage.incr, 1000)


def _aiocache(name: str, socket: str) -> Iterator[tuple[str, Calls]]:
    from aiocache import SimpleMemoryCache

    from shmstore.integrations.aiocache import ShmCache

    caches = {OURS: ShmCache(name, timeout=0), MEMORY: SimpleMemoryCache(timeout=0)}
    loop = asyncio.new_event_loop()

    def turn(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: loop.run_until_complete(function(*arguments))

    for title, cache in caches.items():
        yield title, _filled(turn(cache.get), turn(cache.set), PAGE)


def _filled(get: Callable[[str], Any], put: Callable[[str, Any], Any], value: Any) -> Calls:
    def put_value(name: str) -> None:
        put(name, value)

    for name in NAMES:
        put(name, value)
    return get, put_value


FRAMEWORKS: dict[str, Maker] = {"Django": _django, "cachelib": _cachelib, "limits": _limits, "aiocache": _aiocache}


if __name__ == "__main__":
    raise SystemExit(main())
