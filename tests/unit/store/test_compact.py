"""compact(), and what a put does when memory is free in pieces: entries move, and nothing about them changes."""

import random
import threading
import time

import pytest

import shmstore

K, M = 1 << 10, 1 << 20


class Reversed:
    name = "reversed"

    def encode(self, value):
        return value[::-1].encode()

    def decode(self, data):
        return bytes(data).decode()[::-1]


def value_of(number):
    """Sizes from none to some pages; the codecs' own shapes among them."""
    rng = random.Random(number)
    kind = number % 5
    if kind == 0:
        return number
    if kind == 1:
        return rng.randbytes(rng.randrange(3 * K))
    if kind == 2:
        return {"number": number, "text": "é" * rng.randrange(400)}
    if kind == 3:
        return bytearray(rng.randbytes(rng.choice((0, 4095, 4096, 5000, 9000))))
    return rng.randbytes(rng.randrange(8 * K, 60 * K))


def scatter(store, count=300, keep=lambda number: number % 2):
    """Put entries of many sizes and delete some. Returns what is left: keys, values, versions."""
    names = [f"k{n}" if n % 3 else b"k%d" % n for n in range(count)]
    for number, name in enumerate(names):
        store.put(name, value_of(number), ttl=10_000 if number % 7 == 0 else None)
    for number, name in enumerate(names):
        if not keep(number):
            store.delete(name)
    return {name: store.get_versioned(name) for number, name in enumerate(names) if keep(number)}


def expect(store, left):
    assert {name: store.get_versioned(name) for name in store} == left


def compacted(store):
    moved = store.compact()
    store.check()
    return moved


# ---- what a move keeps
def test_entries_keep_value_version_and_time_to_live(make):
    store = make(size="8M")
    left = scatter(store)
    ends = {name: store.get_with_ttl(name)[1] for name in left}
    before = store.stats()
    moved = compacted(store)
    after = store.stats()
    assert moved > 20
    expect(store, left)
    assert (after.entries, after.puts, after.moves - before.moves) == (before.entries, before.puts, moved)
    assert after.largest_free > before.largest_free and after.fragmentation < before.fragmentation
    for name, end in ends.items():
        now = store.get_with_ttl(name)[1]
        assert (now is None) == (end is None) and (end is None or end - 60 < now <= end)
    other = make(create=False, readonly=True)
    expect(other, left)


def test_entries_are_moved_again_and_again(make):
    store = make(size="2M")
    left = scatter(store, 100)
    rng = random.Random(1)
    for _ in range(20):
        for name in rng.sample(sorted(left, key=str), 5):
            store.delete(name)
            del left[name]
            new = f"new{rng.random()}"
            version = store.put(new, rng.randbytes(rng.randrange(20 * K)))
            left[new] = store.get(new), version
        compacted(store)
        expect(store, left)


def test_every_call_finds_a_moved_entry(make):
    store = make(size="2M", decoders=(Reversed(),))
    own = make(create=False, codec=Reversed())
    for n in range(40):
        store.put(f"gap{n}", bytes(K))
        store.put(f"count{n}", n)
        own.put(f"own{n}", "backwards")
    versions = {name: store.get_versioned(name)[1] for name in store}
    for n in range(0, 40, 2):
        for kind in ("gap", "count", "own"):
            store.delete(f"{kind}{n}")
    assert compacted(store) > 0
    moved = list(range(1, 40, 2))
    for n in moved:
        assert store.incr(f"count{n}") == n + 1
        assert own.get(f"own{n}") == store.get(f"own{n}") == "backwards"
        assert store.describe(f"own{n}").codec == "reversed"
        assert store.describe(f"gap{n}").version == versions[f"gap{n}"]
        assert not store.cas(f"gap{n}", b"new", versions[f"gap{n}"] ^ 4)
        assert store.cas(f"gap{n}", b"new", versions[f"gap{n}"])
        assert store.touch(f"own{n}", 100)
        assert store.delete(f"own{n}", versions[f"own{n}"])
    assert set(store.keys("gap")) == {f"gap{n}" for n in moved}
    store.clear()
    assert store.stats().bytes_used == 0
    compacted(store)
    assert store.stats().fragmentation == 0


