"""Calls that set or tell when an entry expires, beside touch and ttl: which ttl an entry then has, to a tenth of a second, and
what every form of a wrong argument raises."""

from __future__ import annotations

import datetime
import math
import sys
import time
from datetime import timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

import shmstore
from shmstore import DEFAULT, KEEP

sys.path.insert(0, str(Path(__file__).parent))
from segment_words import Memory

FOR_A_MINUTE = [60, 60.0, Decimal(60), Fraction(60), timedelta(minutes=1)]
WRONG = [
    (True, TypeError), ("60", TypeError), ([], TypeError), (b"1", TypeError), (1j, TypeError), (math.nan, ValueError),
    (Decimal("nan"), ValueError), (Decimal("snan"), ValueError), (0, ValueError), (-1, ValueError), (-0.0, ValueError),
    (Fraction(0), ValueError), (timedelta(0), ValueError), (timedelta(-1), ValueError), (-math.inf, ValueError),
]  # fmt: skip
WITH_A_TTL = {
    "put": ("ttl", lambda s, ttl: s.put("k", 1, ttl=ttl)),
    "add": ("ttl", lambda s, ttl: s.add("k", 1, ttl=ttl)),
    "replace": ("ttl", lambda s, ttl: s.replace("k", 1, ttl=ttl)),
    "cas": ("ttl", lambda s, ttl: s.cas("k", 1, 0, ttl=ttl)),
    "put_many": ("ttl", lambda s, ttl: s.put_many({"k": 1}, ttl=ttl)),
    "put_many that skips": ("ttl", lambda s, ttl: s.put_many({"k": 1}, ttl=ttl, on_error="skip")),
    "add_many that skips": ("ttl", lambda s, ttl: s.add_many({}, ttl=ttl, on_error="skip")),
    "incr": ("ttl", lambda s, ttl: s.incr("k", ttl=ttl)),
    "decr": ("ttl", lambda s, ttl: s.decr("k", ttl=ttl)),
    "modify": ("ttl", lambda s, ttl: s.modify("k", pytest.fail, ttl=ttl)),
    "touch": ("ttl", lambda s, ttl: s.touch("k", ttl)),
    "get": ("touch", lambda s, ttl: s.get("k", touch=ttl)),
    "get of what is absent": ("touch", lambda s, ttl: s.get("absent", touch=ttl)),
}


def left(store, key):
    """The ttl, rounded: the tests set whole seconds."""
    seconds = store.ttl(key)
    return seconds if seconds is None else round(seconds)


@pytest.mark.parametrize(("argument", "call"), WITH_A_TTL.values(), ids=WITH_A_TTL)
@pytest.mark.parametrize(("ttl", "error"), WRONG, ids=repr)
def test_what_is_no_ttl(store, argument, call, ttl, error):
    store["k"] = 5
    version = store.get_versioned("k")
    with pytest.raises(error, match=f"^{argument} is "):
        call(store, ttl)
    assert store.get_versioned("k") == version and store.ttl("k") is None and len(store) == 1


@pytest.mark.parametrize("ttl", FOR_A_MINUTE, ids=repr)
def test_every_kind_of_duration(store, ttl):
    store.put_many({"m": 1, "g": 2, "p": 3})
    assert store.incr("i", ttl=ttl) == 1 and store.decr("d", ttl=ttl) == -1
    assert store.modify("m", lambda n: n + 1, ttl=ttl) == 2 and store.get("g", touch=ttl) == 2
    assert store.put_many({"p": 4}, ttl=ttl, on_error="skip") == 1
    for key in "idmgp":
        assert left(store, key) == 60, key


# ---- which ttl an entry then has


