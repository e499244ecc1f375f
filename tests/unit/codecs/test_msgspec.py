"""Codec "msgspec" through stores: mixed with "msgpack", Structs in and out, and what is refused."""

import datetime
import decimal
import enum
import subprocess
import sys
import uuid
from typing import Any, Literal

import pytest

from shmstore.codecs import msgpack as plain
from shmstore.errors import CodecError

msgspec = pytest.importorskip("msgspec", reason="msgspec is not installed")
from shmstore.codecs import msgspec as codec  # noqa: E402


class Colour(enum.Enum):
    RED = "r"


class User(msgspec.Struct):
    name: str
    visits: int = 0


class Rich(msgspec.Struct):
    when: datetime.datetime
    pair: tuple[int, str]
    tags: set[str]
    price: decimal.Decimal
    id: uuid.UUID
    users: list[User]
    colour: Colour
    z: complex
    extra: Any = None


class Row(msgspec.Struct, array_like=True, tag="row"):
    a: int
    b: tuple[int, ...]


class Renamed(msgspec.Struct, rename="camel", tag_field="kind", tag="renamed", omit_defaults=True):
    first_name: str
    last_seen: datetime.datetime | None = None
    maybe: int | msgspec.UnsetType = msgspec.UNSET


class Loose(msgspec.Struct):
    anything: Any


RICH = Rich(
    datetime.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=datetime.timezone(datetime.timedelta(hours=1), "CET")),
    (1, "x"), {"a"}, decimal.Decimal("1.50"), uuid.UUID(int=7), [User("u")], Colour.RED, 1j, {"deep": (1, {2})},
)  # fmt: skip


@pytest.fixture
def fast(make):
    return make(codec="msgspec")


@pytest.fixture
def slow(fast, make):
    return make()


@pytest.mark.parametrize(
    "struct", [User("a", 2**64 - 1), RICH, Row(1, (2, 3)), Renamed("x"), Renamed("x", datetime.datetime(2026, 1, 1), 3)],
    ids=lambda struct: type(struct).__name__,
)  # fmt: skip
def test_structs_come_back_as_they_were(fast, slow, struct):
    for value, kind in (
        (struct, type(struct)),
        ([struct, struct], list[type(struct)]),
        ({"k": struct}, dict[str, type(struct)]),
    ):
        fast["s"] = value
        assert fast.get("s", type=kind) == value
        assert fast.get_many(["s", "none"], type=kind) == {"s": value}
        assert slow["s"] == fast["s"]  # the dict or list that it is without its type
        assert plain.encode(slow["s"]) == codec.encode(value)
    assert codec.encode(struct) == codec.encode(codec.decode(codec.encode(struct)))


def test_fields_keep_their_types_for_readers_without_msgspec(fast, slow):
    fast["r"] = RICH
    found = slow["r"]
    assert type(found["pair"]) is tuple and type(found["tags"]) is set and found["when"] == RICH.when
    assert found["when"].fold == 1 and found["when"].tzname() == "CET" and found["colour"] == "r"
    assert fast.get("r", type=Rich).when.tzname() == "CET"


def test_what_msgpack_put_is_read_as_a_type(fast, slow):
    slow["u"] = {"name": "ada", "visits": 3}
    slow["t"] = {"a": 1, "b": (1, 2)}
    assert fast.get("u", type=User) == User("ada", 3)
    assert slow.get("u") == fast.get("u") == fast["u"] == {"name": "ada", "visits": 3}
    assert fast.get_versioned("u")[0] == slow["u"]
    assert fast.get("t", type=dict[str, int | tuple[int, ...]]) == {"a": 1, "b": (1, 2)}
    assert fast.get("none", type=User) is None and fast.get("none", 5, type=User) == 5
    assert fast.incr("n") == 1 and slow.incr("n") == 2 and fast.get("n", type=int) == 2


def test_a_value_is_recorded_as_msgpack(fast, make):
    fast.put_many({f"k{n}": {"n": n} for n in range(200)})
    assert make(codec="raw").get_many(f"k{n}" for n in range(200)) == {f"k{n}": {"n": n} for n in range(200)}
    fast.modify("k1", lambda value: {**value, "more": (1,)})
    assert dict(make(readonly=True).items())["k1"] == {"n": 1, "more": (1,)}


def test_other_codecs_and_types(make):
    raw = make(codec="raw", decoders=("msgspec",))
    raw["b"] = b"bytes"
    assert raw.get("b", type=bytes) == b"bytes"
    with pytest.raises(CodecError, match=r", entry 'b': cannot decode as .*User: Expected `object`, got `bytes`"):
        raw.get("b", type=User)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ({"name": 5}, User, r"User: Expected `str`, got `int` - at `\$\.name`"),
        ({}, User, r"missing required field `name`"),
        ([1], User, r"Expected `object`, got `array`"),
        ({"name": (1,)}, User, r"Expected `str`, got `array`"),
        ("x", Literal["y"], r"Invalid enum value"),
        ([1, "x"], list[int], r"list\[int\]: Expected `int`, got `str`"),
    ],
)
def test_another_type_is_codec_error(fast, value, kind, message):
    fast["v"] = value
    with pytest.raises(CodecError, match=message):
        fast.get("v", type=kind)
    fast["good"] = {"name": "x"}
    with pytest.raises(CodecError, match=message):
        fast.get_many(["v"], type=kind)


def test_type_needs_the_codec(store):
    store["u"] = {"name": "x"}
    for call in (
        lambda: store.get("u", type=User),
        lambda: store.get_many(["u"], type=User),
        lambda: store.get("no", type=User),
    ):
        with pytest.raises(TypeError, match=r"type= is for handles opened with codec='msgspec'"):
            call()


def test_what_no_reader_takes_is_type_error(fast):
    fast["u"] = {"name": "x"}
    with pytest.raises(TypeError):
        fast.get("u", type=dict[list[int], int] | User)


def test_structs_are_for_this_codec(slow):
    with pytest.raises(CodecError, match=r"User.*codec='msgspec', or store msgspec\.structs\.asdict\(x\)"):
        slow["u"] = User("x")


def test_fields_follow_the_rules_of_all_values(fast):
    class Text(str):
        pass

    for wrong in (Text("x"), object(), [Text("x")], {"k": Colour.RED}, User):
        with pytest.raises(CodecError, match=r", entry 'l': cannot encode \$\.anything.*; "):
            fast["l"] = Loose(wrong)
    with pytest.raises(CodecError, match=r"field 'anything' of .*Loose holds a .*Colour.*annotate the field as Colour"):
        fast["l"] = Loose(Colour.RED)
    with pytest.raises(CodecError, match=r"Colour.*store its \.value"):
        fast["l"] = [Colour.RED]
    ring = Loose(None)
    ring.anything = [ring]
    with pytest.raises(CodecError):
        fast["l"] = ring
    assert "l" not in fast


def test_hostile_bytes_take_no_memory():
    for data in (
        b"\xdd\xff\xff\xff\xff",
        b"\x91\xdf\x7f\xff\xff\xff",
        b"\xdd\x00\x98\x96\x80" * 40,
        b"\x91" * 300 + b"\xc0",
    ):
        for read in (codec.decode, lambda data: codec.decode_as(data, list[Any])):
            with pytest.raises(CodecError):
                read(data)


def test_without_msgspec_the_error_says_what_to_install():
    script = """
import sys
sys.modules["msgspec"] = None
import shmstore
from shmstore.codecs import resolve
try:
    resolve("msgspec")
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    assert "pip install 'shmstore[fast]'" in run.stdout, run.stderr
