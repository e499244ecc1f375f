"""Stores of another format, and stores that were scribbled upon: an error says so, and repair mends what it can."""

import random
import sys
from pathlib import Path

import pytest

import shmstore
from shmstore import Store

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from forked_child import elsewhere  # noqa: E402
from messages import says  # noqa: E402
from segment_words import HEADER, Memory  # noqa: E402

pytestmark = pytest.mark.usefixtures("removed")


def mask(store, field, bit):
    memory = Memory(store)
    memory.set(HEADER[field], memory.header(field) | 1 << bit)


@pytest.mark.parametrize("bit", [0, 31, 63])
def test_an_incompatible_feature(store, key, bit):
    mask(store, "incompatible", bit)
    for options in ({}, {"create": False}, {"readonly": True}):
        with pytest.raises(shmstore.FormatMismatch) as caught:
            Store(key, **options)
        says(caught, repr(key), f"features {1 << bit:#x}", "upgrade shmstore")


@pytest.mark.parametrize("bit", [0, 31, 63])
def test_a_read_compatible_feature(store, key, bit):
    store["k"] = 1
    mask(store, "read_compatible", bit)
    for options in ({}, {"create": False}, {"readonly": True}):
        with Store(key, **options) as reader:
            assert dict(reader) == {"k": 1} and reader.info().readonly
            reader.check()
            with pytest.raises(shmstore.ReadOnlyStore) as caught:
                reader["k"] = 2
            if not options.get("readonly"):
                says(caught, repr(key), f"({1 << bit:#x})", "upgrade shmstore")


@pytest.mark.parametrize("bit", [0, 31, 63])
def test_a_compatible_feature(store, key, bit):
    mask(store, "compatible", bit)
    with Store(key) as other, Store(key, readonly=True) as reader:
        other["k"] = 1
        assert reader["k"] == 1


@pytest.mark.parametrize("version", [0, 2, 2**32 - 1])
def test_another_format(store, key, version):
    memory = Memory(store)
    memory.bytes[16:20] = version.to_bytes(4, "little")
    for options in ({}, {"readonly": True}):
        with pytest.raises(shmstore.FormatMismatch) as caught:
            Store(key, **options)
        says(caught, repr(key), f"format {version} ", "knows format 1", "upgrade shmstore")


# ---- scribbled upon ----


@pytest.mark.parametrize("field", [name for name in HEADER if name not in ("state", "format", "incompatible",
                                                                          "read_compatible", "compatible", "name_kind",
                                                                          "hash_key", "pages_high")])  # fmt: skip
@pytest.mark.parametrize("value", [0, 1, 2**63, 2**64 - 1, 2**40])
def test_an_impossible_header(store, key, field, value):
    memory = Memory(store)
    memory.set(HEADER[field], value)
    if field in ("buckets", "heap_pages") and value == 1:
        return  # a store of one bucket, or page, is possible
    for options in ({}, {"readonly": True}):
        error = elsewhere(lambda options=options: Store(key, **options), seconds=120)
        assert type(error) is shmstore.StoreCorrupt, error
        says(error, repr(key), "in the header", f"ipcrm -m {store.info().id}")


def after(word, change):
    return lambda memory: memory.set(word(memory), change(memory.word(word(memory)), memory))


PAGES_HIGH = HEADER["pages_high"]


def free_block(memory):
    """The offset of a free block of the span that the entry "k" lies in."""
    page, start = memory.page_of("k"), memory.block("k") // 4096 * 4096
    info = memory.word(page + 8)
    assert info >> 8 == 1 and info & 255 == 0  # a span of a page, of the smallest class
    return next(at for at in range(start, start + 4096 - 48, 48) if memory.word(at) & 3 == 3)