@pytest.mark.parametrize("call", ["incr", "decr"])
def test_the_ttl_of_a_counter_is_that_of_its_creation(make, call):
    store = make(ttl=100)
    count = getattr(store, call)
    for ttl, expected in ((50, 50), (None, None), (DEFAULT, 100), (KEEP, 100)):
        count("n", ttl=ttl)
        assert left(store, "n") == expected
        for later in (7, None, DEFAULT, KEEP):
            count("n", ttl=later)
            assert left(store, "n") == expected
        assert store.delete("n")
    count("n")
    assert left(store, "n") == 100


def test_a_counter_that_has_expired_is_created_again(store):
    store.put("n", 70, ttl=0.001)
    time.sleep(0.002)
    assert store.incr("n", 2, initial=10, ttl=50) == 12 and left(store, "n") == 50


@pytest.mark.parametrize("call", ["incr", "decr"])
def test_a_counter_that_is_not_to_be_created(store, key, call):
    count = getattr(store, call)
    with pytest.raises(KeyError) as caught:
        count("n", 3, initial=8, create=False, ttl=9)
    assert caught.value.args == ("n",) and "n" not in store and store.stats().puts == 0
    store.put("n", 70, ttl=50)
    assert count("n", 2, create=False) == (72 if call == "incr" else 68) and left(store, "n") == 50
    store.put("n", 70, ttl=0.001)
    time.sleep(0.002)
    with pytest.raises(KeyError):
        count("n", create=False)
    store["text"] = "1"
    with pytest.raises(TypeError, match="entry 'text': incr and decr need an int"):
        count("text", create=False)
    for wrong in (1, 0, None, "no"):
        with pytest.raises(TypeError, match=f"^store {key!r}: {call}..n.*create is True or False, not "):
            count("n", create=wrong)
    with pytest.raises(TypeError, match="a key is str or bytes"):
        count(5, create=False)


def test_a_full_store_says_that_a_counter_is_absent(make):
    store = make(size="64K")
    for size in (1000, 50, 1):
        with pytest.raises(shmstore.StoreFull):
            for number in range(100_000):
                store.put(f"{size}.{number}", bytes(size))
    with pytest.raises(shmstore.StoreFull):
        store.incr("n")
    with pytest.raises(KeyError):
        store.incr("n", create=False)


def test_modify_keeps_the_ttl_or_sets_it(make):
    store = make(ttl=100)
    for given, expected in ((KEEP, 30), (50, 50), (None, None), (DEFAULT, 100)):
        store.put("k", 1, ttl=30)
        assert store.modify("k", lambda n: n + 1, ttl=given) == 2
        assert left(store, "k") == expected
    store.put("k", 1, ttl=30)
    assert store.modify("k", lambda n: n + 1) == 2 and left(store, "k") == 30
    for given, expected in ((KEEP, 100), (50, 50), (None, None), (DEFAULT, 100)):
        store.pop("k", None)
        assert store.modify("k", lambda n: n + 1, 7, ttl=given) == 8
        assert left(store, "k") == expected


def test_keep_is_a_ttl_of_every_call(make):
    store = make(ttl=100)
    calls = [
        lambda: store.put("k", 2, ttl=KEEP), lambda: store.replace("k", 2, ttl=KEEP), lambda: store.put_many({"k": 2}, ttl=KEEP),
        lambda: store.cas("k", 2, store.get_versioned("k")[1], ttl=KEEP), lambda: store.get("k", touch=KEEP),
        lambda: store.get("k", type=None, touch=KEEP), lambda: store.touch("k", KEEP),
    ]  # fmt: skip
    for call in calls:
        for ttl in (30, None):
            store.put("k", 1, ttl=ttl)
            assert call()
            assert left(store, "k") == ttl
    store.clear()
    assert store.put("k", 1, ttl=KEEP) and left(store, "k") == 100
    assert store.add("new", 1, ttl=KEEP) and left(store, "new") == 100
    assert not store.touch("absent", KEEP)


# ---- reading


