"""What the tests of the examples share: where they are, how they are started, what they must not leave."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
DEADLINE = 60.0  # of a watchdog: generous, since other tests share the machine

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def examples() -> Path:
    return EXAMPLES


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program outside the checkout; what runs at the deadline or the end of the test is killed."""
    started: list[tuple[subprocess.Popen[str], threading.Timer]] = []

    def start(*command: object) -> subprocess.Popen[str]:
        argv = [str(part) for part in command]
        if argv[0].endswith(".py"):
            argv.insert(0, sys.executable)
        process = subprocess.Popen(
            argv,
            cwd=tmp_path,  # so that no package of this name lies beside it
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        watchdog = threading.Timer(DEADLINE, process.kill)
        watchdog.start()
        started.append((process, watchdog))
        return process

    yield start
    for process, watchdog in started:
        watchdog.cancel()
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            pipe.close()  # without reading to the end: whoever outlives the process would keep us waiting


@pytest.fixture
def finish() -> Callable[[subprocess.Popen[str]], tuple[int, str, str]]:
    """Wait for a program and all that write to its pipes; give its exit code and what they wrote."""

    def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
        out, err = process.communicate(timeout=DEADLINE)
        return process.returncode, out, err

    return finish


@pytest.fixture
def segments_of() -> Callable[[int], list[str]]:
    """List the segments that a process has created: cpid, unlike the key, is set for unfinished ones too."""

    def segments_of(pid: int) -> list[str]:
        lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        return [line for line in lines if int(line.split()[4]) == pid]

    return segments_of


@pytest.fixture
def free_key() -> Iterator[int]:
    """A key of this test alone: no other process has this pid, and each worker runs one test at a time."""
    yield 0x5A000000 | os.getpid() & 0xFFFFFF
