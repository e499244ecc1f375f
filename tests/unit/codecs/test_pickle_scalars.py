"""A handle of codec "pickle" stores what msgpack holds exactly as msgpack: it can be counted, viewed, and read by all."""

from __future__ import annotations

import enum
import math
import struct

import pytest

import shmstore


class Subclass(int):
    pass


class Level(enum.IntEnum):
    LOW = 1


AS_MSGPACK = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    1.5,
    -0.0,
    math.inf,
    5e-324,
    "",
    "ä\0",
    "x" * 100_000,
    b"",
    b"b" * 100_000,
]
PICKLED = [2**63, -(2**63) - 1, 2**200, "\ud800", Subclass(1), Level.LOW, [1], (1,), {"a": 1}, {1}, bytearray(b"a"), 1j]
PUTS = {
    "put": lambda store, value: store.put("k", value), "[]": lambda store, value: store.__setitem__("k", value),
    "add": lambda store, value: store.add("k", value), "put_many": lambda store, value: store.put_many({"k": value}),
    "add_many": lambda store, value: store.add_many({"k": value}, on_error="skip"),
    "cas": lambda store, value: store.cas("k", value, 0), "setdefault": lambda store, value: store.setdefault("k", value),
    "modify": lambda store, value: store.modify("k", lambda old: value, 0),
}  # fmt: skip


@pytest.mark.parametrize("put", PUTS.values(), ids=PUTS)
def test_which_values_are_msgpack(make, put):
    store = make(codec="pickle")
    msgpack = make(create=False)
    for value in AS_MSGPACK:
        put(store, value)
        assert store.describe("k").codec == "msgpack"
        for handle in (store, msgpack):
            assert handle["k"] == value and type(handle["k"]) is type(value)
        store.delete("k")
    for value in PICKLED:
        put(store, value)
        assert store.describe("k").codec == "pickle" and store["k"] == value and type(store["k"]) is type(value)
        with pytest.raises(shmstore.CodecError):
            msgpack["k"]
        store.delete("k")


def test_floats_keep_their_bits(make):
    store = make(codec="pickle")
    for bits in (0x7FF8000000000001, 0xFFF8000000000000, 0x8000000000000000):
        store["k"] = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
        assert struct.pack("<d", store["k"]) == bits.to_bytes(8, "little")


def test_ints_count(make):
    store = make(codec="pickle")
    store.put("n", 1)
    assert store.incr("n") == 2 and store["n"] == 2 and store.decr("n", 3) == -1
    store.put_many({"m": 5, "l": [1]})
    assert store.incr("m", create=False) == 6
    store.modify("m", lambda n: n * 2)
    assert store.incr("m") == 13 and store.incr("new", 5) == 5 and store["new"] == 5
    for key, value in (("l", None), ("s", "1"), ("b", True), ("f", 1.0), ("big", 2**63), ("sub", Subclass(1))):
        if value is not None:
            store[key] = value
        with pytest.raises(TypeError, match="int"):
            store.incr(key)


def test_bytes_can_be_read_in_place(make):
    store = make(codec="pickle")
    store["b"] = b"bytes"
    with store.view("b") as memory:
        assert bytes(memory) == b"bytes"
    buffer = bytearray(5)
    assert store.get_into("b", buffer) == 5 and buffer == b"bytes"


def test_what_earlier_handles_pickled_is_still_read(make):
    """And values of both kinds side by side."""
    import pickle

    store = make(codec="pickle")
    for key, value in (("n", 1), ("s", "text"), ("b", b"bytes"), ("none", None)):
        store._put_if_(key, pickle.dumps(value), None, 0, 0, False, 2)
        assert store.describe(key).codec == "pickle" and store[key] == value
    with pytest.raises(TypeError):
        store.incr("n")
    store["n"] = store["n"]
    assert store.incr("n") == 2


def test_raw_and_own_codecs_stay_as_they_are(make):
    class Own:
        name = "own"

        def encode(self, value):
            return repr(value).encode()

        def decode(self, data):
            return ("own", data)

    raw, own = make(codec="raw"), make(create=False, codec=Own())
    raw["r"] = b"1"
    own["o"] = 1
    assert raw.describe("r").codec == "raw" and own.describe("o").codec == "own" and own["o"] == ("own", b"1")
    for value in (None, 1, "text", 1.5):
        with pytest.raises(shmstore.CodecError):
            raw["r"] = value
    for store, key in ((raw, "r"), (own, "o")):
        with pytest.raises(TypeError, match="int"):
            store.incr(key)
        assert store.incr(f"new {key}", 5) == 5 and store.incr(f"new {key}") == 6 and store[f"new {key}"] == 6
