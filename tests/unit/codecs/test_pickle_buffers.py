"""Codec "pickle" with memory out of band: one copy, aligned, and writeable only what was."""

import pickle
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shmstore.codecs import pickle as codec
from shmstore.errors import CodecError


class Big:
    """Offers its memory to the pickler."""

    def __init__(self, memory):
        self.memory = memory

    def __reduce_ex__(self, protocol):
        return Big, (pickle.PickleBuffer(self.memory),)


def test_memory_of_all_kinds_comes_back():
    value = [
        Big(b"r" * 100_000),
        Big(bytearray(b"w" * 70_000)),
        Big(b"small"),
        "x" * 100_000,
        Big(bytearray(codec.LARGE)),
    ]
    packed = codec.encode(value)
    assert packed.startswith(b"shmpkl5\0") and packed.count(b"r" * 100_000) == 1
    back = codec.decode(packed)
    assert [bytes(big.memory) for big in back if type(big) is Big] == [
        bytes(big.memory) for big in value if type(big) is Big
    ]
    assert memoryview(back[0].memory).readonly and not memoryview(back[1].memory).readonly
    assert packed.index(b"r" * 100_000) % 64 == packed.index(b"w" * 70_000) % 64 == 0
    back[1].memory[:2] = b"no"
    assert codec.decode(packed)[1].memory[:2] == b"ww"


def test_without_large_memory_it_is_a_plain_pickle():
    for value in ({"a": (1, 2)}, Big(b"x" * (codec.LARGE - 1)), b"x" * 100_000):
        assert codec.encode(value) == pickle.dumps(value, 5)


def test_it_is_copied_once():
    value = [Big(bytearray(8_000_000))]
    tracemalloc.start()
    try:
        packed = codec.encode(value)
        assert tracemalloc.get_traced_memory()[1] < 1.01 * len(packed)
    finally:
        tracemalloc.stop()


def test_arrays_keep_order_and_writeability():
    np = pytest.importorskip("numpy", reason="numpy is not installed")
    first = np.arange(40_000.0)
    second = np.asfortranarray(first.reshape(200, 200))
    second.flags.writeable = False
    back = codec.decode(codec.encode({"a": first, "b": second, "c": first[::3]}))
    assert (back["a"] == first).all() and (back["b"] == second).all() and (back["c"] == first[::3]).all()
    assert back["a"].flags.writeable and not back["b"].flags.writeable and back["b"].flags.f_contiguous
    assert back["b"].flags.aligned


FRAME = codec.encode([Big(b"r" * 20_000), Big(bytearray(20_000))])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(8, 63), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0, len(FRAME)))
def test_damaged_frames_are_the_error_or_a_value(damage, keep):
    """Only the frame is damaged: what the pickle itself asks for cannot be checked."""
    data = bytearray(FRAME)
    for at, byte in damage:
        data[at] = byte
    for packed in (bytes(data), FRAME[:keep]):
        try:
            codec._unframe(packed)
        except Exception as error:
            assert type(error).__name__ in ("error", "ValueError")


def test_what_does_not_fit_is_codec_error():
    for data in (FRAME[:12], FRAME[:30], FRAME[:-1], FRAME[:8] + b"\xff" * 40, FRAME[:8] + bytes(8) + FRAME[16:40]):
        with pytest.raises(CodecError, match=r"^cannot decode: the pickle of "):
            codec.decode(data)
