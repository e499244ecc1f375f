"""A store that is kept full to some share while values come and go: which puts are refused, and what a put takes.

Run as a script, so that another interpreter, with another version of shmstore, can do the same: its output is one line of
JSON. It imports nothing of this package.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from typing import Any

import shmstore


def block_of(length: int) -> int:
    """The size of the block of an entry: docs/format.md, size classes."""
    need = 40 + 12 + 5 + length + (63 if length >= 4096 else 0)
    if need > 8192:
        return (need + 4095) // 4096 * 4096
    step = 16 if need <= 256 else 1 << (need - 1).bit_length() - 4
    return max((need + step - 1) // step * step, 48)


def churn(low: int, high: int, fill: float, puts: int, size: int, compact_every: int, seed: int) -> dict[str, Any]:
    """Sizes are spread evenly over their logarithm if they differ by more than ten times. What is deleted is chosen at random."""
    rng = random.Random(seed)
    spread = high > 10 * low
    body = bytes(high)
    store: Any = shmstore.Store(shmstore.PRIVATE, size=size, max_entries=size // 1000)
    stats = store.stats()
    heap = stats.bytes_used + stats.bytes_free
    sizes: dict[str, int] = {}
    names: list[str] = []
    took: list[int] = []
    used = number = refused = 0
    full = stuck = False  # stuck: refused before it was as full as it should be
    while len(took) < puts:
        length = int(math.exp(rng.uniform(math.log(low), math.log(high)))) if spread else rng.randint(low, high)
        while used + block_of(length) > fill * heap or (stuck and names):
            full, stuck = True, False
            at = rng.randrange(len(names))
            names[at], name = names[-1], names[at]
            names.pop()
            used -= sizes.pop(name)
            del store[name]
        if full and compact_every and len(took) % compact_every == 0:
            store.compact()
        number += 1
        name, value = f"key:{number}", body[:length]
        begin = time.perf_counter_ns()
        try:
            store.put(name, value)
            stored = True
        except shmstore.StoreFull:
            stored = False
        end = time.perf_counter_ns()
        if full:
            took.append(end - begin)
            refused += not stored
        stuck = not full and not stored
        if stored:
            names.append(name)
            sizes[name] = block_of(length)
            used += sizes[name]
    store.check()
    stats = store.stats()
    found = {"refused": refused, "took": took, "moves": getattr(stats, "moves", 0),
             "largest_free": stats.largest_free, "bytes_free": stats.bytes_free}  # fmt: skip
    store.close()
    return found


if __name__ == "__main__":
    print(json.dumps(churn(**json.loads(sys.argv[1]))))
