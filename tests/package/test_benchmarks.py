"""The benchmarks run from a checkout, say what they should, and leave nothing behind. No time is asserted."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from watched_programs import segments_of, watched  # noqa: E402

ROOT = HERE.parents[1]

Start = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="no checkout")


@pytest.fixture
def start() -> Iterator[Start]:
    """Start ``python -m benchmarks.NAME`` in the project's root."""
    with watched() as programs:

        def start(name: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
            environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}
            return programs.start(
                sys.executable, "-m", f"benchmarks.{name}", *arguments, cwd=ROOT, env=environment,
                start_new_session=True, stderr=subprocess.STDOUT,
            )  # fmt: skip

        yield start


def left_behind(pid: int) -> list[str]:
    """Segments that the process made, its files in /dev/shm, and processes of its session."""
    files = [str(path) for path in Path("/dev/shm").glob(f"*shmstore-bench-{pid}-*")]
    return segments_of(pid) + files + [f"process {other}" for other in session(pid) if other != pid]


def stays_behind(pid: int) -> list[str]:
    """What is left behind and does not go by itself, as multiprocessing's resource tracker does."""
    end = time.monotonic() + 60
    while (left := left_behind(pid)) and time.monotonic() < end:
        time.sleep(0.01)
    return left


def session(pid: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, leader, *_ = stat.read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue  # it has just ended
        if int(leader) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


def test_quick_run_prints_its_rows_and_leaves_nothing(start: Start, tmp_path: Path) -> None:
    process = start("ops", "--quick", "--rows", "get,incr,get_1k,incr_2", "--json", str(tmp_path / "ops.json"))
    out, _ = process.communicate()

    assert process.returncode == 0, out
    for row in ("get", "incr", "get 1 KB", "incr, 2"):
        assert any(line.strip().startswith(row) for line in out.splitlines()), out
    assert stays_behind(process.pid) == []

    saved = json.loads((tmp_path / "ops.json").read_text())
    assert [row["row"] for row in saved["rows"]] == ["get", "incr", "get_1k", "incr_2"]
    assert all(row["contestants"]["shmstore"]["rounds"] for row in saved["rows"])
    assert all(row["contestants"]["floor"]["rounds"] for row in saved["rows"][:3])
    assert "python" in saved["environment"] and "steal" in saved["load"]


OTHERS = {
    "arrays": ("put", "get", "first touch"),
    "ipc": ("64 B, one core", "1 MB, one core"),
    "memory": ("bytes_per_entry", "attach", "import"),
    "peers": ("get", "put", "miss", "contains", "incr", "get_many", "put_many"),
    "readers": ("thread_mean", "thread_p50", "thread_progress"),
    "values": ("put session", "get session"),
    "fragmentation": ("fragmentation 1 KB to 4 MB 80%", "fragmentation 1 MB to 4 MB 95%"),
    "cache": ("cache speed", "cache hits"),
    "coordination": ("lock", "lock of two", "memoized hit", "asleep", "coroutines asleep", "wake-up"),
    "frameworks": ("Django get", "Django set", "cachelib get", "limits set", "aiocache get"),
    "servers": ("servers cold", "servers", "servers memory", "servers private"),
    "hitratio": (),
    "writers": (),
    "scaling": ("growth get", "growth put", "growth stats", "put full", "attached get"),
}
NEEDS = {
    "arrays": ["numpy"],
    "frameworks": ["django", "cachelib", "limits", "aiocache", "redis"],
    "servers": ["gunicorn"],
}


@pytest.mark.sample
@pytest.mark.parametrize("name", OTHERS)
def test_quick_run_of_the_others(start: Start, tmp_path: Path, name: str) -> None:
    for package in NEEDS.get(name, []):
        pytest.importorskip(package)
    if name == "servers" and shutil.which("wrk") is None:
        pytest.skip("wrk is not installed: apt-get install wrk")
    process = start(name, "--quick", "--json", str(tmp_path / "found.json"))
    out, _ = process.communicate()

    assert process.returncode == 0, out
    assert stays_behind(process.pid) == []

    saved = json.loads((tmp_path / "found.json").read_text())
    rows = {row["row"]: row for row in saved["rows"]}
    assert set(OTHERS[name]) <= set(rows)
    for row in rows.values():
        assert row["contestants"], row
        for found in row["contestants"].values():  # the figures of three short rounds may be anything, even below zero
            assert found["rounds"] and math.isfinite(found["median"]), row
    assert saved["bars"] and all(bar["bar"] in out for bar in saved["bars"])
    assert "python" in saved["environment"] and "steal" in saved["load"]


def test_what_is_not_installed_is_left_out_and_said(start: Start, tmp_path: Path) -> None:
    modules = ("UltraDict", "diskcache", "lmdb", "msgspec", "posix_ipc", "pymemcache", "redis", "sysv_ipc")
    for module in modules:
        (tmp_path / f"{module}.py").write_text(f"raise ImportError('not here', name={module!r})\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    out, _ = start("peers", "--quick", PYTHONPATH=path).communicate()
    for peer in ("lmdb", "UltraDict", "diskcache", "memcached", "Redis"):
        assert f"{peer} is left out: needs" in out, out
    out, _ = start("ipc", "--quick", PYTHONPATH=path).communicate()
    assert "System V queue is left out" in out and "POSIX queue is left out" in out
    out, _ = start("ops", "--quick", "--rows", "get,get_msgspec", PYTHONPATH=path).communicate()
    assert "not measured: needs msgspec" in out and "not measured: LMDB" in out


@pytest.mark.sample
@pytest.mark.parametrize("name", ["ipc", "peers", "readers", "scaling"])
def test_a_signal_ends_the_others_and_nothing_is_left(start: Start, name: str) -> None:
    process = start(name, "--quick", "--rounds", "1000000")
    while process.poll() is None and not left_behind(process.pid):
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()

    assert process.returncode == 128 + signal.SIGTERM, out
    assert stays_behind(process.pid) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("rows", ["get", "incr_2"])
def test_a_signal_ends_it_and_nothing_is_left(start: Start, number: signal.Signals, rows: str) -> None:
    process = start("ops", "--rounds", "1000000", "--rows", rows)
    while process.poll() is None and not left_behind(process.pid):
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(number)
    out, _ = process.communicate()

    assert process.returncode == 128 + number, out
    assert "nothing is left behind" in out
    assert stays_behind(process.pid) == []


def test_an_unknown_row_is_named(start: Start) -> None:
    process = start("ops", "--rows", "get,gets")
    out, _ = process.communicate()

    assert process.returncode == 2
    assert "no row 'gets'" in out


def test_plots_are_drawn_from_what_was_saved(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("peers", "ipc", "readers", "scaling"):
        arguments = ("--peers", "none") if name == "peers" else ()
        start(name, "--quick", "--json", str(tmp_path / f"{name}.json"), *arguments).communicate()
    process = start("plots", "--results", str(tmp_path), "--into", str(tmp_path))
    out, _ = process.communicate()

    assert process.returncode == 0, out
    for name in ("peers", "ipc", "readers", "scaling"):
        assert (tmp_path / f"{name}.svg").read_text().rstrip().endswith("</svg>"), out


def test_the_tables_say_what_was_saved(start: Start, tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text((ROOT / "docs" / "performance.md").read_text())
    out, _ = start("tables", "--page", str(page)).communicate()
    assert str(page) in out and page.read_text() == (ROOT / "docs" / "performance.md").read_text()
