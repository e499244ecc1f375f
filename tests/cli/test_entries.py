"""get, put, del, keys, incr, ttl: what goes in comes out, and what cannot be done says why."""

from __future__ import annotations

import datetime
import decimal
import fractions
import math
import os
import random
import threading
import uuid
import zoneinfo

import pytest

import shmstore
from shmstore.cli.support.entry_keys import parse_entry_key, show_entry_key
from shmstore.cli.support.typed import from_json, to_json
from shmstore.cli.support.values import kind_of
from shmstore.codecs import msgpack

UTC2 = datetime.timezone(datetime.timedelta(hours=2))
VALUES = [
    None, True, 0, -1, 2**53, 2**53 + 1, -(2**53), -(2**53) - 1, 2**63, 2**64, -(2**70), [2**70, {"n": 2**60}], {2**60: (2**61,)},
    {"$int": "1"}, range(2**60), 1.5, math.inf, "", "text\n", "héllo", b"", b"\xff\0", [], [1, [2]], {}, {"a": {"b": 1}},
    {1: 2, (3, 4): 5}, {"$tuple": [1]}, {"$x": 1, "y": 2}, {b"k": 1}, (), (1, (2, [3])), {1, 2}, frozenset({"a"}),
    complex(1, -2), complex(math.inf, 0), range(1, 10, 3), slice(None, 5, None), datetime.date(2026, 1, 2),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6), datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
    datetime.datetime(2026, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1),
    datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=1), "X")),
    datetime.time(1, 2, 3, tzinfo=UTC2), datetime.time(1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    datetime.timedelta(-1, 5, 7), decimal.Decimal("1.50"), decimal.Decimal("NaN"), fractions.Fraction(1, 3), uuid.UUID(int=5),
]  # fmt: skip


def same(a, b) -> bool:
    return repr(a) == repr(b) and type(a) is type(b)


# ---- values ----


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_every_type_survives_a_pipe(store, key, cli, value):
    """get --json | put --typed, and Python finds what it had put."""
    store["a"] = value
    written = cli("get", key, "a", "--json").ok()
    cli("put", key, "b", "--typed", stdin=written.out.encode()).ok()
    assert same(store["b"], value)


def test_json_stays_plain_where_json_can_say_it():
    value = {"a": [1, 2.5, "x", None, True, {"b": []}]}
    assert to_json(value) == value
    assert from_json(value) == value
    assert to_json((1, b"x")) == {"$tuple": [1, {"$bytes": "eA=="}]}
    assert to_json(math.nan) == {"$float": "nan"}
    assert to_json(object)["type"] == "builtins.type"


@pytest.mark.parametrize(
    "document",
    [
        '{"$set": {"a": 1}}',
        '{"$nope": 1}',
        '{"$bytes": "!"}',
        '{"$tuple": [1], "x": 2}',
        '{"$timedelta": [1e400]}',
        '{"$int": "1_0"}',
        '{"$int": 5}',
        '{"$int": "--5"}',
        '{"$int": ""}',
    ],
)
def test_typed_refuses_what_stands_for_nothing(store, key, cli, document):
    done = cli("put", key, "a", document, "--typed")
    assert done.code == 2 and done.err.startswith("shmstore: ") and len(store) == 0


@pytest.mark.parametrize("document", ['{"$set": {"a": 1}}', '{"$tuple": [1]}', '"x"', "[1, 2.0]", "null"])
def test_plain_json_is_never_reinterpreted(store, key, cli, document):
    import json

    cli("put", key, "a", document).ok()
    assert store["a"] == json.loads(document)


@pytest.mark.parametrize(
    "text", ["hello", "NaN", "[1, Infinity]", "{'a': 1}", "01", "", "1e999", "[-1e400]", "[" * 100_000]
)
def test_what_is_no_json_is_refused(store, key, cli, text):
    done = cli("put", key, "a", stdin=text.encode())
    assert done.code in (1, 2) and any(word in done.err for word in ("JSON", "nested", "more than a float can hold"))
    assert "a" not in store


def test_put_from_everywhere(store, key, cli, tmp_path):
    file = tmp_path / "value"
    file.write_bytes(b"\xff\0raw")
    cli("put", key, "arg", "--text", "-5 \u00e9").ok()
    cli("put", key, "in", "--text", stdin=b"from a pipe\n").ok()
    cli("put", key, "dash", "-", stdin=b"[1]").ok()
    cli("put", key, "file", "--bytes", "--file", file).ok()
    cli("put", key, "bytes", "--bytes", "caf\u00e9").ok()
    assert store["arg"] == "-5 \u00e9"
    assert (store["in"], store["dash"], store["file"]) == ("from a pipe\n", [1], b"\xff\0raw")
    assert store["bytes"] == "caf\u00e9".encode()
    assert cli("put", key, "file", "--text", "--file", file).err.endswith("use --bytes to store it as bytes\n")
    assert cli("put", key, "x", "1", "--file", file).code == 2
    missing = cli("put", key, "x", "--file", tmp_path / "nope")
    assert (missing.code, missing.err) == (1, f"shmstore: No such file or directory: {tmp_path / 'nope'}\n")


