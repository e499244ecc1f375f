"""joblib's own tests of Memory, unchanged, with the store of this package in place of files."""

from __future__ import annotations

from typing import Any

import own_tests
import pytest

pytest.importorskip("joblib", reason="joblib is not installed: pip install '.[integrations]'")
pytestmark = pytest.mark.slow
JOBLIB = "joblib==1.6.0"

# The tests name folders, which are names of caches here. All of them are removed at the end.
PLUGIN = """
import joblib.memory
import pytest
import shmstore
from shmstore.integrations.joblib import ShmStoreBackend

class Backend(ShmStoreBackend):
    def configure(self, location, verbose=1, backend_options=None):
        super().configure(location, verbose, {{"size": "16M", **(backend_options or {{}})}})
        with open({names!r}, "a") as names:
            names.write(self._name + "\\n")

joblib.memory._STORE_BACKENDS["local"] = Backend
"""
OF_FILES = [
    "test_parallel_call_cached_function_defined_in_jupyter", "test_func_dir", "test_persistence", "test__get_items",
    "test_call_and_shelve_lazily_load_stored_result", "test_memory_clear", "test_memory_creates_gitignore",
    "test_memory_recomputes_after_an_error_while_loading_results",
]  # fmt: skip
OF_MAPS = [
    "test_memory_numpy_check_mmap_mode", "test_memorized_result_forwards_mmap_mode",
    "test_memory_pickle_dump_load", "test_memory_numpy_check_mmap_mode_async",
]  # fmt: skip


def test_memory(sdist: Any, tmp_path: Any) -> None:
    root, names = sdist(JOBLIB), tmp_path / "names"
    (root / "shm_joblib.py").write_text(PLUGIN.format(names=str(names)))
    files = [str(root / "joblib" / "test" / name) for name in ("test_memory.py", "test_memory_async.py")]
    try:
        passed, _, skipped = own_tests.run(
            root, "-p", "shm_joblib", "-o", "pythonpath=.", "-o", "addopts=", "-k", f"not ({' or '.join(OF_FILES + OF_MAPS)})", *files
        )  # fmt: skip
    finally:
        remove(names.read_text().splitlines())
    assert (passed, skipped | {*OF_FILES, *OF_MAPS}) == own_tests.documented(JOBLIB)


def remove(names: list[str]) -> None:
    import shmstore

    for name in set(names):
        try:
            shmstore.destroy(name)
        except shmstore.StoreNotFound:
            pass
