"""Types of one's own: stored anywhere in a value, by this process, and named where they are unknown."""

import collections
import enum
import subprocess
import sys
import threading
from decimal import Decimal

import pytest

import shmstore
from shmstore._base import calls
from shmstore.codecs import extensions, registry
from shmstore.codecs import msgpack as codec
from shmstore.errors import CodecError

Point = collections.namedtuple("Point", "x y")


class Colour(enum.IntEnum):
    RED = 1


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __eq__(self, other):
        return type(other) is Money and other.cents == self.cents

    def __hash__(self):
        return hash(self.cents)


def money_out(money):
    return b"%d" % money.cents


def money_in(data):
    assert type(data) is bytes
    return Money(int(data))


@pytest.fixture(autouse=True)
def forget():
    """Registrations last as long as the process; those of a test end with it."""
    before = dict(registry._users)
    yield
    for code, cls in [(code, cls) for code, cls in registry._users.items() if code not in before]:
        del registry._users[code], registry._functions[code], registry.READERS[code], extensions.NAMES[code]
        del registry._ENCODERS[id(cls)]
    calls.forget_types()


def test_a_registered_type_is_stored_wherever_it_lies(store):
    with pytest.raises(CodecError, match=r"Money.*register\(\)"):
        store["m"] = Money(5)
    shmstore.register(64, Money, money_out, money_in)
    assert codec.encode(Money(5)) == b"\xd4\x40" + b"5"
    value = [Money(1), (Money(2), {Money(3)}), {Money(4): Money(10**300)}]
    store["m"] = value
    assert store["m"] == value and type(store["m"][0]) is Money
    store["big"] = Money(10**4000)
    assert store["big"] == Money(10**4000)


def test_what_derives_from_a_built_in_type_too():
    shmstore.register(65, Point, lambda point: codec.encode(tuple(point)), lambda data: Point(*codec.decode(data)))
    shmstore.register(66, Colour, lambda colour: bytes([colour]), lambda data: Colour(data[0]))
    value = [Point(1, [2]), {Point(1, 2): {Colour.RED}}, (Colour.RED, bytearray(b"x")), slice(Point(0, 0))]
    back = codec.decode(codec.encode(value))
    assert back == value
    assert type(back[0]) is Point and type(back[2][0]) is Colour and type(next(iter(back[1]))) is Point
    assert type(codec.decode(codec.encode(Point(1, 2)))) is Point
    heir = type("Heir", (Point,), {})
    with pytest.raises(CodecError, match=r"\$\[0\]: objects of type .*Heir"):
        codec.encode([heir(1, 2)])


def test_an_unknown_code_is_named():
    shmstore.register(99, Money, money_out, money_in)
    script = """
import sys, shmstore
from shmstore.codecs import msgpack as codec
try:
    codec.decode(bytes.fromhex(sys.argv[1]))
except shmstore.CodecError as error:
    print(error)
"""
    packed = codec.encode([Money(7)]).hex()
    run = subprocess.run([sys.executable, "-c", script, packed], capture_output=True, text=True, timeout=600)
    assert run.stdout.startswith("cannot decode: extension code 99 is unknown here: "), run.stderr
    assert "shmstore.register(99, ...)" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((63, Money, money_out, money_in), ValueError, "from 64 to 127, not 63"),
        ((128, Money, money_out, money_in), ValueError, "from 64 to 127"),
        ((1, Money, money_out, money_in), ValueError, "the others are the package's"),
        ((-1, Money, money_out, money_in), ValueError, "from 64"),
        ((True, Money, money_out, money_in), TypeError, "not bool"),
        (("64", Money, money_out, money_in), TypeError, "not str"),
        ((64, Money(1), money_out, money_in), TypeError, "cls is a class, not Money"),
        ((64, Money, None, money_in), TypeError, "encode and decode are functions"),
        ((64, Money, money_out, 1), TypeError, "encode and decode are functions"),
        *(((64, cls, money_out, money_in), ValueError, "is stored already") for cls in (
            str, int, bool, float, bytes, type(None), list, dict, tuple, set, frozenset, slice, range, complex, Decimal,
            bytearray, memoryview)),
    ],
)  # fmt: skip
def test_what_cannot_be_registered(arguments, error, message):
    before = dict(registry._users)
    with pytest.raises(error, match=message):
        shmstore.register(*arguments)
    assert registry._users == before


