"""Stores that are damaged, used through the shipped module: a value, a miss or an error of the package, in bounded time.

The C property (tests/engine/fuzz) sees more of the engine; here is what lies above it: the binding, the codecs, the messages."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import shmstore

WORK = Path(__file__).resolve().parent / "work.py"
SEED = int(os.environ.get("SHMSTORE_SEED") or random.SystemRandom().randrange(1 << 60))
WATCHDOG = 900

sys.path.insert(0, str(WORK.parent))
import work  # noqa: E402


def start(role, *arguments):
    command = [sys.executable, "-X", "faulthandler", str(WORK), role, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")


def finish(process, seconds=0):
    try:
        out, err = process.communicate(timeout=seconds + WATCHDOG)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"a hang, seed {SEED}, after: {out[-300:]}{err[-3000:]}")
    assert process.returncode == 0, f"{process.returncode}, seed {SEED}, after: {out[-300:]}{err[-3000:]}"
    return out


@pytest.fixture
def stores(make, key):
    """Two of one size, and the second's identifier."""
    store = make(size="256K", max_clients=16, timeout=0.2)
    work.fill(store)
    other = shmstore.Store(key + "-other", size="256K", max_clients=16)
    for i in range(200):
        other[f"k{i}"] = [i] * (i % 50)
    yield store, other
    other.destroy()
    other.close()


def under_scribbles(store, key, seconds):
    identifier = store.info().id
    processes = [start("suffer", key, SEED + i, seconds) for i in range(3)]
    processes.append(start("scribble", identifier, SEED, seconds))
    said = []
    try:
        said = [finish(process, seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert int(said[-1].split()[0]) > 100
    return said


def test_a_scribbling_process(stores, key):
    under_scribbles(stores[0], key, 2)


@pytest.mark.slow
def test_a_scribbling_process_for_minutes(stores, key):
    print(under_scribbles(stores[0], key, 120))


@pytest.mark.parametrize("part", range(4))
def test_header_fields_at_their_boundaries(stores, key, part):
    if part != SEED % 4 and not os.environ.get("SHMSTORE_FULL"):
        pytest.skip("one of the four parts, by the seed; all in test_every_header_field")
    finish(start("header", key, stores[0].info().id, part, 4), 60)


@pytest.mark.slow
def test_every_header_field(stores, key):
    said = finish(start("header", key, stores[0].info().id, 0, 1), 600)
    print(len(said.splitlines()), "headers")


def test_spliced_stores(stores, key):
    finish(start("splice", key, stores[0].info().id, stores[1].info().id, SEED, 60), 60)


@pytest.mark.slow
def test_many_spliced_stores(stores, key):
    finish(start("splice", key, stores[0].info().id, stores[1].info().id, SEED, 3000), 1200)
