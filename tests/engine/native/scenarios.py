"""The programs of this directory, one scenario for each C file, and how each is told: harness.h has their exit codes."""

from __future__ import annotations

import os
import random
import re
import subprocess
from pathlib import Path

import engine_build
import pytest

CANNOT_TELL = 77
SCENARIOS = sorted(
    path.stem for path in Path(__file__).parent.glob("*.c") if path.stem not in ("stress", "emulated_proc")
)
MODES = ["threads", "shared", "processes"]  # of stress


def tell(*command: str | Path, timeout: float) -> str:
    """What a scenario printed. Skips if this machine cannot tell it."""
    told = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **engine_build.ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if told.returncode == CANNOT_TELL:
        pytest.skip(told.stderr.strip())
    assert (told.returncode, told.stderr) == (0, ""), told.stdout + told.stderr
    return told.stdout


def stress(*command: str | Path, workers: int, seconds: int, number: int, timeout: float) -> str:
    """Run stress, in the mode that ends the command, and see that it did something of each kind."""
    seed = random.SystemRandom().randrange(1 << 62)
    words = [str(word) for word in (*command, workers, seconds, number, seed)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}{done.stderr[:10000]}"
    return busy(done.stdout)


def busy(said: str) -> str:
    """What stress printed, of which no figure may be zero."""
    figures = re.match(r"(\d+) operations, (\d+) values found whole, (\d+) held in place, (\d+) deaths", said)
    assert figures and all(int(figure) for figure in figures.groups()), said
    return said
