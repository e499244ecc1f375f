"""Administration of POSIX stores: which is meant, what is refused, and that looking leaves no trace.
What commands do with entries is tested on all kinds of memory (test_entries.py, test_watch.py)."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

import shmstore
from shmstore import Store
from shmstore._store.names import parse_key
from shmstore.cli.support.human import user

NOBODY = 65534
POSIX = ("--backend", "posix")


@pytest.fixture
def posix(key):
    """A key; its POSIX store is removed at the end."""
    yield key
    path_of(key).unlink(missing_ok=True)


@pytest.fixture
def held(posix):
    """A POSIX store with an entry, and this process attached."""
    with Store(posix, backend="posix", size="1M") as store:
        store["a"] = 1
        yield store


def path_of(key: object) -> Path:
    return Path(parse_key(key, "posix").place)  # type: ignore[arg-type]


# ---- which store is meant ----


def test_a_key_means_the_system_v_store_unless_said_otherwise(held, posix, cli):
    missed = cli("get", posix, "a")
    assert missed.code == 3 and f"{path_of(posix)} exists: add --backend posix" in missed.err
    with Store(posix, size="256K") as other:
        other["a"] = 2
        assert cli("get", posix, "a").ok().out == "2\n"
        assert cli("get", posix, "a", *POSIX).ok().out == "1\n"
        held.destroy()
        missed = cli("get", posix, "a", *POSIX)
        assert missed.code == 3 and "omit --backend posix" in missed.err and str(path_of(posix)) in missed.err
    assert cli("get", posix, "a", "--backend", "mmap").code == 2


def test_create_makes_the_kind_that_is_said(posix, cli):
    cli("put", posix, "a", "1", "--create", "--size", "256K", "--mode", "0640", *POSIX).ok()
    with pytest.raises(shmstore.StoreNotFound):
        Store(posix, create=False)
    assert path_of(posix).stat().st_mode & 0o777 == 0o640
    cli("put", posix, "a", "2", "--create", "--size", "512K", *POSIX).ok()  # it stays as it is
    assert path_of(posix).stat().st_size > 256 << 10 == Store(posix, backend="posix").info().size


def test_numbers_paths_and_names(tmp_path, cli, number, posix):
    for key in ([hex(number)], [str(tmp_path), "--path"], [hex(number), "--name"]):
        cli("incr", *key, "n", "--create", "--size", "256K", *POSIX).ok()
        assert cli("info", *key, "--json", *POSIX).ok().json["stats"]["entries"] == 1
        cli("rm", *key, *POSIX).ok()


@pytest.mark.parametrize(
    "given",
    [
        ["x", "--object", "x"],
        ["x", "--id", "1"],
        ["--id", "1", "--object", "x"],
        ["--id", "1", *POSIX],
        [*POSIX],
        ["--object", "x", "--backend", "sysv"],
    ],
)
def test_two_answers_to_which_are_one_too_many(cli, given):
    assert cli("info", *given).code == 2


@pytest.mark.parametrize(
    "name", ["no-such", "", ".", "..", "../shm/x", "/proc/self/fd/1/x", "/proc/1/environ", "/etc/passwd"]
)
def test_objects_are_files_of_dev_shm(cli, name):
    done = cli("info", "--object", name)
    assert done.code == 3 and "there is no object" in done.err


# ---- looking ----


def test_ls(held, posix, cli):
    with Store(posix, backend="posix", readonly=True):
        (row,) = [row for row in cli("ls", "--json").ok().json["stores"] if row["name"] == posix]
    assert (row["kind"], row["backend"], row["object"], row["id"]) == ("store", "posix", path_of(posix).name, None)
    assert (
        row["size"] == 1 << 20 < row["segment_size"],
        row["entries"],
        row["clients"],
        row["attached"],
        row["states"],
    ) == (
        True,
        1,
        1,
        2,
        [],
    )
    assert row["bytes_used"] == held.stats().bytes_used and row["allocated"] == path_of(posix).stat().st_blocks * 512
    (line,) = [line for line in cli("ls").ok().lines if line.startswith(posix)]
    assert line.split() == [posix, "posix", "-", user(os.geteuid()), "0600", "1M", "48", "1", "1"]


def test_ls_shows_the_key_of_a_numeric_store(number, cli):
    with Store(number, backend="posix", size="256K") as store:
        assert any(line.startswith(f"{number:#010x} ") and " posix " in line for line in cli("ls").ok().lines)
        store.destroy()


def test_info(held, posix, cli):
    document = cli("info", posix, *POSIX, "--json").ok().json
    assert document == cli("info", "--object", path_of(posix).name, "--json").ok().json
    assert document == cli("info", "--object", path_of(posix), "--json").ok().json
    assert document["segment"]["object"] == path_of(posix).name and document["segment"]["mode"] == "0600"
    assert document["header"]["uuid"] == held.info().uuid and document["stats"] == held.stats().as_dict()
    text = cli("info", posix, *POSIX).ok().out
    assert str(path_of(posix)) in text and "1,048,576 bytes (1M)" in text


def test_looking_leaves_no_trace(held, posix, cli):
    before, pages = path_of(posix).read_bytes(), path_of(posix).stat().st_blocks
    for command in ("info", "keys", "stats", "clients", "check"):
        cli(command, posix, *POSIX).ok()
    for command in ("get", "ttl"):
        cli(command, posix, "a", *POSIX).ok()
    cli("ls").ok()
    cli("doctor")
    assert path_of(posix).read_bytes() == before and path_of(posix).stat().st_blocks == pages


def test_figures(held, posix, cli):
    assert cli("stats", posix, "--json", *POSIX).ok().json == {**held.stats().as_dict(), "hit_ratio": None}
    (client,) = cli("clients", posix, "--json", *POSIX).ok().json["clients"]
    assert client["pid"] == os.getpid() and client["alive"] is True
    lines = cli("stats", posix, "--watch", "--count", 2, "--interval", "10ms", "--json", *POSIX).ok().lines
    assert [json.loads(line)["entries"] for line in lines] == [1, 1]
    assert cli("check", posix, "--json", *POSIX).ok().json == {"sound": True, "lost": 0, "error": None}
    assert cli("clear", posix, "--json", *POSIX).ok().json == {"deleted": 1}


# ---- strangers ----


def test_a_store_of_another_user_is_listed_and_not_mapped(posix, cli, as_user, monkeypatch):
    def make():
        with Store(posix, backend="posix", size="256K", mode=0o644) as store:
            store["a"] = "theirs"

    as_user(NOBODY, make)
    attached, attach_to = [], shmstore.store.attach_to
    monkeypatch.setattr("shmstore.store.attach_to", lambda key: attached.append(key.shown) or attach_to(key))
    (row,) = [row for row in cli("ls", "--json").ok().json["stores"] if row["name"] == posix]
    assert (row["states"], row["uid"], row["entries"], row["attached"]) == (["foreign"], NOBODY, None, None)
    assert str(path_of(posix)) not in attached
    refused = cli("get", posix, "a", *POSIX)
    assert refused.code == 1 and "--owner" in refused.err
    assert cli("get", posix, "a", "--owner", "nobody", *POSIX).ok().out == "theirs\n"
    refused = cli("rm", posix, *POSIX)
    assert refused.code == 4 and f"uid {NOBODY} owns it" in refused.err
    cli("rm", posix, "--force", *POSIX).ok()
    assert not path_of(posix).exists()


def test_another_user_may_not_read_it(held, posix, nobody):
    document = nobody("ls", "--json").ok().json
    (row,) = [row for row in document["posix"] if row["object"] == path_of(posix).name]
    assert (row["kind"], row["states"]) == ("unreadable", ["unreadable"])
    for command in (
        ["get", posix, "a"],
        ["put", posix, "a", "1"],
        ["stats", posix],
        ["check", posix],
        ["watch", posix],
    ):
        done = nobody(*command, *POSIX)
        assert done.code == 1 and "Permission denied" in done.err, command
    assert "An object that you may not read" in nobody("info", posix, *POSIX).ok().out
    hidden = nobody("rm", posix, *POSIX)
    assert hidden.code == 4 and "may not read it" in hidden.err
    assert hidden.err.endswith("; only root can remove it\n") and "--force" not in hidden.err
    assert nobody("rm", posix, "--force", *POSIX).err.endswith(
        f"not permitted: {path_of(posix)}; only root can remove it\n"
    )
    for command in (["rm", posix, "--force"], ["chmod", "0666", posix]):
        denied = nobody(*command, *POSIX)
        assert denied.code == 1 and f"not permitted: {path_of(posix)}" in denied.err, command
    assert held["a"] == 1


def test_chmod_and_chown(held, posix, cli, nobody):
    assert cli("chmod", "g+r", posix, *POSIX).ok().out.startswith(f"{path_of(posix)}: owner root")
    document = cli("chmod", "0644", "--object", path_of(posix).name, "--json").ok().json
    assert document == {"object": path_of(posix).name, "uid": 0, "gid": os.getegid(), "mode": "0644"}
    assert nobody("get", posix, "a", *POSIX).ok().out == "1\n"
    cli("chown", f"nobody:{NOBODY}", posix, *POSIX).ok()
    assert (held.info().uid, held.info().gid, held.info().mode) == (NOBODY, NOBODY, 0o644)
    nobody("put", posix, "a", "2", *POSIX).ok()  # nobody owns it now
    assert "--owner" in cli("get", posix, "a", *POSIX).err
    cli("chown", "root", posix, *POSIX).ok()
    assert cli("get", posix, "a", *POSIX).ok().out == "2\n"


# ---- rm ----


def test_rm(posix, cli):
    store = Store(posix, backend="posix", size="256K")
    reader = Store(posix, backend="posix", readonly=True)
    in_use = cli("rm", posix, *POSIX)
    # Tests beside this one look at all stores, and are attached for that moment.
    assert in_use.code == 4 and re.search(r"[2-9] attachments are using it", in_use.err)
    removed = re.escape(f"{posix} ({path_of(posix)}) removed; attached processes that keep its memory: ")
    assert re.fullmatch(removed + "[2-9]\n", cli("rm", posix, "--force", *POSIX).ok().out)
    for handle in (store, reader):
        with pytest.raises(shmstore.StoreDestroyed):
            handle.get("a")
        handle.close()
    Store(posix, backend="posix", size="256K").close()
    assert cli("rm", posix, "--json", *POSIX).ok().json == {"removed": path_of(posix).name, "attached": 0}
    assert cli("rm", posix, *POSIX).code == 3


@pytest.mark.parametrize("what", ["empty", "other", "pipe", "link", "directory"])
def test_what_is_no_store_stays(posix, cli, what, tmp_path):
    path = path_of(posix)
    secret = tmp_path / "elsewhere"
    secret.write_bytes(b"SHMSTORE" + bytes(8192))
    secret.chmod(0o600)
    make = {
        "empty": path.touch, "other": lambda: path.write_bytes(b"hello" * 2000), "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(secret), "directory": path.mkdir,
    }  # fmt: skip
    make[what]()
    try:
        for command in (["rm"], ["chmod", "0666"]):
            done = cli(*command, posix, *POSIX)
            assert done.code == 4 and "not a store" in done.err, command
        (row,) = [row for row in cli("ls", "--json").ok().json["posix"] if row["object"] == path.name]
        assert row["kind"] in ("object", "special", "directory")
        assert "No store, but" in cli("info", posix, *POSIX).ok().out
        forced = cli("rm", posix, "--force", *POSIX)
        assert (forced.code == 0) == (what != "directory") and path.exists() == (what == "directory")
        assert secret.stat().st_mode & 0o777 == 0o600
    finally:
        if what == "directory":
            path.rmdir()


def test_a_name_that_leads_elsewhere_meanwhile(posix, cli, tmp_path):
    """Between the look and the change its owner puts a link to somebody else's file in its place."""
    from shmstore.cli.support.objects import object_named

    path, secret = path_of(posix), tmp_path / "secret"
    secret.touch(0o600)
    path.write_bytes(b"x")
    validated_at = object_named(os.fsencode(path.name))
    path.unlink()
    path.symlink_to(secret)
    for change in (lambda: validated_at.change(NOBODY, NOBODY, 0o666), validated_at.remove, validated_at.first_page):
        with pytest.raises(FileNotFoundError, match="another has its name"):
            change()
    assert path.is_symlink() and (secret.stat().st_uid, secret.stat().st_mode & 0o777) == (os.geteuid(), 0o600)


def test_a_broken_store(held, posix, cli):
    held.close()
    with open(path_of(posix), "r+b") as file:
        file.seek(192)
        file.write(b"\xff\xff\xff\xff")  # client_count
    (row,) = [row for row in cli("ls", "--json").ok().json["stores"] if row["object"] == path_of(posix).name]
    assert row["states"] == ["corrupt"] and row["attached"] is None
    assert "cannot be told" in cli("info", posix, *POSIX).ok().out
    refused = cli("rm", posix, *POSIX)
    assert refused.code == 4 and "it is corrupt" in refused.err
    cli("rm", posix, "--force", *POSIX).ok()
