"""The store for joblib.Memory: what its own tests do not ask."""

from __future__ import annotations

import os
import pickle
from typing import Any

import pytest

import shmstore

pytest.importorskip("joblib", reason="joblib is not installed: pip install '.[integrations]'")

import joblib
from joblib._store_backends import CacheWarning

import shmstore.integrations.joblib


def memory(name: str, **options: Any) -> Any:
    return joblib.Memory(name, backend="shmstore", backend_options={"size": "4M", **options}, verbose=0)


def squares(made: Any, log: Any) -> Any:
    """A function of this place, which workers get by value."""

    def square(number: int) -> int:
        with open(path, "a") as file:
            file.write(f"{number}\n")
        return number * number

    path = str(log)
    return made.cache(square)


def test_workers_share_results(key: str, tmp_path: Any) -> None:
    square = squares(memory(key), tmp_path / "log")
    tasks = [joblib.delayed(square)(number) for number in [1, 2, 3]]
    assert joblib.Parallel(n_jobs=2)(tasks) == [1, 4, 9]
    assert joblib.Parallel(n_jobs=2)(tasks) == [1, 4, 9] and square(3) == 9
    assert sorted((tmp_path / "log").read_text()) == list("\n\n\n123")
    assert not os.path.exists(key)  # no files


def test_arrays_and_compression(key: str) -> None:
    numpy = pytest.importorskip("numpy")
    made = joblib.Memory(key, backend="shmstore", backend_options={"size": "4M"}, compress=3, verbose=0)
    zeros = made.cache(lambda length: {"a": numpy.zeros(length)})
    assert [float(zeros(100_000)["a"].sum()) for _ in range(2)] == [0.0, 0.0]
    with shmstore.Cache[Any](key) as cache:
        assert sum([cache.describe(entry).size for entry in cache]) < 100_000


def test_a_reference_to_a_result(key: str, tmp_path: Any) -> None:
    result = squares(memory(key), tmp_path / "log").call_and_shelve(4)
    assert pickle.loads(pickle.dumps(result)).get() == 16
    result.clear()
    with pytest.raises(KeyError):
        result.get()


def test_reduce_size_and_clear(key: str, tmp_path: Any) -> None:
    made = memory(key)
    square = squares(made, tmp_path / "log")
    for number in range(5):
        square(number)
    assert len(made.store_backend.get_items()) == 5
    made.reduce_size(items_limit=2)
    assert len(made.store_backend.get_items()) == 2 and square.check_call_in_cache(4)
    made.clear(warn=False)
    assert made.store_backend.get_items() == [] and not square.check_call_in_cache(4)


def test_a_result_larger_than_the_cache(key: str) -> None:
    big = memory(key, size="1M").cache(lambda: os.urandom(2 << 20))
    with pytest.warns(CacheWarning, match="create it with a larger size"):
        assert len(big()) == 2 << 20


def test_mmap_mode_is_ignored(key: str) -> None:
    with pytest.warns(UserWarning, match="mmap_mode is ignored"):
        joblib.Memory(key, backend="shmstore", backend_options={"size": "4M"}, mmap_mode="r", verbose=0)


def test_a_removed_cache_starts_anew(key: str, tmp_path: Any) -> None:
    square = squares(memory(key), tmp_path / "log")
    square(2)
    shmstore.destroy(key)
    assert square(2) == 4 == square(2) and (tmp_path / "log").read_text() == "2\n2\n"
