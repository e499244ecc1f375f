"""Tasks in a pool of processes (celery worker --pool prefork) that share a cache: a process of the pool is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shmstore

sys.path.insert(0, str(Path(__file__).parent))
from web_servers import DEADLINE, children, session, signal_if_alive, wait_until

celery = pytest.importorskip("celery", reason="Celery is not installed: pip install '.[integrations]'")


@pytest.fixture
def cache(key: str) -> Iterator[shmstore.Cache[Any]]:
    with shmstore.Cache[Any](key, size="16M") as cache:
        yield cache


@pytest.fixture
def worker(key: str, tmp_path: Path, cache: object) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with two processes."""
    for name in ("queue", "control", "results"):
        (tmp_path / name).mkdir()
    environment = {
        **os.environ,
        "TASKS_FOLDER": str(tmp_path),
        "TASKS_CACHE": key,
        "PYTHONPATH": str(Path(__file__).parent),
    }
    options = ["--pool", "prefork", "--concurrency", "2", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", *options, "--loglevel", "info"]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
        process.terminate()
        process.wait(DEADLINE)
        wait_until(lambda: not session(process.pid), "its processes to end")
    finally:
        for pid in session(process.pid):
            signal_if_alive(pid, signal.SIGKILL)
        process.kill()
        process.wait()


@pytest.fixture
def app(tmp_path: Path) -> Any:
    """What sends tasks to the worker."""
    app = celery.Celery("tasks", broker="filesystem://", backend=f"file://{tmp_path}/results")
    folders = {"data_folder_in": f"{tmp_path}/queue", "data_folder_out": f"{tmp_path}/queue"}
    app.conf.broker_transport_options = {**folders, "control_folder": f"{tmp_path}/control"}
    return app


@pytest.mark.slow
def test_another_process_takes_over(cache: shmstore.Cache[Any], worker: subprocess.Popen[bytes], app: Any) -> None:
    assert kill_one_of_two(app.signature("celery_tasks.price", ["milk"]), "milk", cache, worker) == 40
    assert kill_one_of_two(app.signature("celery_tasks.nightly"), "nightly", cache, worker) in processes(
        "nightly", cache
    )


def kill_one_of_two(task: Any, what: str, cache: shmstore.Cache[Any], worker: subprocess.Popen[bytes]) -> Any:
    """Send a task twice, and kill the process that began to work on it; give the result of the other."""

    def begun() -> list[int]:
        assert worker.poll() is None
        return processes(what, cache)

    sent = [task.apply_async() for _ in range(2)]
    wait_until(begun, f"the first that works on {what}")
    (first,) = begun()
    assert first in children(worker.pid)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(begun()) == 2, f"the second that works on {what}")
    cache[f"go:{what}"] = True
    found = [each.get(timeout=DEADLINE, propagate=False) for each in sent]
    lost = [each for each in found if type(each).__name__ == "WorkerLostError"]
    assert len(lost) == 1, found
    assert [cache[name] for name in cache.keys(f"begun:{what}:")] == [1, 1]
    return next(each for each in found if each not in lost)


def processes(what: str, cache: shmstore.Cache[Any]) -> list[int]:
    """Those that have begun to work on it."""
    return [int(str(name).rpartition(":")[2]) for name in cache.keys(f"begun:{what}:")]
