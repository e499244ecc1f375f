"""The msgpack codec by example: the wire format byte for byte, what survives, packers and threads."""

import array
import decimal
import fractions
import struct
import subprocess
import sys
import threading
import uuid
import zoneinfo
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import msgpack
import pytest

import shmstore  # noqa: F401  puts the compiled walks in place
from shmstore.codecs import extensions, registry
from shmstore.codecs import msgpack as codec
from shmstore.errors import CodecError

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def ext(code, payload):
    if code >= 0:
        return msgpack.packb(msgpack.ExtType(code, payload))
    return b"\xc9" + struct.pack(">Ib", len(payload), code) + payload


# ---- the wire ----------------------------------------------------------------------------------------------

WIRE = [
    ((), 1, "90"),
    ((1, "a"), 1, "92 01 a1 61"),
    ({7}, 2, "91 07"),
    (frozenset({None}), 3, "91 c0"),
    (slice(1, None, "x"), 4, "93 01 c0 a1 78"),
    (2**64, 5, "01 00 00 00 00 00 00 00 00"),
    (-(2**63) - 1, 5, "ff 7f ff ff ff ff ff ff ff"),
    (Decimal("-1.50E+7"), 6, b"-1.50E+7".hex()),
    (Fraction(-1, 128), 7, "00 01 ff 00 02 00 80"),
    (range(0, 255, -3), 8, "00 01 00 00 02 00 ff 00 01 fd"),
    (complex(1, -0.0), 9, "3f f0 00 00 00 00 00 00 80 00 00 00 00 00 00 00"),
    (datetime(2026, 11, 21, 12, 34, 56, 789012), 10, "00 07 ea 0b 15 0c 22 38 00 0c 0a 14"),
    (datetime(1, 1, 1, fold=1, tzinfo=timezone.utc), 10, "03 00 01 01 01 00 00 00 00 00 00 00" + " 00" * 8),
    (datetime(9999, 12, 31, tzinfo=timezone(timedelta(microseconds=-1), "né")), 10,
     "04 27 0f 0c 1f 00 00 00 00 00 00 00" + " ff" * 8 + " 6e c3 a9"),
    (datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN), 10,
     "07 07 ea 0a 19 02 1e 00 00 00 00 00" + b"Europe/Berlin".hex()),
    (date(2026, 11, 21), 11, "07 ea 0b 15"),
    (time(23, 59, 58, 1, fold=1), 12, "01 17 3b 3a 00 00 00 01"),
    (time(0, tzinfo=BERLIN), 12, "06 00 00 00 00 00 00 00" + b"Europe/Berlin".hex()),
    (timedelta(microseconds=-1), 13, "ff ff ff ff 00 01 51 7f 00 0f 42 3f"),
    (uuid.UUID(int=1), 14, "00" * 15 + "01"),
    (uuid.UUID(int=1, is_safe=uuid.SafeUUID.safe), 14, "00" * 15 + "01 01"),
    (uuid.UUID(int=1, is_safe=uuid.SafeUUID.unsafe), 14, "00" * 15 + "01 00"),
    (bytearray(b"ab"), 15, "61 62"),
    (memoryview(b"ab"), 16, "01 42 01 01 00" + "00" * 7 + "02 61 62"),
    (memoryview(bytearray(8)).cast("i", (1, 2)), 16, "00 69 04 02 00" + "00" * 7 + "01" + "00" * 7 + "02" + "00" * 8),
    (array.array("h", [1, -1]), 17, "68 02 00 01 00 ff ff"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "code", "payload"), WIRE, ids=[f"{code}:{text[:40]}" for _, code, text in WIRE])
def test_payloads_are_as_documented(value, code, payload):
    packed = ext(code, bytes.fromhex(payload))
    assert codec.encode(value) == packed
    back = codec.decode(packed)
    assert back == value and type(back) is type(value)
    assert getattr(back, "fold", 0) == getattr(value, "fold", 0)
    assert str(getattr(back, "tzinfo", None)) == str(getattr(value, "tzinfo", None))


def test_every_code_has_a_vector_and_a_name():
    assert {code for _, code, _ in WIRE} == set(range(1, 18))  # 18 to 21 are in test_arrays and test_arrow
    assert set(range(1, 22)) == {code for code in extensions.NAMES if code < registry.FIRST}
    for code in range(15, 20):
        assert callable(registry.READERS.get(code) or registry.reader(code))


def test_what_msgpack_has_goes_as_it_is():
    value = {"id": 12345, "name": "alice", 1.5: [None, True, -1, 2**64 - 1, -(2**63)], b"k": b"v", 7: "ü"}
    assert codec.encode(value) == msgpack.packb(value)
    assert codec.decode(msgpack.packb(value)) == value
    for size in (0, 255, 256, 65535, 65536, 200_000):  # the large ones are not given to a Packer
        assert codec.encode(b"x" * size) == msgpack.packb(b"x" * size)
        assert codec.decode(codec.encode(b"x" * size)) == b"x" * size


def test_a_timestamp_of_another_language_is_read():
    packed = msgpack.packb([msgpack.Timestamp(1, 999_999_999)])
    assert codec.decode(packed) == [msgpack.Timestamp(1, 999_999_999)]
    assert codec.decode(packed + b"")[0].nanoseconds == 999_999_999


