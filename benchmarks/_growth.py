"""Stores of ever more entries: what an operation costs in each, beside a dict of as many."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import shmstore
from benchmarks._floor import Dict
from benchmarks._measure import Contestant
from benchmarks._objects import small_object
from benchmarks._shmstore import Ours

DRAWN = 50_000  # keys to draw from; with replacement, so as many from a small store as from a large one
CHUNK = 1_000
BYTES = 180  # per entry: more than it takes, so that no store is full
LEAST = (
    1_025  # entries from which on a store has slots to spare, a quarter more; a smaller table may be full to the last
)


class Grown:
    """A store and a dict of *entries* small objects each."""

    def __init__(self, stack: ExitStack, entries: int, rng: random.Random) -> None:
        self.entries = entries
        self.ours = Ours(stack, {}, size=f"{(entries * BYTES >> 20) + 8}M", max_entries=max(entries, LEAST))
        self.floor = Dict({}, {})
        for at in range(0, entries, CHUNK):
            part = {f"user:{i:08d}": small_object(i) for i in range(at, min(at + CHUNK, entries))}
            self.ours.store.put_many(part)
            self.floor.put(list(part.items()))
        numbers = rng.choices(range(entries), k=DRAWN)
        self._names = [f"user:{i:08d}" for i in numbers]
        self._pairs = [(f"user:{i:08d}", small_object(i)) for i in numbers]

    def contestants(self, operation: str) -> list[Contestant]:
        arguments: Sequence[Any] = self._pairs if operation == "put" else self._names
        return [Contestant(f"{each.name} {self.entries:,}", getattr(each, operation), arguments)
                for each in (self.ours, self.floor)]  # fmt: skip

    def administration(self, operation: str) -> list[Contestant]:
        """ "open and close" or "stats"."""
        run = self._open if operation == "open and close" else self._stats
        return [Contestant(f"shmstore {self.entries:,}", run, [None] * 100)]

    def _open(self, times: Sequence[None]) -> None:
        for _ in times:
            shmstore.Store[Any](self.ours.key, create=False).close()

    def _stats(self, times: Sequence[None]) -> None:
        stats = self.ours.store.stats
        for _ in times:
            stats()
