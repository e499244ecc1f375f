"""The soak: for seconds in the quick tier, for minutes in the slow one (SHMSTORE_SOAK: seconds)."""

import os
import pathlib
import subprocess
import sys

import pytest

SOAK = pathlib.Path(__file__).with_name("soak.py")


def soak(key, *options):
    """In a process of its own: it forks, and opens no handle before it has."""
    done = subprocess.run([sys.executable, SOAK, "--key", key, *options], capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_a_few_seconds(key):
    soak(key, "--seconds", "2", "--size", "4M")


@pytest.mark.slow
def test_minutes(key):
    soak(key, "--seconds", os.environ.get("SHMSTORE_SOAK", "600"))


@pytest.mark.slow
def test_in_a_store_that_is_always_full(key):
    soak(key, "--seconds", "60", "--size", "1M")
