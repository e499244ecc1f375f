"""What a full cache does: it takes every value that fits, keeps what is useful, and never raises StoreFull."""

import itertools
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import OrderedDict

import pytest

import shmstore
from shmstore import Cache, Store

K, M = 1 << 10, 1 << 20


@pytest.fixture
def create(key):
    """Open handles of the test's cache; it is checked at the end."""
    opened = []

    def create(**options):
        opened.append(Cache(key, **{"size": "1M", **options}))
        return opened[-1]

    yield create
    if opened:
        assert opened[0].check() == 0
    for cache in opened:
        cache.close()


def capacity(cache):
    stats = cache.stats()
    return stats.bytes_used + stats.bytes_free


# ---- room


@pytest.mark.parametrize("size", [0, 1, 100, 3000, 4097, 9000, 70_000, 300_000, 500_000, 0.9 * M], ids=int)
@pytest.mark.parametrize("backend", ["sysv", "posix"], indirect=True)
def test_a_value_of_any_size_finds_room(create, size):
    cache, size = create(codec="raw"), int(size)
    for n in range(max(40, 3 * M // (size + 100))):
        cache.put(f"k{n}", bytes(size))
        assert len(cache[f"k{n}"]) == size
    stats = cache.stats()
    assert stats.evictions == stats.evicted_for_memory + stats.evicted_for_entries > 0
    slots = 7 * cache.info().size // 128 // 8
    assert stats.entries >= (min(slots, capacity(cache) // (size + 64) // 2) if size < 300_000 else 1)


@pytest.mark.parametrize("seed", range(3))
def test_values_of_mixed_sizes_find_room(create, seed):
    """Also after the sizes have shifted."""
    rng, cache, kept = random.Random(seed), create(), {}
    for n in range(12_000):
        largest = 300 if n < 4000 else 50_000 if n < 8000 else 900_000 if n % 50 == 0 else 2000
        key, value = f"k{rng.randrange(2000)}", bytes([n % 256]) * rng.randrange(largest)
        cache[key] = kept[key] = value
        assert cache[key] == value
    for key, value in cache.items():
        assert value == kept[key]
    assert 0 < len(cache) <= 2000


def test_only_a_value_that_does_not_fit_into_the_empty_cache_is_refused(create):
    cache = create()
    cache["k"] = 1
    for size in (M, M + 1, 5 * M):
        with pytest.raises(shmstore.ValueTooLarge, match="'k'"):
            cache["k"] = bytes(size)
        assert cache["k"] == 1
    stored = cache.put_many({"a": 1, "b": bytes(2 * M), "c": 3}, on_error="skip")
    assert stored == 2 and isinstance(stored.failed["b"], shmstore.ValueTooLarge) and cache["c"] == 3
    assert cache.stats().evictions == 0


@pytest.mark.parametrize("part", [0.12, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("filled", [(50, 51), (3000, 3001), (20, 9000)])
def test_a_large_newcomer_evicts_little_more_than_its_weight(create, part, filled):
    cache, rng = create(codec="raw", size="4M"), random.Random(5)
    for n in itertools.count():
        cache[f"k{n}"] = bytes(rng.randrange(*filled))
        if cache.stats().evictions > 100:
            break
    for round in range(3):
        before = cache.stats()
        size = int(part * 4 * M)
        cache[f"large{round}"] = bytes(size)
        after = cache.stats()
        weight = size + 4096  # of its block, in whole pages
        replaced = 0 if round == 0 or part < 0.5 else weight  # its predecessor, which had to go
        assert before.bytes_used + weight - after.bytes_used <= 2 * weight + replaced
        assert len(cache[f"large{round}"]) == size
        for more in range(n // 10):
            cache[f"m{round}.{more}"] = bytes(rng.randrange(*filled))


def test_what_is_read_in_place_stays(create, key):
    """By this process and by another one. All else is evicted around it."""
    cache = create()
    values = {f"v{n}": bytes([n]) * 30_000 for n in range(12)}
    cache.update(values)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        views = [cache.view(f"v{n}") for n in range(6)]
        os.write(writer, b"x")
        signal.pause()
        os._exit(len(views))
    assert os.read(reader, 1) == b"x"
    views = {f"v{n}": cache.view(f"v{n}") for n in range(6, 12)}
    for n in range(5000):
        cache[f"k{n}"] = bytes(n % 7000)
        if n % 500 == 0:
            cache["large"] = bytes(200_000)
    for name, view in views.items():
        assert bytes(view) == values[name]
        view.release()
    assert all(cache[name] == value for name, value in values.items() if name in cache)
    assert cache.check() == 0
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    cache["large"] = bytes(int(0.9 * M))


def test_counters_and_batches_in_a_full_cache(create):
    cache = create(max_entries=500)
    for n in range(3000):
        assert cache.incr(f"n{n}", 2, initial=1) == 3
        cache.incr("hot")
        assert cache.put_many({f"a{n}": n, f"b{n}": [n]}) == 2
        assert cache.setdefault(f"s{n}", n) == n
        assert cache.modify(f"m{n}", lambda value: value + 1, n) == n + 1
        assert cache.add(f"d{n}", n)
    assert cache["hot"] > 1000  # what is used all the time stays
    assert cache.put_many({f"k{n}": bytes(900) for n in range(20_000)}) == 20_000
    assert cache.add_many([(f"l{n}", bytes(900)) for n in range(20_000)]) == 20_000
    assert 0 < len(cache) <= 501


def test_a_cache_that_is_full_of_views(create):
    """Nothing can be evicted, so the value is too large for now. Small values still find room."""
    cache, views = create(codec="raw"), []
    with pytest.raises(shmstore.ValueTooLarge, match="read in place"):
        for n in range(200):
            cache[f"v{n}"] = bytes(60_000)
            views.append(cache.view(f"v{n}"))
    assert len(views) > 5
    with pytest.raises(shmstore.ValueTooLarge, match="'k'"):
        cache["k"] = bytes(500_000)
    assert cache.check() == 0
    for n in range(1000):
        cache[f"s{n}"] = bytes(10)
    for view in views:
        assert bytes(view) == bytes(60_000)
        view.release()
    cache["k"] = bytes(500_000)


# ---- the number of entries


def test_max_entries(create):
    cache = create(max_entries=100)
    for n in range(2000):
        cache[f"k{n}"] = n
        assert len(cache) == cache.stats().entries == min(n + 1, 100)
    stats = cache.stats()
    assert stats.evicted_for_entries == stats.evictions == 1900 and stats.evicted_for_memory == 0
    cache["k1999"] = 2  # replaces one
    assert cache.stats().evictions == 1900


@pytest.mark.parametrize("most", [1, 2, 10])
def test_few_entries(create, most):
    cache = create(max_entries=most)
    for n in range(200):
        cache[f"k{n}"] = n
        assert cache[f"k{n}"] == n and len(cache) <= most


def write_many(key, number, count):
    with Cache(key) as cache:
        largest = 0
        for n in range(count):
            cache[f"{number}:{n}"] = n
            largest = max(largest, cache.stats().entries)
    return largest


def test_processes_exceed_max_entries_by_one_each(create, key):
    cache = create(max_entries=300)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        largest = pool.starmap(write_many, [(key, number, 3000) for number in range(4)])
    assert max(largest) <= 300 + 4 and len(cache) <= 300 + 4
    for n in range(10):
        cache[f"k{n}"] = n
    assert len(cache) <= 301


def test_threads_exceed_max_entries_by_one_each(create):
    cache, largest = create(max_entries=300), []

    def write(number):
        for n in range(2000):
            cache[f"{number}:{n}"] = n
            largest.append(cache.stats().entries)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(largest) == 8000 and max(largest) <= 300 + 4


# ---- what goes first


def expired(cache, prefix):
    for name in list(cache.keys(prefix)):
        assert cache.touch(name, 0.001)
    time.sleep(0.02)


def test_expired_entries_go_before_others_when_entries_are_counted(create):
    cache = create(max_entries=200)
    cache.put_many({f"old{n}": n for n in range(100)}, ttl=1000)
    cache.put_many({f"k{n}": n for n in range(100)})
    expired(cache, "old")
    for n in range(100):
        cache[f"new{n}"] = n
        assert cache.stats().evictions == 0
    assert all(f"k{n}" in cache and f"new{n}" in cache for n in range(100))
    cache["more"] = 1
    assert cache.stats().evictions == 1


def test_expired_entries_go_before_others_when_memory_is_needed(create):
    cache = create(codec="raw")
    value = bytes(3000)
    count = capacity(cache) // 3600
    cache.put_many({f"old{n}": value for n in range(count // 2)}, ttl=1000)
    cache.put_many({f"k{n}": value for n in range(count // 2)})
    assert cache.stats().evictions == 0
    expired(cache, "old")
    cache.put_many({f"new{n}": value for n in range(count // 2)})
    assert cache.stats().evictions == 0 and len(cache) == count // 2 * 2


def test_what_is_used_stays_when_much_is_used_once(create):
    """A scan over many keys does not push out what is asked for often."""
    cache = create(max_entries=1000)
    for n in range(300):
        cache[f"hot{n}"] = n
    for n in range(20_000):
        cache.get(f"hot{n % 300}")
        cache[f"scan{n}"] = n
    assert sum(f"hot{n}" in cache for n in range(300)) > 290


def test_a_read_only_get_does_not_count_as_a_use(create, key):
    """A handle with readonly=True writes nothing. Its hits are in its own figures only."""
    cache = create(max_entries=100)
    cache["k"] = 1
    with Cache(key, readonly=True) as reader:
        for _ in range(5):
            assert reader["k"] == 1 and reader.get("absent") is None
        assert cache.describe("k").frequency == 0 and cache.stats().hits == 0
        assert reader.stats().hits == 5 and reader.stats().misses == 5 and reader.stats().hit_ratio == 0.5
    assert cache.stats().hit_ratio is None
    for frequency in (1, 2, 3, 3):
        assert cache["k"] == 1
        assert cache.describe("k").frequency == frequency


def test_a_store_has_no_frequency(make):
    store = make()
    store["k"] = 1
    assert store["k"] == 1 and store.describe("k").frequency is None and store.stats().evictions == 0


def test_a_store_that_attaches_to_a_cache_evicts(create, key):
    create(max_entries=100)
    with Store(key) as store:
        for n in range(1000):
            store[f"k{n}"] = n
        assert len(store) == 100


# ---- hit ratios


def zipf(seed, keys, count, skew=0.9):
    weights = list(itertools.accumulate(1 / rank**skew for rank in range(1, keys + 1)))
    return random.Random(seed).choices(range(keys), cum_weights=weights, k=count)


def lru(trace, capacity):
    hits, kept = 0, OrderedDict()
    for key in trace:
        if key in kept:
            hits += 1
            kept.move_to_end(key)
        else:
            kept[key] = None
            if len(kept) > capacity:
                kept.popitem(last=False)
    return hits / len(trace)


def ask(cache, trace):
    for key in trace:
        if cache.get(f"page:{key}") is None:
            cache[f"page:{key}"] = key


@pytest.mark.parametrize("seed, entries", [(1, 100), (2, 500), (3, 2000)])
def test_hit_ratio_of_one_process(create, seed, entries):
    cache, trace = create(size="8M", max_entries=entries), zipf(seed, 10_000, 60_000)
    ask(cache, trace)
    stats = cache.stats()
    assert stats.hits + stats.misses == len(trace)
    assert stats.hit_ratio >= lru(trace, entries) - 0.002


def share(key, trace, number):
    with Cache(key) as cache:
        ask(cache, trace[number::4])


def test_hit_ratio_of_four_processes(create, key):
    cache, trace = create(size="8M", max_entries=500), zipf(4, 10_000, 60_000)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.starmap(share, [(key, trace, number) for number in range(4)])
    stats = cache.stats()
    assert stats.hits + stats.misses == len(trace)
    assert stats.hit_ratio >= lru(trace, 500) - 0.01


@pytest.mark.parametrize("keys, size", [(1000, "1M"), (4000, "1M")])
def test_pages_of_a_web_site(create, keys, size):
    """A thousand keys of four kilobytes in a megabyte: no error, and what is asked for again is there as far as there is room."""
    cache, found = create(size=size), 0
    for n in range(20_000):
        key = f"page:{n * 7919 % keys}"
        if cache.get(key) is None:
            cache[key] = "x" * 4000
        else:
            found += 1
    assert len(cache) > 150
    trace = zipf(7, keys, 10_000)
    cache.clear()
    before = cache.stats()
    for key in trace:
        if cache.get(f"page:{key}") is None:
            cache[f"page:{key}"] = "x" * 4000
    after = cache.stats()
    hits, misses = after.hits - before.hits, after.misses - before.misses
    assert hits / (hits + misses) >= lru(trace, len(cache)) - 0.03
