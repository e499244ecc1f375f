"""The classical pair: server and client, by both families of calls, in Python and plain C, in every combination."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ALPHABET = "abcdefghijklmnopqrstuvwxyz\n"
LANGUAGES = ["python", "c"]
FAMILIES = ["sysv", "posix"]
PREFIXES = {"sysv": "", "posix": "posix_"}


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """Compile the C programs, warnings being errors; map (family, language, role) to what is to be started."""
    source = Path(__file__).resolve().parents[3] / "examples" / "alphabet"
    built = tmp_path_factory.mktemp("alphabet")
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "these tests need a C compiler, as the package does"
    table = {}
    for family, prefix in PREFIXES.items():
        for role in ("server", "client"):
            program = f"{prefix}{role}"
            table[family, "python", role] = source / f"{program}.py"
            table[family, "c", role] = built / program
            flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]
            command = [compiler, *flags, "-o", built / program, source / f"{program}.c", "-lrt"]
            subprocess.run(command, check=True)
    return table


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def place(family, free_key):
    """The key or name where a pair meets; what a failed test leaves of an object is removed."""
    if family == "sysv":
        yield free_key
        return
    yield f"/shmstore-test-alphabet-{free_key:x}"
    Path(f"/dev/shm/shmstore-test-alphabet-{free_key:x}").unlink(missing_ok=True)


@pytest.fixture
def left(family, place, segments_of):
    """Count what a server has made and not removed."""

    def left(pid):
        return len(segments_of(pid)) if family == "sysv" else int(Path(f"/dev/shm{place}").exists())

    return left


@pytest.mark.parametrize("client", LANGUAGES)
@pytest.mark.parametrize("server", LANGUAGES)
@pytest.mark.parametrize("first", ["server", "client"])
def test_they_talk(programs, start, finish, left, family, place, server, client, first):
    """The client gets the letters whichever program starts first, and the server removes the segment."""
    if first == "server":
        serving = start(programs[family, server, "server"], place)
        assert "the letters are there" in serving.stdout.readline()
        asking = start(programs[family, client, "client"], place)
    else:
        asking = start(programs[family, client, "client"], place)
        time.sleep(0.1)  # let it look in vain a few times; nothing depends on how often
        serving = start(programs[family, server, "server"], place)
    assert finish(asking) == (0, ALPHABET, "")
    code, _, errors = finish(serving)
    assert (code, errors) == (0, "")
    assert left(serving.pid) == 0


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("server", LANGUAGES)
def test_a_signal_removes_it(programs, start, finish, left, family, place, server, signum):
    serving = start(programs[family, server, "server"], place)
    assert "the letters are there" in serving.stdout.readline()
    assert left(serving.pid) == 1
    serving.send_signal(signum)
    code, _, errors = finish(serving)
    assert (code, errors) == (128 + signum, "")
    assert left(serving.pid) == 0


@pytest.mark.parametrize("server", LANGUAGES)
def test_a_second_server_is_refused(programs, start, finish, left, family, place, server):
    """It must not write into the conversation of another pair, nor remove what they meet in."""
    serving = start(programs[family, server, "server"], place)
    assert "the letters are there" in serving.stdout.readline()
    code, _, errors = finish(start(programs[family, server, "server"], place))
    assert code == 1
    assert "File exists" in errors
    assert left(serving.pid) == 1
    assert finish(start(programs[family, "python", "client"], place)) == (0, ALPHABET, "")
    assert finish(serving)[0] == 0