def test_a_moved_entry_expires(make):
    store = make(size="1M")
    for n in range(60):
        store.put(f"gap{n}", bytes(K))
        store.put(f"mortal{n}", bytes(K), ttl=2)
    for n in range(60):
        store.delete(f"gap{n}")
    moved = compacted(store)
    assert moved > 0
    assert len(store) == 60  # none of them before its time
    while len(store):
        time.sleep(0.01)
    assert store.get("mortal1") is None
    assert store.expire_due() == store.stats().expirations == 60
    assert store.stats().bytes_used == 0


# ---- readers
def test_a_view_stays_where_it_is_and_valid(make):
    store = make(size="2M")
    left = scatter(store, 100)
    names = [name for name in left if type(left[name][0]) is bytes][:20]
    views = {name: store.view(name) for name in names}
    compacted(store)
    for name, view in views.items():
        assert bytes(view) == left[name][0]
        view.release()
    expect(store, left)
    assert store.stats().zombies == 0
    compacted(store)


def test_a_view_that_begins_during_a_move_of_its_entry_keeps_the_memory(make):
    """The other thread takes and drops views of everything while entries move. No view changes under its reader."""
    store = make(size="4M")
    left = scatter(store, 120)
    names = [name for name in left if type(left[name][0]) is bytes]
    stop, torn = threading.Event(), []

    def read():
        rng = random.Random(1)
        while not stop.is_set():
            name = rng.choice(names)
            with store.view(name) as view:
                first = bytes(view)
                if first != left[name][0] or bytes(view) != first:
                    torn.append(name)

    thread = threading.Thread(target=read)
    thread.start()
    for turn in range(30):
        for n in range(20):
            store.put(f"{turn % 2} {n}", bytes(4 * K))
            store.pop(f"{(turn + 1) % 2} {n}", None)
        store.compact()
    stop.set()
    thread.join()
    assert not torn
    for name in list(store.keys("0 ")) + list(store.keys("1 ")):
        store.delete(name)
    expect(store, left)
    store.check()


def test_a_waiter_is_not_woken(make):
    store = make(size="2M")
    for n in range(200):
        store.put(f"k{n}", bytes(K))
    versions = {f"k{n}": store.get_versioned(f"k{n}")[1] for n in range(200)}
    for n in range(0, 200, 2):
        store.delete(f"k{n}")
    found = {}

    def wait(name):
        found[name] = store.wait(name, after=versions[name], timeout=60)

    names = [f"k{n}" for n in range(101, 200, 14)]
    waiters = [threading.Thread(target=wait, args=(name,)) for name in names]
    for waiter in waiters:
        waiter.start()
    while sum(client.is_me for client in store.clients()) != 1:
        pass
    assert compacted(store) > 20
    assert not found
    news = {name: store.put(name, b"new") for name in names}
    for waiter in waiters:
        waiter.join()
    assert found == news


# ---- what it is for
def holes(store, size):
    """Fill the store with values of this size and delete every second one."""
    count = 0
    try:
        while True:
            store.put(f"{count}", bytes(size))
            count += 1
    except shmstore.StoreFull:
        pass
    for n in range(0, count, 2):
        store.delete(f"{n}")
    return {f"{n}": store.get_versioned(f"{n}") for n in range(1, count, 2)}


