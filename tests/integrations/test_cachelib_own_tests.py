"""The own tests of cachelib and Flask-Caching, unchanged, with the cache of this package."""

from __future__ import annotations

from typing import Any

import own_tests
import pytest

pytestmark = pytest.mark.slow

CACHELIB = """
import pytest
import test_simple_cache
from delete_many_with_prefix import DeleteManyWithPrefixTests
from shmstore.integrations.cachelib import ShmCache

@pytest.fixture(autouse=True)
def cache_factory(request):
    def make(self, **options):
        cache = ShmCache({name!r}, size="4M", **options)
        cache.clear()
        return cache
    request.cls.cache_factory = make

def no_threshold(self):
    pytest.skip("a test of the option threshold of SimpleCache")

class TestShmCache(test_simple_cache.TestSimpleCache, DeleteManyWithPrefixTests):
    test_threshold = no_threshold
    test_prune_old_entries = no_threshold
    test_threshold_zero_defaults_to_500 = no_threshold
"""

# Every application of the tests gets this cache, unless the test itself asks for another one. When the tests let their clock
# advance, each entry gets that much less to live.
PLUGIN = """
import pytest
from shmstore.integrations.cachelib import ShmCache

def make(**options):
    return ShmCache({name!r}, size="4M", **options)

def advance(seconds):
    cache = make()._cache
    for key in list(cache):
        left = cache.ttl(key)
        if left is not None:
            cache.touch(key, left - seconds) if left > seconds else cache.delete(key)

@pytest.fixture(autouse=True)
def shm_cache(request):
    make().clear()
    if "app" in request.fixturenames:
        request.getfixturevalue("app").config["CACHE_TYPE"] = "shm_cachelib.make"
    if "clock" in request.fixturenames:
        request.getfixturevalue("clock").advance = advance
"""
# Tests of Flask-Caching's own backends, some of which need a server, and of a newer Python.
OTHERS = ["test_backend_cache.py", "test_py314_annotations.py"]
LEFT_OUT = {
    "test_basic_app.py": [
        "test_init_app_multi_apps", "test_app_redis_cache_backend_url_default_db",
        "test_app_redis_cache_backend_url_custom_db", "test_app_redis_cache_backend_url_explicit_db_arg",
    ],
    "test_cache.py": ["test_cache_unlink"],
    "test_cachelib.py": ["test_backend_uses_cachelib_serializer"],
    "test_init.py": ["test_init_nullcache"],
    "test_serializer.py": ["test_default_keeps_the_cachelib_serializer", "test_values_are_stored_in_the_configured_format"],
}  # fmt: skip
FLASK_CACHING = """
import pytest
from test_backend_cache import GenericCacheTests
from shmstore.integrations.cachelib import ShmCache

class TestShmCache(GenericCacheTests):
    _can_use_fast_sleep = False

    @pytest.fixture
    def make_cache(self):
        return lambda: ShmCache({name!r}, size="4M")
"""


def test_cachelib(sdist: Any, key: str) -> None:
    for package in ("cachelib", "xprocess"):  # the second is of their conftest.py
        pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[integrations]'")
    tests = sdist("cachelib==0.17.0") / "tests"
    (tests / "test_shm_cache.py").write_text(CACHELIB.format(name=key))
    passed, _, skipped = own_tests.run(tests, "test_shm_cache.py")
    assert (passed, skipped) == own_tests.documented("cachelib==0.17.0")


def test_flask_caching(sdist: Any, key: str) -> None:
    for package in ("flask_caching", "xprocess"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[integrations]'")
    tests = sdist("flask-caching==2.5.1") / "tests"
    (tests / "shm_cachelib.py").write_text(PLUGIN.format(name=key))
    (tests / "test_shm_cache.py").write_text(FLASK_CACHING.format(name=key))
    names = [f"tests/{file}::{name}" for file, left_out in LEFT_OUT.items() for name in left_out]
    without = [f"--ignore={file}" for file in OTHERS] + [f"--deselect={name}" for name in names]
    passed, _, skipped = own_tests.run(tests, "-p", "shm_cachelib", "-o", "pythonpath=.", *without)
    assert (passed, skipped | {name.split("::")[1] for name in names}) == own_tests.documented("flask-caching==2.5.1")