def test_get_and_touch(make):
    store = make(ttl=100)
    for given, expected in ((50, 50), (None, None), (DEFAULT, 100)):
        version = store.put("k", [1], ttl=30)
        assert store.get("k", touch=given) == [1] and left(store, "k") == expected
        assert store.get_versioned("k") == ([1], version)
    assert store.get("absent", 5, touch=50) == 5 and "absent" not in store
    store.put("k", 1, ttl=0.001)
    time.sleep(0.002)
    assert store.get("k", touch=50) is None and "k" not in store
    assert store.get(7, touch=50) is None
    with pytest.raises(TypeError, match="unhashable"):
        store.get([], touch=50)


def test_what_cannot_be_read_is_not_touched(make):
    make(codec="pickle").put("k", {1}, ttl=30)
    store = make(create=False)
    with pytest.raises(shmstore.CodecError):
        store.get("k", touch=50)
    assert left(store, "k") == 30


def test_a_typed_get_touches(make):
    pytest.importorskip("msgspec")
    store = make(codec="msgspec")
    store.put("k", 5, ttl=30)
    with pytest.raises(shmstore.CodecError):
        store.get("k", type=str, touch=50)
    assert left(store, "k") == 30
    assert store.get("k", type=int, touch=50) == 5 and left(store, "k") == 50
    assert store.get("absent", 6, type=int, touch=50) == 6
    with pytest.raises(TypeError, match="^touch is "):
        store.get("absent", type=int, touch="1")
    with pytest.raises(shmstore.ReadOnlyStore):
        make(readonly=True, codec="msgspec").get("absent", type=int, touch=5)


def test_a_value_that_is_replaced_while_it_is_decoded_is_read_again(make):
    """Value and touch are of one moment: a codec writes in between, and the writer's value is what is returned."""

    class Meddling:
        name = "meddling"

        def encode(self, value):
            return value

        def decode(self, data):
            if data == b"old":
                store.put("k", b"new", ttl=30)
            if data == b"going":
                store.delete("k")
            return data

    store = make(codec=Meddling())
    store.put("k", b"old")
    assert store.get("k", touch=50) == b"new" and left(store, "k") == 50
    store.put("k", b"going")
    assert store.get("k", "default", touch=50) == "default" and "k" not in store


def test_value_and_ttl_of_one_moment(store):
    store.put_many({"a": [1]})
    store.put("b", (2,), ttl=60)
    assert store.get_with_ttl("a") == ([1], None)
    value, seconds = store.get_with_ttl("b")
    assert value == (2,) and 59 < seconds <= 60
    store.put("b", 1, ttl=0.001)
    time.sleep(0.002)
    for key in ("b", "absent", 7):
        with pytest.raises(KeyError) as caught:
            store.get_with_ttl(key)
        assert caught.value.args == (key,)


# ---- a point in time

NOW = time.time()


@pytest.mark.parametrize(
    "moment",
    [
        lambda: time.time() + 60,
        lambda: int(time.time()) + 60,
        lambda: Decimal(repr(time.time() + 60)),
        lambda: Fraction(time.time() + 60),
        lambda: datetime.datetime.now() + timedelta(minutes=1),
        lambda: datetime.datetime.now(timezone.utc) + timedelta(minutes=1),
        lambda: datetime.datetime.now(timezone(timedelta(hours=-7))) + timedelta(minutes=1),
    ],
)
def test_expire_at_a_point_in_time(store, moment):
    version = store.put("k", 1)
    assert store.expire("k", moment()) and 58.5 < store.ttl("k") <= 60
    assert store.expire("k", at=None) and store.ttl("k") is None
    assert store.get_versioned("k") == (1, version)
    assert not store.expire("absent", moment()) and not store.expire("absent", None) and not store.expire(7, moment())


