"""Hostile bytes: memory and work stay in proportion to their size, or they are refused; what can be put can be read.

Nothing here looks at a clock. Memory is what Python's allocators have given, work is counted by a class with an == of
its own, and by what is refused.
"""

import itertools
import struct
import subprocess
import sys
import tracemalloc
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from uuid import UUID

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import shmstore
from shmstore.codecs import msgpack as codec

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from packed_bytes import array, ext, mapping  # noqa: E402

P = 2**61 - 1  # hash(n * P) == 0
MSGPACK = 1
RELAXED = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def read(make):
    """Functions that read bytes which somebody else recorded as msgpack: those of both codecs, and one to get many."""
    store = make(size="64M")
    handles = [store]
    try:
        handles.append(make(codec="msgspec", create=False))
    except ImportError:
        pass

    def read(packed):
        assert store._put_if_("k", packed, None, 0, 0, False, MSGPACK)
        return [
            lambda: store["k"],
            lambda: store.get_many(["k"])["k"],
            *[lambda: handle["k"] for handle in handles[1:]],
        ]

    return read


def refused(read, packed, match="cannot decode"):
    for way in read(packed):
        with pytest.raises(shmstore.CodecError, match=match):
            way()


def peak(function):
    """Call a function that raises CodecError or returns; return the most memory that it had."""
    tracemalloc.start()
    try:
        function()
    except shmstore.CodecError:
        pass
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most


# ---- containers --------------------------------------------------------------------------------------------


