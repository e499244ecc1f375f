"""A store is resized again and again while others write and read and are killed: no call fails, and nothing is lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

WORK = Path(__file__).with_name("resizing_work.py")


def resized(key, *arguments):
    done = subprocess.run(
        [sys.executable, WORK, key, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr + done.stdout
    figures = json.loads(done.stdout)
    assert figures["lost"] == figures["failed"] == 0 and figures["clients"] == 1
    return figures


@pytest.mark.parametrize("backend", ["sysv", "posix"])
def test_no_call_fails_and_nothing_is_lost(key, backend):
    figures = resized(key, backend, "Store", 2, 4, 0.1)
    assert figures["writes"] and figures["reads"] and figures["resizes"] >= 4 and figures["kills"]


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "kind"), [("sysv", "Store"), ("posix", "Cache")])
def test_for_ten_minutes(key, backend, kind):
    figures = resized(key, backend, kind, 600, 50, 1)
    print(figures)
    assert figures["resizes"] >= 50 and figures["kills"] >= 500
