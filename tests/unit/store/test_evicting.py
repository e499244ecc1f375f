"""A full cache evicts, in the order of its policy; a store with the same puts is full."""

from __future__ import annotations

import random
import sys
from collections import OrderedDict
from itertools import accumulate, count
from pathlib import Path
from typing import Any

import pytest

import shmstore

sys.path.insert(0, str(Path(__file__).parent))
from segment_words import Memory


@pytest.fixture
def cache(key: Any) -> Any:
    with shmstore.Cache[Any](key, size="1M") as made:
        yield made
        made.check()
        made.destroy()


def requests(count: int, keys: int, exponent: float = 1.0) -> list[int]:
    weights = list(accumulate(n**-exponent for n in range(1, keys + 1)))
    return random.Random(7).choices(range(keys), cum_weights=weights, k=count)


def hits_of_lru(trace: list[int], capacity: int) -> int:
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for key in trace:
        hits += key in cache
        cache[key] = None
        cache.move_to_end(key)
        if len(cache) > capacity:
            cache.popitem(last=False)
    return hits


@pytest.mark.parametrize("length", [1, 60, 700, 5_000, 30_000, 300_000])
def test_a_cache_is_never_full(cache: Any, length: int) -> None:
    puts = max(50, 3_000_000 // (length + 100))
    for number in range(puts):
        cache[f"{number}"] = b"v" * length
        assert cache[f"{number}"] == b"v" * length
    stats = cache.stats()
    assert stats.evictions == puts - len(cache) > 0
    assert len(cache) * (length + 150) > 600_000  # it does not evict more than it must


def test_values_of_mixed_sizes(cache: Any) -> None:
    rng = random.Random(11)
    for number in range(5_000):
        length = int(10 ** rng.uniform(0, 5.3))
        cache[f"{number}"] = b"v" * length
        assert len(cache[f"{number}"]) == length
    cache.check()


def test_a_store_is_full_where_a_cache_is_not(key: Any) -> None:
    with shmstore.Store[Any](key, size="1M") as store:
        with pytest.raises(shmstore.StoreFull):
            for number in range(20_000):
                store[f"{number}"] = b"v" * 60
        with pytest.raises(shmstore.NotACache, match="created as a Store"):
            shmstore.Cache(key)
        store.destroy()


@pytest.mark.parametrize("entries", [1, 2, 7, 100, 3000])
def test_max_entries_is_not_exceeded(key: Any, entries: int) -> None:
    with shmstore.Cache[int](key, size="4M", max_entries=entries) as cache:
        for number in range(4 * entries):
            cache[f"{number}"] = number
            assert cache.stats().entries <= entries
        assert len(cache) == entries
        assert cache.stats().evicted_for_entries == 3 * entries
        cache.check()
        cache.destroy()


def test_a_miscount_is_repaired_after_evictions_by_count(key: Any) -> None:
    with shmstore.Cache[int](key, size="1M", max_entries=50) as cache:
        for n in range(80):
            cache.put(f"name{n}", n)
        assert cache.stats().evicted_for_entries == 30
        memory = Memory(cache)
        memory.set(memory.used(0), memory.word(memory.used(0)) + 3)
        assert cache.stats().entries == 53
        with pytest.raises(shmstore.StoreCorrupt, match="I8"):
            cache.check()
        assert cache.check(repair=True) == 0
        cache.check()
        assert cache.stats().entries == 50
        cache.destroy()


def test_overwriting_evicts_nothing(key: Any) -> None:
    with shmstore.Cache[int](key, size="1M", max_entries=50) as cache:
        for turn in range(4):
            for number in range(50):
                cache[f"{number}"] = turn
        assert len(cache) == 50 and cache.stats().evictions == 0
        cache.destroy()


def test_what_has_expired_goes_first(key: Any) -> None:
    with shmstore.Cache[int](key, size="1M", max_entries=100) as cache:
        for number in range(50):
            cache[f"short:{number}"] = number
            cache[f"long:{number}"] = number
        for number in range(50):
            cache.touch(f"short:{number}", 1e-6)
        for number in range(50):
            cache[f"new:{number}"] = number
        assert all(f"long:{number}" in cache and f"new:{number}" in cache for number in range(50))
        assert cache.stats().evictions == 0
        cache.destroy()


def test_what_is_used_stays_when_much_is_asked_for_once(key: Any) -> None:
    with shmstore.Cache[int](key, size="1M", max_entries=1000) as cache:
        for turn in range(3):
            for number in range(500):
                cache[f"often:{number}"] = turn
        for number in range(20_000):
            cache[f"once:{number}"] = number
            if number % 10 == 0:
                cache.get(f"often:{number // 10 % 500}")
        assert sum(f"often:{number}" in cache for number in range(500)) > 475
        cache.destroy()


@pytest.mark.parametrize("exponent", [0.8, 1.0])
def test_more_hits_than_lru(key: Any, exponent: float) -> None:
    trace = requests(60_000, 10_000, exponent)
    with shmstore.Cache[int](key, size="4M", max_entries=500) as cache:
        hits = 0
        for number in trace:
            if cache.get(f"{number}") is None:
                cache[f"{number}"] = number
            else:
                hits += 1
        assert hits > hits_of_lru(trace, 500)
        assert cache.stats().hits == hits and cache.stats().misses == len(trace) - hits
        cache.destroy()


def test_a_large_newcomer_evicts_at_most_twice_its_weight(cache: Any) -> None:
    number = 0
    while not cache.stats().evictions:
        cache[f"{number}"] = b"v" * 1_000
        number += 1
    for size in (110_000, 200_000, 300_000):
        before = cache.stats().bytes_used
        cache[f"large {size}"] = b"v" * size
        assert cache.stats().bytes_used >= before + size - 2 * size


def test_what_is_viewed_is_not_evicted_for_memory(cache: Any) -> None:
    cache["viewed"] = b"v" * 100_000
    with cache.view("viewed") as view:
        for number in range(3_000):
            cache[f"{number}"] = b"w" * 1_000
        assert bytes(view) == b"v" * 100_000 and "viewed" in cache


def test_only_what_can_never_fit_is_refused(cache: Any) -> None:
    with pytest.raises(shmstore.ValueTooLarge):
        cache["huge"] = b"v" * 2_000_000
    cache["large"] = b"v" * 900_000
    assert len(cache["large"]) == 900_000


def test_numbers_and_conditions(key: Any) -> None:
    with shmstore.Cache[int](key, size="1M", max_entries=10) as cache:
        for number in range(100):
            assert cache.add(f"{number}", number) and cache.incr(f"{number}") == number + 1
            assert cache.incr(f"count {number}") == 1
            assert not cache.cas(f"{number}", 0, 12345) and not cache.replace("absent", 1)
        assert len(cache) == 10
        cache.check()
        cache.destroy()


def test_equality_and_hash(cache: Any) -> None:
    other: Any = shmstore.Cache(cache.info().name)
    with other:
        assert cache == cache and cache != other and len({cache, other, cache}) == 2


def test_a_put_that_fails_leaves_the_old_value(cache: Any) -> None:
    views = []
    for number in range(12):
        cache[f"{number}"] = b"v" * 60_000
        views.append(cache.view(f"{number}"))
    cache["own"] = b"old"
    with pytest.raises(shmstore.ShmStoreError):
        cache["own"] = b"w" * 500_000
    assert cache["own"] == b"old"
    for view in views:
        view.release()
    cache["own"] = b"w" * 500_000


def test_a_value_that_takes_the_place_of_its_own_old_one(cache: Any) -> None:
    for byte in (b"a", b"b", b"c"):
        cache["own"] = byte * 800_000
        assert cache["own"] == byte * 800_000


POLICY = 1280  # docs/format.md: counts, inserted


@pytest.mark.parametrize("part", [0.35, 0.7, 0.85])
def test_an_old_value_in_the_middle_is_in_nobodys_way(cache: Any, part: float) -> None:
    """Every piece of more than half of the memory holds the middle."""
    memory = Memory(cache)
    start, end = memory.header("heap"), memory.header("heap") + memory.header("heap_pages") * 4096
    numbers = count()
    for round in range(8):
        while cache.stats().evictions == 0 or len(cache) < 200:
            cache[f"{next(numbers)}"] = bytes(3000)
        found: dict[str, int] = {}
        for key in cache:
            slots = [at for at in range(memory.home(key) + 8, memory.home(key) + 64, 8) if memory.word(at)]
            if len(slots) == 1:  # it is known whose slot it is
                found[key] = memory.block(key)
        middle = min(found, key=lambda key: abs(found[key] - (start + end) // 2))
        assert abs(found[middle] - (start + end) // 2) < (end - start) // 7
        cache[middle] = value = bytes([round]) * int(part * (end - start))
        assert cache[middle] == value
        cache.delete(middle)


def test_leases_do_not_make_entries_seem_older(key: Any) -> None:
    """Each computation of get_or_set takes a lease, which is an entry of the store's own. The small share counts entries alone."""
    with shmstore.Cache[Any](key, size="1M", max_entries=400) as cache:
        for number in range(1_000):
            cache.get_or_set(f"{number}", lambda number=number: number)
        words = Memory(cache)
        inserted = words.word(POLICY + 8)
        assert inserted <= 1_000
        locks = [cache.lock(f"lock:{number}", timeout=0) for number in range(100)]
        assert all(lock.acquire() for lock in locks)
        entries, small = words.word(POLICY) >> 32, words.word(POLICY) & 0xFFFFFFFF
        assert small + len(locks) <= entries <= 400
        for lock in locks:
            lock.release()
        assert words.word(POLICY + 8) == inserted
        cache.check()
        cache.destroy()