def nested_heads(size, levels, head, bytes_each):
    """Headers inside one another, each of which claims as many elements as there are bytes left."""
    packed = b""
    for _ in range(levels):
        packed += bytes([head]) + struct.pack(">I", (size - len(packed) - 5) // bytes_each)
    return packed + b"\xc0" * (size - len(packed))


@pytest.mark.parametrize(("head", "bytes_each"), [(0xDD, 1), (0xDF, 2)])
@pytest.mark.parametrize("inside", ["alone", "in a tuple", "in tuples"])
def test_no_container_is_larger_than_what_is_left_can_fill(read, head, bytes_each, inside):
    size = 1 << 20
    packed = nested_heads(size, 200, head, bytes_each)
    for _ in range(["alone", "in a tuple", "in tuples"].index(inside) * 3):
        packed = ext(1, array([packed]))
    for way in read(packed):
        way_peak = peak(way)
        assert way_peak < 16 * size, way_peak  # one list for each level would take 1,600 times as much


heads = st.sampled_from([b"\xdd", b"\xdf", b"\xdc", b"\xde", b"\x9f", b"\x8f", b"\x92"])
pieces = st.one_of(
    st.tuples(heads, st.integers(0, 5000)).map(
        lambda both: (
            both[0] + both[1].to_bytes({0xDC: 2, 0xDE: 2}.get(both[0][0], 4), "big") if both[0][0] > 0xA0 else both[0]
        )
    ),
    st.binary(min_size=1, max_size=4),
    st.just(b"\xc0" * 300),
)


@RELAXED
@given(st.lists(pieces, min_size=1, max_size=60).map(b"".join))
def test_memory_follows_the_bytes_whatever_they_claim(packed):
    assert peak(lambda: codec.decode(packed)) < 150 * len(packed) + 200_000


# ---- equal hashes ------------------------------------------------------------------------------------------


class Counted:
    """A class that is registered, with one hash for all, and counts comparisons."""

    compared = 0

    def __init__(self, number):
        self.number = number

    def __hash__(self):
        return 7

    def __eq__(self, other):
        Counted.compared += 1
        return self.number == other.number


shmstore.register(
    125, Counted, lambda value: value.number.to_bytes(4, "big"), lambda data: Counted(int.from_bytes(data, "big"))
)


def counted(count):
    return [ext(125, number.to_bytes(4, "big")) for number in range(count)]


@pytest.mark.parametrize(
    "shape", ["set", "dict", "frozensets", "dicts in a list", "tuples in a set", "sets in a tuple"]
)
@pytest.mark.parametrize("count", [1_000, 3_000, 20_000])
def test_comparisons_are_bounded(read, shape, count):
    keys = counted(count)
    packed = {
        "set": lambda: ext(2, array(keys)),
        "dict": lambda: mapping(keys),
        "frozensets": lambda: ext(2, array([ext(3, array(keys[at : at + 50])) for at in range(0, count, 50)])),
        "dicts in a list": lambda: array([mapping(keys[at : at + 500]) for at in range(0, count, 500)]),
        "tuples in a set": lambda: ext(2, array([ext(1, array([key])) for key in keys])),
        "sets in a tuple": lambda: ext(
            1, array([ext(2, array(keys[: count // 2])), ext(2, array(keys[count // 2 :]))])
        ),
    }[shape]()
    for way in read(packed):
        Counted.compared = 0
        try:
            way()
        except shmstore.CodecError:
            pass
        assert Counted.compared < 4_000_000, Counted.compared  # all pairs of 20,000 are 200 million


def test_the_put_compares_nothing_and_names_the_path(store):
    value = {"a": [{Counted(number): None for number in range(1200)}]}
    Counted.compared = 0
    with pytest.raises(
        shmstore.CodecError, match=r"entry 'k': cannot encode \$\.a\[0\]: too many keys or members have the same hash"
    ):
        store["k"] = value
    assert Counted.compared == 0
    assert "k" not in store


# Keys that all have one hash, and so many of them that they are refused; few enough to make a set of them here.
COLLIDING = {
    "UUID": (lambda n: UUID(int=n * P), 3200),
    "int": (lambda n: (n << 61) * P, 5700),
    "tuple of ints": (lambda n: (n * P,), 3600),
    "tuple of two ints": (lambda n: (n * P, -n * P), 2900),
    "tuple of UUIDs": (lambda n: (UUID(int=n * P), "x" * 1000), 500),
    "frozenset": (lambda n: frozenset({n * P}), 3600),
    "Fraction": (lambda n: Fraction(n * P), 1200),
    "Decimal": (lambda n: Decimal(n * P), 3000),
    "registered": (Counted, 1200),
}


@pytest.mark.parametrize("kind", COLLIDING)
def test_many_keys_of_one_hash_are_refused_by_put_and_by_get(store, kind):
    key, count = COLLIDING[kind]
    keys = [key(number) for number in range(1, count + 1)]
    assert len({hash(key) for key in keys}) == 1
    with pytest.raises(
        shmstore.CodecError, match=r"cannot encode \$\[1\]\.a: too many keys or members have the same hash"
    ):
        store["k"] = [1, {"a": set(keys)}]
    with pytest.raises(shmstore.CodecError, match="too many keys with one hash"):
        codec.decode(ext(2, array([codec.encode(key) for key in keys])))


def test_keys_of_one_hash_are_refused_in_every_container_by_every_codec(make, read):
    key, count = COLLIDING["tuple of UUIDs"]
    keys = [key(number) for number in range(1, count + 1)]
    for codec_name in ("msgpack", "msgspec"):
        store = make(codec=codec_name, create=False)
        for value in (
            set(keys),
            (frozenset(keys),),
            {"a": [dict.fromkeys(keys)]},
            {frozenset(keys): 1},
            [slice({1: set(keys)})],
        ):
            with pytest.raises(shmstore.CodecError, match="too many keys or members have the same hash"):
                store["k"] = value
    packed = [codec.encode(key) for key in keys]
    for hostile in (ext(2, array(packed)), ext(3, array(packed)), mapping(packed), array([b"\x01", ext(1, array([mapping(packed)]))]),
                    mapping([ext(3, array(packed))])):  # fmt: skip
        refused(read, hostile, "too many keys with one hash")


def test_a_type_that_a_reader_asks_for_makes_no_exception(make, read):
    """msgspec makes the dict itself, of keys that this package's decoder has made."""
    pytest.importorskip("msgspec")
    packed = [codec.encode(UUID(int=n * P)) for n in range(1, 3300)]
    read(mapping(packed))
    store = make(codec="msgspec", create=False)
    for kind in (dict, object):
        with pytest.raises(shmstore.CodecError, match="too many keys with one hash"):
            store.get("k", type=kind)


@pytest.mark.parametrize("kind", COLLIDING)
def test_a_tenth_of_them_is_stored(store, kind):
    key, count = COLLIDING[kind]
    value = {key(number): number for number in range(1, count // 10)}
    store["k"] = value
    assert store["k"] == value


def test_keys_that_are_arrays_count_as_well(read):
    """msgspec makes tuples of them, which no put writes."""
    keys = [codec.encode([n * P]) for n in range(1, 20_000)]
    refused(read, mapping(keys))


def test_a_large_int_beside_a_decimal(make, read):
    """Python makes a Decimal of the int, which takes quadratic time: for 300 kB half a minute."""
    keys = [Decimal(5), P * (1 << 2_400_000) + 5]
    assert hash(keys[0]) == hash(keys[1])
    packed = [codec.encode(key) for key in keys]
    for hostile in (mapping(packed), ext(2, array(packed)), ext(2, array([ext(1, array([key])) for key in packed]))):
        refused(read, hostile, "too many keys with one hash")
    store = make(create=False)
    store["k"] = {keys[1]: 1, Decimal(6): 2}  # other hashes
    assert store["k"] == {keys[1]: 1, Decimal(6): 2}


def test_frozensets_of_frozensets_multiply(read):
    """Few of one hash in each, but each comparison of two compares all that is in them."""
    packed = [codec.encode((n * P,)) for n in range(1, 41)]
    for _ in range(3):
        packed = [ext(3, array(packed[at:] + packed[:at])) for at in range(40)]  # all equal, which bytes may claim
    refused(read, ext(2, array(packed)))


LEGITIMATE = {
    "powers of two": lambda: {2**k: k for k in range(1000)},
    "ten thousand of them": lambda: {2**k for k in range(10_000)},
    "their inverses": lambda: {Fraction(1, 2**k) for k in range(1000)},
    "all floats that are a power of two": lambda: {sign * 2.0**k for k in range(-1074, 1024) for sign in (1, -1)},
    "floats beside tuples": lambda: {2.0**k for k in range(-1074, 1024)} | {(k,) for k in range(2000)},
    "complex numbers": lambda: {complex(2.0**i, 2.0**j) for i in range(60) for j in range(60)},
    "a grid around zero": lambda: dict.fromkeys(itertools.product(range(-20, 20), repeat=2), 1),
    "a grid of many dimensions": lambda: set(itertools.product(range(-2, 3), repeat=6)),  # hash(-1) == hash(-2)
    "pairs of neighbours": lambda: {frozenset({(x, y), (x, y + 1)}) for x in range(-50, 50) for y in range(-50, 50)},
    "UUIDs": lambda: {UUID(int=n): n for n in range(1500)},
    "large ints": lambda: {3**k for k in range(1500)},
    "Decimals": lambda: {Decimal(n) / 7 for n in range(3000)},
}


@pytest.mark.parametrize("name", LEGITIMATE)
def test_keys_that_programs_have_are_stored(make, name):
    value = LEGITIMATE[name]()
    for codec_name in ("msgpack", "msgspec"):
        store = make(size="32M", codec=codec_name)
        store["k"] = value
        assert store["k"] == value and type(store["k"]) is type(value)


@RELAXED
@given(st.lists(st.integers(1, 130), min_size=1, max_size=4))
def test_what_put_takes_get_reads(sizes):
    """On both sides of the limit, which a hundred large keys reach."""
    keys = [(number * P, "x" * 10_000) for number in range(1, 131)]
    value = [dict.fromkeys(keys[:size]) for size in sizes]
    try:
        packed = codec.encode(value)
    except shmstore.CodecError:
        whole = array([mapping([codec.encode(key) for key in part]) for part in value])
        with pytest.raises(shmstore.CodecError, match="too many keys"):
            codec.decode(whole)
    else:
        assert codec.decode(packed) == value


# ---- what extensions claim ---------------------------------------------------------------------------------


def ndarray(description, shape, memory=b""):
    packed = msgpack.packb(description)
    lengths = b"".join(length.to_bytes(8, "big") for length in shape)
    return ext(18, bytes((0, 0, len(shape))) + len(packed).to_bytes(2, "big") + lengths + packed + memory)


@pytest.mark.parametrize(
    ("description", "shape"),
    [("|S2000000000", (0,)), ("<U500000000", (0, 3)), ([[["a", 0, "|u1"]], 2_000_000_000, False], (0,)),
     ("|S0", (1 << 24,)), ("<U0", (1 << 24,)), ([], (1 << 24,)), ("|V0", (1 << 12, 1 << 12))],
    ids=str,
)  # fmt: skip
def test_elements_that_take_no_bytes_take_no_memory(description, shape):
    pytest.importorskip("numpy")
    packed = ndarray(description if description else [[], 0, False], shape)
    codec.decode(ndarray("|u1", (1,), b"x"))  # what numpy is imported for
    assert peak(lambda: codec.decode(packed)) < 400_000  # the most of it is a packer's
    found = codec.decode(packed)
    assert found.shape == shape and found.nbytes == 0


def test_arrays_of_empty_texts_survive(store):
    np = pytest.importorskip("numpy")
    fields = np.zeros(3, [("bytes", "S0"), ("text", "U0"), ("void", "V0"), ("number", "i4")])
    for name in fields.dtype.names:
        store["k"] = fields[name]
        assert store["k"].dtype == fields[name].dtype and store["k"].shape == (3,)


def test_a_text_is_looked_at_a_few_times_at_most():
    np = pytest.importorskip("numpy")
    fields = [[str(number), 0, "<U4"] for number in range(17)]
    with pytest.raises(shmstore.CodecError, match="more than 16 texts overlap"):
        codec.decode(ndarray([fields, 16, False], (1,), bytes(16)))
    array = np.zeros(2, {"names": ["a", "b"], "formats": ["U4", "U2"], "offsets": [0, 4]})
    assert codec.decode(codec.encode(array)).dtype == array.dtype


def test_pandas_objects_inside_one_another_are_refused():
    """Each level copies those inside it, and took 40 KB of the C stack: two thousand bytes ended the process."""
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    script = r"""
import struct
from shmstore.codecs import msgpack as codec
from shmstore.errors import CodecError

packed = b"\xc0"
for _ in range(300):
    about = b"\x91" + packed
    payload = bytes((3, 0)) + len(about).to_bytes(4, "big") + about
    packed = b"\xc9" + struct.pack(">Ib", len(payload), 21) + payload
try:
    codec.decode(packed)
except CodecError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=1200)
    assert run.returncode == 0 and "more than 6 objects of pandas inside one another" in run.stdout, run.stderr
