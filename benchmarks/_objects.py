"""The data that all contestants are given: small objects, counters, and bytes of three sizes.

Names come in random order, and so they are stored: a tree filled in the order of its keys would be packed more
densely, and names used in that order would be neighbours.
"""

from __future__ import annotations

import random
from typing import Any

SMALL = 10_000  # objects; with their keys they are larger than most second-level caches
TOGETHER = 100  # names in a get_many or put_many
SIZES = {"1k": (1_000, 10_000), "100k": (100_000, 100), "10m": (10_000_000, 3)}  # bytes, how many


def small_objects() -> dict[str, dict[str, Any]]:
    """Distinct dicts of five fields, each 58 bytes in msgpack, under names of ten."""
    return {f"user:{i:05d}": small_object(i) for i in _shuffled(SMALL)}


def small_object(i: int) -> dict[str, Any]:
    return {"id": 10_000 + i, "name": f"user-{i:05d}", "score": i / 7, "active": i % 2 == 0, "group": "staff"}


def absent_names() -> list[str]:
    """Each would stand beside a name that is there."""
    return [f"user:{i:05d}?" for i in _shuffled(SMALL)]


def counters() -> dict[str, int]:
    """Each starts at another number, so they take one to three bytes."""
    return {f"hits:{i:05d}": i for i in _shuffled(SMALL)}


def _shuffled(count: int) -> list[int]:
    return random.Random(count).sample(range(count), count)


def blobs(size: str) -> dict[str, bytes]:
    """Distinct bytes, each ending in its own number."""
    length, count = SIZES[size]
    body = random.Random(length).randbytes(length - 8)
    return {f"blob:{i:05d}": body + i.to_bytes(8, "big") for i in range(count)}
