"""Pages behind real servers whose workers are killed: no answer is wrong, and each page is computed once, and once more for
each kill that hit its computation."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import shmstore

sys.path.insert(0, str(Path(__file__).parent))
from web_servers import ASGI, DEADLINE, Running, Server, gunicorn, started, wait_until

ROOT = Path(__file__).resolve().parents[2]
LOAD = ROOT / "benchmarks" / "load.lua"
WRK = shutil.which("wrk")
CONNECTIONS, REPEATS = 8, 20
UVICORN = "uvicorn_worker.UvicornWorker"

SERVERS = {
    "gunicorn sync": gunicorn("sync", holds=1),
    "gunicorn sync, preload, max-requests": gunicorn("sync", "--preload", "--max-requests", "50", holds=1),
    "gunicorn gthread": gunicorn("gthread", "--threads", "4"),
    "gunicorn gthread, preload": gunicorn("gthread", "--threads", "4", "--preload"),
    "gunicorn gthread, max-requests": gunicorn("gthread", "--threads", "4", "--max-requests", "50", ends_drop=True),
    "gunicorn gevent": gunicorn("gevent", needs=("gevent",)),
    "gunicorn gevent, preload": gunicorn("gevent", "--preload", needs=("gevent",)),
    "gunicorn asgi": gunicorn("asgi", application=ASGI),
    "gunicorn asgi, preload": gunicorn("asgi", "--preload", application=ASGI),
    "gunicorn uvicorn": gunicorn(UVICORN, application=ASGI, needs=("uvicorn_worker",)),
    "gunicorn uvicorn, preload": gunicorn(UVICORN, "--preload", application=ASGI, needs=("uvicorn_worker",)),
    "uvicorn": Server("uvicorn", ("--port", "{port}", "--workers", "4", "--timeout-worker-healthcheck", "60"), ASGI),
    "granian": Server(
        "granian",
        ("--interface", "asgi", "--port", "{port}", "--workers", "{workers}", "--respawn-failed-workers"),
        ASGI,
    ),
    "granian wsgi": Server(
        "granian", ("--interface", "wsgi", "--port", "{port}", "--workers", "{workers}", "--respawn-failed-workers")
    ),
    "uWSGI, two interpreters": Server(
        "pyuwsgi",
        (
            "--http-socket", "127.0.0.1:{port}", "--master", "--processes", "{workers}", "--need-app", "--die-on-term",
            "--add-header", "Connection: close", "--skip-atexit-teardown",
            "--home", sys.prefix, "--manage-script-name", "--mount", "/a=memoized_site:application", "--mount", "/b=memoized_site:application",
        ),
        "",
        prefixes=("/a", "/b"),
    ),
}  # fmt: skip

SHORT = ("gunicorn sync, preload, max-requests", "gunicorn gthread", "gunicorn gevent", "uvicorn")
PAGE = (ROOT / "docs" / "integrations.md").read_text()
COMMANDS = re.findall(r"^((?:gunicorn|uvicorn|granian) .* memoized_pages:\w+)$", PAGE, re.M)

pytestmark = pytest.mark.skipif(not LOAD.exists(), reason="no checkout")


@pytest.mark.parametrize("name", SHORT)
def test_pages_while_workers_are_killed(name: str, key: str, tmp_path: Path) -> None:
    check(SERVERS[name], key, tmp_path, pages=200, kills=3, pause=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
def test_pages_while_a_worker_is_killed_every_second(name: str, key: str, tmp_path: Path) -> None:
    check(SERVERS[name], key, tmp_path, pages=1000, kills=10, pause=1.0)


@pytest.mark.parametrize(
    "command", [pytest.param(line, marks=[] if line in COMMANDS[::5] else pytest.mark.slow) for line in COMMANDS]
)
def test_the_commands_of_the_page_compute_a_report_once(command: str, key: str, tmp_path: Path) -> None:
    module, *arguments, application = command.split()
    where = ["--bind", "127.0.0.1:{port}", "--no-control-socket"] if module == "gunicorn" else ["--port", "{port}"]
    needs = [name for name in ("gevent", "uvicorn_worker") if name in command]
    server = Server(module, (*where, *arguments), application, needs=tuple(needs), path="/report/{}")
    skip_without(server)
    with shmstore.Cache[Any](key, size="1M") as cache, started(server, key, tmp_path) as running:
        with ThreadPoolExecutor(4) as clients:
            assert [*clients.map(running.ask, [7] * 4)] == [(200, "<h1>Report 7</h1>\n")] * 4
        assert cache["computed"] == 2  # with the report that showed that the server answers


def test_the_page_has_commands() -> None:
    assert [line.split()[0] for line in COMMANDS[::5]] == ["gunicorn", "uvicorn"], COMMANDS


def skip_without(server: Server) -> None:
    if missing := server.missing():
        pytest.skip(f"{missing} is not installed: pip install '.[servers]'")


def check(server: Server, key: str, folder: Path, *, pages: int, kills: int, pause: float) -> None:
    skip_without(server)
    if WRK is None:
        pytest.skip("wrk is not installed: apt-get install wrk")
    with shmstore.Cache[Any](key, size="16M") as cache:
        with started(server, key, folder) as running:
            another_worker_takes_over(running, cache)
            found = load(running, cache, pages, kills, pause)
            assert found["wrong"] == 0, (found, running.said())
            errors = found["connect"] + found["read"] + found["write"] + found["timeout"]
            ended = {*running.killed[1:]}  # the first one was not wrk's
            if server.ends_drop:
                ended |= {pid for _, pid in marks(cache, "asked")} - {*running.workers()}
            assert errors <= len(ended) * (server.holds or CONNECTIONS), (found, running.said())
            lost: list[Exception] = []
            with ThreadPoolExecutor(CONNECTIONS) as clients:
                answers = [*clients.map(lambda number: running.ask_again(number, lost), range(pages + 1))]
            assert answers == [(200, body(number)) for number in range(pages + 1)]
            assert server.ends_drop or not lost, lost
        more = assert_computed_once(cache, pages, running.killed)
        cache.check()
    print(f"{found['answered']} answers, {errors} errors, {len(ended)} workers ended, {more} pages computed again")


def body(number: int) -> str:
    return f"<h1>Page {number}</h1>" + f"\n{number} is tea." * REPEATS


def another_worker_takes_over(running: Running, cache: shmstore.Cache[Any]) -> None:
    """Two requests want page 0. The worker that computes it is killed, and both are answered after one more computation."""
    lost: list[Exception] = []
    with ThreadPoolExecutor(2) as clients:
        asked = [clients.submit(running.ask_again, 0, lost) for _ in range(2)]
        wait_until(lambda: marks(cache, "begun", 0), "the computation of page 0")
        ((_, first),) = marks(cache, "begun", 0)
        assert running.kill(first), running.said()
        wait_until(lambda: len(marks(cache, "begun", 0)) > 1, "another worker that takes over")
        cache["go"] = True
        assert [each.result() for each in asked] == [(200, body(0))] * 2
    assert marks(cache, "begun", 0).total() == 2
    assert len(lost) <= (running.server.holds or 2), lost


def load(running: Running, cache: shmstore.Cache[Any], pages: int, kills: int, pause: float) -> dict[str, Any]:
    """Let wrk ask for pages until so many workers were killed; give what it has counted."""
    command = [
        WRK,
        f"-t{CONNECTIONS}",
        f"-c{CONNECTIONS}",
        f"-d{DEADLINE:.0f}s",
        f"--timeout={DEADLINE:.0f}s",
        "-s",
        LOAD,
    ]
    arguments = [f"http://127.0.0.1:{running.port}", "--", pages, REPEATS, *filter(None, running.server.prefixes)]
    with subprocess.Popen(
        [str(word) for word in (*command, *arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as wrk:
        try:
            wait_until(lambda: catches(wrk.pid, signal.SIGINT), "wrk to begin")
            wanted = len(running.killed) + kills
            while len(running.killed) < wanted:
                time.sleep(pause)
                assert wrk.poll() is None
                running.kill(choose(running, cache))
            wrk.send_signal(signal.SIGINT)  # it ends, and says what it has counted
            output, _ = wrk.communicate(timeout=DEADLINE)
        finally:
            wrk.kill()
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def choose(running: Running, cache: shmstore.Cache[Any]) -> int:
    """A worker that computes a page; if there is none, one that was asked for a page: it takes some servers long to notice
    that a worker has died which has not begun to work."""

    def candidates() -> list[int]:
        busy, asked = marks(cache, "begun") - marks(cache, "stored"), marks(cache, "asked")
        alive = running.workers()
        return [pid for _, pid in (*busy, *asked) if pid in alive]

    wait_until(candidates, "a worker that answers")
    return candidates()[0]


def marks(cache: shmstore.Cache[Any], what: str, number: int | None = None) -> Counter[tuple[int, int]]:
    """How often each process did that to each page, or to one page, by page and process."""
    names = cache.keys(f"{what}:" if number is None else f"{what}:{number}:")
    places = ((name, tuple(map(int, str(name).split(":")[1:]))) for name in names)
    return Counter({(page, pid): cache[name] for name, (page, pid) in places})


def assert_computed_once(cache: shmstore.Cache[Any], pages: int, killed: list[int]) -> int:
    """Each page: once, and once more for each kill that hit its computation. Return how many computations these were."""
    begun, stored = marks(cache, "begun"), marks(cache, "stored")
    hit = Counter({(page, pid): count - stored[page, pid] for (page, pid), count in begun.items() if pid in killed})
    for page in range(pages + 1):
        computed, lost = (sum(n for (of, _), n in counts.items() if of == page) for counts in (begun, hit))
        assert 1 <= computed <= 1 + lost, (page, begun, stored, killed)
    return begun.total() - (pages + 1)


def catches(pid: int, signum: int) -> bool:
    """Has the process a handler for the signal?"""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:")]
    return bool(int(line.split()[1], 16) >> signum - 1 & 1)
