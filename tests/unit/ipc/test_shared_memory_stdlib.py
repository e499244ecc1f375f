"""CPython's own tests of multiprocessing.shared_memory, run on shmstore's classes, where this Python has them.

Left out are the tests of what is not promised: the resource tracker, and SharedMemoryManager, which is a server.
"""

from __future__ import annotations

import multiprocessing
import sys
import unittest

import pytest

from shmstore.shared_memory import ShareableList, _block

OURS = """
test_invalid_shared_memory_cration
test_invalid_shared_memory_creation
test_shared_memory_ShareableList_basics
test_shared_memory_ShareableList_pickling
test_shared_memory_ShareableList_pickling_dead_object
test_shared_memory_across_processes
test_shared_memory_basics
test_shared_memory_name_with_embedded_null
test_shared_memory_pickle_unpickle
test_shared_memory_pickle_unpickle_dead_object
test_shared_memory_recreate
""".split()
NOT_OURS = """
test_shared_memory_SharedMemoryManager_basics
test_shared_memory_SharedMemoryManager_reuses_resource_tracker
test_shared_memory_SharedMemoryServer_ignores_sigint
test_shared_memory_cleaned_after_process_termination
test_shared_memory_tracking
test_shared_memory_untracking
""".split()

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::BytesWarning")


@pytest.fixture
def theirs(monkeypatch):
    suite = pytest.importorskip("test._test_multiprocessing", reason="this Python comes without its tests")
    # What the tests ask of the module besides the classes; _USE_POSIX stands for details of shm_open.
    for name, value in {"ShareableList": ShareableList, "_SHM_NAME_PREFIX": "psm_", "_USE_POSIX": False}.items():
        monkeypatch.setattr(_block, name, value, raising=False)
    monkeypatch.setattr(multiprocessing, "shared_memory", _block, raising=False)
    monkeypatch.setitem(sys.modules, "multiprocessing.shared_memory", _block)
    monkeypatch.setattr(suite, "shared_memory", _block)

    class Tests(suite._TestSharedMemory, unittest.TestCase):
        TYPE = "processes"
        Process = multiprocessing.get_context("fork").Process

    return Tests


@pytest.mark.parametrize("name", OURS)
def test_of_cpython(theirs, name):
    if not hasattr(theirs, name):
        pytest.skip("this Python's tests have none of this name")
    result = unittest.TestResult()
    unittest.defaultTestLoader.suiteClass([theirs(name)]).run(result)
    assert [text for _, text in result.errors + result.failures] == []
    assert (result.testsRun, result.skipped) == (1, [])


def test_no_test_is_forgotten(theirs):
    named = {name for name in dir(theirs) if name.startswith("test_")}
    assert named <= {*OURS, *NOT_OURS}
