"""The conversation of the alphabet through a store, whichever program starts first."""

from __future__ import annotations

import os
import signal
import time

import pytest


@pytest.fixture
def name(free_key):
    return f"alphabet-{free_key}"


def ids_of(segments):
    return {line.split()[1] for line in segments}


@pytest.mark.parametrize("first", ["server", "client"])
def test_they_talk(examples, start, finish, segments_of, name, first):
    programs = {}
    for role in ("server", "client") if first == "server" else ("client", "server"):
        programs[role] = start(examples / "two_programs" / f"{role}.py", name)
    assert finish(programs["client"]) == (0, "abcdefghijklmnopqrstuvwxyz\n", "")
    assert finish(programs["server"]) == (0, "the answer is *\n", "")
    for program in programs.values():
        assert segments_of(program.pid) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_client_that_came_first_and_its_store(examples, start, finish, segments_of, name, signum):
    waiting = start(examples / "two_programs" / "client.py", name)
    deadline = time.monotonic() + 300.0
    while not segments_of(waiting.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # now it sleeps
    waiting.send_signal(signum)
    assert finish(waiting) == (128 + signum, "", "")
    assert segments_of(waiting.pid) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_and_its_store(examples, start, finish, segments_of, name, signum):
    import shmstore

    here = ids_of(segments_of(os.getpid()))  # what a traceback of an earlier test still holds is not ours
    serving = start(examples / "two_programs" / "server.py", name)
    with shmstore.Store(name, size="1M") as store:
        try:
            store.wait("letters", timeout=300.0)
            serving.send_signal(signum)
            code, _, errors = finish(serving)
            assert (code, errors) == (128 + signum, "")
        finally:
            with pytest.raises(shmstore.StoreDestroyed):
                store["letters"]
    assert segments_of(serving.pid) == []
    assert ids_of(segments_of(os.getpid())) <= here
