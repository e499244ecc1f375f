"""Full stores: what fits is what was promised, a refused put changes nothing, and what is freed comes back whole."""

import os
import random
import re
import signal
import time

import pytest

import shmstore
from shmstore import Store, sysv

K, M, G = 1 << 10, 1 << 20, 1 << 30


@pytest.fixture
def create(key):
    """Create the test's store, with the codec that adds no byte of its own."""
    opened = []

    def create(**options):
        store = Store(key, create=True, codec="raw", **options)
        opened.append(store)
        return store

    yield create
    for store in opened:
        store.close()


def fill(store, value=b"", ttl=None, prefix="k"):
    """Put one entry after the other until the store is full; return how many there are and what it said."""
    for count in range(1 << 30):
        name = f"{prefix}{count}"
        try:
            store.put(name, value, ttl=ttl)
        except shmstore.StoreFull as error:
            assert name not in store
            return count, error
    raise AssertionError("never full")


def expire(store, prefix=""):
    """End the time of all with this prefix, with no write afterwards that would sweep them."""
    for name in list(store.keys(prefix)):
        assert store.touch(name, 0.001)
    time.sleep(0.01)


# ---- what an empty store takes ----


@pytest.mark.parametrize("size", [64 * K, 256 * K, M, 64 * M, 300 * M, G])
def test_an_empty_store_takes_an_object_of_two_fifths_of_its_size(create, size):
    store = create(size=size)
    length = -(-size * 2 // 5)
    assert store.stats().largest_free >= length
    value = random.Random(size).randbytes(length) if size < M else bytes(length)
    for _ in range(2):  # an empty store is one that was emptied, too
        store["large"] = value
        store.check()
        if size < 300 * M:
            assert store["large"] == value
        store.delete("large")
    assert store.stats().bytes_used == 0


@pytest.mark.sysv
def test_a_store_costs_what_is_in_it(create):
    """The largest object of a sparse store of a gigabyte, put and gone: its pages are given back."""
    store = create(size=G)
    id = store.info().id

    def resident():
        with open("/proc/sysvipc/shm") as table:
            columns = next(table).split()
            row = next(line.split() for line in table if int(line.split()[1]) == id)
        return int(row[columns.index("rss")])

    assert resident() < M
    store["large"] = bytes(100 * M)
    assert 100 * M <= resident() < 102 * M
    assert store.delete("large")
    assert resident() < 32 * M
    assert store.stats().largest_free >= G * 2 // 5
    store["large"] = bytes(100 * M)
    store.check()


@pytest.mark.parametrize("size", [64 * K, M])
def test_a_value_either_fits_or_is_refused_at_once(create, size):
    """From the length that just fits to the one that never will: no third answer, and each time the same one."""
    store = create(size=size)
    heap = store.stats().bytes_free
    fits, refused = 0, heap + 1
    while refused - fits > 1:
        length = (fits + refused) // 2
        try:
            store["k"] = bytes(length)
        except shmstore.ValueTooLarge as error:
            refused = length
            assert f"{length} bytes needed" in str(error) and f"({heap} bytes of heap)" in str(error)
            assert "k" not in store and store.stats().bytes_used == 0
        else:
            fits = length
            assert store.delete("k")
    assert heap - 256 < fits < heap
    store["k"] = b"old"
    with pytest.raises(shmstore.ValueTooLarge):
        store["k"] = bytes(refused)
    with pytest.raises(shmstore.StoreFull) as caught:
        store["k"] = bytes(fits)  # would fit if the old one were not there
    assert type(caught.value) is shmstore.StoreFull
    assert store["k"] == b"old"
    store.check()


@pytest.mark.parametrize("entries, size", [(10, 64 * K), (1000, M), (1024, M), (1025, M), (5000, 2 * M)])
def test_at_least_max_entries_fit(create, entries, size):
    store = create(size=size, max_entries=entries)
    for i in range(entries):
        store[f"name {i}"] = b""
    assert len(store) == entries
    count, error = fill(store)
    assert "max_entries" in str(error) and f"{entries + count} entries" in str(error)
    assert all(f"name {i}" in store for i in range(entries))
    store.check()


def test_max_entries_hold_in_a_store_that_is_never_empty(create):
    """Names come and go in a full table for long: there is room for as many as were promised, always."""
    entries = 2000
    store = create(size=M, max_entries=entries)
    rng = random.Random(3)
    there = []
    for i in range(entries):
        there.append(f"n{i}")
        store[there[-1]] = b""
    for i in range(20_000):
        at = rng.randrange(entries)
        store.delete(there[at])
        there[at] = f"m{i}"
        store[there[at]] = b""
    assert set(store) == set(there)
    store.check()


@pytest.mark.parametrize("size", [1, 4096])
def test_too_small_for_any_store(key, size):
    with pytest.raises(ValueError) as caught:
        Store(key, size=size)
    assert repr(key) in str(caught.value) and f"size={size}" in str(caught.value)
    smallest = re.search(r"the smallest store has (\d+) bytes", str(caught.value)).group(1)
    with pytest.raises(shmstore.StoreNotFound):
        Store(key, create=False)
    with Store(key, size=smallest) as store:
        store["k"] = bytes(1000)
        store.destroy()


@pytest.mark.parametrize("entries, size", [(3000, 64 * K), (5_000_000, 64 * M)])
def test_too_small_for_so_many_entries(key, entries, size):
    with pytest.raises(ValueError) as caught:
        Store(key, size=size, max_entries=entries)
    assert f"table for {entries} entries" in str(caught.value)
    smallest = re.search(r"at least (\d+) bytes", str(caught.value)).group(1)
    with Store(key, size=smallest, max_entries=entries) as store:
        store.destroy()


# ---- a refused put changes nothing ----


@pytest.mark.parametrize("length", [100, 5000, 30_000])
def test_a_refused_put_changes_nothing(create, length):
    store = create(size=256 * K)
    count, error = fill(store, bytes(length))
    assert count > 5
    before = {name: store.get_versioned(name) for name in store}
    used = store.stats().bytes_used
    for write in (
        lambda name: store.put(name, bytes(60_000)), lambda name: store.replace(name, bytes(60_000)),
        lambda name: store.modify(name, lambda value: bytes(60_000)),
        lambda name: store.cas(name, bytes(60_000), before[name][1]),
        lambda name: store.put_many({name: bytes(60_000)}),
        lambda name: store.update({name: bytes(60_000)}), lambda name: store.put("new", bytes(60_000)),
        lambda name: store.add("new", bytes(60_000)), lambda name: store.setdefault("new", bytes(60_000)),
    ):  # fmt: skip
        for name in list(before)[:: max(1, count // 5)]:
            with pytest.raises(shmstore.StoreFull):
                write(name)
    assert {name: store.get_versioned(name) for name in store} == before
    assert store.stats().bytes_used == used
    store.check()


def test_the_message_of_store_full(create, key):
    store = create(size=M)
    _, error = fill(store, bytes(3000))
    stats = store.stats()
    for part in (
        repr(key), "3000 bytes needed", f"{stats.bytes_free} bytes free", f"the largest free block {stats.largest_free}",
        "nothing was changed", "ttl", "larger size",
    ):  # fmt: skip
        assert part in str(error)
    assert stats.largest_free <= stats.bytes_free < 3000 + 128 + 4096  # what is free lies in spans, and after the last
    assert store.delete("k0")  # room for one block; a small value takes it, if there is no page for its class
    with pytest.raises(MemoryError, match="1 of 3 items were stored before"):
        store.put_many({"k1": b"1", "k2": bytes(100_000), "k3": b"3"})
    assert (store["k1"], store["k2"], store["k3"]) == (b"1", bytes(3000), bytes(3000))


# ---- what is freed comes back ----


@pytest.mark.parametrize("length", [0, 17, 1000, 4096, 70_000])
def test_a_store_is_as_new_after_it_was_filled_and_emptied(create, length):
    store = create(size=M)
    new = store.stats()
    counts = []
    for forwards in (True, False, None):
        count, error = fill(store, bytes(length))
        counts.append(count)
        assert len(store) == count
        names = [f"k{i}" for i in range(count)]
        if forwards is None:
            random.Random(length).shuffle(names)
        for name in names if forwards else reversed(names):
            assert store.delete(name)
        stats = store.stats()
        assert (stats.bytes_used, stats.bytes_free, stats.entries) == (0, new.bytes_free, 0)
        assert stats.largest_free == new.largest_free
        store.check()
    assert len(set(counts)) == 1 or length == 0  # with length 0 the table is full before the heap
    assert min(counts) > 0.9 * max(counts)


@pytest.mark.parametrize("size", [256 * K, 4 * M])
def test_a_store_is_as_new_after_any_churn(create, size):
    store = create(size=size)
    new = store.stats()
    rng = random.Random(size)
    model, full = {}, 0
    lengths = [0, 1, 30, 200, 1000, 4095, 4096, 5000, size // 50, size // 10]
    for i in range(8000):
        name = f"name-{rng.randrange(300)}" + "x" * rng.choice((0, 0, 0, 100, 1000))
        if rng.random() < 0.4:
            assert store.delete(name) == (model.pop(name, None) is not None)
            continue
        value = bytes([i % 256]) * rng.choice(lengths)
        try:
            store[name] = value
            model[name] = value
        except shmstore.StoreFull:
            full += 1
            assert store.get(name) == model.get(name)
        if i % 1000 == 0:
            store.check()
    assert full > 20
    assert dict(store) == model
    store.check()
    assert store.delete_many(model) == len(model)
    stats = store.stats()
    assert (stats.bytes_used, stats.largest_free, stats.entries) == (0, new.largest_free, 0)
    store["large"] = bytes(size * 2 // 5)
    store.check()


# ---- nothing that expired is in the way ----


@pytest.mark.parametrize("options", [{"size": 256 * K}, {"size": M, "max_entries": 500}])
@pytest.mark.parametrize("length", [10, 900])
def test_expired_entries_make_room_for_as_many_new_ones(create, options, length):
    store = create(**options)
    capacity, _ = fill(store, bytes(length), prefix="0-")
    store.clear()
    count, _ = fill(store, bytes(length), ttl=60, prefix="1-")
    assert count >= 0.9 * capacity
    expire(store)
    assert len(store) == 0 and not store
    again, _ = fill(store, bytes(length), prefix="2-")
    assert again >= 0.9 * capacity
    assert len(store) == again == store.stats().entries  # nothing expired was left when it was full
    store.check()


def test_one_large_object_in_the_place_of_all_that_expired(create):
    store = create(size=M)
    fill(store, bytes(100), ttl=60)
    expire(store)
    store["large"] = bytes(M * 2 // 5)
    assert list(store) == ["large"]
    assert store.stats().entries == 1
    store.check()


def test_entries_that_have_not_expired_stay(create):
    store = create(size=M)
    for i in range(300):
        store.put(f"long{i}", bytes(1000), ttl=600)
        store.put(f"ever{i}", bytes(500))
    fill(store, bytes(300), ttl=60, prefix="short")
    expire(store, "short")
    fill(store, bytes(300), prefix="later")
    assert all(f"long{i}" in store and f"ever{i}" in store for i in range(300))
    assert not list(store.keys("short"))
    store.check()


@pytest.mark.sysv
def test_the_segment_has_room_for_all_that_was_asked(create):
    for size, more in ((64 * K, 8 * K), (100_001, 4 * K), (M, 0)):  # more: so that nine tenths of the size are left
        store = create(size=size)
        info = store.info()
        assert size <= info.size < size + 4096
        # Beside it: the header, and client slots, whose memory is used only by clients.
        assert sysv.shmctl(info.id, sysv.IPC_STAT).size == info.size + more + 12288 + 131072 + info.max_clients * 4096
        store.destroy()


def test_what_a_process_held_that_has_just_died_is_room(make):
    """Also if the clients were looked at a moment before, because another put had found no room."""
    store = make(codec="raw")
    half = bytes(store.stats().bytes_free // 2 + 100_000)
    store["seen"] = half
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        view = store.view("seen")
        os.write(writer, b"x")
        signal.pause()
        os._exit(len(view))
    assert os.read(reader, 1) == b"x"
    del store["seen"]
    with pytest.raises(shmstore.StoreFull):
        store["new"] = half
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    store["new"] = half
    os.close(reader)
    os.close(writer)
