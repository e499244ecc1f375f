"""What the msgpack codec refuses to encode: where it lies, why, and what to do instead."""

import array
import collections
import dataclasses
import enum
import io
import pathlib
import struct
import sys
import uuid
import zoneinfo
from datetime import datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import msgpack
import pytest

import shmstore  # noqa: F401  puts the compiled walks in place
from shmstore.codecs import msgpack as codec
from shmstore.errors import CodecError

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from packed_bytes import nested, wrap_dict, wrap_list, wrap_set, wrap_slice, wrap_tuple  # noqa: E402

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


WRAPS = [wrap_list, wrap_tuple, wrap_set, wrap_slice, wrap_dict]


class Colour(enum.Enum):
    RED = 1


class Text(str):
    pass


class Days(timedelta):
    pass


class Summer(tzinfo):
    def utcoffset(self, when):
        return timedelta(hours=2)

    def tzname(self, when):
        return "summer"

    def dst(self, when):
        return timedelta(hours=1)


@dataclasses.dataclass
class Record:
    x: int


Point = collections.namedtuple("Point", "x y")
NOON = datetime(2026, 1, 1, 12)


def a_zone_file():
    """The smallest TZif file: UTC, no transitions."""
    head = b"TZif" + b"\0" * 16 + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", 0, 0, 0) + b"UTC\0"
    return io.BytesIO(head)


