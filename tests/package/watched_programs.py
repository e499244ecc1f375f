"""Programs that tests start and watch: what runs at the deadline, or at the end of the test, is killed."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEADLINE = 900.0  # of a watchdog: generous, since other tests share the machine


class Watched:
    """Starts programs, each with a watchdog."""

    def __init__(self) -> None:
        self.started: list[tuple[subprocess.Popen[str], threading.Timer]] = []

    def start(self, *command: object, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, **options)
        watchdog = threading.Timer(DEADLINE, process.kill)
        watchdog.start()
        self.started.append((process, watchdog))
        return process

    def end(self) -> None:
        for process, watchdog in self.started:
            watchdog.cancel()
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()  # without reading to the end: what outlives the process may hold the other one open


@contextmanager
def watched() -> Iterator[Watched]:
    programs = Watched()
    try:
        yield programs
    finally:
        programs.end()


def segments_of(pid: int) -> list[str]:
    """The segments that a process has created: cpid, unlike the key, is set for unfinished ones too."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return [line for line in lines if int(line.split()[4]) == pid]