def test_get_shows_values(store, key, cli):
    store.update({"s": "two\nlines", "t": (1, None), "b": b"\xff", "long": list(range(60)), "pickled": 1})
    assert cli("get", key, "s").ok().out == "two\nlines\n"
    assert cli("get", key, "t").ok().out == "(1, None)\n"
    assert cli("get", key, "b").ok().out == "b'\\xff'\n"
    assert cli("get", key, "s", "--raw").ok().out == "two\nlines"
    assert cli("get", key, "b", "--raw").ok().out == "\udcff"
    assert len(cli("get", key, "long").ok().lines) > 1
    assert cli("get", key, "t", "--raw").code == 1
    assert cli("get", key, "t", "--raw", "--json").code == 2


def test_pickles_are_read_only_when_asked_for(make, key, cli):
    make(codec="pickle")["p"] = {"a": {1}}
    refused = cli("get", key, "p")
    assert refused.code == 1 and refused.err.endswith("; if you trust the process that put it, use --pickle\n")
    assert cli("get", key, "p", "--pickle").ok().out == "{'a': {1}}\n"


def test_huge_ints(store, key, cli):
    store["n"] = 10**20_000
    assert cli("get", key, "n").ok().out == "1" + "0" * 20_000 + "\n"
    written = cli("get", key, "n", "--json").ok()
    assert written.json == {"$int": "1" + "0" * 20_000}
    cli("put", key, "m", "--typed", stdin=written.out.encode()).ok()
    assert store["m"] == store["n"]


def test_no_number_in_json_is_beyond_what_every_reader_keeps(store, key, cli):
    """JavaScript, jq, and others read each number as a float: up to 2**53 it is the same int, and beyond that it is none."""
    import json

    def read(text: str) -> int:
        assert abs(int(text)) <= 2**53, text
        return int(text)

    store.update({"n": 2**53 + 1, "edge": 2**53, "values": [2**63, {"a": -(2**53) - 1}], b"b": 2**64, "counter": 2**62})
    outputs = [cli("get", key, name, "--json") for name in ("n", "edge", "values", "b'b'")]
    outputs += [
        cli("incr", key, "counter", "--json"),
        cli("incr", key, "edge", "--json"),
        cli("keys", key, "--long", "--json"),
    ]
    outputs += [cli("stats", key, "--json"), cli("info", key, "--json"), cli("clients", key, "--json")]
    documents = [json.loads(done.ok().out, parse_int=read) for done in outputs]
    assert documents[:3] == [
        {"$int": "9007199254740993"},
        2**53,
        [{"$int": str(2**63)}, {"a": {"$int": "-9007199254740993"}}],
    ]
    assert documents[4]["value"] == str(2**62 + 1) and documents[5]["value"] == "9007199254740993"
    assert all(
        row["version"] == str(store.get_versioned(row["name"])[1])
        for row in documents[6]["keys"]
        if row["name"] in ("n", "values")
    )


def test_a_deep_value_is_shown(store, key, cli):
    value = None
    for _ in range(250):
        value = [value]
    store["deep"] = value
    assert cli("get", key, "deep").ok().out.count("[") == 250
    assert cli("get", key, "deep", "--json").ok().json == value


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_type_of_a_stored_value_is_told_without_decoding_it(value):
    kind = kind_of("msgpack", msgpack.encode(value))
    assert kind == ("None" if value is None else type(value).__name__)


# ---- names ----

NAMES = [
    "a",
    "",
    "user:1",
    " x",
    "a\nb",
    "'quoted'",
    'b"x"',
    "b'",
    "'",
    "''",
    "日本",
    "\x1b[31m",
    "\\",
    "b'\\xff'",
    b"",
    b"\xff'\"",
    b"a",
]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_what_keys_shows_get_takes(store, key, cli, name):
    store[name] = "found"
    (shown,) = cli("keys", key).ok().lines
    assert shown.isprintable()
    assert cli("get", key, "--", shown).ok().out == "found\n"
    (row,) = cli("keys", key, "--json").ok().json["keys"]
    assert from_json(row) == name
    cli("del", key, "--", shown).ok()
    assert len(store) == 0


def test_names_round_trip_at_random():
    letters = "ab'\"\\\n\x00é\u202e b日"
    for _ in range(3000):
        text = "".join(random.choices(letters, k=random.randrange(8)))
        name = text.encode() if random.random() < 0.4 else text
        assert parse_entry_key(show_entry_key(name)) == name


