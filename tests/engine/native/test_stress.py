"""Threads and processes on one store (stress.c), under the sanitizers.

ThreadSanitizer knows one address for each word, so its threads are clients that share one mapping. It does not model
fences; the engine copies what may change meanwhile by relaxed atomic bytes in its builds (atomic.h), so that what it
reports is an access that the memory model has no word for, and what it cannot see is a missing order between two atomic
accesses. Processes are for AddressSanitizer and for the real thing."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import engine_build  # noqa: E402
from scenarios import busy  # noqa: E402

from shmstore import sysv  # noqa: E402

pytestmark = pytest.mark.sample  # minutes together: CI runs them once, beside the suite

BUILDS = {
    "thread": ["-O1", *engine_build.THREAD, "-Wno-tsan"],
    "address": ["-O1", *engine_build.ADDRESS],
    "plain": ["-O3"],
}
SEED = int(os.environ.get("SHMSTORE_SEED") or random.SystemRandom().randrange(1 << 62))
# ThreadSanitizer cannot follow a fork in the midst of threads, and sees nothing across processes.
RUNS = [("thread", "threads"), ("thread", "shared"), ("address", "threads"), ("address", "shared"),
        ("address", "processes"), ("plain", "threads"), ("plain", "processes")]  # fmt: skip


@pytest.fixture(scope="session")
def directory(tmp_path_factory, request):
    return engine_build.shared_directory(tmp_path_factory, request.config, "stress")


def stress(directory, build, mode, seconds):
    cc = engine_build.compiler("cc", "gcc")
    flags = [*BUILDS[build], f"-I{HERE}"]
    program = engine_build.build(directory, f"stress-{build}", [*engine_build.engine(), HERE / "stress.c"], flags, cc)
    key = engine_build.fresh_key()
    try:
        done = engine_build.call(program, mode, "5", str(seconds), str(key), str(SEED), timeout=seconds * 3 + 900)
    finally:
        try:
            sysv.shmctl(sysv.shmget(key, 0, 0), sysv.IPC_RMID)
        except FileNotFoundError:
            pass
    assert done.returncode == 0, f"seed {SEED}\n{done.stdout}{done.stderr[:10000]}"
    return busy(done.stdout)


@pytest.mark.parametrize(("build", "mode"), RUNS[:5])
def test_stress(directory, build, mode):
    stress(directory, build, mode, 3)


def test_handles_under_threads(directory):
    """handles.c, which test_native.py tells under AddressSanitizer."""
    cc = engine_build.compiler("cc", "gcc")
    program = engine_build.build(directory, "handles-thread", [*engine_build.engine(), HERE / "handles.c"],
                                 [*BUILDS["thread"], f"-I{HERE}"], cc)  # fmt: skip
    done = engine_build.call(program, str(engine_build.fresh_key()), timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr[:10000]


@pytest.mark.slow
@pytest.mark.parametrize(("build", "mode"), RUNS)
def test_stress_for_longer(directory, build, mode):
    print(build, mode, stress(directory, build, mode, 60))
