"""The C packer and unpacker against msgpack's own: the same bytes, the same objects, the same refusals."""

import math
import os
import struct

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import shmstore

PACKER = msgpack.Packer(strict_types=True)
RAW, MSGPACK = 0, 1

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=40)
    | st.binary(max_size=40)
    | st.sampled_from([n + d for n in (-(2**31), -(2**15), -128, -32, 0, 128, 256, 2**16, 2**32, 2**63) for d in (-1, 0)])
    | st.sampled_from(["x" * n for n in (31, 32, 255, 256, 65535, 65536)])
    | st.sampled_from([b"x" * n for n in (255, 256, 65535, 65536)])
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.dictionaries(st.text(max_size=40) | st.integers(-5, 5) | st.binary(max_size=4), inner, max_size=20)
    ),
    max_leaves=60,
)


@pytest.fixture(scope="module")
def shared():
    store = shmstore.Store(f"shmstore-pack-{os.getpid()}", size="8M")
    yield store
    store.destroy()
    store.close()


def stored(store, name="k"):
    return store._get_versioned(name)[2]


def plant(store, packed, name="k"):
    assert store._put_if_(name, packed, None, 0, 0, False, MSGPACK)


@settings(deadline=None, max_examples=100)
@given(value=values)
@example([[i] * 17 for i in range(20)])
@example({str(i): i for i in range(70000)})
@example(list(range(70000)))
@example([-0.0, float("inf"), 5e-324])
def test_it_writes_what_msgpack_writes(shared, value):
    shared["k"] = value
    assert stored(shared) == PACKER.pack(value)
    shared.put_many({"many": value})
    assert stored(shared, "many") == PACKER.pack(value)
    back = shared["k"]
    assert back == value and PACKER.pack(back) == PACKER.pack(value)
    assert shared.get_many(["k", "many"]) == {"k": value, "many": value}


def test_nan_and_the_sign_of_zero(shared):
    for value in (float("nan"), -0.0):
        shared["k"] = value
        assert struct.pack("d", shared["k"]) == struct.pack("d", value)
    assert math.isnan(shared.get("nan", float("nan")))


def outcome(function):
    try:
        value = function()
        return type(value), repr(value)
    except Exception:
        return "refused"


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_bytes_are_what_msgpack_makes_of_them(shared, data):
    """Cut, changed and made up: an object equal to msgpack's, or an error where it has one."""
    packed = bytearray(PACKER.pack(data.draw(values)))
    for _ in range(data.draw(st.integers(0, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    packed = bytes(packed[: data.draw(st.integers(1, len(packed)))])
    plant(shared, packed)
    from shmstore.codecs.msgpack import decode

    expected = outcome(lambda: decode(packed))
    assert outcome(lambda: shared["k"]) == expected
    assert outcome(lambda: shared.get_many(["k"])["k"]) == expected


@pytest.mark.parametrize("tag", range(256))
def test_every_first_byte(shared, tag):
    from shmstore.codecs.msgpack import decode

    for rest in (b"", b"\x00", b"\x01a", bytes(8), b"\x00\x01" + b"a" * 9, b"\xff" * 12):
        packed = bytes([tag]) + rest
        plant(shared, packed)
        assert outcome(lambda packed=packed: shared["k"]) == outcome(lambda packed=packed: decode(packed))


def test_depth(shared):
    deep = []
    for _ in range(255):
        deep = [deep]
    shared["k"] = deep  # 256 lists inside one another
    assert shared["k"] == deep
    with pytest.raises(shmstore.CodecError):
        shared["k"] = [deep]
    plant(shared, b"\x91" * 257 + b"\xc0")
    with pytest.raises(shmstore.CodecError):
        shared["k"]


def test_a_claim_of_many_items_costs_nothing(shared):
    for head in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"):
        plant(shared, head + b"\xc0" * 100)
        with pytest.raises(shmstore.CodecError):
            shared["k"]


def test_a_list_without_end_is_refused(shared):
    endless = []
    for _ in range(40):
        endless = [endless, endless]
    with pytest.raises((shmstore.CodecError, MemoryError)):
        shared["k"] = endless


def test_keys_are_shared_between_values(shared):
    shared.put_many({str(i): {"a common key": i} for i in range(3)})
    first, second = (next(iter(shared[str(i)])) for i in range(2))
    assert first is second


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536, 1 << 20])
def test_bytes_are_stored_as_msgpack_would(shared, size):
    value = bytes(size)
    shared["k"] = value
    assert stored(shared) == PACKER.pack(value)
    assert shared["k"] == value and type(shared["k"]) is bytes


def test_a_lone_surrogate_is_refused_with_its_path(shared):
    with pytest.raises(shmstore.CodecError, match=r"\$"):
        shared["k"] = {"a": ["\ud800"]}
