"""The own tests of limits for storages and strategies, unchanged, with the storages of this package as those in memory."""

from __future__ import annotations

from typing import Any

import own_tests
import pytest

pytestmark = pytest.mark.slow
LIMITS = "limits==5.8.0"
NEEDED = ["limits", "redis", "pytest_asyncio", "pytest_lazy_fixtures"]  # the last three are of its tests

# In place of their conftest.py, which starts servers.
CONFTEST = """
import limits.aio.storage
import limits.storage
import pytest
import shmstore
from shmstore.integrations.limits import AsyncShmStorage, ShmStorage

class MemoryStorage(ShmStorage):
    STORAGE_SCHEME = ["memory"]

    def __init__(self, uri=None, wrap_exceptions=False):
        super().__init__("shmstore://{name}?size=64M", wrap_exceptions)

class AsyncMemoryStorage(AsyncShmStorage):
    STORAGE_SCHEME = ["async+memory"]

    def __init__(self, uri=None, wrap_exceptions=False):
        super().__init__("async+shmstore://{name}?size=64M", wrap_exceptions)

limits.storage.MemoryStorage = MemoryStorage
limits.aio.storage.MemoryStorage = AsyncMemoryStorage

@pytest.fixture(autouse=True)
def no_hits():
    shmstore.Cache({name!r}, size="64M").clear()
"""
INI = "[pytest]\nasyncio_mode = auto\nmarkers =\n    memory\n    flaky\n"
FILES = ["test_storage.py", "test_strategy.py", "aio/test_storage.py", "aio/test_strategy.py"]


def test_storages_and_strategies(sdist: Any, key: str) -> None:
    for package in NEEDED:
        pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[integrations]'")
    tests = sdist(LIMITS) / "tests"
    (tests / "conftest.py").write_text(CONFTEST.format(name=key))
    (tests.parent / "shm.ini").write_text(INI)
    passed, _, skipped = own_tests.run(tests, "-c", "../shm.ini", "--rootdir=..", "-m", "memory", *FILES)
    assert (passed, skipped) == own_tests.documented(LIMITS)
