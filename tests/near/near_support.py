"""A Redis server for tests, and what a test may wait for."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WATCHDOG = 120.0  # seconds: something hangs


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """What the condition returns, once that is true."""
    end = time.monotonic() + WATCHDOG
    while not (found := condition()):
        assert time.monotonic() < end, f"waited for {WATCHDOG} s: {what}"
        time.sleep(0.005)
    return found


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def when_valid(cache: Any) -> Any:
    wait_until(lambda: cache.stats().valid, "the listener makes copies valid")
    return cache


class Server:
    """redis-server on a unix socket."""

    def __init__(self, folder: str) -> None:
        import redis

        self.folder = folder
        self.url = f"unix://{folder}/socket"
        self.client = redis.Redis(unix_socket_path=f"{folder}/socket")
        self.unreachable = redis.ConnectionError
        self.start()

    def start(self) -> None:
        command = [
            "redis-server",
            "--port",
            "0",
            "--unixsocket",
            f"{self.folder}/socket",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, cwd=self.folder, **quiet)
        wait_until(self._answers, "redis-server answers")

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except self.unreachable:
            return False

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.client.connection_pool.disconnect()

    def calls(self, command: str) -> int:
        """How often the server has executed it."""
        return int(self.client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])
