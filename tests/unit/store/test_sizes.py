"""Stores of all sizes: an empty one takes a value of nine tenths of its size."""

import random
from pathlib import Path

import pytest

import shmstore
from shmstore import sysv

K, M = 1 << 10, 1 << 20
SMALLEST = 16 * K  # of a store; one page less is refused
BESIDE = 148 * K  # header, generations, and two client slots: docs/format.md
SIZES = [
    *range(SMALLEST, 320 * K, 4 * K),
    *(random.Random(1).randrange(SMALLEST, 4 * M) for _ in range(60)),
    *(M, 2 * M, 4 * M, 6 * M, 10 * M, 33 * M),
]
KINDS = pytest.mark.parametrize("kind", [shmstore.Store, shmstore.Cache])
BACKENDS = pytest.mark.parametrize("backend", ["sysv", "posix"])


def nine_tenths(key, kind, backend, codec="raw", **options):
    """Put and replace the value that must fit, and return how much larger than its size the segment is."""
    with kind(key, backend=backend, codec=codec, max_clients=2, **options) as store:
        size = store.info().size
        value = random.Random(size).randbytes(size * 9 // 10)
        store["a key that is as long as most keys are"] = value
        assert store["a key that is as long as most keys are"] == value
        del store["a key that is as long as most keys are"]
        store["k"] = value
        assert store["k"] == value
        store.check()
        if backend == "posix":
            (path,) = Path("/dev/shm").glob(f"*{key}*")
            over = path.stat().st_size - size
        else:
            over = sysv.shmctl(store.info().id, sysv.IPC_STAT).size - size
    shmstore.destroy(key, backend=backend)
    return over


@KINDS
@BACKENDS
def test_a_store_of_any_size_takes_nine_tenths_of_it(key, kind, backend):
    for size in SIZES:
        over = nine_tenths(key, kind, backend, size=size)
        ghosts = size // 64 + 4 * K if kind is shmstore.Cache else 0
        assert BESIDE <= over <= BESIDE + 3 * 4 * K + ghosts, size


@KINDS
def test_so_does_one_with_many_entries_for_its_size(key, kind):
    for size, entries in ((64 * K, 10), (64 * K, 500), (M, 20_000), (M, 40_000), (8 * M, 1000), (8 * M, 300_000)):
        nine_tenths(key, kind, "sysv", size=size, max_entries=entries)


def test_so_does_one_of_other_codecs(key):
    for size in SIZES[::7]:
        nine_tenths(key, shmstore.Store, "sysv", codec="msgpack", size=size)


@BACKENDS
def test_the_smallest_store(key, backend):
    with pytest.raises(ValueError, match=rf"the smallest store has {SMALLEST} bytes"):
        shmstore.Store(key, size=SMALLEST - 4 * K, backend=backend)


@pytest.mark.parametrize("megabytes", [2, 3, 5, 7, 9, 10, 11, 12])
def test_values_of_some_megabytes_fill_a_store(key, megabytes):
    """What is left over is too small for one more, and in one piece."""
    with shmstore.Store(key, size="128M", codec="raw") as store:
        value = bytes(megabytes * M)
        with pytest.raises(shmstore.StoreFull):
            for number in range(100):
                store[f"{number}"] = value
        stats = store.stats()
        assert stats.bytes_free < megabytes * M + 4 * K and stats.largest_free > 0.99 * stats.bytes_free
        store.check()
        store.destroy()
