"""diskcache's own tests of Cache, unchanged, as far as they are about its core and not about files and SQLite."""

from __future__ import annotations

from typing import Any

import own_tests
import pytest

pytest.importorskip("diskcache", reason="diskcache is not installed: pip install '.[integrations]'")
pytestmark = pytest.mark.slow
DISKCACHE = "diskcache==5.6.3"

CONFTEST = """
import diskcache
import pytest
import shmstore
from shmstore.integrations.diskcache import Cache

class NewCache(Cache):
    def __init__(self, directory=None, *arguments, **options):
        super().__init__({name!r}, *arguments, **{{"size_limit": 2**27, **options}})

diskcache.Cache = NewCache

def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if item.name not in {left_out!r}]

@pytest.fixture(autouse=True)
def empty():
    shmstore.Cache({name!r}, size=2**27).clear()
"""


def test_core(sdist: Any, key: str) -> None:
    tests = sdist(DISKCACHE) / "tests"
    passed, left_out = own_tests.documented(DISKCACHE)
    (tests / "conftest.py").write_text(CONFTEST.format(name=key, left_out=left_out))
    (tests.parent / "shm.ini").write_text("[pytest]\n")
    done, _, skipped = own_tests.run(tests, "-c", "../shm.ini", "-p", "no:django", "test_core.py")
    assert (done, skipped) == (passed, set())
