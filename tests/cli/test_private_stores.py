"""Private stores from the command line: listed, looked into, and removed only by force."""

from __future__ import annotations

import os

import pytest

import shmstore
from shmstore import PRIVATE, Store
from shmstore._core import ffi, lib

BOTH = pytest.mark.parametrize("memory", ["sysv", "posix"])


def place(store):
    """What leads to it: an id, or a path."""
    info = store._raw_info()
    return info.id if store.info().backend == "sysv" else f"/proc/{os.getpid()}/fd/{info.descriptor}"


@BOTH
def test_private_stores_are_listed(memory, cli):
    with Store(PRIVATE, backend=memory, size="1M") as store:
        store["a"] = 1
        mine = cli("ls", "--json").ok().json["stores"]
        rows = [row for row in mine if "private" in row["states"] and row["backend"] == memory]
        (row,) = [row for row in rows if row["object" if memory == "posix" else "id"] == place(store)]
        assert (row["name_kind"], row["name"], row["entries"], row["clients"], row["states"]) == (
            "private",
            None,
            1,
            1,
            ["private"],
        )
        where = ["--object" if memory == "posix" else "--id", place(store)]
        document = cli("info", *where, "--json").ok().json
        assert document["header"]["uuid"] == store.info().uuid and document["stats"]["entries"] == 1
        name = place(store) if memory == "posix" else f"id {place(store)}"
        (line,) = [line for line in cli("ls").ok().lines if line.startswith(f"{name} ")]
        assert line.endswith("private")


@BOTH
def test_private_stores_are_removed_only_by_force(memory, cli):
    with Store(PRIVATE, backend=memory, size="1M") as store:
        where = ["--object" if memory == "posix" else "--id", place(store)]
        refused = cli("rm", *where)
        assert refused.code == 4 and "1 process is using it" in refused.err
        cli("rm", *where, "--force").ok()
        with pytest.raises(shmstore.StoreDestroyed):
            store.get("a")


def test_a_broken_private_store_goes_only_with_its_processes(cli):
    with Store(PRIVATE, backend="posix", size="1M") as store:
        memory = ffi.buffer(lib.shms_memory(store._handle, ffi.new("uint64_t *")), 8192)
        page = bytes(memory)
        memory[192:196] = b"\xff\xff\xff\xff"  # client_count
        (row,) = [row for row in cli("ls", "--json").ok().json["stores"] if row["object"] == place(store)]
        assert row["states"] == ["corrupt", "private"]
        refused = cli("rm", "--object", place(store), "--force")
        assert refused.code == 1 and "ends with its last process" in refused.err
        memory[:] = page
        cli("chmod", "0644", "--object", place(store)).ok()
        assert store.info().mode == 0o644


def test_private_stores_of_another_user_stay_unseen(cli, nobody):
    with Store(PRIVATE, backend="posix", size="1M") as store:
        assert place(store) not in [row["object"] for row in nobody("ls", "--json").ok().json["stores"]]
        assert nobody("info", "--object", place(store)).code == 3


def test_a_child_shares_its_parents_private_store(cli):
    """Two processes have it open; it is one store."""
    with Store(PRIVATE, backend="posix", size="1M") as store:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        uuid = store.info().uuid
        rows = [
            row
            for row in cli("ls", "--json").ok().json["stores"]
            if row["name_kind"] == "private" and row["backend"] == "posix"
        ]
        shown = [(row, cli("info", "--object", row["object"], "--json")) for row in rows]
        # Stores of other processes may have ended meanwhile.
        found = [row for row, info in shown if info.code == 0 and (info.json["header"] or {}).get("uuid") == uuid]
        os.close(writer)
        os.waitpid(pid, 0)
        assert len(found) == 1 and found[0]["attached"] >= 2  # tests beside this one look at it, too
