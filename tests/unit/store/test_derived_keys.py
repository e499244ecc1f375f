"""shmstore.key and typed_key: which arguments have one key, which have different ones, and that every process has the same."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import functools
import hashlib
import itertools
import math
import os
import pathlib
import subprocess
import sys
import uuid
from decimal import Decimal
from fractions import Fraction

import pytest

import shmstore
from shmstore import key, typed_key


class Colour(enum.Enum):
    RED = 1
    GREEN = 2
    ALSO_RED = 1  # noqa: PIE796


class Level(enum.IntEnum):
    LOW = 1


class Name(str, enum.Enum):
    ADA = "ada"


class Bits(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: object = None
    seen: int = dataclasses.field(default=0, compare=False)


Pair = collections.namedtuple("Pair", "a b")
UTC = datetime.timezone.utc
BERLIN = datetime.timezone(datetime.timedelta(hours=1))
NOON = datetime.datetime(2024, 5, 6, 12)

# No two are equal, so no two may have one key.
DIFFERENT = [
    ((), {}), ((None,), {}), (("None",), {}), ((1,), {}), (("1",), {}), ((b"1",), {}), ((-1,), {}), (("-1",), {}), ((0,), {}),
    ((2**63,), {}), ((2**200,), {}), ((-(2**200),), {}), ((hex(2**200),), {}), ((0.1,), {}), ((Decimal("0.1"),), {}), ((0.5,), {}),
    ((math.inf,), {}), ((-math.inf,), {}), ((math.nan,), {}), (("float:nan",), {}), ((Decimal("1e999999"),), {}),
    ((Decimal("1e-999999"),), {}), ((Decimal("2e999999"),), {}), ((1j,), {}), ((1 + 1j,), {}), (("",), {}), ((b"",), {}),
    (("a", "b"), {}), (("ab",), {}), (("a,b",), {}), (("'a','b'",), {}), ((("a", "b"),), {}), ((("a",), "b"), {}), (("a", ("b",)), {}),
    (((),), {}), ((((),),), {}), (((), ()), {}), ((frozenset(),), {}), ((frozenset({1}),), {}), ((frozenset({"1"}),), {}),
    ((frozenset({1, 2}),), {}), ((frozenset({frozenset({1, 2})}),), {}), ((), {"a": 1}), ((), {"a": "1"}), (("a", 1), {}),
    (("a=1",), {}), ((), {"a": 1, "b": 2}), ((), {"b": 1, "a": 2}), ((1,), {"a": 1}), ((), {"a,b": 1}), ((), {"a=1,b": 2}),
    ((), {"typed": True}), ((), {"typed": False}), ((), {"ä": 1}), ((), {"'\\xe4'": 1}), (("ä",), {}), (("a\u0308",), {}), (("\\xe4",), {}),
    (("\0",), {}), (("\ud800",), {}), (("it's",), {}), (('"',), {}), (("x" * 1000,), {}), (("x" * 1001,), {}), ((b"x" * 1000,), {}),
    ((Colour.RED,), {}), ((Colour.GREEN,), {}), (("RED",), {}), ((Bits.A,), {}), ((Bits.B,), {}), ((Bits.A | Bits.B,), {}),
    ((Point(1),), {}), ((Point(1, "2"),), {}), ((Point(2),), {}), ((pathlib.PurePosixPath("/a"),), {}), (("/a",), {}),
    ((pathlib.PurePosixPath("a"),), {}), ((uuid.UUID(int=1),), {}), ((uuid.UUID(int=2),), {}), ((NOON,), {}), ((NOON.date(),), {}),
    ((NOON.replace(tzinfo=UTC),), {}), ((NOON.replace(tzinfo=BERLIN),), {}), ((NOON.time(),), {}), ((datetime.timedelta(1),), {}),
    ((range(3),), {}), ((range(4),), {}), ((int,), {}), ((str,), {}), ((len,), {}), ((os.path.join,), {}), ((Colour,), {}),
    ((10**5000,), {}), ((10**5000 + 1,), {}), ((Fraction(10**400 + 1, 3),), {}), ((True, False), {}), ((1, 0, 0), {}),
]  # fmt: skip
# Equal, of different types, or written in another way.
EQUAL = [
    [1, 1.0, True, Decimal(1), Decimal("1.00"), Fraction(1), 1 + 0j, Level.LOW],
    [0, 0.0, -0.0, False, Decimal("-0"), Decimal("0e99999999")],
    [2**80, float(2**80), Decimal(2**80)],
    [0.5, Decimal("0.5"), Fraction(1, 2), 0.5 + 0j],
    [math.inf, Decimal("inf"), complex(math.inf)],
    [Decimal("1e999"), Decimal("10e998")],
    ["ada", Name.ADA, type("Text", (str,), {})("ada")],
    [(1, 2), Pair(1, 2), Pair(1.0, True + 1)],
    [frozenset({1, 2}), frozenset({2.0, True})],
    [NOON.replace(tzinfo=UTC), NOON.replace(hour=13, tzinfo=BERLIN)],
    [Colour.RED, Colour.ALSO_RED],
    [Point(1, 2), Point(1.0, 2, seen=5)],
]


def test_the_text_of_a_key():
    assert key() == "()" and key("user", 7, lang="en") == "('user',7,lang='en')"
    assert key(None, b"\xff", ("ä", 1.5), frozenset({2, 1})) == "(None,b'\\xff',('\\xe4',1.5),{1,2})"
    assert typed_key("user", 7, None, (1.0,)) == "('user',7,None,(float:1))"


def test_different_arguments_have_different_keys():
    for make in (key, typed_key):
        keys = [make(*args, **kwargs) for args, kwargs in DIFFERENT]
        assert len(set(keys)) == len(keys), [k for k, n in collections.Counter(keys).items() if n > 1]
        assert all(len(text) <= 200 and text.isascii() for text in keys)


@pytest.mark.parametrize("equal", EQUAL, ids=lambda equal: repr(equal[0]))
def test_equal_arguments_have_one_key_unless_types_count(equal):
    assert len({key(value) for value in equal}) == len({key("a", b=(value,)) for value in equal}) == 1
    for one, other in itertools.combinations(equal, 2):
        same_types = type(one) is type(other) and not isinstance(one, (tuple, frozenset, Point))
        if same_types and not isinstance(one, datetime.datetime):
            assert typed_key(one) == typed_key(other), (one, other)
        elif not same_types:
            assert typed_key(one) != typed_key(other) and typed_key((one,)) != typed_key((other,)), (one, other)


def test_the_order_of_keywords_and_of_sets_does_not_matter():
    assert key(a=1, b=2) == key(b=2, a=1)
    members = [f"m{i}" for i in range(200)]
    assert key(frozenset(members)) == key(frozenset(reversed(members)))


def test_numpy():
    np = pytest.importorskip("numpy")
    assert typed_key(np.int64(1)) != typed_key(np.int32(1)) != typed_key(1)
    assert key(np.float64(1)) == key(1) and key(np.str_("a")) == key("a") and key(np.bytes_(b"a")) == key(b"a")
    assert key(np.int64(-7)) == key(-7) and key(np.float32(0.5)) == key(0.5) and key(np.complex64(1j)) == key(1j)
    assert key(np.longdouble(1) / 3) != key(1 / 3) and key(np.float64("nan")) == key(math.nan)
    assert len({key(np.datetime64(1, "s")), key(np.datetime64(2, "s")), key(np.timedelta64(1, "s")), key(1)}) == 4
    with pytest.raises(TypeError):
        key(np.zeros(3))


def test_types_that_were_registered():
    class Money:
        def __init__(self, cents):
            self.cents = cents

    shmstore.register(105, Money, lambda money: b"%d" % money.cents, lambda data: Money(int(data)))
    assert key(Money(1)) == key(Money(1)) != key(Money(2))


def test_a_long_key_is_hashed():
    assert key("x" * 196) == f"('{'x' * 196}')" and len(key("x" * 196)) == 200
    text = f"('{'x' * 197}')"
    assert key("x" * 197) == "blake2b:" + hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
    assert len(key("x" * 10**6)) == 72 and key("x" * 10**6) != key("x" * 10**6, a=1)


class Identity:
    """As most objects: its hash is its address."""


class Unhashable:
    __hash__ = None


@dataclasses.dataclass(eq=False)
class Compared:
    x: int


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "can be hashed, not list"), ({}, "can be hashed, not dict"), ({1}, "can be hashed, not set"), ((1, [2]), "not list"),
        (bytearray(b"a"), "not bytearray"), (Unhashable(), "Unhashable"), (Point([1]), "not list"), (Identity(), "use what identifies it"),
        (Compared(1), "use what identifies it"), (object(), "use what identifies it"), (lambda: 1, "no module has"),
        ([].append, "no module has"), (Point(1).__eq__, "use what identifies it"), (type("Local", (), {}), "no module has"), (sys, "use what identifies it"),
    ],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
def test_objects_of_which_no_key_can_be_made(value, says):
    for make in (key, typed_key):
        for call in (lambda: make(value), lambda: make("a", b=value), lambda: make((1, value))):
            with pytest.raises(TypeError, match=says):
                call()


def test_a_wrapper_is_not_taken_for_what_it_wraps():
    """Both have the name of the wrapped function, and a module has only one of them under it."""

    @functools.wraps(os.path.join)
    def wrapper(*paths):
        return os.path.join(*paths)

    with pytest.raises(TypeError, match="no module has"):
        key(wrapper)
    assert key(os.path.join)


def test_every_process_has_the_same_keys():
    """With other hashes of str, and other addresses."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_derived_keys as t; "
        "print([(t.key(*a, **k), t.typed_key(*a, **k)) for a, k in t.DIFFERENT])"
    )
    here = str(pathlib.Path(__file__).parent)
    found = [
        subprocess.run([sys.executable, "-c", program, here], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True,
                       text=True, check=True).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert found[0] == found[1] and found[0].count("('user'") == 0 and len(found[0]) > 5000


def test_derived_keys_work_as_keys(store):
    for args, kwargs in DIFFERENT:
        store[key(*args, **kwargs)] = len(args)
    assert len(store) == len(DIFFERENT) and store[key("a", "b")] == 2
