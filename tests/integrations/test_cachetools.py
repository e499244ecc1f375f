"""A cache is the mapping that the decorators of cachetools want."""

from __future__ import annotations

import operator
from typing import Any

import pytest

import shmstore

cachetools = pytest.importorskip("cachetools", reason="cachetools is not installed: pip install '.[integrations]'")


def test_functions_share_results(key: str) -> None:
    computed = []

    def power(base: int, exponent: int = 2) -> int:
        computed.append(base)
        return int(base**exponent)

    first, second = shmstore.Cache[int](key, size="1M"), shmstore.Cache[int](key)
    cached = [cachetools.cached(cache, key=shmstore.key)(power) for cache in (first, second)]
    assert [function(3, exponent=3) for function in cached] == [27, 27] and computed == [3]
    assert [function(4) for function in cached] == [16, 16] and computed == [3, 4]
    cached[0].cache_clear()
    assert len(second) == 0 and cached[1](4) == 16 and computed == [3, 4, 4]


def test_methods_and_prefixes(key: str) -> None:
    class Shop:
        def __init__(self, number: int) -> None:
            self.number, self.computed = number, 0
            self.cache = shmstore.Cache[Any](key, size="1M")

        @cachetools.cachedmethod(operator.attrgetter("cache"), key=lambda self, item: shmstore.key(self.number, item))
        def price(self, item: str) -> int:
            self.computed += 1
            return self.number * len(item)

    one, again, two = Shop(1), Shop(1), Shop(2)
    assert [one.price("tea"), again.price("tea"), two.price("tea"), one.price("tea")] == [3, 3, 6, 3]
    assert [one.computed, again.computed, two.computed] == [1, 0, 1]
