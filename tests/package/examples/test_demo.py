"""``shmstore demo`` as its user runs it, and as its user interrupts it: it must answer, and leave nothing."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from shmstore import demo
from shmstore._demo_parent import Round
from shmstore.sysv import IPC_RMID, shmctl

QUICK = 60  # files
MOMENTS = 10
SPAN = 1.2  # seconds that a quick demo takes, more or less


@pytest.fixture
def start_demo(start):
    def start_demo(*options):
        return start(sys.executable, "-m", "shmstore", "demo", *options)

    return start_demo


@pytest.fixture
def assert_nothing_left(segments_of):
    """Find what a demo of this pid has left: its segment, or workers, whose command line holds the key."""

    def processes(pid):
        found = []
        for folder in Path("/proc").iterdir():
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue  # no process, or one that has just ended
            if f"shmstore-demo-{pid}-".encode() in command:
                found.append(int(folder.name))
        return found

    def check(pid, patience=0.0):
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and (processes(pid) or segments_of(pid)):
            time.sleep(0.05)
        workers, segments = processes(pid), segments_of(pid)
        for worker in workers:
            os.kill(worker, signal.SIGKILL)  # a failure here must not make others fail
        for segment in segments:
            shmctl(int(segment.split()[1]), IPC_RMID)
        assert (workers, segments) == ([], [])

    return check


def numbers(line: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,.]*", line)]


def row(output: str, name: str) -> list[float]:
    (line,) = [line for line in output.splitlines() if name in line]
    return numbers(line.split(name)[1])


# ---- it answers ----


def unexpected(errors):
    """The log names a worker that was killed with a lock or a block in hand, when another one takes these over."""
    return "".join(line for line in errors.splitlines(True) if "died while it used the store" not in line)


def test_a_worker_is_killed_and_nothing_is_lost(start_demo, finish, assert_nothing_left):
    """Enough files for a kill in the middle; exit code 0 says that the second round found them all."""
    files = 300
    process = start_demo("--limit", files, "--workers", 3)
    code, output, errors = finish(process)
    assert (code, unexpected(errors)) == (0, "")
    assert_nothing_left(process.pid)
    assert "got SIGKILL after" in output
    # Two survivors have every result, and in the second round found, not computed, every one.
    assert row(output, "results computed by the survivors")[1] == 0
    assert row(output, "results found in the store")[1] == 2 * files
    shares = re.findall(r"(\d+) by worker \d", output)
    assert sum(map(int, shares)) >= files  # a claim ends after two seconds: a busy machine may analyse a file twice
    assert row(output, "hits")[0] >= 3 * files


def test_the_longest_functions_are_where_it_says(start_demo, finish):
    code, output, _ = finish(start_demo("--limit", QUICK, "--no-kill", "--workers", 2))
    assert code == 0
    assert "SIGKILL" not in output
    found = re.findall(r"(\d+) +([\w.]+) +([\w./]+\.py):(\d+)", output)
    assert len(found) == 10
    assert [int(lines) for lines, *_ in found] == sorted((int(lines) for lines, *_ in found), reverse=True)
    for _, name, path, line in found:
        source = (demo.LIBRARY / path).read_text(encoding="utf-8").splitlines()
        assert f"def {name.split('.')[-1]}(" in source[int(line) - 1]


def test_without_rich_it_is_plain_text(start, finish):
    program = (
        "import sys; sys.modules['rich'] = None\n"
        "from shmstore.cli import main\n"
        f"sys.exit(main(['demo', '--limit', '{QUICK}']))"
    )
    code, output, errors = finish(start(sys.executable, "-c", program))
    assert (code, unexpected(errors)) == (0, "")
    assert "second round" in output
    assert "\033" not in output


def test_one_worker_is_left_alive(start_demo, finish):
    code, output, _ = finish(start_demo("--limit", QUICK, "--workers", 1))
    assert code == 0
    assert "SIGKILL" not in output


def test_two_demos_side_by_side(start_demo, finish, assert_nothing_left):
    both = [start_demo("--limit", QUICK), start_demo("--limit", QUICK)]
    for process in both:
        code, output, errors = finish(process)
        assert (code, unexpected(errors)) == (0, "")
        assert_nothing_left(process.pid)


# ---- it is interrupted ----


@pytest.mark.parametrize(
    "moment", [pytest.param(moment, marks=[] if moment % 4 == 1 else [pytest.mark.sample]) for moment in range(MOMENTS)]
)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_at_a_random_moment(start_demo, finish, assert_nothing_left, signum, moment):
    """The moments are spread over the run: the start, between two workers, each round, the last table."""
    delay = (moment + random.random()) * SPAN / MOMENTS
    print(f"signal after {delay:.3f} s")
    process = start_demo("--limit", QUICK)
    time.sleep(delay)
    process.send_signal(signum)
    code, output, errors = finish(process)
    assert_nothing_left(process.pid)
    if code == 128 + signum:
        assert "Traceback" not in errors
    elif code == 1:  # so early that the interpreter itself was starting
        assert "KeyboardInterrupt" in errors
    else:  # too late, or before the program could take notice
        assert code in (0, -signum)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_at_work(start_demo, finish, segments_of, assert_nothing_left, signum):
    process = start_demo()  # everything: it cannot be over soon
    assert "workers analyse" in process.stdout.readline()
    assert len(segments_of(process.pid)) == 1
    process.send_signal(signum)
    code, _, errors = finish(process)
    assert code == 128 + signum  # 130 for Ctrl-C
    assert unexpected(errors) == f"stopped by {signal.Signals(signum).name}; nothing is left behind\n"
    assert_nothing_left(process.pid)


def test_workers_of_a_killed_parent_clean_up(start_demo, assert_nothing_left):
    process = start_demo()
    assert "workers analyse" in process.stdout.readline()
    process.kill()
    process.wait()
    assert_nothing_left(process.pid, patience=300.0)


def test_a_reader_that_goes_away(start_demo, assert_nothing_left):
    """As with ``shmstore demo | head -1``."""
    process = start_demo("--limit", QUICK)
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait() == 1
    assert errors == ""
    assert_nothing_left(process.pid)


# ---- its parts ----


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "LIBRARY", tmp_path)
    return tmp_path


def test_analyse(library):
    (library / "module.py").write_text(
        "import os, sys.path\n"
        "from . import x\n"
        "class A:\n"
        "    def f(self):\n"
        "        if x:\n"
        "            from ..y import z\n"
        "            async def g():\n"
        "                return 1\n"
        "        return lambda: 0\n"
    )
    assert demo.analyse("module.py") == {
        "lines": 9,
        "functions": 2,
        "classes": 1,
        "imports": [".", "..y", "os", "sys.path"],
        "longest": [(6, "A.f", 4), (2, "A.f.g", 7)],
    }


@pytest.mark.parametrize("source", [b"print 'old'\n", b"# coding: nonsense\n", b"x = '\xff'\n"])
def test_analyse_broken_source(library, source):
    (library / "broken.py").write_bytes(source)
    assert demo.analyse("broken.py") == {"lines": 1, "error": "SyntaxError"}


def test_library_files_leaves_installed_packages_out(library):
    for name in ("b.py", "a/c.py", "a/data.txt", "site-packages/d.py", "dist-packages/e.py"):
        (library / name).parent.mkdir(exist_ok=True)
        (library / name).touch()
    assert demo.library_files() == ["a/c.py", "b.py"]
    assert demo.library_files(1) == ["a/c.py"]


def test_the_claim_of_a_dead_worker_expires(store, library, monkeypatch):
    """Worker 0 has claimed a file and will never come back."""
    monkeypatch.setattr(demo, "CLAIM_SECONDS", 0.3)
    (library / "a.py").write_text("def f(): pass\n")
    (library / "b.py").write_text("def g(): pass\n")
    assert store.add(demo.claim_name("a.py"), 0, ttl=0.3)
    store.put(demo.start_name(1), True)
    demo.Worker(store, 1, 1).run(["a.py", "b.py"])
    report = store[demo.report_name(1, 1)]
    assert (report["computed"], report["found"]) == (2, 0)
    assert store[demo.result_name("a.py")]["longest"] == [(1, "f", 1)]
    assert store[demo.seen_name(1, 1)] == 2


def test_a_result_that_comes_between_look_and_claim_is_not_computed_again(store, library, monkeypatch):
    (library / "a.py").touch()
    worker = demo.Worker(store, 1, 1)
    looks = []

    def look(path):
        looks.append(path)
        return len(looks) > 1  # the other worker was faster

    monkeypatch.setattr(worker, "is_found", look)
    monkeypatch.setattr(demo, "analyse", lambda path: pytest.fail("computed again"))
    assert worker.get_or_compute("a.py")
    assert (worker.computed, worker.found) == (0, 1)
    assert demo.claim_name("a.py") not in store


def test_percentiles():
    hundred = Round(1.0, 0, 100, [number * 1000 for number in range(100)])
    assert hundred.percentile(50) == 50e-6
    assert hundred.percentile(99) == 99e-6
    assert Round(1.0, 0, 0, []).percentile(99) == 0.0
