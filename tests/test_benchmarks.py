"""The benchmarks run from a checkout, say what they should, and leave nothing behind. No time is asserted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEADLINE = 120.0  # of a watchdog

Start = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="no checkout")


@pytest.fixture
def start() -> Iterator[Start]:
    """Start ``python -m benchmarks.ops`` in the project's root."""
    started: list[tuple[subprocess.Popen[str], threading.Timer]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.ops", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=default_interrupt,
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
        if process.stdout:
            process.stdout.close()


def default_interrupt() -> None:
    """A shell's background jobs ignore Ctrl-C, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def left_behind(pid: int) -> list[str]:
    """Segments that the process made, and its files in /dev/shm."""
    segments = [line for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:] if line.split()[4] == str(pid)]
    return segments + [str(path) for path in Path("/dev/shm").glob(f"shmstore-bench-{pid}-*")]


def test_quick_run_prints_its_rows_and_leaves_nothing(start: Start, tmp_path: Path) -> None:
    process = start("--quick", "--rows", "get,incr,get_1k,incr_2", "--json", str(tmp_path / "ops.json"))
    out, _ = process.communicate()

    assert process.returncode == 0, out
    for row in ("get", "incr", "get 1 KB", "incr, 2"):
        assert any(line.strip().startswith(row) for line in out.splitlines()), out
    assert left_behind(process.pid) == []

    saved = json.loads((tmp_path / "ops.json").read_text())
    assert [row["row"] for row in saved["rows"]] == ["get", "incr", "get_1k", "incr_2"]
    assert all(row["contestants"]["shmstore"]["median"] > 0 for row in saved["rows"])
    assert all(row["contestants"]["floor"]["median"] > 0 for row in saved["rows"][:3])
    assert "python" in saved["environment"] and "steal" in saved["load"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("rows", ["get", "incr_2"])
def test_a_signal_ends_it_and_nothing_is_left(start: Start, number: signal.Signals, rows: str) -> None:
    process = start("--rounds", "1000000", "--rows", rows)
    while process.poll() is None and not left_behind(process.pid):
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(number)
    out, _ = process.communicate()

    assert process.returncode == 128 + number, out
    assert "nothing is left behind" in out
    assert left_behind(process.pid) == []


def test_an_unknown_row_is_named(start: Start) -> None:
    process = start("--rows", "get,gets")
    out, _ = process.communicate()

    assert process.returncode == 2
    assert "no row 'gets'" in out