REFUSED = [
    (Point(1, 2), r"Point.*tuple\(x\), or x\._asdict"),
    (Colour.RED, r"Colour.*\.value"),
    (enum.IntEnum("Number", "ONE").ONE, r"Number.*\.value"),
    (Record(1), r"Record.*dataclasses\.asdict"),
    (collections.OrderedDict(a=1), r"collections\.OrderedDict.*dict\(x\)"),
    (collections.defaultdict(int), r"collections\.defaultdict.*dict\(x\)"),
    (collections.deque(), r"collections\.deque.*pickle"),
    (Text("a"), r"Text.*str\(x\)"),
    (type("Int", (int,), {})(1), r"Int.*int\(x\)"),
    (type("Float", (float,), {})(1), r"Float.*float\(x\)"),
    (type("Bytes", (bytes,), {})(b"1"), r"Bytes.*bytes\(x\)"),
    (type("List", (list,), {})(), r"List.*list\(x\)"),
    (type("Set", (set,), {})(), r"Set.*set\(x\)"),
    (type("When", (datetime,), {})(2000, 1, 1), r"When"),
    (type("Uuid", (uuid.UUID,), {})(int=1), r"Uuid"),
    (type("Bytearray", (bytearray,), {})(b"a"), r"Bytearray.*bytearray\(x\)"),
    (type("Chars", (array.array,), {})("b"), r"Chars.*array\.array\(x\.typecode, x\)"),
    (msgpack.ExtType(1, b"\x90"), r"msgpack\.ext\.ExtType.*codec='raw'"),
    (msgpack.Timestamp(1), r"msgpack\.ext\.Timestamp.*to_datetime"),
    (pathlib.PurePosixPath("x"), r"PurePosixPath.*str\(x\)"),
    ((x for x in ()), r"generator.*list\(x\)"),
    (object(), r"object.*codec='pickle'"),
    (int, r"type"),
    (len, r"builtin_function_or_method"),
    (timezone.utc, r"datetime\.timezone.*as part of a datetime"),
    (BERLIN, r"zoneinfo\.ZoneInfo.*as part of a datetime"),
    ("\ud800", r"a str with a lone surrogate at 0.*surrogatepass"),
    (Fraction(1, 2**10000), r"fractions\.Fraction: a number in it takes 1251 bytes, more than 1024"),
    (range(2**10000), r"range: a number in it takes"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=lambda value: type(value).__name__)
def test_what_is_not_on_the_list_is_refused_with_a_remedy(value, message):
    with pytest.raises(CodecError, match=rf"^cannot encode \$: .*{message}"):
        codec.encode(value)
    with pytest.raises(CodecError, match=rf"^cannot encode \$\.users\[3\]\.avatar: .*{message}"):
        codec.encode({"users": [{}, (), {1}, {"name": "x", "avatar": value}]})
    with pytest.raises(CodecError, match=rf"^cannot encode \$\[1\]\[0\]: .*{message}"):
        codec.encode((2**70, [value]))


@pytest.mark.parametrize("text", ["\ud800", "\udcff", "a\udfffb"], ids=ascii)
def test_the_remedy_for_lone_surrogates_works(text):
    with pytest.raises(CodecError) as caught:
        codec.encode(text)
    remedy = str(caught.value).rpartition("store bytes: ")[2].partition(", of a file name")[0]
    raw = eval(remedy, {"s": text})
    assert codec.decode(codec.encode(raw)).decode("utf-8", "surrogatepass") == text


TZINFOS = [
    (Summer(), r"a tzinfo of type Summer"),
    (zoneinfo.ZoneInfo.no_cache("UTC"), r"no_cache"),
    (timezone(Days(seconds=60)), r"subclass of timedelta"),
    (timezone(timedelta(0), Text("x")), r"subclass of str"),
    (timezone(timedelta(0), "\ud800"), r"lone surrogate"),
]


@pytest.mark.parametrize(("zone", "message"), TZINFOS, ids=lambda value: type(value).__name__)
def test_other_zones_are_refused(zone, message):
    for value in (NOON.replace(tzinfo=zone), NOON.time().replace(tzinfo=zone)):
        with pytest.raises(CodecError, match=rf"^cannot encode \$\.at\.tzinfo: .*{message}.*; "):
            codec.encode({"at": value})


def test_zones_from_files_are_refused():
    with_key = zoneinfo.ZoneInfo.from_file(a_zone_file(), key="Europe/Berlin")
    without = zoneinfo.ZoneInfo.from_file(a_zone_file())
    with pytest.raises(CodecError, match=r"\$\.tzinfo: .*read from a file"):
        codec.encode(NOON.replace(tzinfo=with_key))
    with pytest.raises(CodecError, match=r"\$\.tzinfo: .*without a key"):
        codec.encode(NOON.replace(tzinfo=without))


PATHS = [
    ([[Colour.RED]], "$[0][0]"),
    ({"a b": (1, Colour.RED)}, "$['a b'][1]"),
    ({"": Colour.RED}, "$['']"),
    ({7: {b"k": Colour.RED}}, "$[7][b'k']"),
    ({(1, "x"): Colour.RED}, "$[(1, 'x')]"),
    ({None: {True: {1.5: Colour.RED}}}, "$[None][True][1.5]"),
    ({2**200: Colour.RED}, "$[an int of 201 bits]"),
    ({"x" * 500: Colour.RED}, "$['" + "x" * 40 + "']"),
    ({"s": {Colour.RED}}, "$.s{Colour}"),
    ({"s": {("a", Colour.RED)}}, "$.s{('a', Colour)}[1]"),
    ({"s": {(): frozenset({Colour.RED})}}, "$.s[()]{Colour}"),
    ({Colour.RED: 1}, "$<key Colour>"),
    ({"u": {("a", Colour.RED): 1}}, "$.u<key ('a', Colour)>[1]"),
    ({"u": {(((1,),),): Colour.RED}}, "$.u[((tuple,),)]"),
    ({(1, 2, 3, 4): Colour.RED}, "$[(1, 2, 3, ...)]"),
    (slice(0, [Colour.RED]), "$.stop[0]"),
]


@pytest.mark.parametrize(("value", "path"), PATHS, ids=[path for _, path in PATHS])
def test_paths_lead_to_it(value, path):
    with pytest.raises(CodecError) as caught:
        codec.encode(value)
    assert str(caught.value).startswith(f"cannot encode {path}: objects of type test_codecs.Colour") or (
        f"cannot encode {path}: objects of type " in str(caught.value) and "Colour" in str(caught.value)
    )


def test_the_first_one_is_named():
    with pytest.raises(CodecError, match=r"\$\.b\[1\]"):
        codec.encode({"a": [1, 2], "b": [1, Colour.RED], "c": Record(1), "d": {}})


def test_a_class_that_claims_to_be_another_is_refused():
    class Liar(type):
        def __eq__(cls, other):
            return True

        def __hash__(cls):
            return hash(Decimal)

        def __getattribute__(cls, name):
            raise RuntimeError("the metaclass was asked")

    class Fake(metaclass=Liar):
        def __repr__(self):
            raise RuntimeError("the object was asked")

        __iter__ = __hash__ = __repr__

    impostor = type("Decimal", (), {"__module__": "decimal", "__qualname__": "Decimal"})
    for kind in (Fake, impostor):
        value = object.__new__(kind)
        for outer in ([value], (value,), {"k": value}):
            with pytest.raises(CodecError, match=r"^cannot encode \$.*objects of type "):
                codec.encode(outer)
    heir = type.__call__(Liar, "Heir", (int,), {})
    with pytest.raises(CodecError, match=r"Heir"):
        codec.encode([int.__new__(heir, 1)])


def test_cycles_are_named():
    ring = []
    ring.append({"self": ring})
    with pytest.raises(CodecError, match=r"^cannot encode \$\[0\]\.self: it contains itself; "):
        codec.encode(ring)
    twisted = ([],)
    twisted[0].append(slice(twisted))
    with pytest.raises(CodecError, match=r"^cannot encode \$\[0\]\[0\]\.stop: it contains itself; "):
        codec.encode(twisted)
    shared = [1]
    assert codec.decode(codec.encode([shared, shared])) == [[1], [1]]


@pytest.mark.parametrize("wrap", WRAPS)
def test_depth_ends_at_256(wrap):
    deepest = nested(wrap, 256)
    assert repr(codec.decode(codec.encode(deepest))) == repr(deepest)
    with pytest.raises(CodecError, match=r"more than 256 containers nested in one another; "):
        codec.encode(nested(wrap, 257))


def test_depth_of_a_key_counts_from_its_dict():
    assert codec.decode(codec.encode({nested(wrap_tuple, 255): 1})) == {nested(wrap_tuple, 255): 1}
    with pytest.raises(CodecError, match=r"^cannot encode \$<key .*more than 256 containers"):
        codec.encode({nested(wrap_tuple, 256): 1})


def test_long_paths_are_shortened():
    with pytest.raises(CodecError) as caught:
        codec.encode(nested(wrap_list, 200, [Colour.RED]))
    assert " ...185 more... " in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.slow
def test_a_value_of_shared_parts_does_not_grow_without_end():
    value = []
    for _ in range(100):
        value = [value, value]
    with pytest.raises(CodecError, match=r"^cannot encode \$: more than 134217728 objects"):
        codec.encode(value)


def test_tuples_inside_one_another_are_not_copied():
    inner = b"x" * (1 << 20)
    for wrap in (wrap_tuple, wrap_list):
        assert codec.decode(codec.encode(nested(wrap, 200, [inner]))) == nested(wrap, 200, [inner])
