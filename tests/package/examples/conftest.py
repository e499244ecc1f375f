"""What the tests of the examples share: where they are, how they are started, what they must not leave."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from watched_programs import DEADLINE, segments_of, watched

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def examples() -> Path:
    return EXAMPLES


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program outside the checkout, so that no package of this name lies beside it."""
    with watched() as programs:

        def start(*command: object) -> subprocess.Popen[str]:
            python = [sys.executable] if str(command[0]).endswith(".py") else []
            return programs.start(*python, *command, cwd=tmp_path, stderr=subprocess.PIPE)

        yield start


@pytest.fixture
def finish() -> Callable[[subprocess.Popen[str]], tuple[int, str, str]]:
    """Wait for a program and all that write to its pipes; give its exit code and what they wrote."""

    def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
        out, err = process.communicate(timeout=DEADLINE)
        return process.returncode, out, err

    return finish


@pytest.fixture(name="segments_of")
def _segments_of() -> Callable[[int], list[str]]:
    """List the segments that a process has created."""
    return segments_of


@pytest.fixture
def free_key() -> Iterator[int]:
    """A key of this test alone: no other process has this pid, and each worker runs one test at a time."""
    yield 0x5A000000 | os.getpid() & 0xFFFFFF
