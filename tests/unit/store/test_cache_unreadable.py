"""Values that a Cache cannot read are absent, and get overwritten. A Store raises CodecError."""

import dataclasses
import logging
import pickle

import pytest

import shmstore
from shmstore import Cache, Store
from shmstore._core import lib
from shmstore._store import rescue


@pytest.fixture
def told(caplog, monkeypatch):
    """The lines that were logged, as if nothing had been logged in this process before."""
    monkeypatch.setattr(rescue, "_logged", {})
    caplog.set_level(logging.WARNING, logger="shmstore")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "shmstore"]


@dataclasses.dataclass
class Point:
    x: int


@pytest.fixture(params=["raise", "miss"])
def unreadable(key, request):
    """A cache with a value of another codec, under 'k', and one under 'good' that can be read."""
    with Cache(key, size="1M", codec="pickle") as writer, Cache(key, on_error=request.param) as cache:
        writer["k"] = {Point(1).x: frozenset([Point])}
        writer["good"] = 1
        yield cache


def test_it_is_absent_to_calls_that_read(unreadable, told):
    before = unreadable.stats()
    assert unreadable.get("k", 5) == 5 and unreadable.get("k") is None and unreadable.get("k", touch=10) is None
    for call in (lambda: unreadable["k"], lambda: unreadable.get_versioned("k"), lambda: unreadable.get_with_ttl("k")):
        with pytest.raises(KeyError) as caught:
            call()
        assert caught.value.args == ("k",)
    assert unreadable.get_many(["k", "good", "x"]) == {"good": 1} == dict(unreadable.items()) == dict(unreadable)
    assert list(unreadable.values()) == [1]
    found = unreadable.get_many(["k", "good"], on_error="skip")
    assert found == {"good": 1} and isinstance(found.failed["k"], shmstore.CodecError)
    assert len(told()) == 1 and "'k'" in told()[0] and "pickle" in told()[0]
    assert unreadable.stats().misses - before.misses >= 10


def test_it_counts_as_one_miss(unreadable):
    before = unreadable.stats()
    unreadable.get("k")
    after = unreadable.stats()
    assert (after.hits - before.hits, after.misses - before.misses) == (0, 1)


@pytest.mark.parametrize("write", [
    lambda cache: cache.put("k", 2), lambda cache: not cache.__setitem__("k", 2), lambda cache: cache.add("k", 2),
    lambda cache: cache.setdefault("k", 2), lambda cache: cache.modify("k", lambda value: value + 1, 1),
    lambda cache: cache.replace("k", 2), lambda cache: cache.put_many({"k": 2}), lambda cache: cache.add_many({"k": 2, "good": 3}),
])  # fmt: skip
def test_it_is_overwritten(unreadable, write):
    assert write(unreadable)
    assert unreadable["k"] == 2 and unreadable["good"] == 1


def test_what_can_be_read_is_not_overwritten(unreadable):
    assert unreadable.add("good", 2) is False and unreadable.setdefault("good", 2) == 1
    assert unreadable.add_many({"good": 5, "new": 6}) == 1 and unreadable["good"] == 1


def test_it_is_removed(unreadable):
    assert unreadable.pop("k", 5) == 5 and "k" not in unreadable
    with pytest.raises(KeyError):
        unreadable.pop("k")


def test_popitem_passes_over_it(unreadable):
    assert unreadable.popitem() == ("good", 1)
    with pytest.raises(KeyError):
        unreadable.popitem()


def test_it_has_no_value_to_change(unreadable):
    with pytest.raises(KeyError):
        unreadable.modify("k", lambda value: value)
    assert unreadable.describe("k").codec == "pickle" and "k" in unreadable and unreadable.delete("k")


def test_a_store_keeps_raising(unreadable, key):
    with Store(key) as store:
        for call in (lambda: store["k"], lambda: store.get("k"), lambda: store.get_many(["k"]), lambda: store.modify("k", str),
                     lambda: store.setdefault("k", 1), lambda: store.pop("k")):  # fmt: skip
            with pytest.raises(shmstore.CodecError):
                call()
        assert store.add("k", 1) is False


def test_a_class_that_is_gone(key):
    """As after a deploy that renamed it."""
    with Cache(key, size="1M", codec="pickle") as cache:
        cache["k"] = Point(1)
        assert cache["k"] == Point(1)
        raw = pickle.dumps(Point(1), protocol=5).replace(b"Point", b"Joint")
        cache._put_if_("k", raw, None, 0, 0, False, lib.SHMS_CODEC_PICKLE)
        assert cache.get("k", 5) == 5 and cache.setdefault("k", Point(2)) == Point(2) and cache["k"] == Point(2)


def test_an_extension_that_is_unknown(key):
    with Cache(key, size="1M") as cache:
        for damaged in (b"\xc7\x01\x7fx", b"\xc1", b"\x92\x01", b""):
            cache._put_if_("k", damaged, None, 0, 0, False, lib.SHMS_CODEC_MSGPACK)
            assert cache.get("k", 5) == 5 and "k" in cache
            assert cache.add("k", 1) is True and cache["k"] == 1


def test_a_value_of_another_type(key):
    msgspec = pytest.importorskip("msgspec")

    class Now(msgspec.Struct):
        y: int

    with Cache(key, size="1M", codec="msgspec") as cache:
        cache["k"] = {"x": 1}
        assert cache.get("k", 5, type=Now) == 5 and cache.get_many(["k"], type=Now) == {}


def test_names_of_codecs(key):
    class Codec:
        name = "mine"

        def encode(self, value):
            return value

        def decode(self, data):
            return data

    with Cache(key, size="1M", codec=Codec()) as writer, Cache(key) as cache:
        writer["k"] = b"x"
        assert cache.get("k") is None and writer["k"] == b"x" and cache.add("k", 1) and writer.get("k") is not None


def test_it_is_computed_again(unreadable):
    assert unreadable.get_or_set("k", lambda: 2) == 2 == unreadable["k"]
    with Cache(unreadable._key.name.decode(), codec="pickle") as writer:
        writer["k"] = frozenset([Point])
    assert unreadable.get_or_set("k", lambda: 3, ttl=60, stale=30) == 3 == unreadable["k"]
    assert unreadable.get_or_set("good", lambda: 3) == 1