def test_names_that_are_none(store, key, cli):
    bad = cli("get", key, os.fsdecode(b"\xff"))
    assert bad.code == 2 and "b'\\xff'" in bad.err
    assert cli("get", key, "b'é'").code == 2  # no Python literal
    assert cli("get", key, "'a', 'b'").code == 2
    assert cli("get", key, r"'\ud800'").code == 2
    assert cli("put", key, "x" * 40_000, "1").code == 1


def test_keys(store, key, cli):
    assert cli("keys", key).ok().out == ""
    assert cli("keys", key, "--long").ok().out == ""
    store.put_many({"user:2": "x", "user:1": {"a": 1}, "n": 5})
    store.put("token", b"abc", ttl=100)
    store[b"user:"] = 1
    assert cli("keys", key).ok().lines == ["n", "token", "user:1", "user:2", "b'user:'"]
    assert cli("keys", key, "--prefix", "user:").ok().lines == ["user:1", "user:2"]
    assert cli("keys", key, "--prefix", "b'us'").ok().lines == ["b'user:'"]
    rows = {row["name"]: row for row in cli("keys", key, "--long", "--prefix", "t", "--json").ok().json["keys"]}
    assert rows["token"]["type"] == "bytes" and rows["token"]["codec"] == "msgpack" and 90 < rows["token"]["ttl"] <= 100
    assert rows["token"]["version"] == str(store.get_versioned("token")[1])
    text = cli("keys", key, "--long").ok().lines
    assert text[0].split() == ["key", "type", "size", "ttl"]
    assert len({len(line.rstrip()) for line in text if "dict" in line or "str" in line}) == 1  # aligned


# ---- one entry ----


def test_missing_names_are_3(store, key, cli):
    for command in (
        ["get", key, "nope"],
        ["ttl", key, "nope"],
        ["ttl", key, "nope", "5"],
        ["put", key, "nope", "1", "--replace"],
    ):
        done = cli(*command)
        assert (done.code, done.out) == (3, "")
        assert done.err.startswith(f"shmstore: store '{key}' has no key 'nope'")
    store["there"] = 1
    done = cli("del", key, "there", "nope", "nada")
    assert (done.code, done.err) == (3, f"shmstore: store '{key}' has no key 'nope', 'nada'\n")
    assert "there" not in store
    assert cli("del", key, "nope", "--force").ok()
    assert cli("del", key, "nope", "-f", "--json").ok().json == {"deleted": 0, "missing": ["nope"]}


def test_add_and_replace(store, key, cli):
    cli("put", key, "a", "1", "--add").ok()
    assert cli("put", key, "a", "2", "--add").code == 4
    assert store["a"] == 1
    cli("put", key, "a", "2", "--replace").ok()
    assert store["a"] == 2
    assert cli("put", key, "a", "3", "--json", "--ttl", "1h").ok().json == {"name": "a", "stored": True, "ttl": 3600.0}


def test_describe(store, key, cli):
    version = store.put("a", [1, 2], ttl=5400)
    rows = dict(line.split(None, 1) for line in cli("describe", key, "a").ok().out.splitlines() if line.strip())
    assert rows.keys() == {"key", "size", "codec", "version", "expires", "stored"}
    assert rows["stored"].endswith(" ago")
    assert (rows["key"], rows["codec"], rows["version"]) == ("a", "msgpack", f"{version}")
    found = cli("describe", key, "a", "--json").ok().json
    assert 5390 < found.pop("ttl") <= 5400
    assert found.pop("created") == store.describe("a").created
    assert found == {"name": "a", "size": 3, "codec": "msgpack", "version": f"{version}", "frequency": None, "tags": 0}
    with shmstore.open(key, codec="pickle", backend=store.info().backend) as pickles:
        pickles["p"] = {1}
    assert cli("describe", key, "p", "--json").ok().json["codec"] == "pickle"
    assert "never" in cli("describe", key, "p").ok().out
    absent = cli("describe", key, "absent")
    assert absent.code == 3 and "has no key 'absent'" in absent.err


def test_describe_an_entry_of_a_cache(key, cli):
    with shmstore.Cache(key, size="1M") as cache:
        cache["a"] = 1
        for _ in range(5):
            cache["a"]
        assert "3 of 3" in cli("describe", key, "a").ok().out
        assert cli("describe", key, "a", "--json").ok().json["frequency"] == 3


def test_incr_sets_the_ttl_of_a_new_counter(store, key, cli):
    assert cli("incr", key, "n", "--ttl", "1h").ok().out == "1\n" and 3590 < store.ttl("n") <= 3600
    assert cli("incr", key, "n", "5", "--ttl", "1d").ok().out == "6\n" and store.ttl("n") <= 3600


