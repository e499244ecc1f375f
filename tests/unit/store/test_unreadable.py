"""Entries that a handle cannot read: they stop nothing but the reading of themselves."""

import sys
import types

import pytest

import shmstore
from shmstore import CodecError
from shmstore._core import lib

READABLE = {"first": 1, b"second": [2], "third": None}


class Own:
    """A codec of the user's own, which may have become another one since the value was put."""

    name = "own"

    def encode(self, value):
        return repr(value).encode()

    def decode(self, data):
        raise LookupError(data)


def class_that_is_gone(make):
    module = types.ModuleType("shmstore_test_gone")
    exec("class Gone: pass", module.__dict__)
    sys.modules[module.__name__] = module
    try:
        handle(make, codec="pickle")["bad"] = module.Gone()
    finally:
        del sys.modules[module.__name__]
    return handle(make, codec="pickle")


def codec_not_asked_for(make):
    handle(make, codec="pickle")["bad"] = {1}
    return handle(make)


def codec_of_a_stranger(make):
    handle(make, codec=Own())["bad"] = "x"
    return handle(make)


def codec_that_fails(make):
    handle(make, codec=Own())["bad"] = "x"
    return handle(make, codec=Own())


def unknown_number(make):
    return plant(make, b"x", 4)


def cut_msgpack(make):
    return plant(make, b"\x92\x01", lib.SHMS_CODEC_MSGPACK)


def not_registered(make):
    return plant(make, b"\xd4\x70\x00", lib.SHMS_CODEC_MSGPACK)  # extension 112


def cut_pickle(make):
    plant(make, b"\x80\x05]", lib.SHMS_CODEC_PICKLE)
    return handle(make, codec="pickle")


def msgspec(make):
    pytest.importorskip("msgspec")
    plant(make, b"\xd4\x70\x00", lib.SHMS_CODEC_MSGPACK)
    return handle(make, codec="msgspec")


def handle(make, **options):
    return make(create=False, **options)


def plant(make, body, codec):
    store = handle(make)
    assert store._put_if_("bad", body, None, 0, 0, False, codec)
    return store


KINDS = [
    class_that_is_gone, codec_not_asked_for, codec_of_a_stranger, codec_that_fails, unknown_number, cut_msgpack,
    not_registered, cut_pickle, msgspec,
]  # fmt: skip


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def spoiled(request, make):
    """A handle on a store with three entries that it can read and one that it cannot."""
    make()
    store = request.param(make)
    handle(make).put_many(READABLE)
    assert "bad" in store and len(store) == 4
    return store


def test_walks_say_which_one_it_is(spoiled):
    names = ["first", "bad", "third"]
    for walk in (
        lambda: spoiled.get_many(names), lambda: list(spoiled.items()), lambda: list(spoiled.values()),
        lambda: dict(spoiled.items()), lambda: ("bad", 1) in spoiled.items(), lambda: object() in spoiled.values(),
    ):  # fmt: skip
        with pytest.raises(CodecError, match="entry 'bad'.*on_error=\"skip\""):
            walk()


def test_walks_skip_it(spoiled):
    assert spoiled.get_many([*READABLE, "bad", "absent"], on_error="skip") == READABLE
    items, values = spoiled.items(on_error="skip"), spoiled.values(on_error="skip")
    assert dict(items) == READABLE and len(items) == 3
    assert sorted(map(repr, values)) == sorted(map(repr, READABLE.values())) and len(values) == 3
    assert ("bad", 1) not in items and ("first", 1) in items
    assert "bad" not in values and [2] in values
    assert items == READABLE.items() and items != {"first": 1}.items()
    assert set(spoiled) - set(spoiled.get_many(spoiled, on_error="skip")) == {"bad"}


def test_reading_it_alone_raises_and_keeps_it(spoiled):
    for read in (
        spoiled.get, spoiled.__getitem__, spoiled.pop, spoiled.get_versioned, spoiled.setdefault,
        lambda name: spoiled.get(name, 1), lambda name: spoiled.modify(name, lambda value: value, 1),
    ):  # fmt: skip
        with pytest.raises(CodecError, match="entry 'bad'"):
            read("bad")
    assert "bad" in spoiled and len(spoiled) == 4


