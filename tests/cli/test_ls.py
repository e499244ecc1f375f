"""``shmstore ls`` and ``info`` beside ``ipcs -m`` and ``ls /dev/shm``, with segments of every kind planted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import shmstore
from shmstore import sysv
from shmstore._core import ffi, lib

NOBODY = 65534


@pytest.fixture
def planted(make, key, number, plant, as_user, tmp_path):
    """Five segments of different kinds, by kind: their ids."""
    store = make()
    store["a"] = 1
    ids = {"store": store.info().id}
    ids["foreign"] = as_user(NOBODY, lambda: shmstore.Store(f"{key}-foreign", size="128K", mode=0o644).info().id)
    ids["raw"] = plant(number, size=12345, mode=0o666)
    gone = shmstore.Store(f"{key}-gone", size="64K")
    ids["destroyed"] = gone.info().id
    gone.destroy()
    numbered = shmstore.Store(number ^ 0x01000000, size="96K")
    ids["numbered"] = numbered.info().id
    yield ids
    gone.close()
    numbered.destroy()
    numbered.close()
    sysv.shmctl(ids["foreign"], sysv.IPC_RMID)


def ipcs() -> dict[int, list[str]]:
    """What ``ipcs -m`` says, by id: key, owner, mode, bytes, attached, status."""
    if shutil.which("ipcs") is None:
        pytest.skip("ipcs (util-linux) is not installed")
    out = subprocess.run(
        ["ipcs", "-m"], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}
    ).stdout
    rows = [line.split() for line in out.splitlines() if line.startswith("0x")]
    return {int(row[1]): [row[0], *row[2:5], row[5], *row[6:]] for row in rows}


def test_beside_ipcs(planted, cli):
    deadline = time.monotonic() + 60
    while True:  # tests beside this one look at all stores, too, and are attached for that moment
        theirs, ours = ipcs(), cli("ls", "--json").ok().json
        rows = {row["id"]: row for row in ours["stores"] + ours["segments"]}
        if (
            all(rows[shmid]["attached"] == int(theirs[shmid][4]) for shmid in planted.values())
            or time.monotonic() > deadline
        ):
            break
    for kind, shmid in planted.items():
        key, owner, mode, size, attached, *status = theirs[shmid]
        row = rows[shmid]
        assert row["key"] == key, kind
        assert row.get("segment_size", row["size"]) == int(size), kind
        assert int(row["mode"], 8) == int(mode, 8), kind
        assert row["attached"] == int(attached), kind
        assert row["destroyed"] == ("dest" in status), kind
        assert {"root": 0, "nobody": NOBODY}[owner] == row["uid"], kind


def test_what_each_is(planted, cli, key, number):
    ours = cli("ls", "--json").ok().json
    rows = {row["id"]: row for row in ours["stores"]}
    store, foreign, gone, numbered = (rows[planted[kind]] for kind in ("store", "foreign", "destroyed", "numbered"))
    assert (store["name"], store["entries"], store["clients"], store["states"]) == (key, 1, 1, [])
    assert 0 < store["bytes_used"] < 1000 < store["bytes_free"] < store["size"] == 1 << 20 < store["segment_size"]
    assert (foreign["name"], foreign["states"], foreign["clients"]) == (f"{key}-foreign", ["foreign"], 0)
    assert (gone["name"], gone["states"], gone["key"], gone["entries"]) == (
        f"{key}-gone",
        ["destroyed"],
        "0x00000000",
        None,
    )
    assert (numbered["name"], numbered["name_kind"], numbered["key"]) == (
        None,
        "number",
        f"{number ^ 0x01000000:#010x}",
    )
    (raw,) = [row for row in ours["segments"] if row["id"] == planted["raw"]]
    assert (raw["kind"], raw["name"], raw["states"]) == ("segment", None, [])


def test_as_text(planted, cli, key, number):
    lines = cli("ls").ok().lines
    stores, others = lines.index("Stores"), lines.index("Other System V segments")
    # Behind its key, for other columns hold small numbers, too.
    by_id = {
        kind: next(i for i, line in enumerate(lines) if re.search(rf"(0x[0-9a-f]{{8}}|private) +{shmid} ", line))
        for kind, shmid in planted.items()
    }
    assert all(stores < by_id[kind] < others for kind in ("store", "foreign", "destroyed", "numbered"))
    assert by_id["raw"] > others
    assert re.split(r"\s+", lines[by_id["store"]])[:8] == [
        key, lines[by_id["store"]].split()[1], str(planted["store"]), "root", "0600", "1M", "48", "1"
    ]  # fmt: skip
    assert lines[by_id["foreign"]].endswith("foreign")
    assert lines[by_id["destroyed"]].endswith("destroyed")
    assert lines[by_id["numbered"]].startswith(f"{number ^ 0x01000000:#010x} ")
    assert f"{number:#010x}" in lines[by_id["raw"]] and "12,345" in lines[by_id["raw"]]


def test_another_user_sees_them_too(planted, nobody, key):
    ours = nobody("ls", "--json").ok().json
    segments = {row["id"]: row for row in ours["segments"]}
    assert segments[planted["store"]]["states"] == ["unreadable"]
    assert segments[planted["numbered"]]["kind"] == "unreadable"
    assert segments[planted["destroyed"]]["states"] == ["destroyed", "unreadable"]
    (foreign,) = [row for row in ours["stores"] if row["id"] == planted["foreign"]]
    assert foreign["states"] == []  # to the user nobody it is its own


def test_only_stores(planted, cli):
    document = cli("ls", "--stores", "--json").ok().json
    assert document.keys() == {"stores"}
    assert planted["raw"] not in {row["id"] for row in document["stores"]}
    assert "Other" not in cli("ls", "--stores").ok().out


def test_stores_that_cannot_be_opened(make, key, cli):
    """Garbage behind the magic, a format of the future, a creation that stands still."""
    store = make()
    shmid = store.info().id
    size = ffi.new("uint64_t *")
    memory = ffi.buffer(lib.shms_memory(store._handle, size), 8192)
    page = bytes(memory)

    def state():
        (row,) = [row for row in cli("ls", "--json").ok().json["stores"] if row["id"] == shmid]
        assert cli("info", "--id", shmid).ok().out
        return row["states"]

    memory[192:196] = b"\xff\xff\xff\xff"  # client_count
    assert state() == ["corrupt"]
    assert cli("get", key, "a").code == 1
    memory[:] = page
    memory[16:20] = b"\x02\0\0\0"
    assert state() == ["format 2"]
    memory[:] = page
    memory[0:8] = b"SHMSINIT"
    assert state() == ["unfinished"]
    memory[:] = page
    assert state() == []
    memory[4096:4100] = b"\x1b[2J"  # a name that would clear the screen
    memory[160:168] = (1).to_bytes(4, "little") + (4).to_bytes(4, "little")
    assert "\x1b" not in cli("ls").ok().out and "\\x1b[2J" in cli("ls").ok().out
    memory[:] = page


@pytest.fixture
def blocks(key):
    """A SharedMemory of this package, and a ShareableList."""
    block = shmstore.SharedMemory(f"{key}-block", create=True, size=1000)
    shared = shmstore.ShareableList([1, "two"], name=f"{key}-é\n")
    yield block, shared
    for one in (block, shared.shm):
        one.close()
        one.unlink()


def test_blocks_have_their_names(blocks, cli, key, plant):
    plant(size=5000)
    block, shared = blocks
    rows = {row["name"]: row for row in cli("ls", "--json").ok().json["segments"]}
    assert (rows[block.name]["kind"], rows[block.name]["block"], rows[block.name]["states"]) == (
        "segment",
        "SharedMemory",
        [],
    )
    assert rows[shared.shm.name]["block"] == "ShareableList" and rows[shared.shm.name]["attached"] >= 1
    assert "block" not in rows[None]
    lines = cli("ls").ok().lines
    (shown,) = [line for line in lines if line.startswith(f"{block.name} ")]
    assert shown.endswith("  SharedMemory")
    assert [line.split()[-1] for line in lines if line.startswith(f"{key}-é\\n ")] == ["ShareableList"]
    shmid = rows[block.name]["id"]
    text = cli("info", "--id", shmid).ok().out
    assert "No store, but a SharedMemory" in text and block.name in text and "1,000 bytes" in text
    assert cli("info", "--id", shmid, "--json").ok().json["block"] == {
        "class": "SharedMemory",
        "name": block.name,
        "size": 1000,
    }
    missed = cli("info", block.name)
    assert missed.code == 3 and missed.err.endswith(
        f"; segment {shmid} is the SharedMemory of that name: shmstore info --id {shmid} shows it\n"
    )
    refused = cli("rm", "--id", shmid)
    assert refused.code == 4 and f"it is not a store, but the SharedMemory {block.name!r}" in refused.err


def test_what_only_looks_like_a_block_has_no_name(plant, cli):
    """Random bytes behind the magic, a header that was not finished, one of another version, one that is cut off."""
    from shmstore.shared_memory import _header

    shmid = plant(size=8192)
    with sysv.shmat(shmid) as memory:
        whole = _header.write(memory, b"its name", 4096)
        page = bytes(memory)

        def block():
            (row,) = [row for row in cli("ls", "--json").ok().json["segments"] if row["id"] == shmid]
            return row.get("block"), row["name"]

        assert whole.size == 4096 and block() == ("SharedMemory", "its name")
        for at in (8, 16, 20, 24, 32, 64):
            memory[at] ^= 0x55
            assert block() == (None, None), at
            memory[:] = page
        memory[:8] = bytes(8)
        assert block() == (None, None)
    small = plant(size=40)
    assert [row["name"] for row in cli("ls", "--json").ok().json["segments"] if row["id"] == small] == [None]


def test_posix_objects(cli, key):
    folder = Path("/dev/shm")
    if not folder.is_dir():
        pytest.skip("no /dev/shm")
    plain, odd, pipe = folder / key, os.fsdecode(b"/dev/shm/" + key.encode() + b"\xff\n"), folder / f"{key}-pipe"
    try:
        plain.write_bytes(bytes(10_000))
        Path(odd).write_bytes(b"SHMSTORE" + bytes(8192))
        os.mkfifo(pipe)
        document = cli("ls", "--json").ok().json
        rows = {row["object"]: row for row in document["posix"]}
        assert (rows[key]["kind"], rows[key]["size"]) == ("object", 10_000)
        (liar,) = [row for row in document["stores"] if row["object"] == f"{key}\\xff\n"]
        assert (liar["kind"], liar["states"], liar["entries"]) == ("store", ["corrupt"], None)
        assert rows[f"{key}-pipe"]["kind"] == "special"
        text = cli("ls").ok().out
        assert "POSIX objects in /dev/shm" in text and f"{key}\\xff\\n" in text
    finally:
        for path in (plain, Path(odd), pipe):
            path.unlink(missing_ok=True)


def test_info(store, key, cli):
    info = store.info()
    store["a"] = 1
    document = cli("info", key, "--json").ok().json
    assert document["kind"] == "store" and document["states"] == [] and document["clients"] == 1
    segment, header = document["segment"], document["header"]
    status = sysv.shmctl(info.id, sysv.IPC_STAT)
    assert (segment["id"], segment["size"], segment["creator_pid"]) == (info.id, status.size, os.getpid())
    assert header["size"] == info.size == 1 << 20 < status.size
    assert (segment["change_time"], int(segment["mode"], 8)) == (status.ctime, 0o600)
    assert (header["name"], header["uuid"], header["created"]) == (key, info.uuid, info.created)
    assert header["max_entries"] == info.max_entries and header["max_clients"] == info.max_clients
    assert document["stats"] == store.stats().as_dict()
    text = cli("info", f"{info.key & 0xFFFFFFFF:#x}").ok().out
    assert key in text and info.uuid in text and "1,048,576 bytes (1M)" in text
    assert "1 of 1,024 attached for writing" in text


def test_info_of_no_store(plant, number, cli):
    shmid = plant(number, size=5000)
    for arguments in ([f"{number:#x}"], ["--id", shmid]):
        text = cli("info", *arguments).ok().out
        assert "No store, but a segment" in text and "5,000 bytes" in text
    assert cli("info", number).code == 3
    assert cli("info", "--id", 2**31 - 1).code == 3
    assert cli("info").code == 2


def test_another_name_under_the_same_key_is_refused(make, key, cli):
    """As after a collision of two names' keys: the header has the name."""
    store = make()
    size = ffi.new("uint64_t *")
    memory = ffi.buffer(lib.shms_memory(store._handle, size), 8192)
    memory[4096 : 4096 + len(key)] = b"x" * len(key)
    for command in (["info", key], ["rm", key, "--force"], ["chmod", "0666", key], ["get", key, "a"]):
        done = cli(*command)
        assert done.code == 1 and "belongs to" in done.err, command
    memory[4096 : 4096 + len(key)] = key.encode()
