"""The own tests of requests-cache for backends and their storages, unchanged, with those of this package."""

from __future__ import annotations

from typing import Any

import own_tests
import pytest

pytestmark = pytest.mark.slow
REQUESTS_CACHE = "requests-cache==1.3.3"
NEEDED = ["requests_cache", "pytest_httpbin", "requests_mock", "time_machine", "rich"]  # the last ones are of its tests

TESTS = """
import pytest
from requests_cache.backends import BaseCache
from shmstore.integrations.requests_cache import ShmCache, ShmDict
from tests.integration.base_cache_test import BaseCacheTest
from tests.integration.base_storage_test import BaseStorageTest

class TestShmDict(BaseStorageTest):
    storage_class = ShmDict
    init_kwargs = {{"size": "32M"}}

    def init_cache(self, cache_name={name!r}, index=0, clear=True, **kwargs):
        return super().init_cache({name!r}, index, clear, **kwargs)

class TestShmCache(BaseCacheTest):
    backend_class = ShmCache
    init_kwargs = {{"size": "32M"}}

    def init_session(self, cache_name={name!r}, clear=True, **kwargs):
        return super().init_session({name!r}, clear, **kwargs)
"""


def test_backend(sdist: Any, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in NEEDED:
        pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[integrations]'")
    monkeypatch.setenv("USE_PYTEST_HTTPBIN", "true")  # the server of its tests in this process
    root = sdist(REQUESTS_CACHE)
    added = root / "tests" / "integration" / "test_shm.py"
    added.write_text(TESTS.format(name=key))
    passed, _, skipped = own_tests.run(root, "-p", "no:xdist", "-o", "addopts=", str(added))
    assert (passed, skipped) == own_tests.documented(REQUESTS_CACHE)
