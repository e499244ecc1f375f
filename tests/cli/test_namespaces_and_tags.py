"""Tags and namespaces on the command line."""

from __future__ import annotations

import pytest


def test_evict_tag(store, key, cli):
    cli("put", key, "a", "1", "--tag", "user:7", "--tag", "b'raw'").ok()
    cli("put", key, "b", "2", "--tag", "user:7", "--add").ok()
    cli("put", key, "c", "3").ok()
    assert ["tags", "2"] in [line.split() for line in cli("describe", key, "a").ok().lines]
    assert cli("describe", key, "c", "--json").ok().json["tags"] == 0
    assert cli("evict-tag", key, "user:7", "nobody").ok().out == ""
    assert dict(store) == {"c": 3}
    store.put("d", 4, tags=[b"raw"])
    assert cli("evict-tag", key, "b'raw'", "--json").ok().json == {"evicted": ["b'raw'"]}
    assert dict(store) == {"c": 3}
    assert cli("evict-tag", key).code == 2 and cli("evict-tag", "no such store", "t").code == 3


def test_entries_of_a_namespace(store, key, cli):
    users = store.namespace("users")
    users.update({"7": "Ada", b"8": 8})
    store["7"] = "root"
    within = ("--namespace", "users")
    assert cli("keys", key, *within).ok().lines == ["7", "b'8'"] and cli("keys", key).ok().lines == ["7"]
    assert cli("get", key, "7", *within).ok().out == "Ada\n" and cli("get", key, "7").ok().out == "root\n"
    cli("put", key, "9", "[1]", *within, "--tag", "t").ok()
    assert users["9"] == [1] and users.describe("9").tags == 1
    assert cli("incr", key, "n", "5", *within).ok().out == "5\n"
    assert cli("ttl", key, "n", "1h", *within).ok() and 3590 < users.ttl("n") <= 3600
    assert cli("describe", key, "n", "--json", *within).ok().json["name"] == "n"
    assert cli("del", key, "9", *within).ok() and cli("del", key, "9", *within).code == 3
    assert cli("clear", key, *within, "--json").ok().json == {"deleted": 3}
    assert dict(users) == {} and dict(store) == {"7": "root"}


def test_a_namespace_in_another_one(store, key, cli):
    store.namespace("users").namespace(b"eu")["k"] = 1
    assert cli("get", key, "k", "--namespace", "users", "--namespace", "b'eu'").ok().out == "1\n"
    found = cli("info", key, "--json").ok().json["namespaces"]
    assert found == [["users"], ["users", {"$bytes": "ZXU="}]]
    assert "users, users / b'eu'" in cli("info", key).ok().out


def test_a_namespace_that_nobody_has_made(store, key, cli):
    for command in (["get", key, "k"], ["put", key, "k", "1"], ["del", key, "k"], ["keys", key], ["incr", key, "k"]):
        done = cli(*command, "--namespace", "nobody")
        assert done.code == 3 and "has no namespace 'nobody'" in done.err
    assert cli("info", key, "--json").ok().json["namespaces"] == []
    cli("put", key, "k", "1", "--create", "--namespace", "new", "--namespace", "er").ok()
    assert store.namespace("new").namespace("er")["k"] == 1


def test_clear_means_all(store, key, cli):
    users = store.namespace("users")
    users["k"], store["k"], store["other"] = 1, 2, 3
    cli("clear", key, "--prefix", "k").ok()
    assert dict(users) == {"k": 1} and dict(store) == {"other": 3}
    cli("clear", key).ok()
    assert dict(users) == {} == dict(store)


@pytest.mark.parametrize("word", ["--namespace", "--tag"])
def test_commands_that_take_none(store, key, cli, word):
    assert cli("stats", key, word, "x").code == 2
