"""numpy arrays and scalars: every dtype, shape and order back as it was, and nothing from bytes that lie."""

import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import shmstore
from shmstore.codecs import msgpack as codec
from shmstore.errors import CodecError

np = pytest.importorskip("numpy", reason="numpy is not installed")
from hypothesis.extra import numpy as hnp  # noqa: E402

RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
CHARS = "?bhilqBHILQefdgFDG"


def same(a, b):
    """Bits, dtype to the last letter, shape, order, writeability."""
    assert type(b) is type(a)
    assert b.dtype == a.dtype and b.dtype.char == a.dtype.char and b.dtype.str == a.dtype.str
    assert b.dtype.isalignedstruct == a.dtype.isalignedstruct and b.dtype.type is a.dtype.type
    if type(a) is not np.ndarray:
        assert bytes(a.tobytes()) == bytes(b.tobytes())
        return
    assert b.shape == a.shape and b.flags.writeable == a.flags.writeable and b.flags.aligned
    fortran = a.flags.f_contiguous and not a.flags.c_contiguous
    assert b.flags.f_contiguous if fortran else b.flags.c_contiguous
    assert a.tobytes() == b.tobytes()


def round_trip(value):
    packed = codec.encode(value)
    back = codec.decode(packed)
    same(value, back)
    assert codec.encode(back) == packed
    return back


# ---- what survives -----------------------------------------------------------------------------------------

simple = st.one_of(
    st.builds(lambda char, order: np.dtype(char).newbyteorder(order), st.sampled_from(CHARS), st.sampled_from("<>")),
    hnp.byte_string_dtypes(),
    hnp.unicode_string_dtypes(),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    st.sampled_from(["V0", "V7", "U0", "S0", "M8", "m8", "M8[25s]", ">m8[7D]", "M8[as]"]).map(np.dtype),
)
dtypes = st.one_of(
    simple,
    hnp.nested_dtypes(simple.filter(lambda dtype: dtype.itemsize), max_leaves=5).filter(
        lambda dtype: dtype.subdtype is None
    ),
)
shapes = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)


@st.composite
def arrays(draw):
    dtype, shape = draw(dtypes), draw(shapes)
    array = np.empty(shape, dtype, order=draw(st.sampled_from("CF")))
    if array.nbytes:
        raw = array.T if array.flags.f_contiguous and not array.flags.c_contiguous else array
        memory = raw.reshape(-1).view("u1")
        memory[:] = np.frombuffer(draw(st.binary(min_size=1, max_size=32)) * (memory.size + 1), "u1", memory.size)
        blank(array)
    how = draw(st.sampled_from(["whole", "reversed", "sliced", "moved", "broadcast"]))
    if how == "reversed":
        array = array[::-1] if array.ndim else array
    elif how == "sliced":
        array = array[..., ::2] if array.ndim else array
    elif how == "moved" and array.ndim:
        array = np.moveaxis(array, 0, -1)
    elif how == "broadcast":
        array = np.broadcast_to(array, (2, *array.shape))
    if draw(st.booleans()) and array.flags.writeable:
        array.flags.writeable = False
    return array


def blank(array):
    """Texts hold characters."""
    if array.dtype.names is not None:
        for name in array.dtype.names:
            blank(array[name])
    elif array.dtype.char == "U":
        array[...] = "é\U0001f600"


@RELAXED
@given(arrays())
def test_arrays_survive(array):
    round_trip(array)


@RELAXED
@given(arrays(), st.data())
def test_elements_survive(array, data):
    if array.size:
        at = tuple(data.draw(st.integers(0, length - 1)) for length in array.shape)
        value = array[at]
        if isinstance(value, (np.str_, np.bytes_)):
            assert codec.decode(codec.encode(value)) == value
        elif isinstance(value, np.generic):
            round_trip(value)


@pytest.mark.parametrize("char", CHARS)
def test_every_number_type_survives(char):
    kind = np.dtype(char).type
    back = round_trip(kind(1))
    assert back == kind(1) and type(back) is kind  # longlong is another type than int64


