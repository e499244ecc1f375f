"""Sequences of keys: traces from files, and one made up after Zipf's law."""

from __future__ import annotations

import lzma
import random
import struct
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

__all__ = ["read", "zipf"]


def read(path: Path, most: int) -> list[int]:
    """The first keys of a trace: a file of 32-bit integers, *.xz compressed. Keys are numbered from 0 or so on, so the byte
    order is the one in which the largest of them is smaller."""
    body = lzma.open(path).read(4 * most) if path.suffix == ".xz" else path.read_bytes()[: 4 * most]
    count = len(body) // 4
    orders = [struct.unpack_from(f"{order}{count}I", body) for order in "<>"]
    return list(min(orders, key=lambda keys: sorted(keys)[count // 2]))


def zipf(requests: int, keys: int, exponent: float, rng: random.Random) -> Sequence[int]:
    """Keys of which the n-th is asked for in proportion to n ** -exponent."""
    weights = list(accumulate(n**-exponent for n in range(1, keys + 1)))
    return rng.choices(range(keys), cum_weights=weights, k=requests)