def test_ttl(store, key, cli):
    cli("put", key, "a", "1", "--ttl", "1.5h").ok()
    assert 5390 < float(cli("ttl", key, "a").ok().out) <= 5400
    assert 5390 < cli("ttl", key, "a", "--json").ok().json["ttl"] <= 5400
    cli("ttl", key, "a", "5500ms").ok()
    assert store.ttl("a") <= 5.5
    cli("ttl", key, "a", "never").ok()
    assert cli("ttl", key, "a").ok().out == "never\n"
    assert cli("ttl", key, "a", "--json").ok().json == {"name": "a", "ttl": None}
    for bad in ("0", "-5", "soon", "nan", "1e999", "5 y"):
        assert cli("ttl", key, "a", bad).code == 2, bad
        assert cli("put", key, "a", "1", f"--ttl={bad}").code == 2, bad


def test_incr(store, key, cli):
    assert cli("incr", key, "n").ok().out == "1\n"
    assert cli("incr", key, "n", "-3").ok().out == "-2\n"
    assert cli("incr", key, "m", "--initial", "10", "--ttl", "1h", "--json").ok().json == {"name": "m", "value": 11}
    assert store.ttl("m") > 3000
    store["s"] = "text"
    assert cli("incr", key, "s").code == 1
    store["top"] = 2**63 - 1
    assert cli("incr", key, "top").code == 1
    assert cli("incr", key, "n", str(2**63)).code == 2
    assert cli("incr", key, "n", "many").code == 2


def test_get_waits(store, key, cli):
    threading.Timer(0.2, lambda: store.put("late", "here")).start()
    assert cli("get", key, "late", "--wait", "20s").ok().out == "here\n"
    done = cli("get", key, "never", "--wait", "10ms")
    assert done.code == 3 and "stayed absent for 0.01 s" in done.err


# ---- the store ----


def test_only_create_creates(key, cli):
    for command in (
        ["put", key, "a", "1"],
        ["incr", key, "a"],
        ["get", key, "a"],
        ["keys", key],
        ["del", key, "a"],
        ["clear", key],
    ):
        done = cli(*command)
        assert done.code == 3 and done.err.startswith(f"shmstore: there is no store '{key}' ("), command
        assert done.err.endswith("; --create creates it\n") == (command[0] in ("put", "incr")), command
    with pytest.raises(shmstore.StoreNotFound):
        shmstore.destroy(key)
    cli("put", key, "a", "1", "--create", "--size", "1M", "--mode", "0640", "--max-clients", "17").ok()
    info = shmstore.Store(key, create=False).info()
    assert (info.size, info.mode, info.max_clients) == (1 << 20, 0o640, 17)
    cli("incr", key, "a", "--create", "--size", "2M").ok()  # it is there: nothing is created, nothing compared
    assert cli("put", key, "a", "1", "--size", "2M").code == 2
    assert cli("put", key, "a", "1", "--max-clients", "9").code == 2
    assert cli("put", key, "a", "1", "--create", "--size", "many").code == 2
    assert cli("put", key, "a", "1", "--create", "--mode", "rw").code == 2
    assert cli("put", key, "a", "1", "--create", "--max-clients", "0").code == 2


def test_a_size_that_is_too_small(key, cli):
    for size in ("1", "127", "1K", "12K"):
        done = cli("put", key, "a", "1", "--create", "--size", size)
        assert done.code == 2 and "is too small: the smallest store has 16384 bytes (16K)" in done.err, size
        assert "entries" not in done.err
    cli("put", key, "a", "1", "--create", "--size", "16K").ok()


def test_full(key, cli):
    cli("put", key, "a", "1", "--create", "--size", "64K").ok()
    done = cli("put", key, "b", "--bytes", stdin=bytes(1 << 20))
    assert done.code == 1 and "larger size" in done.err
    assert cli("get", key, "a").ok().out == "1\n"


def test_keys_as_numbers_and_paths(cli, number, tmp_path):
    cli("put", hex(number), "a", "1", "--create", "--size", "64K").ok()
    assert cli("get", f"0x{number:08X}", "a").ok().out == "1\n"
    as_name = cli("get", hex(number), "a", "--name")
    assert as_name.code == 3
    decimal_ = cli("get", str(number), "a")
    assert decimal_.code == 3 and f"is a System V key, write {number:#x}" in decimal_.err
    file = tmp_path / "key"
    assert cli("get", file, "a", "--path").code == 3
    file.touch()
    cli("put", file, "a", '"by path"', "--create", "--size", "64K", "--path").ok()
    assert cli("get", file, "a", "--path").ok().out == "by path\n"
    assert cli("rm", file, "--path").code == 0
    for bad in ("0x0", "", "x" * 300, os.fsdecode(b"\xff")):
        assert cli("get", bad, "a").code == 2, bad
