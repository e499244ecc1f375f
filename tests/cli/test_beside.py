"""``shmstore ls`` beside ``ipcs -m`` and ``ls -n /dev/shm``, as root and as another user, with one piece of memory of
each kind planted: nothing is left out, ids, sizes, owners and modes are the same, and each says what it is."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from shmstore import PRIVATE, Store
from shmstore._store.names import parse_key

NOBODY = 65534
pytestmark = pytest.mark.skipif(shutil.which("ipcs") is None, reason="ipcs (util-linux) is not installed")


@pytest.fixture
def planted(key, plant, number, as_user):
    """By kind: the id of a segment, or the name of an object."""
    objects = Path("/dev/shm", f"{key}-object"), Path(parse_key(key, "posix").place)
    as_user(NOBODY, lambda: objects[0].write_bytes(bytes(10_000)))
    with (
        Store(key, size="128K") as store,
        Store(key, backend="posix", size="256K") as posix,
        Store(PRIVATE, size="64K") as private,
    ):
        yield {
            "store": store.info().id, "private": private.info().id, "segment": plant(number, 12_345, 0o666, NOBODY),
            "object": objects[0].name, "posix store": objects[1].name,
        }  # fmt: skip
        store.destroy(), posix.destroy()
    objects[0].unlink()


def run(*command: str) -> list[list[str]]:
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"})
    return [line.split() for line in done.stdout.splitlines()]


def ipcs() -> dict[int, tuple[object, ...]]:
    """By id: key, owner, mode, size, removed. How often they are attached changes while tests beside this one look at them."""
    names = {"root": 0, "nobody": NOBODY}
    return {
        int(row[1]): (row[0], names.get(row[2], row[2]), row[3].zfill(4), int(row[4]), "dest" in row)
        for row in run("ipcs", "-m") if row and row[0].startswith("0x")
    }  # fmt: skip


def dev_shm() -> dict[str, tuple[object, ...]]:
    """By name: owner, mode, size, and inode. Of files with a plain name."""
    rows = [row for row in run("ls", "-inA", "/dev/shm") if len(row) == 10 and row[1][0] == "-"]
    return {row[9]: (int(row[3]), f"{mode_of(row[1]):04o}", int(row[5]), int(row[0])) for row in rows}


def mode_of(letters: str) -> int:
    return next(mode for mode in range(0o1000) if stat.filemode(stat.S_IFREG | mode) == letters[:10])


@pytest.mark.parametrize("who", ["root", "nobody"])
def test_the_same_as_the_systems_own_commands(planted, cli, nobody, who):
    shmstore = cli if who == "root" else nobody
    segments, objects = ipcs(), dev_shm()
    document, text = shmstore("ls", "--json").ok().json, shmstore("ls").ok().lines
    rows = [row for rows in document.values() for row in rows]
    found = {row["id"]: row for row in rows if row["id"] is not None}
    files = {row["object"]: row for row in rows if row["object"] is not None}
    assert segments.keys() & ipcs().keys() <= found.keys()
    stayed = {name for name, file in dev_shm().items() if objects.get(name, (0,))[-1] == file[-1]}
    assert stayed <= files.keys()
    for what, place in planted.items():
        row = found[place] if isinstance(place, int) else files[place]
        ours = (row["uid"], row["mode"], row.get("segment_size", row["size"]))
        if isinstance(place, int):
            assert (row["key"], *ours, row["destroyed"]) == segments[place], what
        else:
            assert ours == objects[place][:3], what
        (line,) = [
            line for line in text if f" {place} " in f" {line}" or (row["name"] and line.startswith(row["name"] + " "))
        ][:1]
        assert {0: " root ", NOBODY: " nobody "}[row["uid"]] in line and f" {row['mode']} " in line, line


SEEN = {
    "root": {
        "store": ("store", []), "private": ("store", ["private"]), "segment": ("segment", ["foreign"]),
        "object": ("object", ["foreign"]), "posix store": ("store", []),
    },
    "nobody": {
        "store": ("unreadable", ["unreadable"]), "private": ("unreadable", ["destroyed", "unreadable"]),
        "segment": ("segment", []), "object": ("object", []), "posix store": ("unreadable", ["unreadable"]),
    },
}  # fmt: skip


@pytest.mark.parametrize("who", ["root", "nobody"])
def test_each_says_what_it_is(planted, cli, nobody, who):
    document = (cli if who == "root" else nobody)("ls", "--json").ok().json
    rows = [row for rows in document.values() for row in rows]
    seen = {}
    for what, place in planted.items():
        (row,) = [row for row in rows if place in (row["id"], row["object"])]
        seen[what] = (row["kind"], row["states"])
        assert (row in document["stores"]) == (row["kind"] == "store")
    assert seen == SEEN[who]