@pytest.mark.parametrize(
    "at", [0, -1, -(10**400), time.time, -math.inf, Decimal("-1e999"), Fraction(-1, 3), datetime.datetime(2000, 1, 1),
           datetime.datetime.min, datetime.datetime.min.replace(tzinfo=timezone.utc)], ids=repr,
)  # fmt: skip
def test_a_point_in_time_that_has_passed_removes_the_entry(store, at):
    store.put("k", 1, ttl=60)
    assert store.expire("k", at() if callable(at) else at) and "k" not in store
    assert not store.expire("k", at() if callable(at) else at)
    stats = store.stats()
    assert (stats.entries, stats.deletes, stats.expirations) == (0, 1, 0)


@pytest.mark.parametrize("at", [10**400, math.inf, 1e300, Decimal("1e999"), Fraction(10**400), datetime.datetime.max,
                                datetime.datetime.max.replace(tzinfo=timezone.utc), 10**12], ids=repr)  # fmt: skip
def test_a_point_in_time_beyond_all_ttls(store, at):
    store["k"] = 1
    assert store.expire("k", at) and round(store.ttl("k")) == 3_000_000_000


def test_a_point_in_time_beyond_the_ttl_of_a_number(store):
    """In 2070 the seconds since the epoch are more than the longest ttl, which counts from now."""
    store["k"] = 1
    at = datetime.datetime(2070, 1, 1, tzinfo=timezone.utc)
    for given in (at, at.timestamp(), Decimal(at.timestamp()), Fraction(at.timestamp())):
        assert store.expire("k", given) and abs(store.ttl("k") - (at.timestamp() - time.time())) < 1


@pytest.mark.parametrize(("at", "error"), [
    (True, TypeError), ("60", TypeError), (timedelta(60), TypeError), (datetime.date(2070, 1, 1), TypeError), ([], TypeError),
    (math.nan, ValueError), (Decimal("nan"), ValueError), (Decimal("snan"), ValueError)], ids=repr)  # fmt: skip
def test_what_is_no_point_in_time(store, at, error):
    store["k"] = 1
    with pytest.raises(error, match="^at is a number of seconds since the epoch"):
        store.expire("k", at)
    assert store.ttl("k") is None
    with pytest.raises(TypeError, match="unhashable"):
        store.expire([], 2**40)


# ---- what is due


def test_expire_due(make):
    store = make(size="4M")
    assert store.expire_due() == 0
    store.put_many({f"k{i}": i for i in range(100)})
    store.put_many({f"due{i}": bytes(100) for i in range(3000)}, ttl=0.001)
    store.put_many({f"later{i}": i for i in range(100)}, ttl=1000)
    time.sleep(0.002)
    used = store.stats().bytes_used
    removed = store.expire_due()
    stats = store.stats()
    assert (
        removed + 0 == 3000 - (stats.expirations - removed) and stats.expirations == 3000
    )  # puts have swept the others
    assert stats.entries == 200 == len(store) and stats.bytes_used < used
    assert store.expire_due() == 0 and store.check() == 0


# ---- beside the value


def test_describe(make):
    store = make()
    version = store.put("k", [1, 2], ttl=60)
    found = store.describe("k")
    assert (found.size, found.codec, found.version, round(found.ttl)) == (3, "msgpack", version, 60)
    assert found.as_dict().keys() == {"size", "codec", "version", "ttl", "frequency", "tags", "created"} and isinstance(
        found, shmstore.EntryInfo
    )
    with pytest.raises(AttributeError):
        found.size = 4
    version = store.put(b"k", bytes(100_000))
    found = store.describe(b"k")
    assert found == shmstore.EntryInfo(
        size=100_005, codec="msgpack", version=version, ttl=None, frequency=None, tags=0, created=found.created
    )
    store.put("k", 1, ttl=0.001)
    time.sleep(0.002)
    for key in ("k", "absent", 7, "k" * 40_000):
        with pytest.raises(KeyError) as caught:
            store.describe(key)
        assert caught.value.args == (key,)
    with pytest.raises(TypeError, match="unhashable"):
        store.describe([])


