"""The acceptance tests of aiocache for a cache in memory, unchanged, with the cache of this package as the one in memory."""

from __future__ import annotations

from typing import Any

import own_tests
import pytest

pytestmark = pytest.mark.slow
AIOCACHE = "aiocache==0.12.3"

PLUGIN = """
import aiocache
import pytest
import shmstore
from aiocache import factory
from aiocache.backends import memory
from shmstore.integrations.aiocache import ShmCache

class SimpleMemoryCache(ShmCache):
    NAME = "memory"

    def __init__(self, serializer=None, **options):
        super().__init__({name!r}, serializer, size="4M", **options)

    @classmethod
    def parse_uri_path(cls, path):
        return {{}}

    @property
    def _cache(self):
        return shmstore.Cache({name!r}, codec="pickle")

    @_cache.setter
    def _cache(self, entries):  # what the tests of plugins set is a dict
        self._cache.update(entries)

memory.SimpleMemoryCache = aiocache.SimpleMemoryCache = factory.Cache.MEMORY = SimpleMemoryCache
aiocache.AIOCACHE_CACHES["memory"] = SimpleMemoryCache
factory.Cache.__new__.__defaults__ = (SimpleMemoryCache,)

@pytest.fixture(autouse=True)
def empty():
    shmstore.Cache({name!r}, size="4M").clear()
"""
# Values are copies. These tests ask for the same object.
IDENTITY = ["test_set_get_types", "test_add_get_types", "test_multi_set_multi_get_types"]
INI = "[pytest]\nasyncio_mode = auto\nmarkers =\n    memcached\n    redis\n"


def test_cache(sdist: Any, key: str) -> None:
    for package in ("aiocache", "pytest_asyncio"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[integrations]'")
    root = sdist(AIOCACHE)
    (root / "shm_aiocache.py").write_text(PLUGIN.format(name=key))
    (root / "shm.ini").write_text(INI)
    passed, _, skipped = own_tests.run(
        root, "-c", "shm.ini", "-p", "shm_aiocache", "-o", "pythonpath=.", "-m", "not redis and not memcached",
        "-k", f"not (TestNullSerializer and ({' or '.join(IDENTITY)}))", str(root / "tests" / "acceptance"),
    )  # fmt: skip
    assert (passed, skipped | set(IDENTITY)) == own_tests.documented(AIOCACHE)