@pytest.mark.parametrize("size", [100, 700, 3 * K, 9 * K, 50 * K])
def test_a_large_value_fits_into_holes(make, size):
    """Half of the store is free, in pieces. A value that takes most of that finds room, and nothing else is lost."""
    store = make(size="4M", max_entries=40_000)
    left = holes(store, size)
    assert len(left) > 10 and store.stats().fragmentation > 0.5
    free = store.stats().bytes_free
    store["large"] = bytes(free * 3 // 4)
    assert store["large"] == bytes(free * 3 // 4)
    del store["large"]
    expect(store, left)
    store.check()


@pytest.mark.parametrize("block", [64, 256, 512, 1152, 8192, 5 * 4096])
def test_entries_that_fill_their_blocks_move_to_blocks_of_the_same_size(make, block):
    """To the last byte: header, key of eight bytes, value. There is no free page, and no free block of another size."""
    store = make(size="4M", max_entries=40_000, codec="raw")
    fill, count = block - 48 - (63 if block > 4096 else 0), 0  # a value that is aligned reserves 63 bytes
    try:
        while True:
            store.put(f"{count:08}", bytes([count % 251]) * fill)
            count += 1
    except shmstore.StoreFull:
        pass
    assert store.stats().bytes_used == count * block
    for n in range(0, count, 2):
        store.delete(f"{n:08}")
    left = {f"{n:08}": store.get_versioned(f"{n:08}") for n in range(1, count, 2)}
    free = store.stats().bytes_free
    store["large"] = bytes(free * 3 // 4)
    assert store.stats().bytes_used == (count // 2) * block + (free * 3 // 4 + 40 + 5 + 63 + 4095) // 4096 * 4096
    del store["large"]
    expect(store, left)
    compacted(store)
    expect(store, left)


def test_compact_packs_small_entries(make):
    store = make(size="4M", max_entries=40_000)
    left = holes(store, 100)
    before = store.stats()
    assert compacted(store) > 1000
    after = store.stats()
    expect(store, left)
    assert before.largest_free < before.bytes_free // 10
    assert after.largest_free > after.bytes_free * 3 // 4
    assert compacted(store) < 1000


def test_no_put_is_refused_while_a_tenth_is_free(make):
    """Values from 1 KB up to a tenth of the store, in a store that is kept nine tenths full."""
    store = make(size="16M", max_entries=5000)
    heap = store.stats().bytes_free
    rng, names, number = random.Random(3), [], 0
    while number < 1500:
        size = int(K * 10 ** rng.uniform(0, 3))
        while store.stats().bytes_used + size + 2 * 4096 > heap * 0.9:
            store.delete(names.pop(rng.randrange(len(names))))
        store.put(f"{number}", bytes(size))
        names.append(f"{number}")
        number += 1
    assert store.stats().moves > 0
    store.check()


def test_an_empty_store_has_nothing_to_move(store):
    assert store.compact() == 0
    assert store.stats().fragmentation == 0


def test_a_full_store_stays_full(make):
    store = make(size="1M")
    while True:
        try:
            store.put(f"{len(store)}", bytes(3 * K))
        except shmstore.StoreFull:
            break
    left = {name: store.get_versioned(name) for name in store}
    with pytest.raises(shmstore.StoreFull):
        store.put("new", bytes(100 * K))
    compacted(store)
    expect(store, left)


def test_a_cache_can_be_compacted(key):
    """Entries that move are neither evicted nor forgotten by the policy."""
    with shmstore.Cache(key, size="4M") as cache:
        left = scatter(cache, 150)
        before = cache.stats()
        assert compacted(cache) > 0
        assert cache.stats().evictions == before.evictions
        expect(cache, left)
        for n in range(3000):
            cache.put(f"new{n}", bytes(3000))
        assert cache.stats().evictions > 1000
        compacted(cache)


# ---- refusals and ends
def test_a_readonly_handle_refuses(make):
    make()
    with pytest.raises(shmstore.ReadOnlyStore):
        make(readonly=True).compact()


def test_a_closed_handle_refuses(make):
    store = make()
    store.close()
    with pytest.raises(shmstore.StoreClosed):
        store.compact()


class Enough(Exception):
    pass


def test_what_a_signal_handler_raises_leaves_nothing_behind(make, monkeypatch):
    """An exception comes between any two steps. All memory and all operation records are given back."""
    from shmstore._store import control

    store = make(size="2M")
    left = scatter(store, 150)
    for steps in range(200):
        turns = iter(range(steps))

        def interrupted(seconds, turns=turns):
            if next(turns, None) is None:
                raise Enough

        monkeypatch.setattr(control, "sleep", interrupted)
        try:
            store.compact()
        except Enough:
            pass
        monkeypatch.undo()
        store.check()
        for n in range(0, 40, 2):  # scatters it again
            store.put(f"more{n + steps % 2}", bytes(3 * K))
            store.pop(f"more{n + 1 - steps % 2}", None)
    for name in list(store.keys("more")):
        store.delete(name)
    expect(store, left)


def test_other_threads_run_meanwhile_and_may_close(make):
    store = make(size="32M", max_entries=50_000)
    holes(store, 2000)
    ended = []

    def compact():
        try:
            while True:
                store.compact()
                store.put("more", bytes(M))
                store.delete("more")
        except shmstore.StoreClosed:
            ended.append(True)

    thread = threading.Thread(target=compact)
    thread.start()
    for _ in range(100):
        assert store.get("1") is not None
        time.sleep(0)
    store.close()
    thread.join()
    assert ended
