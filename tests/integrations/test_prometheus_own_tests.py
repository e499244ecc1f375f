"""prometheus_client's own tests of its multiprocess mode, unchanged, with all values in one store instead of files."""

from __future__ import annotations

from typing import Any

import own_tests
import pytest

pytest.importorskip("prometheus_client", reason="prometheus_client is not installed: pip install '.[integrations]'")
pytestmark = pytest.mark.slow
PROMETHEUS, FILE = "prometheus_client==0.26.0", "test_multiprocess.py"

# The tests name a folder of their own. All of them mean the same store, which is new for each test.
PLUGIN = """
import os
import pytest
from prometheus_client import multiprocess, values
import shmstore
from shmstore.integrations import prometheus

def value_class(process_identifier=os.getpid):
    return prometheus.shared_value({name!r}, process_identifier, size="4M")

class Collector(prometheus.ShmCollector):
    def __init__(self, registry, path=None):
        super().__init__(registry, value_class())

values.MultiProcessValue = value_class
multiprocess.MultiProcessCollector = Collector
multiprocess.mark_process_dead = lambda pid, path=None: prometheus.mark_process_dead(pid, value_class())

@pytest.fixture(autouse=True)
def new_store():
    shmstore.Store({name!r}, size="4M").destroy()
"""
# Tests of the files themselves: their names, their format, their folder.
OF_FILES = [
    "TestMmapedDict", "TestUnsetEnv", "TestMultiProcessDeprecation",
    "TestMultiProcess::test_initialization_detects_pid_change", "TestMultiProcess::test_merge_no_accumulate",
    "TestMultiProcess::test_missing_gauge_file_during_merge",
]  # fmt: skip


def test_multiprocess(sdist: Any, key: str) -> None:
    tests = sdist(PROMETHEUS) / "tests"
    (tests / "shm_prometheus.py").write_text(PLUGIN.format(name=key))
    without = [f"--deselect=tests/{FILE}::{name}" for name in OF_FILES]
    passed, _, skipped = own_tests.run(tests, "-p", "shm_prometheus", "-o", "pythonpath=.", FILE, *without)
    left_out = {name.split("::")[-1] for name in OF_FILES}
    assert (passed, skipped | {name for name in left_out if name.startswith("test_")}) == own_tests.documented(
        PROMETHEUS
    )
