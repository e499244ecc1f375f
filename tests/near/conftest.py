"""Near caches of a Redis server. Without the server or redis-py, these tests are skipped."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import shmstore
from shmstore.near import state

sys.path.insert(0, str(Path(__file__).resolve().parent))
from near_support import Server, is_running, wait_until, when_valid

BOUND = 30.0  # seconds: so long that copies stay valid on a busy machine


@pytest.fixture(scope="session")
def _server() -> Iterator[Server]:
    for module in ("redis", "hiredis"):
        pytest.importorskip(module, reason=f"{module} is not installed: pip install redis hiredis")
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed: apt-get install redis-server (or what your distribution calls it)")
    with tempfile.TemporaryDirectory(prefix="near-") as folder:  # short: paths of sockets are
        server = Server(folder)
        yield server
        server.stop()


@pytest.fixture
def server(_server: Server) -> Server:
    _server.client.flushall()
    return _server


@pytest.fixture
def open_near(key: str, server: Server) -> Iterator[Callable[..., Any]]:
    """Open near caches of this host, all of the same name. At the end their listener must end."""
    opened: list[Any] = []

    def open_near(**options: Any) -> Any:
        cache = shmstore.Cache(key, **{"size": "4M", "backing": server.url, "bound": BOUND, **options})
        opened.append(cache)
        return cache

    yield open_near
    left = [cache for cache in opened if not cache.closed]
    listeners = {cache.stats().listener for cache in left} - {None}
    for listener in listeners:
        if is_running(listener):
            os.kill(listener, signal.SIGCONT)
    for cache in left:
        try:
            cache.destroy()
        except shmstore.StoreDestroyed:
            pass  # by the first of them
        cache.close()
    for listener in listeners:
        wait_until(lambda listener=listener: not is_running(listener), "the listener ends with its store")


@pytest.fixture(scope="session")
def _near(_server: Server) -> Iterator[Any]:
    name = f"shmstore-test-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    with open(os.environ["SHMSTORE_TEST_NAMES"], "a") as names:
        names.write(name + "\n")
    cache = when_valid(shmstore.Cache(name, size="4M", backing=_server.url, bound=BOUND))
    listener = cache.stats().listener
    yield cache
    cache.destroy()
    cache.close()
    wait_until(lambda: not is_running(listener), "the listener ends with its store")


@pytest.fixture
def near(server: Server, _near: Any) -> Any:
    """A near cache of an empty server, whose copies are valid: one for all tests, because a listener takes a while to start.

    Other tests may have cut its connection. When it has heard of a FLUSHALL, no copy of theirs is left.
    """
    generation = when_valid(_near)._store.get(state.STATE)[1]
    server.client.flushall()
    wait_until(lambda: _near._store.get(state.STATE)[1] > generation, "the listener hears of FLUSHALL")
    return _near
