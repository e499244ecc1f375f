"""What nobody encoded: malformed bytes, unknown codes, payloads that lie, and the limits of decoding."""

import struct
import subprocess
import sys
import tracemalloc
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from uuid import UUID, uuid4

import msgpack
import pytest

import shmstore  # noqa: F401  puts the compiled walks in place
from shmstore.codecs import msgpack as codec
from shmstore.codecs import registry
from shmstore.errors import CodecError

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from packed_bytes import nested, wrap_list  # noqa: E402


def ext(code, payload):
    if code >= 0:
        return msgpack.packb(msgpack.ExtType(code, payload))
    return b"\xc9" + struct.pack(">Ib", len(payload), code) + payload


F12 = bytes.fromhex("07ea0b150c2238000c0a14")  # a datetime without its flags
HOSTILE = [
    (1, ""), (1, "c0"), (1, "80"), (1, "91"), (1, "9100 00"), (1, "dd ffffffff"), (1, "91 c1"),
    (1, "91 a1 ff"),
    (2, "92 01 01"), (2, "91 90"), (2, "92 01 cb 3ff0000000000000"), (3, "91 80"), (3, "91 c7 00 02"),
    (4, "92 01 02"), (4, "94 01 02 03 04"), (4, "c0"),
    (5, ""), (5, "01"), (5, "00" * 8 + "01"), (5, "00 80" + "00" * 7), (5, "00 7f" + "00" * 8),
    (5, "ff 80" + "00" * 8),
    (5, "7f" + "ff" * 7), (5, "80" + "00" * 7),
    (6, ""), (6, b" 1".hex()), (6, b"1_0".hex()), (6, b"1e5".hex()), (6, b"+1".hex()), (6, b"nan".hex()),
    (6, b"inf".hex()), (6, b"x".hex()), (6, "d9a1"), (6, b"01".hex()), (6, b"1E9999999999999999999".hex()),
    (6, b"NaN0".hex()), (6, b"1.0E2".hex()),
    (7, ""), (7, "0001 02 0001 04"), (7, "0001 01 0001 00"), (7, "0001 01 0001 ff"), (7, "0001 01"),
    (7, "0001 01 0001 02 00"), (7, "0002 0001 0001 02"), (7, "0000 0001 02"),
    (7, "0401" + "01" * 1025 + "0001 01"),
    (7, "ffff 01"),
    (8, ""), (8, "0001 00 0001 01 0001 00"), (8, "0001 00 0001 01"), (8, "0001 00 0001 01 0001 01 00"),
    (9, ""), (9, "00" * 15), (9, "00" * 17),
    (10, ""), (10, "08" + F12.hex()), (10, "00" + F12.hex() + "00"), (10, "00" + F12[:-1].hex()),
    (10, "00 07ea 0d 15 0c 22 38 000c0a14"), (10, "00 0000 01 01 00 00 00 00000000"),
    (10, "00 07ea 0b 15 0c 22 38 ffffffff"), (10, "02" + F12.hex()), (10, "02" + F12.hex() + "7f" + "ff" * 7),
    (10, "02" + F12.hex() + "00" * 9), (10, "02" + F12.hex() + (86_400_000_000).to_bytes(8, "big").hex()),
    (10, "04" + F12.hex() + "00" * 8 + "ff"), (10, "04" + F12.hex() + "00" * 7), (10, "06" + F12.hex()),
    (11, ""), (11, "07ea 0b 1f"), (11, "2710 01 01"), (11, "07ea 0b 15 00"),
    (12, ""), (12, "00 18 00 00 00000000"), (12, "00 00 00 00 000f4240"), (12, "80 00 00 00 00000000"),
    (12, "00 00 00 00 00000000 00"),
    (13, ""), (13, "00000000 00015180 00000000"), (13, "00000000 00000000 000f4240"),
    (13, "7fffffff 00000000 00000000"), (13, "00" * 13),
    (14, ""), (14, "00" * 15), (14, "00" * 18), (14, "00" * 16 + "02"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "payload"), HOSTILE)
def test_malformed_payloads_are_refused(code, payload):
    packed = ext(code, bytes.fromhex(payload))
    for data in (packed, b"\xdc\x01\x02" + b"\xc0" * 257 + packed):
        with pytest.raises(CodecError, match=r"^cannot decode: "):
            codec.decode(data)


KEYS = ["../../../etc/passwd", "/etc/passwd", "Europe/../Europe/Berlin", "Europe", "Europe/", "/", "", ".",
        "Nowhere/City",
        "zone.tab", "tzdata.zi", "a\0b", "a b", "é", "x" * 256, "x/" * 127 + "x", "__init__", "tzdata", "os",
        "Europe//Berlin",
        "Europe\\Berlin", "-", "Europe/__init__"]  # fmt: skip


