"""The classical pair: server and client, in Python on the raw calls and in plain C, in every combination."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ALPHABET = "abcdefghijklmnopqrstuvwxyz\n"
LANGUAGES = ["python", "c"]


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """Compile the C programs, warnings being errors, and map (language, role) to what is to be started."""
    source = Path(__file__).resolve().parents[2] / "examples" / "alphabet"
    built = tmp_path_factory.mktemp("alphabet")
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "these tests need a C compiler, as the package does"
    table = {}
    for role in ("server", "client"):
        table["python", role] = source / f"{role}.py"
        table["c", role] = built / role
        flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([compiler, *flags, "-o", built / role, source / f"{role}.c"], check=True)
    return table


@pytest.mark.parametrize("client", LANGUAGES)
@pytest.mark.parametrize("server", LANGUAGES)
@pytest.mark.parametrize("first", ["server", "client"])
def test_they_talk(programs, start, finish, segments_of, free_key, server, client, first):
    """Whoever comes first, the client gets the letters, and the server removes the segment."""
    if first == "server":
        serving = start(programs[server, "server"], free_key)
        assert "the letters are there" in serving.stdout.readline()
        asking = start(programs[client, "client"], free_key)
    else:
        asking = start(programs[client, "client"], free_key)
        time.sleep(0.1)  # let it look in vain a few times; nothing depends on how often
        serving = start(programs[server, "server"], free_key)
    assert finish(asking) == (0, ALPHABET, "")
    code, _, errors = finish(serving)
    assert (code, errors) == (0, "")
    assert segments_of(serving.pid) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("server", LANGUAGES)
def test_a_signal_removes_the_segment(programs, start, finish, segments_of, free_key, server, signum):
    serving = start(programs[server, "server"], free_key)
    assert "the letters are there" in serving.stdout.readline()
    assert len(segments_of(serving.pid)) == 1
    serving.send_signal(signum)
    code, _, errors = finish(serving)
    assert (code, errors) == (128 + signum, "")
    assert segments_of(serving.pid) == []


@pytest.mark.parametrize("server", LANGUAGES)
def test_a_second_server_is_refused(programs, start, finish, segments_of, free_key, server):
    """It must not write into the conversation of another pair, nor remove its segment."""
    serving = start(programs[server, "server"], free_key)
    assert "the letters are there" in serving.stdout.readline()
    code, _, errors = finish(start(programs[server, "server"], free_key))
    assert code == 1
    assert "File exists" in errors
    assert len(segments_of(serving.pid)) == 1
    assert finish(start(programs["python", "client"], free_key)) == (0, ALPHABET, "")
    assert finish(serving)[0] == 0