def test_texts_keep_the_zeros_at_their_end():
    for value in (np.str_("a\0"), np.str_(""), np.bytes_(b"a\0\0"), np.str_("é" * 300)):
        back = codec.decode(codec.encode(value))
        assert type(back) is type(value) and back == value and len(back) == len(value)


def test_what_derives_from_built_in_types_survives_anywhere():
    value = {
        np.str_("k"): [(np.bytes_(b"x"), np.float64(1.5)), {np.str_("m"), np.complex128(1j)}],
        np.int8(3): slice(np.bool_(1)),
    }
    back = codec.decode(codec.encode(value))
    assert back == value
    assert [type(key) for key in back] == [np.str_, np.int8]
    assert type(back["k"][0]) is tuple and type(back["k"][0][0]) is np.bytes_ and type(back["k"][0][1]) is np.float64


def test_a_structure_that_can_be_a_key_is_one_again():
    array = np.array([(1, 0.5), (2, 1.5)], [("a", "<i4"), ("b", "<f4")])
    assert round_trip(array[0]).flags.writeable
    array.flags.writeable = False
    first, second = array
    back = codec.decode(codec.encode({first: [second], "set": {first, second}, "tuple": {(1, first)}}))
    assert back == {first: [second], "set": {first, second}, "tuple": {(1, first)}}
    assert not back[first][0].flags.writeable
    for packed in (b"\xc7\x08\x13\x00\x05\x91\xa3<i1\x01", b"\xc7\x07\x13\x00\x03\x91\xa1Ux\x00"):  # no structures
        with pytest.raises(CodecError, match="numpy scalar"):
            codec.decode(packed)


def test_structures_keep_their_layout():
    layout = {"names": ["a", "b"], "formats": ["<i2", (">f8", (2, 3))], "offsets": [3, 8], "itemsize": 64}
    for dtype in (
        np.dtype(layout),
        np.dtype([("x", "u1"), ("y", "<i8")], align=True),
        np.dtype([(("a title", "name"), "<U3"), ("in", [("deep", [("er", "M8[ns]")])])]),
        np.dtype({"names": ["lo", "all"], "formats": ["u1", "<u4"], "offsets": [0, 0]}),
        np.dtype([]),
        np.dtype([("é", "S0")]),
    ):
        back = round_trip(np.zeros((2, 2), dtype))
        assert back.dtype.isalignedstruct == dtype.isalignedstruct and back.dtype.fields == dtype.fields


def test_a_read_only_array_is_read_in_place_and_a_writeable_one_is_private():
    for size in (10, 100_000):
        array = np.arange(size)
        packed = codec.encode(array)
        first, second = codec.decode(packed), codec.decode(packed)
        first[:] = 7
        assert (second == array).all() and first.flags.owndata
    array.flags.writeable = False
    packed = codec.encode(array)
    back = codec.decode(packed)
    assert not back.flags.owndata and back.flags.aligned
    with pytest.raises(ValueError):
        back.flags.writeable = True
    assert packed[0] == 0xC9 and packed.index(array.tobytes()) % 64 == 0


def test_a_large_array_is_copied_once_into_what_is_stored():
    array = np.zeros(1_000_000)
    codec.encode(array)
    tracemalloc.start()
    try:
        packed = codec.encode(array)
        _, most = tracemalloc.get_traced_memory()
        assert most < 1.01 * len(packed)
        del packed
        tracemalloc.reset_peak()
        assert codec.decode(codec.encode(array)).nbytes == array.nbytes
    finally:
        tracemalloc.stop()


def test_numpy_is_imported_for_arrays_alone():
    script = """
import sys
import shmstore
from shmstore.codecs import msgpack as codec
codec.decode(codec.encode([1, (2,), bytearray(b"x"), {1.5: memoryview(b"y")}] * 100))
assert "numpy" not in sys.modules
try:
    codec.encode(object())
except shmstore.CodecError:
    pass
assert "numpy" not in sys.modules
print(codec.decode(bytes.fromhex(sys.argv[1])).tolist())
"""
    packed = codec.encode(np.array([1.5, -0.0])).hex()
    run = subprocess.run([sys.executable, "-c", script, packed], capture_output=True, text=True, timeout=600)
    assert (run.returncode, run.stdout) == (0, "[1.5, -0.0]\n"), run.stderr