def test_pop_with_a_default_removes_it(spoiled):
    assert spoiled.pop("bad", "instead") == "instead" and "bad" not in spoiled
    assert dict(spoiled) == READABLE


def test_popitem_passes_over_it(spoiled):
    taken = dict(spoiled.popitem() for _ in READABLE)
    assert taken == READABLE
    with pytest.raises(KeyError, match="1 that it cannot.*'bad'"):
        spoiled.popitem()
    assert list(spoiled) == ["bad"]
    assert spoiled.delete("bad")
    with pytest.raises(KeyError, match="is empty"):
        spoiled.popitem()


def test_it_equals_nothing(spoiled):
    assert spoiled != READABLE and spoiled != {**READABLE, "bad": 1} and READABLE != spoiled
    assert spoiled == spoiled and not spoiled != spoiled
    assert spoiled != object() and spoiled != [("first", 1)]
    spoiled.delete("bad")
    assert spoiled == READABLE and READABLE == spoiled and spoiled != {**READABLE, "more": 1}
    with pytest.raises(TypeError, match="unhashable"):
        hash(spoiled)


def test_it_can_be_replaced_and_everything_cleared(spoiled, make):
    writer = make(create=False)
    assert writer.put("bad", "good now") and spoiled["bad"] == "good now"
    spoiled.clear()
    assert not spoiled


def test_a_value_of_another_type_is_skipped(make):
    msgspec = pytest.importorskip("msgspec")

    class Point(msgspec.Struct):
        x: int

    store = make(codec="msgspec")
    store.put_many({"good": Point(1), "bad": "text"})
    with pytest.raises(CodecError, match="entry 'bad'"):
        store.get_many(["good", "bad"], type=Point)
    assert store.get_many(["good", "bad", "absent"], type=Point, on_error="skip") == {"good": Point(1)}
    assert len(store.items(on_error="skip")) == 2  # without a type both can be read


def test_many_of_them(make):
    """More than one batch, and the readable ones anywhere in between."""
    store, writer = make(), make(create=False, codec="pickle")
    for i in range(1000):
        (writer if i % 3 else store)[f"k{i}"] = (i,)
    wanted = {f"k{i}": (i,) for i in range(0, 1000, 3)}
    assert dict(store.items(on_error="skip")) == wanted
    assert sorted(store.values(on_error="skip")) == sorted(wanted.values())
    assert store.get_many([f"k{i}" for i in range(1000)], on_error="skip") == wanted
    assert dict(store.popitem() for _ in wanted) == wanted
    with pytest.raises(KeyError, match="666 that it cannot"):
        store.popitem()


def test_other_failures_are_not_skipped(make):
    class Slow(Own):
        name = "slow"
        raised = KeyboardInterrupt

        def decode(self, data):
            raise self.raised

    make(codec=Slow())["bad"] = 1
    store = make(create=False, codec=Slow())
    for raised in (KeyboardInterrupt, SystemExit, MemoryError):
        Slow.raised = raised
        for call in (
            lambda: store.get_many(["bad"], on_error="skip"), lambda: list(store.items(on_error="skip")),
            store.popitem, lambda: store.pop("bad", 1), lambda: store == {},
        ):  # fmt: skip
            with pytest.raises(raised):
                call()
    assert "bad" in store
    store.close()
    for call in (
        lambda: store.get_many(["bad"], on_error="skip"), lambda: list(store.items(on_error="skip")), store.popitem,
        lambda: store.pop("bad", 1), lambda: store == {},
    ):  # fmt: skip
        with pytest.raises(shmstore.StoreClosed):
            call()


@pytest.mark.parametrize("wrong", ["ignore", "", None, True, b"skip"])
def test_on_error_is_one_of_two(store, wrong):
    for call in (store.items, store.values, lambda **more: store.get_many([], **more)):
        with pytest.raises(ValueError, match='on_error is "raise" or "skip", not'):
            call(on_error=wrong)
