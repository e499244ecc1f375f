"""stats, clients, check, clear, chmod, chown, rm."""

from __future__ import annotations

import json
import os
import re

import pytest

import shmstore
from shmstore import sysv
from shmstore._core import ffi, lib
from shmstore.cli.support.human import amount, duration, parse_duration, parse_mode

NOBODY = 65534


def test_stats(store, key, cli):
    store["a"] = 1
    store.get("a")
    store.get("b")
    document = cli("stats", key, "--json").ok().json
    assert document == {**store.stats().as_dict(), "hit_ratio": 0.5}
    rows = [line.split("  ") for line in cli("stats", key).ok().lines]
    assert [row[0].replace(" ", "_") for row in rows] == list(document)  # a label is a field's name
    shown = {row[0]: next(filter(None, row[1:])).strip() for row in rows}
    assert (
        shown["puts"] == "1"
        and shown["hit ratio"] == "50.0%"
        and shown["bytes free"] == f"{store.stats().bytes_free:,}"
    )


def test_no_read_no_hit_ratio(store, key, cli):
    assert cli("stats", key, "--json").ok().json["hit_ratio"] is None
    assert ["hit", "ratio", "-"] in [line.split()[:3] for line in cli("stats", key).ok().lines]


def test_stats_again_and_again(store, key, cli):
    done = cli("stats", key, "--watch", "--count", 3, "--interval", "10ms").ok()
    assert len(done.lines) == 4 and done.lines[0].split()[:2] == ["time", "entries"]
    assert len({len(line) for line in done.lines}) == 1
    lines = [
        json.loads(line)
        for line in cli("stats", key, "--watch", "--count", 2, "--interval", "10ms", "--json").ok().lines
    ]
    assert lines[0].keys() == {"time", "hit_ratio", *store.stats().as_dict()}


def test_the_hit_ratio_of_a_line_is_that_of_its_interval(store):
    from shmstore.cli.commands.stats import _HEAD, _line

    store["a"] = 1
    before = store.stats()
    for name in "aaab":
        store.get(name)
    line = _line(before, store.stats(), 2.0)
    assert len(line) == len(_HEAD)
    shown = dict(zip(_HEAD.split(), line.split()))
    assert (shown["hits/s"], shown["misses/s"], shown["ratio"], shown["puts/s"]) == ("2", "0", "75.0%", "0")
    assert dict(zip(_HEAD.split(), _line(before, before, 1.0).split()))["ratio"] == "-"


def test_clients(store, key, cli):
    (row,) = cli("clients", key, "--json").ok().json["clients"]
    assert row["pid"] == os.getpid() and row["alive"] is True
    assert f" {os.getpid()} " in cli("clients", key).ok().lines[2]
    store.close()
    assert cli("clients", key).ok().out == "No process is attached for writing.\n"
    assert cli("clients", key, "--json").ok().json == {"clients": []}


def test_looking_leaves_no_trace(store, key, cli):
    """Every command that looks attaches read-only: the first page and the registry stay byte for byte."""
    store["a"] = 1
    shmid = store.info().id
    with sysv.shmat(shmid, None, sysv.SHM_RDONLY) as memory:
        before = bytes(memory)
        for command in ("info", "keys", "stats", "clients", "check"):
            cli(command, key).ok()
        for command in ("get", "ttl"):
            cli(command, key, "a").ok()
        cli("ls").ok()
        cli("doctor")
        assert bytes(memory) == before


def test_check(store, key, cli):
    store["a"] = 1
    assert cli("check", key).ok().out == f"store '{key}' is sound: 1 entry\n"
    assert cli("check", key, "--json").ok().json == {"sound": True, "lost": 0, "error": None}


def test_check_of_a_broken_store(make, key, cli):
    store = make()
    store["a"] = 1
    size = ffi.new("uint64_t *")
    memory = lib.shms_memory(store._handle, size)
    pages = int.from_bytes(ffi.buffer(memory + 256, 8)[:], "little")
    ffi.buffer(memory + pages, 8)[:] = bytes(8)  # the first page of the heap, with the entry, is called free
    done = cli("check", key)
    assert done.code == 1 and "I2" in done.err and done.out == ""
    assert done.err.endswith("; shmstore check --repair keeps all entries that it can\n")
    told = cli("check", key, "--json")
    assert told.code == 1 and told.json["sound"] is False and "I2" in told.json["error"]
    store.close()
    assert cli("rm", key).ok()


