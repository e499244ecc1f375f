"""What one Python puts another gets and returns, with codec "msgpack" and with "msgspec".

Other interpreters are those of SHMSTORE_PYTHONS (paths with a colon between), and those of pyenv; each needs
shmstore installed. Without any, the one that runs the tests talks to itself, in two processes.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("every_value.py")
PROBE = """
import importlib.util, shmstore, sys
found = [name for name in ("numpy", "pyarrow", "pandas", "msgspec") if importlib.util.find_spec(name)]
assert hasattr(shmstore, "register")
print("%d.%d" % sys.version_info[:2], *found)
"""


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def about(python: str) -> list[str]:
    """Version and packages of an interpreter; nothing if it has no shmstore of this kind."""
    try:
        return run(python, "-c", PROBE).split()
    except (AssertionError, OSError):
        return []


def interpreters() -> list[str]:
    given = [path for path in os.environ.get("SHMSTORE_PYTHONS", "").split(":") if path]
    pyenv = sorted(map(str, Path.home().glob(".pyenv/versions/*/bin/python")))
    others: dict[str, str] = {}
    for python in given or pyenv:
        if about(python):
            others.setdefault(about(python)[0], python)
    return [sys.executable, *others.values()]


@pytest.mark.parametrize("there", ["msgpack", "msgspec"])
@pytest.mark.parametrize("here", ["msgpack", "msgspec"])
def test_every_value_goes_there_and_back(make, key, here, there):
    """Each pair of Pythons is one with the other, so each type goes both ways, by both codecs."""
    make(size="16M")
    pythons, seed = interpreters(), random.getrandbits(32)
    done = 0
    for one, other in list(itertools.combinations(pythons, 2)) or [(pythons[0], pythons[0])]:
        common = [name for name in about(one)[1:] if name in about(other)]
        if "msgspec" in (here, there) and "msgspec" not in common:
            continue
        run(one, PROGRAM, key, here, "put", seed, *common)
        for python, codec, step in ((other, there, "return"), (one, here, "compare")):
            lines = run(python, PROGRAM, key, codec, step, seed, *common).splitlines()
            assert len(lines) > 65
            assert [line for line in lines if not line.endswith("\tTrue\tTrue")] == [], (python, step, seed)
        done += 1
    if not done:
        pytest.skip("msgspec is not installed")


def test_several_versions_were_tried():
    versions = [about(python)[0] for python in interpreters()]
    if len(set(versions)) < 2:
        pytest.skip("no other Python with shmstore installed: set SHMSTORE_PYTHONS to the paths of some")
    assert versions
