"""size, max_entries and max_clients belong to the creator: no other choice makes attaching fail, and a difference is told."""

import json
import logging
import os
import subprocess
import sys
import time

import pytest

import shmstore
from shmstore import Cache, Store

OTHERS = [
    {"size": "2M"},
    {"size": "512K"},
    {"size": 1},  # no store is that small,
    {"size": "16T"},  # and no machine so large
    {"max_entries": 5},
    {"max_entries": 2**32 - 1},
    {"max_clients": 7},
    {"max_clients": 65_000},
    {"size": "3M", "max_entries": 1, "max_clients": 1},
]


@pytest.fixture
def creator(key):
    """A cache that others attach to."""
    with Cache(key, size="1M", max_entries=1000, max_clients=10) as cache:
        cache["k"] = 1
        yield cache


@pytest.fixture
def told(caplog, monkeypatch):
    """The lines that were logged, as if no store had been opened in this process."""
    monkeypatch.setattr(shmstore._store.differences, "_logged", set())
    caplog.set_level(logging.WARNING, logger="shmstore")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "shmstore"]


@pytest.mark.parametrize("kind", [Store, Cache])
@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("options", OTHERS, ids=str)
def test_attaching_with_other_sizes(creator, key, kind, options, readonly, told):
    with kind(key, readonly=readonly, **options) as other, kind(key, readonly=readonly, **options):
        assert other["k"] == 1
        info = other.info()
        assert (info.size, info.max_entries, info.max_clients) == (1 << 20, 1000, 10)
    (line,) = told()
    assert repr(key) in line and "shmstore resize" in line
    chosen = {"size": 1 << 20, "max_entries": 1000, "max_clients": 10}
    for field in chosen:
        assert (f"{field}={chosen[field]}" in line) == (field in options)
    creator.check()


def test_the_same_choices_are_no_difference(creator, key, told):
    Cache(key, size=1 << 20, max_entries=1000, max_clients=10).close()
    Store(key, size="1M").close()
    Store(key).close()
    assert told() == [] and creator.info().requested_at is None


def test_the_store_records_what_was_asked_for_last(creator, key):
    before = time.time() - 1
    Cache(key, size="2M").close()
    info = creator.info()
    assert (info.requested_size, info.requested_max_entries, info.requested_max_clients) == (2 << 20, None, None)
    assert before < info.requested_at < time.time() + 1 and info.requested_by == os.getpid()
    Store(key, max_entries=5, max_clients=6).close()
    info = creator.info()
    assert (info.requested_size, info.requested_max_entries, info.requested_max_clients) == (None, 5, 6)
    Store(key).close()  # which asks for nothing
    Store(key, size="3M", readonly=True).close()  # which leaves no trace
    assert creator.info().requested_max_entries == 5
    Store(key, max_entries=1000).close()  # the last one to ask, and it agrees
    info = creator.info()
    assert (info.requested_max_entries, info.requested_max_clients, info.requested_at, info.requested_by) == (None,) * 4


def run(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "shmstore", *arguments], capture_output=True, text=True, cwd="/", check=False
    )
    assert done.stderr == ""
    return done.stdout


def sizes():
    (check,) = [check for check in json.loads(run("doctor", "--json"))["checks"] if check["topic"] == "sizes"]
    return check


@pytest.mark.parametrize("backend", ["sysv", "posix"], indirect=True)
def test_doctor_and_info_report_the_difference(key):
    with Cache(key, size="1M", max_entries=1000) as cache:
        Cache(key, size="2M", max_entries=2000).close()
        check = sizes()
        assert check["level"] == "note" and key in check["says"] and f"process {os.getpid()}" in check["says"]
        assert "size=1M, where 2M was asked for" in check["says"] and "max_entries=1000, where 2000" in check["says"]
        assert "shmstore resize" in check["fix"] and f"{2 << 20} --max-entries 2000" in check["fix"]
        info = run("info", key, "--backend", cache.info().backend)
        assert "asked for" in info and "size=2M, max_entries=2000" in info
        assert "uuid" in info
        document = json.loads(run("info", key, "--backend", cache.info().backend, "--json"))
        assert document["header"]["requested"] == {"size": 2 << 20, "max_entries": 2000}
        Cache(key, size="1M").close()
        assert key not in sizes()["says"]


def test_the_fix_of_doctor_resizes_the_store(key):
    with Cache(key, size="1M") as cache:
        cache["k"] = 1
        Cache(key, size="2M", max_entries=3000).close()
        fix = f"shmstore resize {key} {2 << 20} --max-entries 3000"
        assert fix in sizes()["fix"].split("; ")
        run(*fix.split()[1:])
        assert cache["k"] == 1 and cache.info().size == 2 << 20 and cache.info().max_entries == 3000
        Cache(key, size="2M", max_entries=3000).close()
        assert key not in sizes()["says"]


def test_the_fix_of_doctor_for_another_max_clients_removes_the_store(key):
    with Cache(key, size="1M") as cache:
        cache["k"] = 1
        Cache(key, size="1M", max_clients=2000).close()
        fix = f"shmstore rm --force --id {cache.info().id}"
        assert fix in sizes()["fix"]
        run(*fix.split()[1:])
        assert cache.get("k") is None
        assert Cache(key).info().max_clients == 1024


def test_a_new_store_is_as_small_as_it_may_be(key):
    """That a size is too small is told to those that create."""
    with pytest.raises(ValueError, match="too small"):
        Cache(key, size=1)
    with pytest.raises(ValueError, match="at most 16T"):
        Store(key, size="17T")
