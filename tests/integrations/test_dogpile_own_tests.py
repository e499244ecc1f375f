"""dogpile.cache's own suites for backends, mutexes and serializers, unchanged, with the backend of this package."""

from __future__ import annotations

from typing import Any

import own_tests
import pytest

pytest.importorskip("dogpile.cache", reason="dogpile.cache is not installed: pip install '.[integrations]'")
pytestmark = pytest.mark.slow

SUITES = """
from dogpile.testing.fixtures import _GenericBackendTestSuite, _GenericMutexTestSuite, _GenericSerializerTestSuite

class ShmBackendTest(_GenericBackendTestSuite):
    backend = "shmstore"
    config_args = {{"arguments": {{"name": {name!r}, "size": "4M"}}}}

class ShmMutexTest(_GenericMutexTestSuite):
    backend = "shmstore"
    config_args = {{"arguments": {{"name": {name!r}, "size": "4M"}}}}

class ShmSerializerTest(_GenericSerializerTestSuite, ShmBackendTest):
    pass

class ShmMsgpackTest(ShmBackendTest):
    config_args = {{"arguments": {{"name": {name!r}, "size": "4M", "codec": "msgpack"}}}}

class ShmThreadLockTest(ShmBackendTest):
    config_args = {{"arguments": {{"name": {name!r}, "size": "4M", "distributed_lock": False}}}}
"""


def test_suites(sdist: Any, key: str) -> None:
    tests = sdist("dogpile.cache==1.5.0") / "tests"
    (tests / "cache" / "test_shm_backend.py").write_text(SUITES.format(name=key))
    passed, _, skipped = own_tests.run(tests, "cache/test_shm_backend.py")
    assert (passed, skipped) == own_tests.documented("dogpile.cache==1.5.0")