SCRIBBLES = {
    "a slot points out of the heap": (after(lambda m: m.slot("k"), lambda w, m: w & ~0xFFFFFFFFFF | 1), "I2"),
    "a slot points behind the heap": (after(lambda m: m.slot("k"), lambda w, m: w | 0xFFFFFFFFFF), "I2"),
    "a slot points into a block": (after(lambda m: m.slot("k"), lambda w, m: w + 1), "I2"),
    "a slot has another tag": (after(lambda m: m.slot("k"), lambda w, m: w ^ 1 << 50), "I[23]"),
    "a slot is emptied": (after(lambda m: m.slot("k"), lambda w, m: 0), "I[89]"),
    "a slot has another's block": (after(lambda m: m.slot("k"), lambda w, m: m.word(m.slot("l"))), r"I\d"),
    "a block has another hash": (after(lambda m: m.block("k") + 8, lambda w, m: w ^ 1), "I3"),
    "a value is longer than the heap": (after(lambda m: m.block("k") + 24, lambda w, m: w | 1 << 60), "I2"),
    "a key is longer than any": (after(lambda m: m.block("k") + 24, lambda w, m: w | 0xFFFF00), "I2"),
    "a block has another slot": (after(lambda m: m.block("k") + 32, lambda w, m: w ^ 2), "I3"),
    "a block is called free": (after(lambda m: m.block("k"), lambda w, m: w | 3), "I[27]"),
    "a block is called a zombie": (after(lambda m: m.block("k"), lambda w, m: w | 2), "I2"),
    "a free block has another word": (after(free_block, lambda w, m: w ^ 1 << 40), "I7"),
    "a free block is called alive": (after(free_block, lambda w, m: w & ~3), "I9"),
    "a page belongs to nobody": (after(lambda m: m.page(m.word(PAGES_HIGH) - 1), lambda w, m: 77 << 2 | 1), "I6"),
    "a span is called free": (after(lambda m: m.page_of("k"), lambda w, m: 0), "I2"),
    "a span has an impossible class": (after(lambda m: m.page_of("k") + 8, lambda w, m: w | 99), "I[26]"),
    "a span is longer than the heap": (after(lambda m: m.page_of("k") + 8, lambda w, m: w | 1 << 50), "I[26]"),
    "a span has another number": (after(lambda m: m.page_of("k"), lambda w, m: w + 4), "I7"),
    "bytes are miscounted": (after(lambda m: m.used(1), lambda w, m: w + 16), "I8"),
    "entries are miscounted": (after(lambda m: m.used(0), lambda w, m: w + 1), "I8"),
    "an entry expires before its time": (
        lambda m: [m.set(m.header("due") + 8 * i, 0) for i in range((m.header("buckets") + 7) // 8)], "I11"),
    "a bucket is held by nobody": (after(lambda m: m.home("k"), lambda w, m: w | 60), "I12"),
    "a bucket is held by an impossible client": (after(lambda m: m.home("k"), lambda w, m: w | 0xFFFF), "I12"),
}  # fmt: skip


def populate(store):
    for i in range(20):
        store[f"filler{i}"] = bytes(100)
    store["k"] = 1
    store["l"] = 2
    store.put("mortal", 3, ttl=600)
    store.delete("filler3")
    store.check()


def alone(store):
    """Whether the names that are scribbled at share no bucket with others (the hash's key is random)."""
    memory = Memory(store)
    homes = [memory.home(name) for name in store]
    return len(set(homes)) == len(homes)


@pytest.fixture
def populated(make):
    store = make(size="256K", timeout=0.2)
    while True:
        populate(store)
        if alone(store):
            return store
        store.destroy()
        store = make(create=True, size="256K", timeout=0.2)


def use(store, walk=True):
    """Every operation on every name: a value, a miss or an error of this package, or this raises."""
    names = [f"filler{i}" for i in range(20)] + ["k", "l", "mortal", "absent"]
    calls = [lambda: store.get_many(names), lambda: len(store), store.stats, store.info, store.clients, store.check]
    for name in names:
        calls += [lambda name=name: store.get(name), lambda name=name: name in store, lambda name=name: store.ttl(name)]
    if walk:
        calls += [lambda: list(store), lambda: dict(store)]
    if "read-only" not in repr(store):
        for name in names:
            calls += [
                lambda name=name: store.put(name, 1), lambda name=name: store.incr(name),
                lambda name=name: store.touch(name, 5), lambda name=name: store.delete(name),
                lambda name=name: store.put(name, bytes(300)),
            ]  # fmt: skip
        calls += [store.recover, store.clear if walk else store.recover, store.check]
    for call in calls:
        try:
            call()
        except (shmstore.ShmStoreError, KeyError):
            pass
        except TypeError as error:
            assert "incr and decr need an int" in str(error)
    return "survived"


NO_UTF8 = (
    "a str name whose bytes are no UTF-8 any more is a UnicodeDecodeError in every walk, in clear and in popitem, "
    "not a StoreCorrupt"
)
# Walks over these meet one of the two faults above; the tests of those faults say so, once.
NOT_WALKED = {"a slot has another's block", "a slot points into a block"}


@pytest.mark.parametrize("scribble", SCRIBBLES)
def test_scribbles(populated, key, scribble):
    break_it, invariant = SCRIBBLES[scribble]
    break_it(Memory(populated))
    for readonly in (True, False):
        with Store(key, readonly=readonly, timeout=0.2) as store:
            with pytest.raises(shmstore.StoreCorrupt, match=invariant) as caught:
                store.check()
            says(caught, repr(key))
            try:
                assert store.get("k") in (1, None)
            except (shmstore.StoreCorrupt, shmstore.LockTimeout) as error:
                says(error, repr(key))
            assert store["mortal"] == 3
        walk = scribble not in NOT_WALKED
        result = elsewhere(lambda readonly=readonly, walk=walk: use(Store(key, readonly=readonly, timeout=0.02), walk))
        assert result == "survived"


MENDED = {  # nothing is lost where something else says what was there
    "a block has another slot", "bytes are miscounted", "entries are miscounted", "a free block has another word",
    "a free block is called alive", "a page belongs to nobody", "an entry expires before its time",
    "a bucket is held by nobody", "a bucket is held by an impossible client", "a span has another number",
}  # fmt: skip


@pytest.mark.parametrize("scribble", SCRIBBLES)
def test_repair(populated, key, scribble):
    before = dict(populated)
    SCRIBBLES[scribble][0](Memory(populated))

    lost = populated.check(repair=True)

    after = dict(populated)
    gone = before.keys() - after.keys()
    assert after.items() <= before.items()
    assert gone <= {"k", "l", "mortal"} and (gone != {"mortal"})  # those of one span
    if scribble == "a slot is emptied":
        assert lost == 0 and gone == {"k"}  # nothing says that there was an entry
    else:
        assert lost == len(gone) and (lost == 0) == (scribble in MENDED)
    assert populated.check(repair=True) == 0
    populated["k"] = 5
    assert populated.pop("k") == 5 and populated.check() == 0


def test_repair_of_an_entry_beyond_the_reach(populated):
    memory = Memory(populated)
    table, buckets = memory.header("slots"), memory.header("buckets")
    before = dict(populated)
    homes = {name: (memory.home(name) - table) // 64 for name in populated}
    # The third bucket behind is in the same page of 64: another one may be unused, which is another fault.
    name, home = next((name, home) for name, home in homes.items() if home % 64 < 61 and home + 3 < buckets)
    slot, away = memory.slot(name), table + (home + 3) * 64 + 8 * 7  # its last slot
    memory.set(away, memory.word(slot))
    memory.set(slot, 0)
    with pytest.raises(shmstore.StoreCorrupt, match=r"I[34]"):
        populated.check()
    assert name not in populated

    assert populated.check(repair=True) == 0

    assert dict(populated) == before and populated.check() == 0


def test_repair_of_a_page_that_the_summary_does_not_know(populated):
    before = dict(populated)
    memory = Memory(populated)
    memory.set(memory.word(200), 0)  # the header says where the summary is
    assert dict(populated) != before

    assert populated.check(repair=True) == 0

    assert dict(populated) == before and populated.check() == 0


def test_repair_needs_the_right_to_write(make):
    make()["k"] = 1
    with pytest.raises(shmstore.ReadOnlyStore):
        make(readonly=True).check(repair=True)


@pytest.mark.parametrize("walk", [False, True])
def test_a_slot_that_names_a_dead_block(populated, key, walk):
    memory = Memory(populated)
    memory.set(memory.block("k"), 0)
    for readonly in (True, False):
        result = elsewhere(lambda readonly=readonly: use(Store(key, readonly=readonly, timeout=0.02), walk))
        assert result == "survived"


def test_a_scribbled_name(populated, key):
    memory = Memory(populated)
    memory.bytes[memory.block("k") + 40] = 0xFF
    with pytest.raises(shmstore.StoreCorrupt, match="I3"):
        populated.check()
    assert populated.get("k") is None
    assert elsewhere(lambda: use(Store(key, timeout=0.2))) == "survived"


@pytest.mark.parametrize("seed", range(20))
def test_random_scribbles(populated, key, seed):
    """Bits and words at random, in the slot table, the blocks, the pages, the clients."""
    memory = Memory(populated)
    rng = random.Random(seed)
    table = memory.header("slots")
    used = [at for at in range(table, table + 64 * memory.header("buckets"), 8) if memory.word(at)]
    blocks = [(memory.word(at) & 0xFFFFFFFFFF) * 16 for at in used if (at - table) % 64]
    for _ in range(rng.choice((1, 2, 5, 30))):
        at = rng.choice(
            (
                rng.choice(used),
                rng.choice(blocks) + 8 * rng.randrange(1, 5),
                memory.header("pages") + 8 * rng.randrange(4 * memory.word(PAGES_HIGH)),
                memory.header("classes") + 8 * rng.randrange(54 * 8),
                memory.header("page_bits") + 8 * rng.randrange(8),
                memory.header("clients") + 8 * rng.randrange(128),
                memory.header("due") + 8 * rng.randrange(32),
            )
        )
        word = memory.word(at)
        values = [word ^ 1 << rng.randrange(64), rng.getrandbits(64), memory.word(rng.choice(used)), rng.choice(blocks)]
        memory.set(at, rng.choice(values))
    for readonly in (True, False):
        result = elsewhere(
            lambda readonly=readonly: use(Store(key, readonly=readonly, timeout=0.02), walk=False), seconds=300
        )
        assert result == "survived"


# ---- codecs ----