def test_codes_and_classes_are_registered_once():
    shmstore.register(64, Money, money_out, money_in)
    shmstore.register(64, Money, money_out, money_in)
    with pytest.raises(ValueError, match="code 64 is registered for Money already"):
        shmstore.register(64, Point, money_out, money_in)
    with pytest.raises(ValueError, match="code 64 is registered for Money already"):
        shmstore.register(64, Money, money_out, lambda data: None)
    with pytest.raises(ValueError, match="Money is registered with another code"):
        shmstore.register(65, Money, money_out, money_in)


def test_a_class_that_is_defined_again_takes_the_place_of_the_old_one(store):
    """A reloaded module, or a notebook's cell, registers again; a class of another name does not get the code."""
    program = """
class Length:
    def __init__(self, metres):
        self.metres = metres
    def out(self):
        return b"%d" % self.metres
register(64, Length, Length.out, lambda data: Length(int(data)))
"""
    first, second = ({"register": shmstore.register, "__name__": "lengths"} for _ in range(2))
    exec(program, first)
    store["a"] = first["Length"](1)
    exec(program, second)
    store["b"], store["c"] = second["Length"](2), first["Length"](3)
    assert [type(store[key]) for key in "abc"] == [second["Length"]] * 3 and store["c"].metres == 3
    with pytest.raises(ValueError, match="code 64 is registered for Length already"):
        exec(program.replace("Length", "Width"), {"register": shmstore.register, "__name__": "lengths"})
    with pytest.raises(ValueError, match="code 64 is registered for Length already"):
        exec(program, {"register": shmstore.register, "__name__": "widths"})
    del registry._ENCODERS[id(first["Length"])]


def test_what_the_functions_raise_becomes_codec_error():
    def fail(_):
        raise KeyError("no")

    shmstore.register(70, Money, fail, money_in)
    shmstore.register(71, Point, lambda point: "text", fail)
    with pytest.raises(CodecError, match=r"^cannot encode \$\.m: .*Money: 'no'"):
        codec.encode({"m": Money(1)})
    with pytest.raises(CodecError, match=r"^cannot encode \$\[0\]: .*code 71 returned str, not bytes"):
        codec.encode([Point(1, 2)])
    with pytest.raises(CodecError, match=r"^cannot decode: extension 71 \(Point\) of 3 bytes: 'no'"):
        codec.decode(b"\xc7\x03\x47abc")


def test_threads_may_register_at_once():
    classes = [type(f"Class{n}", (Money,), {}) for n in range(40)]
    failures = []

    def work():
        for n, cls in enumerate(classes):
            try:
                shmstore.register(64 + n, cls, money_out, money_in)
                codec.encode(cls(1))
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and set(range(64, 104)) <= registry._users.keys()


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_an_encoder_may_remove_items_of_the_dict_that_is_packed(one_at_a_time):
    class Key:
        def __hash__(self):
            return 7

    def encode(key):
        packed.pop(next(iter(packed))) if one_at_a_time else packed.clear()
        return b""

    packed = dict.fromkeys(range(40))
    shmstore.register(64, Key, encode, lambda data: Key())
    packed.update({Key(): number for number in range(40)})
    if one_at_a_time:  # items that were packed already: the value is what the dict was
        back = codec.decode(codec.encode(packed))
        assert len(back) == 80 and [back[number] for number in range(40)] == [None] * 40
    else:
        with pytest.raises((CodecError, RuntimeError)):
            codec.encode(packed)
