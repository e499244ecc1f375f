"""put_many, add_many and get_many with on_error="skip": what cannot be stored or read is passed over and reported."""

from __future__ import annotations

import os
import pickle
import signal

import pytest

import shmstore

BAD_KEYS = {
    "k" * 40_000: shmstore.InvalidKey,
    "\ud800": shmstore.UnencodableKey,
    5: TypeError,
    None: TypeError,
    (1, 2): TypeError,
}


def errors_of(failed):
    return {key: type(error) for key, error in failed.items()}


@pytest.mark.parametrize("method", ["put_many", "add_many"])
@pytest.mark.parametrize("bad_at", [0, 3, 6])
@pytest.mark.parametrize(("bad", "error"), BAD_KEYS.items(), ids=lambda given: repr(given)[:12])
def test_what_is_no_key(store, method, bad_at, bad, error):
    pairs = [(f"k{i}", [i]) for i in range(6)]
    pairs.insert(bad_at, (bad, 1))
    stored = getattr(store, method)(pairs, ttl=50, on_error="skip")
    assert stored == 6 and isinstance(stored, int) and errors_of(stored.failed) == {bad: error}
    assert dict(store) == {f"k{i}": [i] for i in range(6)} and {round(store.ttl(k)) for k in store} == {50}
    with pytest.raises(error):
        getattr(store, method)(pairs)


@pytest.mark.parametrize("method", ["put_many", "add_many"])
def test_what_cannot_be_stored(make, method):
    store = make(size="256K")
    items = {"a": 1, "object": object(), "large": bytes(1 << 20), "b": (2,), "lambda": lambda: 1, "c": b"3"}
    stored = getattr(store, method)(items, on_error="skip")
    assert stored == 3 and dict(store) == {"a": 1, "b": (2,), "c": b"3"}
    assert errors_of(stored.failed) == {
        "object": shmstore.CodecError, "large": shmstore.ValueTooLarge, "lambda": shmstore.CodecError,
    }  # fmt: skip
    assert list(stored.failed) == ["object", "large", "lambda"] and all(
        key in str(e) for key, e in stored.failed.items()
    )


def test_add_many_counts_those_that_were_absent(store):
    store["there"] = 1
    stored = store.add_many({"there": 2, "new": 3, "bad": object()}, on_error="skip")
    assert stored == 1 and list(stored.failed) == ["bad"] and dict(store) == {"there": 1, "new": 3}


def test_a_full_store_takes_what_still_fits(make):
    store = make(size="64K")
    items = {f"large{i}": bytes(8000) for i in range(20)} | {f"small{i}": i for i in range(20)}
    stored = store.put_many(items, on_error="skip")
    assert set(errors_of(stored.failed).values()) == {shmstore.StoreFull} and stored + len(stored.failed) == 40
    assert "large0" in store and "large19" in stored.failed and "small0" in store  # which came after what did not fit
    assert store.keys() == items.keys() - stored.failed.keys() and store.check() == 0


def test_nothing_fails(store):
    for method in (store.put_many, store.add_many):
        for items in ({}, {"a": 1}, iter([("b", 2)])):
            stored = method(items, on_error="skip")
            assert stored.failed == {} and type(stored + 0) is int
    found = store.get_many(["a", "b", "absent"], on_error="skip")
    assert found == {"a": 1, "b": 2} and found.failed == {}
    assert type(store.put_many({"a": 1})) is int and type(store.get_many(["a"])) is dict


def test_the_keys_of_what_cannot_be_read(make):
    store = make()
    store["good"] = 1
    make(create=False, codec="pickle").put_many({"bad": [1], "worse": {2}})
    found = store.get_many(["bad", "good", "absent", "worse"], on_error="skip")
    assert found == {"good": 1} and errors_of(found.failed) == dict.fromkeys(("bad", "worse"), shmstore.CodecError)
    assert all(f"entry {key!r}" in str(error) for key, error in found.failed.items())
    readonly = make(readonly=True).get_many(iter(["bad", "good"]), on_error="skip")
    assert readonly == {"good": 1} and list(readonly.failed) == ["bad"]


def test_results_can_be_pickled(make):
    store = make()
    stored = pickle.loads(pickle.dumps(store.put_many({"a": 1, "bad": object()}, on_error="skip")))
    assert stored == 1 and errors_of(stored.failed) == {"bad": shmstore.CodecError}
    make(create=False, codec="pickle")["p"] = {1}
    found = pickle.loads(pickle.dumps(store.get_many(["a", "p"], on_error="skip")))
    assert found == {"a": 1} and errors_of(found.failed) == {"p": shmstore.CodecError}


@pytest.mark.parametrize("on_error", ["ignore", None, True, "SKIP"])
def test_what_on_error_is(store, on_error):
    for call in (store.put_many, store.add_many, store.get_many):
        with pytest.raises(ValueError, match='^on_error is "raise" or "skip", not '):
            call({"a": 1}, on_error=on_error)
    assert not store


def test_what_is_no_set_of_items(store):
    for items in ("text", b"bytes", [("a", 1), "pair"], 5, None):
        with pytest.raises(TypeError):
            store.put_many(items, on_error="skip")
    assert not store


def test_errors_of_the_store_end_the_call(make):
    """What a later item would meet as well is raised, with the keys that are left."""

    class Closing:
        name = "closing"

        def encode(self, value):
            if value == b"close":
                store.close()
            return value

        decode = encode

    store = make(codec=Closing())
    with pytest.raises(shmstore.StoreClosed) as caught:
        store.put_many({"a": b"1", "b": 2, "c": b"close", "d": b"4"}, on_error="skip")
    assert caught.value.stored == 1 and caught.value.failed == ("b", "c", "d")


def test_what_a_signal_handler_raises_passes(make):
    """Also where it has the class of what is skipped."""

    class Struck:
        name = "struck"

        def encode(self, value):
            os.kill(os.getpid(), signal.SIGUSR1)
            return value

        decode = encode

    def handler(number, frame):
        raise shmstore.CodecError("struck")

    store, before = make(codec=Struck()), signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(shmstore.CodecError, match="^struck$"):
            store.put_many({"a": b"1"}, on_error="skip")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not store
