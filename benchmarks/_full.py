"""A store that is nearly full and in fragments, beside one with room: the same puts into both."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack

import shmstore
from benchmarks._measure import Contestant
from benchmarks._shmstore import Ours

FULL = 0.95
SIZES = range(16, 2_001)  # bytes; a dozen size classes of the heap
MOST_REFUSED = 1_000  # then it is as full as it gets
CHURN = 2  # how often everything is replaced before it is measured


class Full:
    def __init__(self, stack: ExitStack, megabytes: int, rng: random.Random) -> None:
        self.refused = 0
        self._body = rng.randbytes(SIZES.stop)
        self.ours = Ours(stack, {}, size=f"{megabytes}M", codec="raw")
        self.roomy = Ours(stack, {}, size=f"{4 * megabytes}M", codec="raw")
        self.names: list[str] = []
        while self.used() < FULL and self.refused < MOST_REFUSED:
            for number in range(len(self.names), len(self.names) + 100):
                self.names.append(f"entry:{number}")
                self._put_both(self.names[-1], self._value(rng))
        for name in rng.choices(self.names, k=CHURN * len(self.names)):
            self._put_both(name, self._value(rng))
        self.arguments = [(name, self._value(rng)) for name in rng.choices(self.names, k=20_000)]
        self.refused = 0

    def used(self) -> float:
        """As a share of what can be used."""
        stats = self.ours.store.stats()
        return stats.bytes_used / (stats.bytes_used + stats.bytes_free)

    def contestants(self) -> list[Contestant]:
        return [Contestant("full", self._put, self.arguments), Contestant("roomy", self.roomy.put, self.arguments)]

    def _value(self, rng: random.Random) -> bytes:
        return self._body[: rng.choice(SIZES)]

    def _put_both(self, name: str, value: bytes) -> None:
        self._put([(name, value)])
        self.roomy.store.put(name, value)

    def _put(self, pairs: Sequence[tuple[str, bytes]]) -> None:
        put = self.ours.store.put
        for name, value in pairs:
            try:
                put(name, value)
            except shmstore.StoreFull:
                self.refused += 1
