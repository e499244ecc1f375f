"""The shell session of the README, run command by command: what it shows is what comes out.

Figures that differ from run to run are compared by their shape: keys, ids, sizes of text, times to live, the
user. A line ``...`` stands for any lines. The store's name is replaced by one of this test alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
NAME = "shop"

VOLATILE = [
    (r"^(-{2,} *)+$", "---"),
    (r" +state$", ""),  # a column that is there when some store of the machine has something to be said of
    (r"0x[0-9a-f]{8}\b", "0xKEY"),
    (r"\(segment \d+\)", "(segment ID)"),
    (r"(0xKEY) +\d+ +\w+ (?= *0\d\d\d )", r"\1 ID OWNER "),
    (r"\b\d+( [smh])( \d+ [smh])?$", r"TIME"),
    (r"(today +str +)\d+", r"\1SIZE"),
    (r" +", " "),
]


def session() -> list[tuple[str, list[str]]]:
    """The commands of the README's console block, each with the lines that follow it."""
    (block,) = re.findall(r"^```console\n(.*?)^```$", README.read_text(), re.M | re.S)
    steps: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        else:
            steps[-1][1].append(line)
    return steps


def shape(line: str) -> str:
    """A line without what differs from run to run."""
    for pattern, sign in VOLATILE:
        line = re.sub(pattern, sign, line)
    return line.strip()


def matches(expected: list[str], got: list[str]) -> bool:
    """Whether the lines are alike; ``...`` stands for any number of lines."""
    if not expected:
        return not got
    if expected[0] == "...":
        return any(matches(expected[1:], got[skipped:]) for skipped in range(len(got) + 1))
    return bool(got) and shape(expected[0]) == shape(got[0]) and matches(expected[1:], got[1:])


def test_the_session_is_true(key, tmp_path):
    environment = {
        **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C", "TZ": "UTC",
    }  # fmt: skip
    steps = session()
    assert len(steps) > 10
    for command, expected in steps:
        done = subprocess.run(
            ["sh", "-c", re.sub(rf"\b{NAME}\b", key, command)], env=environment, cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
        )  # fmt: skip
        got = done.stdout.replace(key, NAME).splitlines()
        assert matches(expected, got), (command, expected, got, [shape(line) for line in got])


def test_shapes():
    assert matches(["a 0x12345678", "...", "(segment 5) end"], ["a 0xffffffff", "x", "y", "(segment 77) end"])
    assert not matches(["a"], ["b"])
    assert not matches(["a", "..."], [])
    assert matches(["..."], [])
