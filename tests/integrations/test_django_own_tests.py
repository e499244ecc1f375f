"""Django's own tests for cache backends, sessions and template fragments, unchanged, with the backend of this package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import own_tests
import pytest

pytest.importorskip("django", reason="Django is not installed: pip install '.[integrations]'")
pytestmark = pytest.mark.slow
DJANGO = "django==5.2.19"

# Put beside Django's tests. Aliases with another MAX_ENTRIES cannot name the same memory, and the tests for them count
# what LocMemCache culls; Django's tests for Redis leave them out as well.
BACKEND_TESTS = """
from cache.tests import BaseCacheTests, caches_setting_for_tests
from django.test import TestCase, override_settings

CACHES = caches_setting_for_tests(
    BACKEND="shmstore.integrations.django.ShmCache", LOCATION={name!r}, exclude={{"cull", "zero_cull"}}
)

@override_settings(CACHES=CACHES)
class ShmCacheTests(BaseCacheTests, TestCase):
    pass
"""
SETTINGS = """
from test_sqlite import *
CACHES = {{"default": {{"BACKEND": "shmstore.integrations.django.ShmCache", "LOCATION": {name!r}}}}}
"""
RESULT = re.compile(r"^(test_\w+) \(.*\)(?:\n.*)? \.\.\. (ok|FAIL|ERROR|expected failure|skipped .*)$", re.M)


def test_backend_sessions_and_fragments(sdist: Any, key: str) -> None:
    folder: Path = sdist(DJANGO)
    tests = folder / "tests"
    (tests / "shmcache").mkdir()
    (tests / "shmcache" / "__init__.py").touch()
    (tests / "shmcache" / "tests.py").write_text(BACKEND_TESTS.format(name=key))
    (tests / "shm_sqlite.py").write_text(SETTINGS.format(name=key))
    labels = ["shmcache", "cache.tests.TestMakeTemplateFragmentKey", "template_tests.syntax_tests.test_cache"]
    labels += [
        f"sessions_tests.tests.{name}"
        for name in ("CacheSessionTests", "CacheDBSessionTests", "CacheDBSessionWithTimeZoneTests")
    ]
    done = subprocess.run(
        [sys.executable, "runtests.py", "--settings=shm_sqlite", "--parallel=1", "-v2", *labels],
        cwd=tests, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    results = RESULT.findall(done.stderr)
    assert done.returncode == 0 and f"Ran {len(results)} tests" in done.stderr, done.stderr[-5000:]
    passed = [name for name, result in results if result == "ok"]
    skipped = {name for name, result in results if result.startswith("skipped")}
    assert (len(passed), skipped) == own_tests.documented(DJANGO)