def test_compact(make, key, cli):
    store = make(size="2M")
    for number in range(100):
        store.put(f"{number}", bytes(9000))
    for number in range(0, 100, 2):
        store.delete(f"{number}")
    before = store.stats()
    told = cli("compact", key, "--json").ok().json
    after = store.stats()
    assert told == {
        "moved": after.moves - before.moves,
        "largest_free": after.largest_free, "largest_free_before": before.largest_free,
        "fragmentation": after.fragmentation, "fragmentation_before": before.fragmentation,
    }  # fmt: skip
    assert told["moved"] > 0 and told["largest_free"] > told["largest_free_before"]
    assert cli("compact", key).ok().out.startswith("0 entries moved; largest free run: ")
    assert f"(fragmentation {after.fragmentation:.0%})" in cli("info", key).ok().out
    assert {len(store[f"{number}"]) for number in range(1, 100, 2)} == {9000}


def test_clear(store, key, cli):
    store.put_many({f"user:{i}": i for i in range(1500)} | {"other": 1})
    assert cli("clear", key, "--prefix", "user:").ok().out == "1,500 entries removed\n"
    assert list(store) == ["other"]
    assert cli("clear", key, "--json").ok().json == {"deleted": 1}
    assert len(store) == 0


@pytest.mark.parametrize(
    "text, before, after",
    [
        ("0640", 0, 0o640), ("600", 0o777, 0o600), ("0o644", 0, 0o644), ("g+r", 0o600, 0o640), ("o-rw", 0o666, 0o660),
        ("u=rw,g=r,o=", 0o777, 0o640), ("+r", 0, 0o444), ("a-w", 0o666, 0o444), ("ug+rw,o+r", 0, 0o664), ("0", 0o600, 0),
    ],
)  # fmt: skip
def test_modes(text, before, after):
    assert parse_mode(text, before) == after


@pytest.mark.parametrize("text", ["", "rw", "9", "1777", "g~r", "x+r", "0x1ff", "g+r,"])
def test_modes_that_are_none(store, key, cli, text):
    assert cli("chmod", "--", text, key).code == 2


def test_chmod(store, key, cli):
    shmid = store.info().id
    done = cli("chmod", "g+r", key).ok()
    assert done.out.startswith(f"segment {shmid}: ") and done.out.endswith("mode 0640\n")
    document = cli("chmod", "0600", "--id", shmid, "--json").ok().json
    assert document == {"id": shmid, "uid": os.geteuid(), "gid": os.getegid(), "mode": "0600"}
    assert store.info().mode == 0o600


def test_chown(store, key, cli, nobody):
    assert cli("chown", f"{NOBODY}:{NOBODY}", key).ok()
    assert (store.info().uid, store.info().gid) == (NOBODY, NOBODY)
    nobody("chmod", "0660", key).ok()  # the owner may, who is not the creator
    nobody("put", key, "a", "1").ok()  # and the creator is root, who is trusted
    cli("chown", ":0", key).ok()
    assert (store.info().uid, store.info().gid) == (NOBODY, 0)
    cli("chown", "root", key).ok()
    refused = nobody("chown", "nobody", key)
    assert refused.code == 1 and "Operation not permitted" in refused.err
    for bad in ("no-such-user", ":no-such-group", ":", "", str(2**40)):
        assert cli("chown", "--", bad, key).code == 2, bad


def test_an_owner_without_the_right_to_read_may_still_change_the_mode(key, nobody, cli, as_user):
    as_user(NOBODY, lambda: shmstore.Store(key, size="64K").info().id)
    nobody("chmod", "0", key).ok()
    assert nobody("get", key, "a").code == 1
    nobody("chmod", "0600", key).ok()
    assert nobody("get", key, "a").code == 3
    cli("rm", key, "--force").ok()


# ---- rm ----


def test_rm(make, key, cli):
    store = make()
    shmid = store.info().id
    in_use = cli("rm", key)
    assert in_use.code == 4 and "using it" in in_use.err and "--force" in in_use.err
    done = cli("rm", key, "--force").ok()
    # Tests beside this one look at all stores, and are attached for that moment.
    assert re.fullmatch(
        rf"{key} \(segment {shmid}\) removed; attached processes that keep its memory: [1-9]\n", done.out
    )
    with pytest.raises(shmstore.StoreDestroyed):
        store.info()
    again = cli("rm", "--id", shmid, "--force")
    assert (again.code, again.out, again.err) == (0, "", "")  # -f: what is not there is no failure
    again = cli("rm", "--id", shmid)
    assert again.code == 3 and "removed before" in again.err
    assert cli("rm", key).code == 3


