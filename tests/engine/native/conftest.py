"""The modules beside the tests, and a System V key for each test."""

import pathlib
import sys

import pytest

from shmstore import sysv

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import engine_build


@pytest.fixture
def number():
    """A key that no segment has; what has it at the end goes."""
    number = engine_build.fresh_key()
    yield number
    try:
        sysv.shmctl(sysv.shmget(number, 0, 0), sysv.IPC_RMID)
    except FileNotFoundError:
        pass