def test_through_a_store(store):
    array = np.arange(6, dtype=">i2").reshape(2, 3)
    store["a"] = {"pixels": array, "scale": np.float32(0.5)}
    same(store["a"]["pixels"], array)
    assert type(store["a"]["scale"]) is np.float32
    assert (store.get_many(["a"])["a"]["pixels"] == array).all()


# ---- what is refused ---------------------------------------------------------------------------------------


class Sub(np.ndarray):
    pass


REFUSED = [
    (np.array([object()]), r"\$\.a\.dtype: numpy\.ndarray: its dtype holds Python objects; store x\.tolist\(\)"),
    (np.zeros(2, [("o", "O"), ("i", "i4")]), r"\$\.a\.dtype: .*Python objects"),
    (np.zeros(2).view(Sub), r"Sub.*store numpy\.array\(x, subok=False\)"),
    (np.ma.masked_array([1], [True]), r"x\.data and x\.mask"),
    (np.rec.array([(1,)]), r"recarray"),
    (np.array([(1,)], np.dtype((np.record, [("a", "i4")]))), r"elements of type record"),
    (np.zeros(1, np.dtype("f8", metadata={"unit": "m"})), r"metadata"),
    (np.zeros(1, np.dtype((np.int32, {"low": (np.int16, 0), "high": (np.int16, 2)}))), r"\$\.a\.dtype"),
    (np.ndarray((1 << 25,), "V0"), r"elements of no bytes"),
    (np.str_("\ud800"), r"lone surrogate"),
    (np.dtype("f8"), r"objects of type numpy"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=[type(value).__name__ for value, _ in REFUSED])
def test_what_would_not_come_back_is_refused(value, message):
    with pytest.raises(CodecError, match=rf"^cannot encode \$\.a.*{message}" if message[0] != "\\" else message):
        codec.encode({"a": value})


def test_dtypes_of_other_kinds_are_refused():
    if hasattr(np, "dtypes") and hasattr(np.dtypes, "StringDType"):  # numpy 1.24 has neither
        with pytest.raises(CodecError, match=r"dtype"):
            codec.encode(np.array(["a"], np.dtypes.StringDType()))
    deep = np.dtype("u1")
    for _ in range(40):
        deep = np.dtype([("x", deep)])
    with pytest.raises(CodecError, match=r"more than 32 levels"):
        codec.encode(np.zeros(1, deep))
    with pytest.raises(CodecError, match=r"65535 is the most"):
        codec.encode(np.zeros(1, [(f"field{n}", "u1") for n in range(8000)]))


# ---- hostile bytes -----------------------------------------------------------------------------------------


def ext(code, payload):
    return b"\xc9" + len(payload).to_bytes(4, "big") + bytes([code]) + payload


def array_of(description, shape=(), data=b"", flags=0, pad=0):
    import msgpack

    packed = description if type(description) is bytes else msgpack.packb(description)
    head = bytes((flags, pad, len(shape))) + len(packed).to_bytes(2, "big")
    return ext(18, head + b"".join(n.to_bytes(8, "big") for n in shape) + packed + data)


HOSTILE = [
    "O", "|O", "|O8", "<f7", "<f8,<f8", "f8", "<f8 ", "<F8", "=f8", ">b1", "<i", "<S5", "|S05", "|S99999999999", "<U-1",
    "<M8[]", "<M8[1s]", "<M8[xs]", "<M8[generic]", "<M8[99999999999s]", "<M8[s/2]", "(3,)<f8", "<f8" * 1000, "",
    "|T", "__import__('os')", "<i4\n", "<i\u0664", None, 8, b"<f8", {}, [], ["<f8"], ["<f8", 3], ["<f8", [2**40]],
    ["<f8", [-1]], ["<f8", [2**30, 2**30]], ["<f8", [2]], [[["a", 0, "|O"]], 8, False], [[["a", 0, "<f8"]], 4, False],
    [[["a", -1, "<f8"]], 8, False], [[["a", 2**40, "<f8"]], 8, False], [[["a", 0, "<f8"], ["a", 8, "<f8"]], 16, False],
    [[["a", 0, "<f8"]], 2**40, False], [[["a", 0, "<f8"]], 8, 1], [[["a", 1, "<f8"]], 16, True], [[["a", 0]], 8, False],
    [[[1, 0, "<f8"]], 8, False], [[["a", 0, "<f8", "a"]], 8, False], ["<f8", [], 3, 4],
]  # fmt: skip


@pytest.mark.parametrize("description", HOSTILE, ids=lambda value: repr(value)[:40])
def test_dtypes_outside_the_grammar_are_refused(description):
    for data in (
        array_of(description, (1,), b"\0" * 8),
        array_of(description, (0,)),
        array_of([description, [1]], (1,), b"\0" * 8),
    ):
        with pytest.raises(CodecError, match=r"^cannot decode: extension 18 "):
            codec.decode(data)


def test_a_dtype_has_one_spelling():
    f8 = b"\xa3<f8"
    assert codec.decode(array_of(f8, (1,), b"\0" * 8)) == [0.0]
    for packed in (b"\xd9\x03<f8", b"\xc4\x03<f8", b"\x93\x90\xcd\x00\x08\xc2", f8 + b"\xc0", b"\x91" * 300 + b"\xc0",
                   b"\xdd\x00\x98\x96\x80" * 200, b""):  # fmt: skip
        with pytest.raises(CodecError):
            codec.decode(array_of(packed, (1,), b"\0" * 8))


@pytest.mark.parametrize(
    "data",
    [
        array_of("<f8", (2**61,)), array_of("<f8", (2**63, 2)), array_of("<f8", (2**32, 2**32)), array_of("|V0", (2**62,)),
        array_of("<f8", (2**62, 0)), array_of("<f8", (1,) * 65, b"\0" * 8), array_of("<f8", (1,) * 255, b"\0" * 8),
        array_of("<f8", (2,), b"\0" * 15), array_of("<f8", (2,), b"\0" * 17), array_of("<f8", (1,), b"\0" * 8, flags=4),
        array_of("<f8", (1,), b"\1" + b"\0" * 8, pad=1), array_of("<f8", (1,), b"\0" * 72, pad=64),
        array_of("<f8", (3,), b"\0" * 24, flags=1), array_of("<U1", (1,), b"\xff" * 4), array_of(">U1", (1,), b"\x7f" * 4),
        array_of([[["t", 0, "<U1"]], 4, False], (2,), b"\xff" * 8),
        ext(18, b""), ext(18, b"\0" * 4), ext(18, b"\0\0\0\xff\xff"), ext(19, b""), ext(19, b"\0\0"), ext(19, b"\0\4\xa3<f8"),
        ext(19, b"\0\2\xa1U\xff"), ext(19, b"\0\4\xa3|O8" + b"\0" * 8), ext(19, b"\0\4\xa3<U1\0\0\0\0"),
    ],
    ids=lambda data: data.hex()[:40],
)  # fmt: skip
def test_arrays_that_lie_are_refused(data):
    tracemalloc.start()
    try:
        for packed in (data, b"\x91" + data, b"\xdc\x01\x02" + b"\xc0" * 257 + data):
            with pytest.raises(CodecError, match=r"^cannot decode: extension 1[89] "):
                codec.decode(packed)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@settings(RELAXED, max_examples=400)
@given(st.one_of(arrays().map(codec.encode), st.sampled_from([np.float64(1), np.str_("x"), np.datetime64("NaT")]).map(codec.encode)),
       st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4))  # fmt: skip
def test_damaged_arrays_are_an_array_or_the_error(packed, damage):
    data = bytearray(packed)
    for at, byte in damage:
        data[at % len(data)] = byte
    try:
        value = codec.decode(bytes(data))
    except CodecError:
        return
    if type(value) is np.ndarray and len(damage) == 0:
        assert codec.encode(value) == packed
    assert shmstore.CodecError is CodecError