def test_rm_of_an_idle_store(make, key, cli):
    store = make()
    shmid = store.info().id
    store.close()
    assert cli("rm", key, "--json").ok().json == {"removed": shmid, "attached": 0}


def test_rm_leaves_alone_what_is_no_store(plant, cli, number):
    shmid = plant(number)
    for command in (["rm", hex(number)], ["rm", "--id", shmid], ["chmod", "0666", hex(number)]):
        done = cli(*command)
        assert done.code == 4 and "not a store" in done.err, command
    cli("chmod", "0640", "--id", shmid).ok()  # said by its id, it is meant
    cli("rm", "--id", shmid, "--force").ok()
    assert cli("rm", "--id", shmid).code == 3
    assert cli("rm").code == 2
    assert cli("rm", "x", "--id", "1").code == 2
    assert cli("rm", "--id", "x").code == 2


def test_rm_of_other_users(key, cli, nobody, as_user, plant, number):
    as_user(NOBODY, lambda: shmstore.Store(key, size="64K").info().id)
    refused = cli("rm", key)
    assert refused.code == 4 and f"uid {NOBODY} made it" in refused.err
    cli("rm", key, "--force").ok()
    shmid = plant(number, mode=0o666)
    denied = nobody("rm", "--id", shmid, "--force")
    assert denied.code == 1 and "Operation not permitted" in denied.err
    shmid = plant(mode=0o600)
    hidden = nobody("rm", "--id", shmid)
    assert hidden.code == 4 and "may not read it" in hidden.err
    assert hidden.err.endswith("; only root can remove it\n") and "--force" not in hidden.err
    mine = as_user(NOBODY, lambda: shmstore.Store(key, size="64K", mode=0o644).info().id)
    assert "--force removes it" in cli("rm", "--id", mine).err  # root can
    refused = as_user(NOBODY - 1, lambda: tuple(cli("rm", key)))
    cli("rm", "--id", mine, "--force").ok()  # what the fixture finds is another user's, and it would leave it alone
    assert refused[0] == 4 and f"only uid 0 (root) and uid {NOBODY}" in refused[2] and "--force" not in refused[2]


def test_a_store_of_another_user(key, cli, as_user):
    def make():
        with shmstore.Store(key, size="64K") as store:
            store["a"] = "theirs"

    as_user(NOBODY, make)
    refused = cli("get", key, "a")
    assert (
        refused.code == 1
        and refused.err.endswith(f"use --owner {NOBODY} (or --owner any)\n")
        and "owner=" not in refused.err
    )
    for owner in ("any", NOBODY, "nobody"):
        assert cli("get", key, "a", "--owner", owner).ok().out == "theirs\n"
    assert cli("get", key, "a", "--owner", "no-such-user").code == 2
    assert cli("rm", key, "--force").code == 0


def test_a_store_that_may_not_be_read(store, key, nobody):
    store["a"] = 1
    for command in (["get", key, "a"], ["put", key, "a", "1"], ["stats", key], ["check", key], ["watch", key]):
        done = nobody(*command)
        assert done.code == 1 and "Permission denied" in done.err, command
    document = nobody("info", key, "--json").ok().json
    assert document["kind"] == "unreadable" and document["header"] is None
    assert "may not read" in nobody("info", key).ok().out


# ---- figures ----


@pytest.mark.parametrize(
    "count, text",
    [
        (0, "0"),
        (640, "640"),
        (1023, "1K"),
        (1024, "1K"),
        (1536, "1.5K"),
        (64 << 20, "64M"),
        (2**64, "16384P"),
        (1023 << 10, "1M"),
        (999 << 20, "999M"),
    ],
)
def test_amounts(count, text):
    assert amount(count).replace("1.0", "1") == text


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0 s"), (0.25, "0.2 s"), (5, "5 s"), (59.4, "59 s"), (90, "1 m 30 s"), (3600, "1 h"), (90_000, "1 d 1 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_durations_are_read():
    assert [parse_duration(text) for text in ("90", "1.5s", "250ms", "10m", "12h", "7d", "0")] == [
        90,
        1.5,
        0.25,
        600,
        43200,
        604800,
        0,
    ]