def test_created_is_when_the_value_was_stored(make):
    store = make()
    before = int(time.time()) - 1  # the store reads a clock that may be some milliseconds behind
    store.put("k", 1)
    assert before <= store.describe("k").created <= time.time()

    def make_old():
        for block in Memory(store).blocks():
            memory = Memory(store).bytes
            memory[block + 36 : block + 40] = (1000).to_bytes(4, "little")

    for keeps in (lambda: store.touch("k", 60), lambda: store.get("k", touch=50), lambda: store.expire("k", None)):
        make_old()
        keeps()
        assert store.describe("k").created == 1000
    for stores in (lambda: store.put("k", 2), lambda: store.incr("k"), lambda: store.modify("k", lambda old: old + 1),
                   lambda: store.replace("k", 3), lambda: store.put_many({"k": 4}), lambda: store.put("k", 5, ttl=shmstore.KEEP)):  # fmt: skip
        make_old()
        stores()
        assert before <= store.describe("k").created <= time.time()


@pytest.mark.parametrize("change", ["compact", "resize"])
def test_created_stays_when_entries_move(make, change):
    store = make(size="2M")
    store.put_many({f"k{n}": bytes(100 * n) for n in range(100)})
    for n in range(0, 100, 2):
        store.delete(f"k{n}")
    for number, block in enumerate(Memory(store).blocks()):
        memory = Memory(store).bytes
        memory[block + 36 : block + 40] = (1000 + number).to_bytes(4, "little")
    created = {key: store.describe(key).created for key in store}
    assert sorted(created.values()) == list(range(1000, 1050))
    if change == "compact":
        assert store.compact() > 0
    else:
        store.resize("4M")
    assert {key: store.describe(key).created for key in store} == created


def test_created_is_none_where_nothing_says_it(make):
    store = make()
    store.put("k", 1)
    (block,) = Memory(store).blocks()
    Memory(store).bytes[block + 36 : block + 40] = bytes(4)
    assert store.describe("k").created is None


def test_describe_what_cannot_be_read(make):
    class Own:
        name = "a codec of my own"
        encode = decode = staticmethod(lambda value: value)

    store, reader = make(), make(create=False, readonly=True)
    make(create=False, codec="pickle")["pickle"] = {1}
    make(create=False, codec="raw")["raw"] = b"12345"
    make(create=False, codec=Own())["own"] = b"1234567"
    for handle in (store, reader):
        assert [handle.describe(key).codec for key in ("pickle", "raw", "own")] == [
            "pickle",
            "raw",
            "a codec of my own",
        ]
        assert [handle.describe(key).size for key in ("raw", "own")] == [5, 7]
    hits = store.stats().hits
    assert store.describe("raw").ttl is None and store.stats().hits == hits


# ---- compare and delete


def test_delete_of_a_version(store, key):
    first = store.put("k", 1)
    second = store.put("k", 2)
    assert not store.delete("k", first) and store["k"] == 2
    assert not store.delete("k", version=0) and not store.delete("k", 2**64 - 1) and store["k"] == 2
    assert store.delete("k", version=second) and "k" not in store
    assert not store.delete("k", second) and not store.delete("k", 0) and not store.delete(7, second)
    store.put("k", 3, ttl=0.001)
    version = store._version("k")
    time.sleep(0.002)
    assert not store.delete("k", version)
    for wrong in (True, "1", 1.0, b"1"):
        with pytest.raises(TypeError, match=f"^store {key!r}: delete..k..: a version is an int, not "):
            store.delete("k", wrong)
    for wrong in (-1, 2**64, 10**5000):
        with pytest.raises(ValueError, match=f"^store {key!r}: delete..k..: no store gives the version "):
            store.delete("k", wrong)
    for version in (0, 5):
        with pytest.raises(TypeError, match="unhashable"):
            store.delete([], version)
    for arguments in ((), ("k", 1, 2)):
        with pytest.raises(TypeError, match=r"^delete\(\) "):
            store.delete(*arguments)
