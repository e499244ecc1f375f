"""``shmstore prune``: what counts as unused, and that nothing else goes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

import shmstore
from shmstore.cli.support import removal


@pytest.fixture
def pruned(key, cli, monkeypatch):
    """Run prune on the stores of this test alone: others may have unused ones at the same time."""
    from shmstore.cli.support import found

    every = found.stores
    monkeypatch.setattr(found, "stores", lambda backend: [
        one for one in every(backend) if str(one.header.name).startswith(key) or one.header.kind == "private"
    ])  # fmt: skip

    def run(*options):
        done = cli("prune", "--json", *options).ok()
        return sorted(row["name"][len(key) :] for row in done.json["stores"] if row["removed"] or done.json["dry_run"])

    return run


@pytest.fixture
def idle(key):
    """A store that nobody has attached."""

    def idle(word="", backend="sysv"):
        with shmstore.Store(f"{key}{word}", size="64K", backend=backend) as store:
            store["a"] = 1

    yield idle
    for one in shmstore.stores():
        if str(one.name).startswith(key):
            shmstore.destroy(str(one.name), backend=one.backend)


@pytest.mark.parametrize("backend", ["sysv", "posix"])
@pytest.mark.parametrize("readonly", [False, True])
def test_what_is_attached_stays(idle, key, pruned, backend, readonly):
    idle("idle", backend=backend)
    idle("used", backend=backend)
    with shmstore.Store(f"{key}used", create=False, readonly=readonly, backend=backend) as store:
        assert pruned("--dry-run") == ["idle"]
        assert pruned("--yes") == ["idle"]
        assert store["a"] == 1
    assert pruned("--yes") == ["used"]
    assert pruned("--yes") == []


def _hold(name, backend, ready, end):
    with shmstore.Store(name, create=False, backend=backend):
        ready.set()
        end.wait()


@pytest.mark.parametrize("backend", ["sysv", "posix"])
def test_the_dead_use_nothing_and_the_stopped_do(idle, key, pruned, backend):
    idle(backend=backend)
    fork = multiprocessing.get_context("fork")
    ready, end = fork.Event(), fork.Event()
    child = fork.Process(target=_hold, args=(key, backend, ready, end))
    child.start()
    try:
        assert ready.wait(60)
        os.kill(child.pid, signal.SIGSTOP)
        assert pruned("--yes") == []
        child.kill()
        child.join()
        assert pruned("--yes", "--older-than", "1ms") == []  # its death was noticed just now
        deadline = time.monotonic() + 60
        while not (gone := pruned("--yes", "--older-than", "1ms")) and time.monotonic() < deadline:
            time.sleep(0.002)
        assert gone == [""]
    finally:
        child.kill()
        child.join()


def test_older_than_goes_by_the_last_writer(idle, key, pruned, cli):
    """By writes alone: neither ls nor a dry run nor a reader makes a store younger."""
    idle()
    when = shmstore.stores()
    (info,) = [one for one in when if one.name == key]
    assert abs(info.last_writer - time.time()) < 30
    assert pruned("--yes", "--older-than", "1h") == []
    time.sleep(max(0.0, info.last_writer + 0.05 - time.time()))
    cli("ls").ok()
    cli("get", key, "a").ok()
    assert pruned("--dry-run", "--older-than", "50ms") == [""]
    with shmstore.Store(key, create=False) as store:
        opened = store.info().last_writer
        assert opened > info.last_writer
    (info,) = [one for one in shmstore.stores() if one.name == key]
    assert info.last_writer > opened  # when it was closed
    assert pruned("--dry-run", "--older-than", "1h") == []
    time.sleep(max(0.0, info.last_writer + 0.05 - time.time()))
    assert pruned("--yes", "--older-than", "50ms") == [""]


def test_what_is_no_business_of_prune_stays(key, pruned, plant, number, as_user, cli):
    plant(number)
    theirs = as_user(65534, lambda: shmstore.Store(f"{key}theirs", size="64K").info().id)
    with (
        shmstore.Store(shmstore.PRIVATE, size="64K") as private,
        shmstore.SharedMemory(f"{key}block", create=True, size=10) as block,
    ):
        private["a"] = 1
        gone = shmstore.Store(f"{key}gone", size="64K")
        gone.destroy()
        assert pruned("--yes") == []
        gone.close()
        assert private["a"] == 1 and bytes(block.buf[:1]) == b"\0"
        block.unlink()
    cli("rm", "--id", theirs, "--force").ok()


def test_another_user_prunes_nothing_of_root(idle, key, pruned, nobody):
    with shmstore.Store(key, size="64K", mode=0o666) as store:
        store["a"] = 1
    assert key not in [row["name"] for row in nobody("prune", "--json", "--yes").ok().json["stores"]]
    assert shmstore.Store(key, create=False)["a"] == 1


def test_without_a_yes_nothing_goes(idle, key, pruned, cli):
    idle()
    done = cli("prune")
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith(f"shmstore: nothing was removed: 1 store is unused: {key} (segment ")
    assert done.err.endswith("); use --yes to remove it\n")
    assert pruned("--yes", "--backend", "posix") == []
    text = cli("prune", "-n").ok().out
    assert (
        text.startswith(f"{key} (segment ")
        and " would be removed: 1 entry, " in text
        and ", last open for writing " in text
    )
    done = cli("prune", "-y").ok()
    assert done.out.startswith(f"{key} (segment ") and done.out.endswith(") removed\n")
    assert cli("prune").ok().out == "There is no unused store.\n"


def test_opening_at_the_last_moment_keeps_it(idle, key, pruned, cli, monkeypatch):
    idle()
    opened = []
    remove = removal.Victim.remove

    def late(self, *arguments):
        opened.append(shmstore.Store(key, create=False, readonly=True))
        remove(self, *arguments)

    monkeypatch.setattr(removal.Victim, "remove", late)
    done = cli("prune", "--yes")
    assert done.code == 0 and "was not removed: " in done.err
    assert opened[0]["a"] == 1
    opened.pop().close()


def _open_again_and_again(name, runs, wrong):
    """Until run 60. A run that began after a store was opened never removes it; the one under way then may."""
    while runs.value < 60:
        with shmstore.Store(name, size="64K") as store:
            began, states = runs.value, []
            for until in (began + 1, began + 3):
                while runs.value < until:
                    time.sleep(0.0005)
                try:
                    store.info()
                    states.append("there")
                except shmstore.StoreDestroyed:
                    states.append("gone")
            if states == ["there", "gone"]:
                wrong.value += 1


def test_a_run_removes_nothing_that_was_opened_before_it(key, pruned):
    fork = multiprocessing.get_context("fork")
    runs, wrong = fork.Value("i", 0), fork.Value("i", 0)
    openers = [fork.Process(target=_open_again_and_again, args=(key, runs, wrong)) for _ in range(2)]
    for opener in openers:
        opener.start()
    try:
        while any(opener.is_alive() for opener in openers):
            runs.value += 1
            pruned("--yes")
        assert [opener.exitcode for opener in openers] == [0, 0]
    finally:
        for opener in openers:
            opener.kill()
            opener.join()
    assert wrong.value == 0 and runs.value >= 60


@pytest.mark.parametrize("options", [["--older-than", "soon"], ["--older-than", "-1"], ["x"], ["--force"]])
def test_wrong_arguments(cli, options):
    assert cli("prune", *options).code == 2
