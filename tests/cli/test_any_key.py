"""Every command that takes keys can name every key that can exist, and every store: ``--``, what looks like an option, nothing,
blanks, lines, bytes that are no text."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import shmstore
from shmstore.cli.support.entry_keys import show_entry_key
from shmstore.cli.support.typed import from_json

DASHES = ["-", "--", "---", "-x", "-f", "-5", "-h", "--json", "--help", "--prefix=x", "--nope", "-- --"]
KEYS = [
    *DASHES, "", " ", "\t", "\n", "a\nb", "'", '"', "b'", "''", "b''", "\\", "\0", "=", "é", "日本", "\U0001f600", "\u202e", "x" * 32768,
    b"", b"--", b"-x", b" ", b"\n", b"'\"", b"\xff", b"\xed\xa0\x80", b"\0", "é".encode("latin-1"),
]  # fmt: skip


@pytest.mark.parametrize("name", KEYS, ids=lambda name: repr(name)[:12])
def test_every_command_names_every_key(store, key, cli, name):
    shown = show_entry_key(name)
    store["neighbour"] = 0
    assert cli("put", "--json", "--ttl", "1h", key, "--", shown, "--").code == 2  # no JSON, and no option either
    cli("put", "--text", key, "--", shown, "--").ok()
    assert store[name] == "--"
    assert cli("get", key, "--", shown).ok().out == "--\n"
    assert shown in cli("keys", key).ok().lines
    assert cli("ttl", key, "--", shown).ok().out == "never\n"
    cli("ttl", key, "--", shown, "1h").ok()
    assert 3590 < store.ttl(name) <= 3600
    assert from_json(cli("ttl", "--json", key, "--", shown).ok().json["name"]) == name
    cli("del", key, "--", shown).ok()
    assert cli("incr", key, "--", shown, "-5").ok().out == "-5\n"
    assert from_json(cli("del", "--json", key, "--", "nope", shown, shown).json["missing"][0]) == "nope"
    assert dict(store) == {"neighbour": 0}


@pytest.mark.parametrize("name", KEYS[:-12], ids=lambda name: repr(name)[:12])
def test_prefixes(store, key, cli, name):
    store.update({name: 1, "other": 2})
    shown = show_entry_key(name)
    expected = sorted(one for one in store if one.startswith(name))
    assert [from_json(one) for one in cli("keys", "--json", key, f"--prefix={shown}").ok().json["keys"]] == expected
    assert cli("clear", "--json", key, f"--prefix={shown}").ok().json == {"deleted": len(expected)}


@pytest.mark.parametrize("command", ["get", "ttl", "put"])
def test_behind_two_dashes_nothing_is_an_option(store, key, cli, command):
    done = cli(command, key, "--", "--", "--", "--json", "--help")
    assert done.code == 2 and "unexpected argument " in done.err and done.err.endswith("'--help'\n") and len(store) == 0
    assert cli("del", key, "--", "--json").err == f"shmstore: store '{key}' has no key '--json'\n"


@pytest.mark.parametrize("word", DASHES[1:])
def test_stores_too(cli, word):
    """A store may be called so, in System V memory and in /dev/shm."""
    for backend in shmstore._store.names.BACKENDS:
        options = ["--backend", backend, "--"]
        cli("put", "--create", "--size", "64K", *options, word, word, "1").ok()
        try:
            assert cli("get", *options, word, word).ok().out == "1\n"
            for command in ("keys", "stats", "info", "check", "clients", "clear"):
                cli(command, *options, word).ok()
            assert word in [one["name"] for one in cli("ls", "--json", "--stores").ok().json["stores"]]
            cli("chmod", "--backend", backend, "0640", "--", word).ok()
        finally:
            cli("rm", *options, word).ok()


def test_two_dashes_alone_end_the_options(store, key, cli):
    done = cli("get", key, "--")
    assert done.code == 2 and done.err.endswith(
        "required: KEY; -- ends the options; for the key -- itself, write -- --\n"
    )
    assert cli("--", "get", "--", key, "nope").code == 3
    assert cli("--").code == 2
    assert cli("keys", key, "--").ok().out == ""


@pytest.mark.parametrize(
    "argv, answer",
    [
        ("keys {} --prefix", "--prefix needs a value; if the value begins with a dash, write --prefix=-x"),
        ("keys {} --prefix --long", "--prefix needs a value"), ("keys {} --prefix --", "--prefix needs a value"),
        ("keys {} --long=1", "--long takes no value"), ("keys {} -x", "there is no option -x; write -- before"),
        ("keys {} -lx", "there is no option -lx; did you mean -l?"), (["del", "k", "--forec=a b"], "there is no option --forec; did you mean --force?"),
        ("incr {} -n", "there is no option -n; write -- before"), ("get {} a b", "unexpected argument 'b'"),
    ],
)  # fmt: skip
def test_what_is_no_option_is_refused_before_anything_is_done(store, key, cli, argv, answer):
    done = cli(*(argv if isinstance(argv, list) else argv.format(key).split()))
    assert (done.code, done.out) == (2, "") and answer in done.err.splitlines()[-1]


def test_short_options_may_be_joined(store, key, cli):
    store["-lf"] = 1
    assert cli("keys", "-ll", key).ok().lines[-1].split() == ["-lf", "int", "1"]


@pytest.mark.parametrize(
    "argument, name",
    [(b"\xff", b"\xff"), (b"\xed\xa0\x80", b"\xed\xa0\x80"), ("é".encode(), "é"), (b"a\nb", "a\nb"), (b"", "")],
)
@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}, {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"}]
)
def test_bytes_of_the_command_line(store, key, tmp_path, argument, name, locale):
    """What is UTF-8 is a str, whatever the locale; what is not is refused, with the way to write it."""
    store[name] = "found"
    command = [sys.executable.encode(), b"-m", b"shmstore", b"get", key.encode(), b"--"]
    done = subprocess.run([*command, argument], capture_output=True, cwd=tmp_path, env={**without_locale(), **locale})
    if isinstance(name, bytes):
        assert done.returncode == 2 and f"write it as {name!r}" in done.stderr.decode()
        done = subprocess.run(
            [*command, repr(name).encode()], capture_output=True, cwd=tmp_path, env={**without_locale(), **locale}
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"found\n", b"")


def without_locale() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}


def test_what_keys_writes_in_json_is_read_by_typed(store, key, cli):
    store.update(dict.fromkeys(KEYS, 1))
    document = cli("keys", key, "--json").ok().json
    assert {from_json(one) for one in document["keys"]} == set(KEYS)
    assert json.loads(json.dumps(document)) == document