def test_zone_keys_open_no_other_files():
    """Every key is refused, and what is opened meanwhile lies below TZPATH or Python's own folders."""
    script = """
import os, sys, zoneinfo
from shmstore.codecs import msgpack as codec
from shmstore.codecs import registry
from shmstore.errors import CodecError
opened = []
sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" else None)
for line in sys.stdin:
    try:
        codec.decode(bytes.fromhex(line))
    except CodecError as error:
        print(str(error).encode("ascii", "replace").decode())
roots = [os.path.realpath(root) + "/" for root in (*zoneinfo.TZPATH, sys.prefix, sys.base_prefix, *sys.path)]
print([path for path in opened if not os.path.realpath(path).startswith(tuple(roots))])
"""
    packed = [ext(10, b"\6" + F12 + key.encode()).hex() for key in KEYS]
    run = subprocess.run(
        [sys.executable, "-c", script], input="\n".join(packed), capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr
    *errors, strays = run.stdout.splitlines()
    assert strays == "[]"
    assert len(errors) == len(KEYS)
    for key, error in zip(KEYS, errors, strict=True):
        assert error.startswith("cannot decode: extension 10 (datetime) of "), key
    assert "the time zone 'Nowhere/City' is unknown on this machine" in errors[KEYS.index("Nowhere/City")]


@pytest.mark.parametrize("code", [0, 22, 63, 77, 127, -2, -128])
def test_unknown_codes_are_named(code):
    for data in (ext(code, b""), ext(code, b"abc"), b"\x91" + ext(code, b"x" * 300)):
        with pytest.raises(CodecError, match=rf"^cannot decode: extension code {code} is unknown"):
            codec.decode(data)
    inside = codec.encode(([[1]],)).replace(b"\x91\x91\x01", b"\xd4" + bytes([code & 255]) + b"\x01")
    with pytest.raises(CodecError, match=rf"extension code {code} is unknown"):
        codec.decode(inside)


MALFORMED = [b"", b"\xc1", b"\x91", b"\x92\xc0", b"\xc0\xc0", b"\xa5abc", b"\xdf\xff\xff\xff\xff",
             b"\xdd\x7f\xff\xff\xff",
             b"\xdb\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xa1\xff", b"\xa3\xed\xa0\x80",
             b"\x81\x90\x01",
             b"\x81\x80\x01", b"\x81\xc7\x01\x02\x90\x01", b"\xd4\xff\x00",
             b"\xd7\xff" + b"\xff" * 8]  # fmt: skip


@pytest.mark.parametrize("data", MALFORMED, ids=lambda data: data.hex())
def test_malformed_bytes_are_refused(data):
    with pytest.raises(CodecError, match=r"^cannot decode: .*(damaged|extension)"):
        codec.decode(data)
    with pytest.raises(CodecError, match=r"^cannot decode: "):
        codec.decode(b"\xdc\x01\x02" + b"\xc0" * 257 + data)


def test_depth_is_limited_when_decoding():
    assert codec.decode(b"\x91" * 255 + b"\x90") == nested(wrap_list, 256)
    for data in (b"\x91" * 256 + b"\x90", b"\x91" * 2000 + b"\xc0", b"\x81\xc0" * 300 + b"\xc0"):
        with pytest.raises(CodecError, match=r"^cannot decode: more than 256 containers"):
            codec.decode(data)
    tuples = b"\x90"
    for _ in range(300):
        tuples = b"\x91" + ext(1, tuples)
    with pytest.raises(CodecError, match=r"^cannot decode: more than 256 containers"):
        codec.decode(ext(1, tuples))


def test_headers_that_claim_too_much_take_no_memory():
    """A thousand arrays of ten million elements each, said in fifty kilobytes of headers."""
    data = b"\xdd\x00\x98\x96\x80" * 200 + b"\xc0" * 10_000
    with pytest.raises(CodecError, match=r"^cannot decode: 11000 bytes: they claim more elements than there are bytes"):
        codec.decode(data)


def test_tuples_inside_one_another_are_not_copied():
    data = b"\x91" + codec.encode(b"x" * (1 << 20))
    for _ in range(200):
        data = b"\x91" + ext(1, data)
    value = codec.decode(ext(1, data))
    for _ in range(201):
        (value,) = value
    assert value == b"x" * (1 << 20)


def test_large_numbers_are_quick_enough_to_be_tested():
    for value in (Decimal("9" * 2_000_000), Decimal("1E-999999"), 1 << 8_000_000, -(1 << 8_000_000)):
        assert codec.decode(codec.encode(value)) == value


def test_other_exceptions_are_wrapped_and_kept_as_the_cause():
    with pytest.raises(CodecError) as caught:
        codec.decode(b"\xa1\xff")
    assert isinstance(caught.value.__cause__, UnicodeDecodeError)


def test_want_of_memory_is_not_blamed_on_the_value(monkeypatch):
    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setitem(registry.READERS, 77, fail)
    for data in (ext(77, b"x"), b"\x91" + ext(77, b"x")):
        with pytest.raises(MemoryError):
            codec.decode(data)


@pytest.mark.parametrize("head", ["array", "map", "tuple", "set", "frozenset", "mixed"])
def test_nested_containers_are_no_larger_than_the_bytes_can_fill(head):
    """250 levels, each of which claims all bytes that are left: the second one is refused."""
    size = 1 << 20
    data = b""
    for level in range(250):
        kind = ["array", "map", "tuple", "set", "frozenset"][level % 5] if head == "mixed" else head
        left = size - len(data)
        if kind == "map":
            data += b"\xdf" + struct.pack(">I", (left - 5) // 2)
        else:
            if kind != "array":
                data += b"\xc9" + struct.pack(">Ib", left - 6, {"tuple": 1, "set": 2, "frozenset": 3}[kind])
                left -= 6
            data += b"\xdd" + struct.pack(">I", left - 5)
    data += b"\xc0" * (size - len(data))
    tracemalloc.start()
    try:
        with pytest.raises(CodecError, match="^cannot decode: "):
            codec.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 12 * size  # eight bytes an element, once
    finally:
        tracemalloc.stop()


def test_elements_that_are_owed_leave_no_room_for_an_extension():
    inner = ext(1, b"\xdc" + struct.pack(">H", 1000) + b"\xc0" * 1000)
    assert codec.decode(b"\x92" + inner + b"\xc0") == [(None,) * 1000, None]
    with pytest.raises(CodecError, match="^cannot decode: "):
        codec.decode(b"\x93" + inner + b"\xc0")


P = 2**61 - 1
CROWDS = {
    "ints": lambda n: {(i + 1) * P * 8 for i in range(n)}, "uuids": lambda n: {UUID(int=(i + 1) * P) for i in range(n)},
    "tuples": lambda n: {(i * P,) for i in range(n)}, "keys": lambda n: {Decimal(i * P): i for i in range(n)},
    "fractions": lambda n: {Fraction(i * P) for i in range(n)}, "complex": lambda n: {complex(0, i) for i in range(n)},
}  # fmt: skip


@pytest.mark.parametrize("kind", ["ints", "uuids", "tuples", "keys", "fractions"])
def test_keys_of_one_hash_are_limited(kind):
    few, many = CROWDS[kind](100), CROWDS[kind]({"ints": 6000, "fractions": 1300}.get(kind, 3500))
    assert codec.decode(codec.encode(few)) == few
    for value in (many, [many], {"a": (many,)} if kind != "keys" else [many]):
        with pytest.raises(
            CodecError, match=r"^cannot encode \$.*too many keys or members have the same hash; store a list of pairs"
        ):
            codec.encode(value)
    packed = codec.encode(list(many) * 2 if kind != "keys" else [x for pair in many.items() for x in pair])
    count, body = len(many), packed[3:]
    if kind == "keys":
        hostile = b"\xde" + struct.pack(">H", count) + body
        with pytest.raises(CodecError, match="too many keys with one hash"):  # twice what put allows is read
            codec.decode(b"\x92" + hostile + hostile)


def test_many_small_crowds_are_limited_together():
    crowd = CROWDS["tuples"](300)
    assert codec.decode(codec.encode([crowd] * 50)) == [crowd] * 50
    with pytest.raises(CodecError, match="too many keys or members have the same hash"):
        codec.encode([crowd] * 200)


def test_long_keys_count_as_several():
    with pytest.raises(CodecError, match="too many keys or members have the same hash"):
        codec.encode({(i * P,) + (0,) * 2000 for i in range(1000)})


ORDINARY = {
    "powers": lambda: {2**k: k for k in range(6000)}, "negative": lambda: {-(2**k) for k in range(3000)},
    "floats": lambda: {2.0**k for k in range(-1074, 1024)}, "uuids": lambda: {uuid4() for _ in range(50_000)},
    "tuples": lambda: {(i, str(i)) for i in range(50_000)}, "decimals": lambda: {Decimal(i) / 7 for i in range(20_000)},
    "complex": lambda: {complex(i, -i) for i in range(20_000)}, "fractions": lambda: {Fraction(i, 7) for i in range(5000)},
    "ints": lambda: {i * 2**32 for i in range(50_000)},
}  # fmt: skip


@pytest.mark.parametrize("kind", ORDINARY)
def test_ordinary_keys_are_not_limited(kind):
    value = ORDINARY[kind]()
    assert codec.decode(codec.encode(value)) == value
