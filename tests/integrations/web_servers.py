"""Web servers that test_servers.py starts: how, on a port of their own, and which of their processes may be killed."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

DEADLINE = 600.0  # of a watchdog: generous, since other tests share the machine
WORKERS = 3
HERE = Path(__file__).resolve().parent
SITES = (HERE, HERE.parents[1] / "examples")
WSGI, ASGI = "memoized_site:application", "memoized_site:asgi"


@dataclass(frozen=True)
class Server:
    """How to start a server.

    holds: connections that one worker may hold at once. None: any number.
    ends_drop: workers end by themselves, and may drop connections as if they were killed.
    needs: other modules. prefixes: where the site is, once for each interpreter of a worker.
    """

    module: str
    arguments: tuple[str, ...]
    application: str = WSGI
    holds: int | None = None
    ends_drop: bool = False
    needs: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ("",)
    path: str = "/page/{}"

    def missing(self) -> str:
        """A module that is not installed, or ""."""
        return next((name for name in (self.module, *self.needs) if find_spec(name) is None), "")

    def command(self, port: int) -> list[str]:
        words = (word.format(port=port, workers=WORKERS) for word in self.arguments)
        program = ["-m", self.module] if self.module != "pyuwsgi" else ["-c", "import pyuwsgi; pyuwsgi.run()"]
        return [sys.executable, *program, *words, *filter(None, [self.application])]


def gunicorn(worker: str, *options: str, application: str = WSGI, **others: Any) -> Server:
    common = ("--bind", "127.0.0.1:{port}", "--workers", "{workers}", "--timeout", "300", "--graceful-timeout", "300")
    return Server(
        "gunicorn", (*common, "--no-control-socket", "--worker-class", worker, *options), application, **others
    )


class Running:
    """A server at work: its first process, which starts the workers, and its port."""

    def __init__(self, server: Server, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.server, self.process, self.port, self.log = server, process, port, log
        self.killed: list[int] = []

    def ask(self, number: int) -> tuple[int, str]:
        """The status and body of a page, by a connection of its own. OSError, HTTPException: there was no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            path = self.server.prefixes[number % len(self.server.prefixes)] + self.server.path.format(number)
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def ask_again(self, number: int, lost: list[Exception]) -> tuple[int, str]:
        """Ask until there is an answer. *lost* gets the errors of connections."""
        while True:
            try:
                return self.ask(number)
            except (OSError, http.client.HTTPException) as error:
                assert self.process.poll() is None, self.said()
                lost.append(error)

    def wait_until_it_answers(self) -> None:
        end = time.monotonic() + DEADLINE
        while True:
            assert self.process.poll() is None, f"the server has ended: {self.said()}"
            assert time.monotonic() < end, f"the server does not answer: {self.said()}"
            try:
                status, _ = self.ask(1)
                assert status == 200, (status, self.said())
                return
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)

    def workers(self) -> list[int]:
        """The children of the first process, without the helper of multiprocessing that some servers have."""
        return [pid for pid in children(self.process.pid) if b"resource_tracker" not in command_line(pid)]

    def kill(self, pid: int) -> bool:
        """Kill a worker; False: it has ended already. A descriptor of it, because its number may be another's by now."""
        try:
            worker = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            if pid not in self.workers():
                return False
            self.killed.append(pid)
            signal.pidfd_send_signal(worker, signal.SIGKILL)
            return True
        except ProcessLookupError:
            return False
        finally:
            os.close(worker)

    def end(self) -> None:
        """In order. A worker that was just started may miss the signal that its parent sends, so it is sent again to all."""
        end = time.monotonic() + DEADLINE
        self.process.terminate()
        while True:
            try:
                self.process.wait(2)
                break
            except subprocess.TimeoutExpired:
                assert time.monotonic() < end, f"the server does not end: {self.said()}"
                for pid in self.workers():
                    signal_if_alive(pid, signal.SIGTERM)
        wait_until(lambda: not session(self.process.pid), "its processes to end")

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-5000:]


@contextmanager
def started(server: Server, cache: str, folder: Path) -> Iterator[Running]:
    """Start a server; at the end, end it in order, and see that no process of its session is left."""
    log = folder / "server.log"
    names = {"SITE_CACHE": cache, "PAGES": cache, "PYTHONPATH": os.pathsep.join(map(str, SITES))}
    environment = {**os.environ, **names, "PYTHONDONTWRITEBYTECODE": "1"}
    with socket.socket() as place, open(log, "wb") as output:
        # A socket that is bound and does not listen keeps the port from everyone but the server, which may bind it, too.
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
        process = subprocess.Popen(
            server.command(port), cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            running = Running(server, process, port, log)
            running.wait_until_it_answers()
            yield running
            running.end()
        finally:
            for pid in session(process.pid):
                signal_if_alive(pid, signal.SIGKILL)
            process.kill()
            process.wait()


def signal_if_alive(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        pass


def wait_until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def processes() -> Iterator[tuple[int, str, int, int]]:
    """Of each process: its id, its state, its parent and its session."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, _, leader, *_ = stat.read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue  # it has just ended
        yield int(stat.parent.name), state, int(parent), int(leader)


def children(of: int) -> list[int]:
    return [pid for pid, state, parent, _ in processes() if parent == of and state != "Z"]


def session(of: int) -> list[int]:
    return [pid for pid, state, _, leader in processes() if leader == of and state != "Z"]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
