"""``shmstore watch``: every change, until Ctrl-C, --count, or the end of the store."""

from __future__ import annotations

import json
import re
import select
import signal
import time

import pytest



@pytest.fixture
def watching(script):
    """Start to watch, and give a function that reads a line within ten seconds."""

    def watching(*argv):
        process = script("watch", *argv)

        def line() -> str:
            assert select.select([process.stdout], [], [], 10.0)[0], "no line came"
            return process.stdout.readline().decode()

        return process, line

    return watching


def until_attached(store) -> None:
    """Wait until somebody else has attached to the store, and a moment more for its first look."""
    before = store.info().attached
    deadline = time.monotonic() + 10
    while store.info().attached == before and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)


@pytest.mark.parametrize("options", [[], ["--wake"]])
def test_one_name(store, key, watching, options):
    process, line = watching(key, "a", *options)
    until_attached(store)
    store["b"] = "not asked for"
    store["a"] = {"n": 1}
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d\d\d  a  \{'n': 1\}\n", line())
    store["a"] = "line\n"
    assert line().endswith("  a  'line\\n'\n")
    del store["a"]
    assert line().endswith("  a  (gone)\n")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_several_names_as_json(store, key, watching):
    process, line = watching(key, "a", "b'b'", "--json", "--count", "3")
    until_attached(store)
    store["a"] = (1,)
    first = json.loads(line())
    assert {name: first[name] for name in ("name", "event", "value")} == {"name": "a", "event": "put", "value": {"$tuple": [1]}}
    assert abs(first["time"] - time.time()) < 60 and int(first["version"]) == store.get_versioned("a")[1]
    store[b"b"] = None
    second = json.loads(line())
    assert (second["name"], second["value"]) == ({"$bytes": "Yg=="}, None)
    store.delete("a")
    assert json.loads(line())["event"] == "gone"
    assert process.wait(timeout=10) == 0
    assert process.stderr.read() == b""


def test_all_names(store, key, watching):
    store["old"] = 1
    process, line = watching(key, "--interval", "10ms", "--prefix", "")
    until_attached(store)
    store["new"] = 2
    assert line().endswith("  new  2\n")
    del store["old"]
    assert line().endswith("  old  (gone)\n")
    store.put("brief", 1, ttl=0.5)
    assert line().endswith("  brief  1\n")
    assert line().endswith("  brief  (gone)\n")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130


@pytest.mark.parametrize("names", [["a"], ["a", "b"], []])
def test_the_store_is_removed_meanwhile(store, key, watching, names):
    process, _ = watching(key, *names, *([] if names else ["--interval", "10ms"]))
    until_attached(store)
    store.destroy()
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (3, b"")
    assert err.decode().startswith(f"shmstore: store '{key}': it was removed")


def test_a_value_that_cannot_be_read_does_not_end_it(make, key, watching):
    store = make(codec="pickle")
    process, line = watching(key, "a", "--count", "2")
    until_attached(store)
    store["a"] = 1
    assert "(cannot be read: " in line()
    del store["a"]
    assert line().endswith("(gone)\n")
    assert process.wait(timeout=10) == 0


def test_a_reader_that_goes_away(store, key, watching):
    process, line = watching(key, "a")
    until_attached(store)
    store["a"] = 1
    line()
    process.stdout.close()
    store["a"] = 2
    assert process.wait(timeout=10) == 1
    assert process.stderr.read() == b""


def test_stats_end_with_the_store(make, key, script):
    store = make()
    process = script("stats", key, "--watch", "--interval", "10ms")
    process.stdout.readline()
    store.destroy()
    process.communicate(timeout=10)
    assert process.returncode == 3
