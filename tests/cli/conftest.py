"""Run the command line: in this process for speed, as another user in a forked one, and as its user runs it."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import shmstore.cli
from shmstore import sysv
from shmstore._store.names import parse_key
from shmstore.cli.support import (  # noqa: F401  a forked child that became another user may be unable to read them
    doctor_limits,
    doctor_surroundings,
    found,
    identity,
    objects,
    segments,
    typed,
)

NOBODY = 65534


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def ok(self) -> Done:
        assert (self.code, self.err) == (0, ""), self
        return self


def run_here(*argv: object, stdin: bytes = b"") -> Done:
    """Run ``shmstore ...`` in this process."""
    kept = sys.stdin, sys.stdout, sys.stderr
    out, err = io.BytesIO(), io.BytesIO()
    streams = [io.TextIOWrapper(raw, encoding="utf-8") for raw in (io.BytesIO(stdin), out, err)]
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        code = shmstore.cli.main([str(word) for word in argv])
        for stream in streams[1:]:
            stream.flush()
    finally:
        sys.stdin, sys.stdout, sys.stderr = kept
    assert "Traceback" not in err.getvalue().decode(), err.getvalue().decode()
    return Done(code, out.getvalue().decode(errors="surrogateescape"), err.getvalue().decode())


def _as_user(uid: int, function: Callable[[], Any]) -> Any:
    """What a function returns in a child that has become another user."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            answer = pickle.dumps(function())
        except BaseException:
            answer = pickle.dumps(traceback.format_exc())
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return pickle.loads(answer)


@pytest.fixture
def command_line(backend: str) -> Callable[..., list[str]]:
    """A command line with the options that select the store of this test's kind of memory."""

    def command_line(*argv: object) -> list[str]:
        given = [str(word) for word in argv]
        return given if backend == "sysv" or not given else [given[0], "--backend", backend, *given[1:]]

    return command_line


@pytest.fixture
def cli(command_line: Callable[..., list[str]]) -> Callable[..., Done]:
    return lambda *argv, stdin=b"": run_here(*command_line(*argv), stdin=stdin)


@pytest.fixture
def as_user() -> Callable[[int, Callable[[], Any]], Any]:
    """Call a function as another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    return _as_user


@pytest.fixture
def nobody(as_user: Any) -> Callable[..., Done]:
    """Run the command line as the user nobody."""

    def run(*argv: object, stdin: bytes = b"") -> Done:
        done = as_user(NOBODY, lambda: tuple(run_here(*argv, stdin=stdin)))
        assert isinstance(done, tuple), done
        return Done(*done)

    return run


@pytest.fixture
def script(tmp_path: Any, command_line: Callable[..., list[str]]) -> Callable[..., subprocess.Popen[bytes]]:
    """Start ``shmstore`` as a program; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*argv: object, **options: Any) -> subprocess.Popen[bytes]:
        program = os.path.join(os.path.dirname(sys.executable), "shmstore")
        command = [program] if os.path.exists(program) else [sys.executable, "-m", "shmstore"]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen([*command, *command_line(*argv)], cwd=tmp_path, **options)
        started.append(process)
        return process

    yield start  # type: ignore[misc]
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def plant() -> Iterator[Callable[..., int]]:
    """Make raw segments: plant(key, size, mode, uid); all are removed at the end."""
    planted: list[int] = []

    def plant(key: int = 0, size: int = 4096, mode: int = 0o600, uid: int | None = None) -> int:
        def make() -> int:
            return sysv.shmget(key, size, sysv.IPC_CREAT | sysv.IPC_EXCL | mode)

        shmid = make() if uid is None else _as_user(uid, make)
        assert isinstance(shmid, int), shmid
        planted.append(shmid)
        return shmid

    yield plant
    for shmid in planted:
        try:
            sysv.shmctl(shmid, sysv.IPC_RMID)
        except OSError:
            pass


@pytest.fixture
def number() -> Iterator[int]:
    """A System V key of this test alone."""
    key = 0x5C000000 | os.getpid() & 0xFFFFFF
    yield key
    try:
        sysv.shmctl(sysv.shmget(key, 0), sysv.IPC_RMID)
    except OSError:
        pass
    Path(parse_key(key, "posix").place).unlink(missing_ok=True)