# ---- what survives -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["0", "-0", "0E+5", "-0E-7", "1E+999999", "1.10", "NaN", "-NaN", "sNaN", "NaN123", "-sNaN45",
    "Infinity",
             "-Infinity", "9" * 5000, "1E-999999999999999999"],
)  # fmt: skip
@pytest.mark.parametrize("context", [{}, {"capitals": 0}, {"prec": 2, "traps": []}, {"Emax": 1, "Emin": -1}])
def test_decimals_keep_every_bit_whatever_the_context(text, context):
    value = Decimal(text)
    with decimal.localcontext(decimal.Context(**context)):
        back = codec.decode(codec.encode(value))
    assert back.as_tuple() == value.as_tuple()


def test_names_and_folds_of_zones_survive():
    plain, named = timezone(timedelta(hours=1)), timezone(timedelta(hours=1), "CET")
    empty = timezone(timedelta(hours=1), "")
    for zone in (plain, named, empty):
        for value in (datetime(2026, 10, 25, 2, 30, tzinfo=zone, fold=1), time(2, 30, tzinfo=zone, fold=1)):
            back = codec.decode(codec.encode(value))
            assert back.tzname() == value.tzname() and back.tzinfo.utcoffset(None) == timedelta(hours=1)
            assert repr(back) == repr(value)
    assert codec.decode(codec.encode(datetime(2000, 1, 1, tzinfo=timezone.utc))).tzinfo is timezone.utc
    assert codec.decode(codec.encode(datetime(2000, 1, 1, tzinfo=BERLIN))).tzinfo is BERLIN


def test_keys_that_are_equal_keep_the_type_that_is_there():
    for key in (1, 1.0, True, Decimal(1), Fraction(1), complex(1)):
        back = codec.decode(codec.encode({key: "x", (key,): "y", frozenset({key}): "z"}))
        assert back == {1: "x", (1,): "y", frozenset({1}): "z"}
        first, second, third = back
        assert type(first) is type(second[0]) is type(next(iter(third))) is type(key)


def test_a_nan_is_a_key_as_well():
    back = codec.decode(codec.encode({float("nan"): 1, 2: float("nan")}))
    assert [key != key for key in back] == [True, False]
    assert back[2] != back[2]
    assert len(codec.decode(codec.encode({float("nan"), float("nan")}))) == 2


# ---- packers -----------------------------------------------------------------------------------------------


def test_a_failure_leaves_nothing_behind():
    good = {"a": [1, (2, {3}), "x"], "b": Decimal("1.5")}
    plain = ["x" * 1000] * 10
    expected, plain_expected = codec.encode(good), codec.encode(plain)
    for bad in (
        ["x" * 100_000, "\ud800"],
        [(1, 2), "x" * 1000, "\ud800"],
        [(1, [2, object()])],
        [(bytearray(), object())],
    ):
        for _ in range(3):
            with pytest.raises(CodecError):
                codec.encode(bad)
            assert codec.encode(good) == expected
            assert codec.encode(plain) == plain_expected


def test_threads_do_not_mix_their_bytes():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    wrong = []

    def work(n):
        value = {"n": n, "nest": (n, (n, {n, (n,)}), [Decimal(n), Fraction(n, 7)]), "text": str(n) * n}
        try:
            for _ in range(300):
                back = codec.decode(codec.encode(value))
                if back != value:
                    wrong.append((value, back))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in (3, 50, 700, 9000)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_a_list_that_changes_meanwhile_is_stored_whole_or_not_at_all():
    value = [(n,) for n in range(50)]
    stop = threading.Event()

    def change():
        while not stop.is_set():
            value.append((0,))
            value.pop()

    thread = threading.Thread(target=change)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        outcomes = set()
        for _ in range(500):
            try:
                outcomes.add(len(codec.decode(codec.encode(value))))
            except CodecError as error:
                assert str(error).startswith("cannot encode")
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert outcomes <= {50, 51}


def test_a_short_stack_is_enough():
    """Two hundred nested unpackb would need 8 MB; a crash here would take the test runner along."""
    script = """
import threading
from shmstore.codecs import msgpack as codec
import shmstore
value = ()
for _ in range(255):
    value = (value,)
threading.stack_size(1 << 20)
def work():
    assert codec.decode(codec.encode(value)) == value
    print("done")
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")


# ---- imports -----------------------------------------------------------------------------------------------


def test_importing_the_codecs_is_light():
    script = """
import sys
import shmstore.codecs
heavy = "array numpy msgspec decimal fractions uuid zoneinfo pickle typing dataclasses enum re json logging asyncio inspect"
print([name for name in heavy.split() if name in sys.modules])
from shmstore.codecs import msgpack as codec
assert codec.decode(codec.encode((1, {2}, 3j))) == (1, {2}, 3j)
print([name for name in heavy.split() if name in sys.modules])
"""
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(sorted(sys.modules))"], capture_output=True, text=True
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    for line in run.stdout.splitlines():
        assert [name for name in eval(line) if name not in eval(bare.stdout)] == []


def test_types_are_found_in_any_order_of_imports():
    script = """
import sys
import shmstore
from shmstore.codecs import msgpack as codec
packed = bytes.fromhex(sys.argv[1])
value = codec.decode(packed)
assert codec.encode(value) == packed
print(value)
"""
    value = [
        Decimal("1.5"),
        Fraction(1, 3),
        uuid.UUID(int=5),
        datetime(2026, 1, 1, tzinfo=BERLIN),
        fractions.Fraction(2),
    ]
    run = subprocess.run([sys.executable, "-c", script, codec.encode(value).hex()], capture_output=True, text=True)
    assert run.stdout == f"{value}\n", run.stderr
