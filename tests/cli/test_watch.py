"""``shmstore watch``: every change, until Ctrl-C, --count, or the end of the store."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import re
import select
import signal
import time

import pytest

import shmstore

PATIENCE = 60.0  # seconds: nothing here takes one of them on an idle machine


@pytest.fixture
def watching(script):
    """Start to watch, and give a function that reads a line. It passes over what a busy machine adds: lines about changes
    that the command did not see, unless they are asked for."""

    def watching(*argv):
        process = script("watch", *argv)

        def line(patience=PATIENCE, unseen=False) -> str:
            while True:
                if not select.select([process.stdout], [], [], patience)[0]:
                    assert patience < PATIENCE, "no line came"
                    return ""
                text = b""
                while part := os.read(
                    process.stdout.fileno(), 1
                ):  # readline reads on into a buffer that select does not know
                    text += part
                    if part == b"\n":
                        break
                if unseen or b"unseen" not in text:
                    return text.decode()

        return process, line

    return watching


def until_watching(store, line, name="sign of life") -> int:
    """Put until a change is seen, and read on to the last one: from here on every change is seen or counted. Returns how many
    puts that took: some of them may be counted later, as unseen."""
    deadline = time.monotonic() + PATIENCE
    for number in itertools.count():
        assert time.monotonic() < deadline, "nothing was seen"
        store[name] = f"number {number}."
        text = line(0.05)
        if text:
            break
    while f"number {number}." not in text:
        text = line()
    return number + 1


@pytest.mark.parametrize("options", [[], ["--wake"]])
def test_one_name(store, key, watching, options):
    process, line = watching(key, "a", *options)
    until_watching(store, line, "a")
    store["b"] = "not asked for"
    store["a"] = {"n": 1}
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d\d\d  a  \{'n': 1\}\n", line())
    store["a"] = "line\n"
    assert line().endswith("  a  'line\\n'\n")
    del store["a"]
    assert line().endswith("  a  (gone)\n")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_several_names_as_json(store, key, watching):
    process, line = watching(key, "a", "b'b'", "--json")
    until_watching(store, line, "a")
    store["a"] = (1,)
    first = json.loads(line())
    assert {name: first[name] for name in ("name", "event", "value")} == {
        "name": "a",
        "event": "put",
        "value": {"$tuple": [1]},
    }
    assert abs(first["time"] - time.time()) < 60 and int(first["version"]) == store.get_versioned("a")[1]
    store[b"b"] = None
    second = json.loads(line())
    assert (second["name"], second["value"]) == ({"$bytes": "Yg=="}, None)
    store.delete("a")
    assert json.loads(line())["event"] == "gone"
    process.terminate()
    assert process.wait(timeout=PATIENCE) == -signal.SIGTERM
    assert process.stderr.read() == b""


def test_it_ends_after_so_many(store, key, watching):
    process, line = watching(key, "--count", "3", "--interval", "1ms")
    seen = 0
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        store[f"n{seen}"] = seen
        seen += bool(line(0.02, unseen=True))
    assert process.wait(timeout=PATIENCE) == 0
    while line(unseen=True):  # up to the end of the pipe
        seen += 1
    assert seen == 3
    assert process.stderr.read() == b""


def test_all_names(store, key, watching):
    store["old"] = 1
    process, line = watching(key)
    until_watching(store, line)
    store["new"] = 2
    assert line().endswith("  new  2\n")
    del store["old"]
    assert line().endswith("  old  (gone)\n")
    store.put("brief", 1, ttl=2)
    assert line().endswith("  brief  1\n")
    assert line().endswith("  brief  (gone)\n")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE) == 130


@pytest.mark.parametrize("names", [["a"], ["a", "b"], []])
def test_the_store_is_removed_meanwhile(store, key, watching, names):
    process, line = watching(key, *names)
    until_watching(store, line, *names[:1])
    store.destroy()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3 and all(b"unseen" in text for text in out.splitlines())
    assert err.decode().startswith(f"shmstore: store '{key}': it was removed")


def test_a_value_that_cannot_be_read_does_not_end_it(make, key, watching):
    store = make(codec="pickle")
    _, line = watching(key, "a")
    deadline = time.monotonic() + PATIENCE
    while not (text := line(0.05)) and time.monotonic() < deadline:
        store["a"] = [1]  # an int is the same under every codec
    assert "(cannot be read: " in text
    del store["a"]
    while not (text := line()).endswith("(gone)\n"):
        assert "(cannot be read: " in text  # one of the other puts


def test_a_reader_that_goes_away(store, key, watching):
    process, line = watching(key, "a")
    until_watching(store, line, "a")
    process.stdout.close()
    store["a"] = 2
    assert process.wait(timeout=PATIENCE) == 1
    assert process.stderr.read() == b""


# ---- all names: what comes and goes is seen, or counted ----


def test_put_and_delete_are_both_seen(store, key, watching):
    _, line = watching(key, "--json")
    until_watching(store, line)
    for number in range(3):
        store["brief"] = number
        put = json.loads(line())
        del store["brief"]
        gone = json.loads(line())
        assert (put["name"], put["event"], put["value"]) == ("brief", "put", number)
        assert (gone["name"], gone["event"]) == ("brief", "gone")


def test_what_is_too_brief_to_be_seen_is_counted(store, key, watching):
    _, line = watching(key, "--json", "--interval", "300ms")
    signs = until_watching(store, line)
    for number in range(100):
        store["brief"] = number
        del store["brief"]
    puts = deletes = 0
    while deletes < 100:
        event = json.loads(line(unseen=True))
        puts += event.get("puts", event["event"] == "put")
        deletes += event.get("deletes", event["event"] == "gone")
    assert deletes == 100 and 100 <= puts < 100 + signs


def _write(name, backend, seed):
    with shmstore.Store(name, create=False, backend=backend) as store:
        chance = random.Random(seed)
        for number in range(3000):
            name = f"n{chance.randrange(20)}"
            action = chance.random()
            if action < 0.5:
                store.put(name, number, ttl=None)
            elif action < 0.6:
                store.incr(f"counter {seed}")
            elif action < 0.7:
                store.put(f"short {seed}", number, ttl=0.001)
            else:
                store.delete(name)
            if number % 50 == 0:
                time.sleep(0.003)


def test_every_put_and_delete_is_seen_or_counted(store, key, backend, watching):
    """While two processes write, expired entries among it: in the end all that the store has counted was told of."""
    _, line = watching(key, "--json")
    signs = until_watching(store, line)
    before = store.stats()
    writers = [
        multiprocessing.get_context("fork").Process(target=_write, args=(key, backend, seed)) for seed in range(2)
    ]
    for writer in writers:
        writer.start()
    told = {"put": 0, "gone": 0}
    held = {}
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        text = line(0.2, unseen=True)
        if not text and not any(writer.is_alive() for writer in writers):
            after = store.stats()
            counted = after.puts - before.puts, after.deletes - before.deletes
            kept = {name: value for name, value in store.items() if name != "sign of life"}
            held.pop("sign of life", None)
            if told["put"] >= counted[0] and told["gone"] >= counted[1] and held == kept:
                break
        if not text:
            continue
        event = json.loads(text)
        if event["event"] == "unseen":
            told["put"] += event["puts"]
            told["gone"] += event["deletes"]
        elif event["event"] == "put":
            told["put"] += 1
            held[event["name"]] = event.get("value")
        else:
            told["gone"] += not event["name"].startswith("short")  # those expire, which is no delete
            held.pop(event["name"], None)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert told["gone"] == counted[1] and counted[0] <= told["put"] < counted[0] + signs
    assert held == kept


def test_each_version_is_printed_once(store, key, watching):
    """A value that is newer than the look which found its name is not told of twice."""
    _, line = watching(key, "--json", "--interval", "1ms")
    until_watching(store, line)
    for number in range(2000):
        store["a"] = number
    versions = []
    while True:
        event = json.loads(line())
        if event["event"] == "put":
            versions.append(event["version"])
            if event["value"] == 1999:
                break
    assert len(set(versions)) == len(versions)


def test_names_beyond_one_chunk_of_the_table(make, key, watching):
    """A table of many pages: names come, go, and come elsewhere."""
    store = make(size="32M")
    names = [f"name {number}" for number in range(20_000)]
    store.put_many(dict.fromkeys(names, 0))
    _, line = watching(key, "--json", "--prefix", "name 1")
    until_watching(store, line, "name 1 sign of life")
    store.delete_many(names[:10_000])
    expected = {name for name in names[:10_000] if name.startswith("name 1")}
    gone = [json.loads(line()) for _ in expected]
    assert {event["name"] for event in gone} == expected and {event["event"] for event in gone} == {"gone"}
    store["name 1"] = "anew"
    event = json.loads(line())
    assert (event["name"], event["value"]) == ("name 1", "anew")


def test_names_that_look_like_options(store, key, watching):
    _, line = watching(key, "--json", "--", "--", "-x")
    until_watching(store, line, "--")
    store["-x"] = 1
    assert json.loads(line())["name"] == "-x"


def test_stats_end_with_the_store(make, key, script):
    store = make()
    process = script("stats", key, "--watch", "--interval", "10ms")
    process.stdout.readline()
    store.destroy()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 3
