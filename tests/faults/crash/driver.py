"""The ptrace driver (driver.c) for Python, and what the compiled module's symbol table says of addresses."""

from __future__ import annotations

import bisect
import ctypes
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("driver.c")
ENDED, INSIDE = 0, 1
STAY, FOLLOW_CHILD = 0, 1


class CannotTrace(Exception):
    """This machine does not let one process step through another; the message says why."""


class DriverError(Exception):
    """A ptrace request failed, or a process stopped where none should."""


def build(directory: Path) -> Path:
    """Compile the driver."""
    if platform.machine() != "x86_64":
        raise CannotTrace(f"the driver knows the registers of x86-64 only, not of {platform.machine()}")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise CannotTrace("there is no C compiler")
    library = directory / f"driver-{os.getpid()}.so"
    done = subprocess.run(
        [compiler, "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, SOURCE],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise DriverError(done.stderr)
    return library


class Object:
    """A shared object on disk: its functions, and its instructions by offset."""

    def __init__(self, path: Path) -> None:
        self.path = path
        symbols = []
        for line in run("nm", "--defined-only", "-S", str(path)).splitlines():
            fields = line.split()
            if len(fields) == 4 and fields[2] in "tTwW":
                symbols.append((int(fields[0], 16), int(fields[1], 16), fields[3]))
        if not symbols:
            raise CannotTrace(f"{path} has no symbol table: it was stripped")
        self.symbols = sorted(symbols)
        self._starts = [start for start, _, _ in self.symbols]
        self._instructions: dict[int, str] | None = None

    def where(self, offset: int) -> tuple[str, int]:
        """The function that an offset is in, and how far behind its beginning."""
        i = bisect.bisect(self._starts, offset) - 1
        if i >= 0 and offset < self._starts[i] + self.symbols[i][1]:
            return self.symbols[i][2], offset - self._starts[i]
        return "(plt)", offset

    def function_at(self, offset: int) -> int | None:
        """The beginning of the function that an offset is in."""
        i = bisect.bisect(self._starts, offset) - 1
        return self._starts[i] if i >= 0 and offset < self._starts[i] + self.symbols[i][1] else None

    def instructions(self) -> dict[int, str]:
        """Every instruction, by objdump: offset to text."""
        if self._instructions is None:
            listing = run("objdump", "-d", "--no-show-raw-insn", str(self.path))
            found = re.finditer(r"^ +([0-9a-f]+):\t(.*)$", listing, re.MULTILINE)
            self._instructions = {int(m[1], 16): m[2].strip() for m in found}
        return self._instructions


def run(*command: str) -> str:
    if not shutil.which(command[0]):
        raise CannotTrace(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Driver:
    """What can be done with the victims that one victim_server forks."""

    TRACE_ROOM = 4_000_000

    def __init__(self, library: Path, code: Object, server_pid: int) -> None:
        self.code = code
        self._c = c = ctypes.CDLL(str(library), use_errno=True)
        u64, pointer = ctypes.c_uint64, ctypes.c_void_p
        c.driver_object.argtypes = [u64, u64, ctypes.c_char_p, pointer, u64]
        c.driver_seize.argtypes, c.driver_seize.restype = [ctypes.c_int, ctypes.c_int], pointer
        c.driver_trace.argtypes = [pointer, pointer, u64, pointer, u64, pointer, pointer]
        c.driver_trace.restype = ctypes.c_int64
        c.driver_run_to.argtypes = [pointer, u64, u64, u64, pointer]
        c.driver_go_on.argtypes, c.driver_go_on.restype = [pointer, pointer, u64], ctypes.c_int64
        for name in ("begin", "pid", "other", "kill", "stop", "release"):
            getattr(c, f"driver_{name}").argtypes = [pointer]
        self.base = self._tell_object(server_pid)

    def _tell_object(self, pid: int) -> int:
        """Where the victim_server, and so each victim, has the module's instructions."""
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            fields = line.split()
            if len(fields) == 6 and "x" in fields[1] and os.path.samefile(fields[5], self.code.path):
                start, end = (int(part, 16) for part in fields[0].split("-"))
                base = start - int(fields[2], 16)
                break
        else:
            raise DriverError("the victim_server has not loaded the module")
        try:
            with open(f"/proc/{pid}/mem", "rb") as memory:
                memory.seek(start)
                text = memory.read(end - start)
        except OSError as error:
            raise CannotTrace(f"/proc/{pid}/mem: {error.strerror}") from error
        entries = [base + symbol[0] for symbol in self.code.symbols]
        array = (ctypes.c_uint64 * len(entries))(*entries)
        self._c.driver_object(start, end - start, text, array, len(entries))
        return base

    def _check(self, result: int, what: str) -> int:
        if result < 0:
            raise DriverError(f"{what}: {os.strerror(ctypes.get_errno())}")
        return result

    def seize(self, pid: int, follow: int = STAY) -> int:
        """Begin to trace a process; the number stands for it from now on."""
        victim = self._c.driver_seize(pid, follow)
        if not victim:
            raise CannotTrace(f"ptrace of process {pid}: {os.strerror(ctypes.get_errno())}")
        return int(victim)

    def begin(self, victim: int) -> None:
        """Let it run to where it says that the operation begins."""
        if self._check(self._c.driver_begin(victim), "begin") != INSIDE:
            raise DriverError("the victim ended before its operation began")

    def trace(self, victim: int, ranges: list[tuple[int, int]] = []) -> tuple[list[int], list[int]]:  # noqa: B006
        """Step through the whole operation: the offsets, and the indices before which the memory in these ranges
        (address, size) had changed."""
        watched = (ctypes.c_uint64 * (2 * len(ranges)))(*(number for pair in ranges for number in pair))
        pcs = (ctypes.c_uint64 * self.TRACE_ROOM)()
        changed = (ctypes.c_uint64 * self.TRACE_ROOM)()
        changes = ctypes.c_uint64(0)
        n = self._c.driver_trace(victim, pcs, self.TRACE_ROOM, watched, len(ranges), changed, ctypes.byref(changes))
        self._check(n, "trace")
        return [pc - self.base for pc in pcs[:n]], changed[: changes.value]

    def run_to(self, victim: int, plan: tuple[int, int, int]) -> int | None:
        """Stop before an instruction that plan() described; its offset, or None if the operation ended before."""
        anchor, hits, more = plan
        pc = ctypes.c_uint64(0)
        rc = self._c.driver_run_to(victim, anchor and anchor + self.base, hits, more, ctypes.byref(pc))
        return pc.value - self.base if self._check(rc, "run_to") == INSIDE else None

    def go_on(self, victim: int, many: int) -> list[int]:
        """So many instructions further; the offsets from where it stood to where it stands, or to the end."""
        pcs = (ctypes.c_uint64 * (many + 1))()
        n = self._check(self._c.driver_go_on(victim, pcs, many), "go_on")
        return [pc - self.base for pc in pcs[:n]]

    def pid(self, victim: int) -> int:
        return int(self._c.driver_pid(victim))

    def other(self, victim: int) -> int:
        """The process that a fork made of it, or that it came from; 0: it did not fork."""
        return int(self._c.driver_other(victim))

    def kill(self, victim: int) -> None:
        self._c.driver_kill(victim)

    def stop(self, victim: int) -> None:
        """SIGSTOP, and no longer traced."""
        self._check(self._c.driver_stop(victim), "stop")

    def release(self, victim: int) -> None:
        self._check(self._c.driver_release(victim), "release")

    def gone(self, pid: int, seconds: float) -> bool:
        return bool(self._c.driver_gone(pid, int(seconds * 1000)))


def plans(trace: list[int]) -> list[tuple[int, int, int]]:
    """For each n the cheapest way to it: (an instruction, how often it is hit, steps from there).

    A hit costs about four requests, a step two.
    """
    result: list[tuple[int, int, int]] = []
    times: dict[int, int] = {}
    best: tuple[int, int, int] = (0, 0, 0)  # from the beginning
    cost = 0
    for offset in trace:
        count = times[offset] = times.get(offset, 0) + 1
        if 2 * count <= cost:
            best, cost = (offset, count, 0), 2 * count
        result.append(best)
        best, cost = (best[0], best[1], best[2] + 1), cost + 1
    return result
