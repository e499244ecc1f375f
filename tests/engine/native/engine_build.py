"""The engine built for programs of the tests: compilers, sanitizers, and what is left out.

Used by several directories of tests, which put this one on the path. A build is kept for the session and shared by
pytest-xdist's workers."""

from __future__ import annotations

import fcntl
import os
import platform
import random
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[3] / "shmstore" / "csrc"
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-g", *WARNINGS, f"-I{CSRC}"]
ADDRESS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
THREAD = ["-fsanitize=thread"]
ENVIRONMENT = {
    # LeakSanitizer stops under a debugger and where ptrace is not allowed.
    "ASAN_OPTIONS": "detect_leaks=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1 second_deadlock_stack=1",
}


def engine(without: Iterable[str] = ()) -> list[Path]:
    """The engine's files, but for csrc/python."""
    return [
        source for source in sorted(CSRC.rglob("*.c")) if source.name not in without and source.parent.name != "python"
    ]


def shared_directory(factory: pytest.TempPathFactory, config: pytest.Config, name: str) -> Path:
    """One for all workers of the session."""
    base = factory.getbasetemp()
    directory = (base.parent if hasattr(config, "workerinput") else base) / name
    directory.mkdir(exist_ok=True)
    return directory


def compiler(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no {' or '.join(names)} here")
    return found


def build(directory: Path, name: str, sources: Iterable[Path], flags: Iterable[str], cc: str) -> Path:
    """directory / name, made by whichever worker comes first; skips if this compiler lacks what the flags ask for."""
    built = directory / name
    with (directory / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if built.exists():
            return built
        flags = list(flags)
        sanitizers = [flag for flag in flags if flag.startswith("-fsanitize")]
        probe = directory / f"{name}.probe.c"
        probe.write_text("int main(void) { return 0; }\n")
        if "fuzzer" not in "".join(sanitizers) and sanitizers:
            done = subprocess.run([cc, *sanitizers, "-o", probe.with_suffix(""), probe], capture_output=True, text=True)
            if done.returncode or subprocess.run([probe.with_suffix("")], capture_output=True).returncode:
                pytest.skip(f"{cc} cannot build or run programs with {' '.join(sanitizers)}")
        objects = directory / f"{name}.objects"
        objects.mkdir(exist_ok=True)
        compiling = [flag for flag in flags if not flag.startswith(("-Wl", "-l"))]

        def compiled(source: Path) -> Path:
            result = objects / f"{source.stem}.o"
            run(cc, *FLAGS, *compiling, "-c", "-o", result, source)
            return result

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            everything = list(pool.map(compiled, sources))
        fresh = directory / f"{name}.{os.getpid()}"
        run(cc, *flags, "-o", fresh, *everything, "-lpthread")
        fresh.rename(built)
    return built


def static_program(directory: Path, scenario: str, cc: str, *more: str | Path) -> Path:
    """A scenario of tests/engine/native without sanitizers, with its C library in it: for other machines and other libraries.
    The engine is an archive, for scenarios that bring one of its files themselves."""
    archive, program = directory / "engine.a", directory / scenario
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            objects = [directory / f"{source.stem}.o" for source in engine()]
            for source, result in zip(engine(), objects, strict=True):
                run(cc, *FLAGS, "-O2", "-c", "-o", result, source)
            run("ar", "rcs", archive, *objects)
        if not program.exists():
            here = CSRC.parents[1] / "tests" / "engine" / "native"
            run(
                cc,
                *FLAGS,
                "-O2",
                f"-I{here}",
                "-static",
                "-o",
                program,
                here / f"{scenario}.c",
                *more,
                archive,
                "-lpthread",
            )
    return program


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def call(*command: str | Path, timeout: float, **options: object) -> subprocess.CompletedProcess[str]:
    """A program of ours, with what the sanitizers are to do. gcc 12's ThreadSanitizer does not know kernels whose
    addresses are more random than its own map: without that randomness it works."""
    fixed = ["setarch", platform.machine(), "-R"] if shutil.which("setarch") else []
    works = fixed and subprocess.run([*fixed, "true"], capture_output=True).returncode == 0
    return subprocess.run(
        [*(fixed if works else []), *map(str, command)],
        env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, timeout=timeout, **options,
    )  # fmt: skip


def fresh_key() -> int:
    return random.SystemRandom().randrange(1 << 20, 1 << 31)
