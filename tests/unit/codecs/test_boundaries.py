"""Everything that can be put can be read: each type at each size where a header, a buffer or a way through changes.

Quick: around the sizes at which msgpack or this package changes something, counted in bytes of the value, of its
payload, and of all that is stored. Slow: every size within 70 bytes of every power of two up to 2**22. From 2**17 on
each size is read in a third of the ways, in turn; in the environment SHMSTORE_BOUNDARIES=all asks for all of them (half
an hour of one core).
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from boundary_values import KINDS, Reader, same

import shmstore

pytest.importorskip("msgspec")

NEAR = 4
FAR = 70
# fixstr, fixarray and fixmap; 8 and 16 bits of length; the buffers of csrc/pack.h and call.h; pickle's and ours
BOUNDARIES = (16, 32, 256, 2048, 16 << 10, 64 << 10)
POWERS = range(23)
LARGE = 1 << 17
EVERY_WAY = os.environ.get("SHMSTORE_BOUNDARIES") == "all"
WITHOUT_GIL = 8 << 20  # csrc/call.h: from here on a copy lets other threads run


@pytest.fixture
def reader(key):
    made = []

    def reader(codec="msgpack", size="64M"):
        made.append(Reader(key, size, codec))
        return made[0]

    yield reader
    for one in made:
        try:
            one.store.check()
        except shmstore.StoreDestroyed:
            pass
        one.close()


def stored(store):
    """Return how many bytes the entry takes as it is stored."""
    return len(store._get_versioned("k")[2])


def check(reader, kind, size, every=1):
    """Put a value of this size and read it in every way, or every third; return how many there were."""
    value = KINDS[kind](size)
    reader.store["k"] = value
    if reader.store._codec.name == "pickle" and kind == "numpy strided":  # pickle makes a writable copy of it
        value = pickle.loads(pickle.dumps(value, protocol=5))
    count = 0
    for at, (way, read) in enumerate(reader.ways(value)):
        if (at + size) % every == 0 or way == "pop":
            assert same(read(), value), (kind, size, way)
            count += 1
    assert "k" not in reader.store
    return count


def sizes_around(store, kind, boundary):
    """Sizes at which the value, all that is stored of it, or a payload behind its header is about as many bytes."""
    centres = {boundary}
    for size in (max(0, boundary - FAR), boundary):  # below it and from it on there may be other headers and paddings
        store["k"] = KINDS[kind](size)
        others = max(0, stored(store) - size)
        centres |= {boundary - others + header for header in (0, 2, 3, 4, 6) if header <= others}
    return sorted({c + d for c in centres for d in range(-NEAR, NEAR + 1) if c + d >= 0})


@pytest.mark.parametrize("kind", KINDS)
def test_around_the_boundaries(reader, kind):
    one, count = reader(), 0
    for boundary in BOUNDARIES:
        for size in sizes_around(one.store, kind, boundary):
            count += check(one, kind, size)
    print(f"{count} reads")


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "numpy", "list of one"])
def test_around_the_size_from_which_the_gil_is_released(reader, kind):
    one = reader()
    for size in sizes_around(one.store, kind, WITHOUT_GIL)[::3]:
        check(one, kind, size)


GIBIBYTES = [2**31 - 6, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 6, 2**32 - 1]


@pytest.mark.slow
@pytest.mark.parametrize("size", GIBIBYTES)
@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview", "numpy"])
def test_around_two_and_four_gibibytes(reader, kind, size):
    """msgpack holds at most 2**32 - 1 bytes in one piece: what is said to be larger is in test_too_large."""
    free = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemAvailable"))
    if free < 14 << 20:
        pytest.skip(f"needs 14 GiB of memory, and {free >> 20} are free")
    one = reader(size="11G")
    if kind in ("memoryview", "numpy") and size > 2**31 + FAR:
        size -= FAR  # for what stands before the elements
    print(f"{check(one, kind, size, 5)} reads")
    one.store.destroy()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_size_near_a_power_of_two(reader, kind):
    one, count = reader(), 0
    sizes = {2**k + d for k in POWERS for d in range(-FAR, FAR + 1) if 2**k + d >= 0}
    for size in sorted(sizes):
        count += check(one, kind, size, 1 if size < LARGE or EVERY_WAY else 3)
    print(f"{len(sizes)} sizes, {count} reads")


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["msgspec", "pickle", "raw"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_size_near_a_power_of_two_by_other_codecs(reader, kind, codec):
    if codec == "raw" and kind != "bytes":
        pytest.skip("raw stores bytes and nothing else")
    if codec == "pickle" and ("memoryview" in kind or kind == "buffers in a list"):
        pytest.skip("a memoryview does not pickle")
    one, count = reader(codec), 0
    for power in POWERS:
        for distance in range(-FAR, FAR + 1, 1 if 2**power < LARGE else 7):
            if 2**power + distance >= 0:
                count += check(one, kind, 2**power + distance, 1 if 2**power < LARGE else 3)
    print(f"{count} reads")
