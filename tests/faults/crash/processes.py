"""The processes that a sweep needs: this one, attached before; a observer that attaches after; a victim_server of victims."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import driver as drivers
from cases import Case

import shmstore
from shmstore._core import __file__ as MODULE

HERE = Path(__file__).resolve().parent


class Broken(AssertionError):
    """What must hold did not."""


class Processes:
    """The processes that a sweep needs, and the name of its store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = f"shmstore-crash-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        library = drivers.build(directory)
        self.code = drivers.Object(Path(MODULE))
        gate, self._gate = os.pipe()
        # Everything is bound at once: the dynamic linker's way to a function does not look like a call.
        environment = {**os.environ, "LD_BIND_NOW": "1", "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path[1:]])}
        self._victim_server = subprocess.Popen(
            [sys.executable, HERE / "victim_server.py", str(gate), self.key], cwd="/", env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[gate],
        )  # fmt: skip
        os.close(gate)
        assert self._victim_server.stdout
        server_pid = int(self._victim_server.stdout.readline())
        self._observer = subprocess.Popen(
            [sys.executable, HERE / "observer.py", self.key], cwd="/", env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            self.driver = drivers.Driver(library, self.code, server_pid)
        except BaseException:
            self.close()
            raise
        self.program = Path(f"/proc/{server_pid}/comm").read_text().strip()
        self.answer = directory / "answer"

    def close(self) -> None:
        for process in (self._victim_server, self._observer):
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
            process.wait(300)
            process.stdout.close()  # type: ignore[union-attr]
        os.close(self._gate)
        with contextlib.suppress(shmstore.ShmStoreError):
            shmstore.destroy(self.key)

    def tell(self, what: str, backend: str = "") -> int:
        """A line for the victim_server; its answer."""
        assert self._victim_server.stdin and self._victim_server.stdout
        self._victim_server.stdin.write(f"{what}\t{self.answer}\t{backend}\n".encode())
        self._victim_server.stdin.flush()
        return int(self._victim_server.stdout.readline())

    def victim(self, case: Case) -> int:
        """A process that is about to begin the operation."""
        self.answer.unlink(missing_ok=True)
        victim = self.driver.seize(self.tell(case.name), case.follow)
        os.write(self._gate, b"x")
        self.driver.begin(victim)
        return victim

    def observer(self, names: list[str], writes: dict[str, Any], timeout: float, where: dict[str, str]) -> Any:
        """(what it read, whom it was kept from by whom, what went wrong, its longest read)"""
        assert self._observer.stdin and self._observer.stdout
        pickle.dump((names, writes, timeout, where), self._observer.stdin)
        self._observer.stdin.flush()
        return pickle.load(self._observer.stdout)


@contextlib.contextmanager
def processes_in(directory: Path) -> Iterator[Processes]:
    processes = Processes(directory)
    try:
        yield processes
    finally:
        processes.close()
