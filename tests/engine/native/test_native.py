"""The C layers, through a testing build: each C file here is one scenario, told by a program of that name.

The engine is compiled once per test session, but for csrc/python, with AddressSanitizer and the
undefined-behaviour sanitizer where the compiler has them. What stands in a segment is outside of AddressSanitizer's
view; what the engine does with its own memory, and every shift and sum, is not.
"""

from __future__ import annotations

import fcntl
import os
import random
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from scenarios import SCENARIOS, tell

from shmstore import sysv

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[2] / "shmstore" / "csrc"
FORMAT = HERE.parents[2] / "docs" / "format.md"
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Wno-unused-parameter",
         "-Wno-missing-field-initializers", f"-I{CSRC}", f"-I{HERE}"]  # fmt: skip
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SLOW = ("large_blocks",)  # walks the pages of a heap of 32 GiB


class Toolchain:
    """A compiler, the flags it understands, and the directory it builds in."""

    def __init__(self, directory: Path) -> None:
        found = shutil.which("cc") or shutil.which("gcc")
        assert found, "these tests need a C compiler, as the package does"
        self.compiler = found
        self.directory = directory
        self.flags = FLAGS + (SANITIZERS if self.has_sanitizers() else [])

    def has_sanitizers(self) -> bool:
        probe = self.directory / "probe"
        probe.with_suffix(".c").write_text("int main(void) { return 0; }\n")
        built = subprocess.run([self.compiler, *SANITIZERS, "-o", probe, probe.with_suffix(".c")], capture_output=True)
        return built.returncode == 0 and subprocess.run([probe], capture_output=True).returncode == 0

    def run(self, *arguments: str | Path) -> None:
        done = subprocess.run([self.compiler, *self.flags, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def object_of(self, source: Path) -> Path:
        built = self.directory / (source.stem + ".o")
        self.run("-c", "-o", built, source)
        return built

    def build_engine(self) -> None:
        """An archive, so that a program that brings one of the files itself replaces it."""
        sources = [source for source in sorted(CSRC.rglob("*.c")) if source.parent.name != "python"]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(self.object_of, sources))
        subprocess.run(["ar", "rcs", self.directory / "engine.a", *objects], check=True)

    def program(self, scenario: str) -> Path:
        built = self.directory / scenario
        if not built.exists():
            fresh = self.directory / f"{scenario}.{os.getpid()}"
            self.run("-o", fresh, HERE / f"{scenario}.c", self.directory / "engine.a", "-lpthread")
            fresh.rename(built)
        return built


@pytest.fixture(scope="session")
def toolchain(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Toolchain:
    """The engine, built by whichever worker comes first."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if hasattr(request.config, "workerinput") else base
    directory = shared / "native"
    directory.mkdir(exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        toolchain = Toolchain(directory)
        if not (directory / "engine.a").exists():
            toolchain.build_engine()
    return toolchain


@pytest.fixture
def number():
    """A key that no segment has, and that none has afterwards."""
    number = random.SystemRandom().randrange(1 << 20, 1 << 31)
    yield number
    with pytest.raises(FileNotFoundError):
        sysv.shmctl(sysv.shmget(number, 0, 0), sysv.IPC_RMID)


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(scenario, marks=pytest.mark.sample) if scenario in SLOW else scenario
        for scenario in SCENARIOS
        if scenario != "hashes"
    ],
)
def test_scenario(toolchain, number, scenario):
    assert tell(toolchain.program(scenario), number, timeout=900) == ""


@pytest.mark.sample
@pytest.mark.parametrize("scenario", ["deaths", "late_finder"])
def test_a_death_after_every_write(toolchain, number, monkeypatch, scenario):
    monkeypatch.setenv("SHMSTORE_FULL", "1")
    assert tell(toolchain.program(scenario), number, timeout=3600) == ""


def test_hashes(toolchain, number):
    lines = [line.split() for line in tell(toolchain.program("hashes"), number, timeout=900).splitlines()]
    ours = {int(length): (int(counting, 16), int(zeros, 16)) for length, counting, zeros in lines}
    vectors = re.findall(r"^\| (\d+) \| `0x([0-9a-f]{16})` \|$", FORMAT.read_text(), re.MULTILINE)
    assert len(vectors) >= 10
    assert {int(n): int(value, 16) for n, value in vectors} == {int(n): ours[int(n)][0] for n, _ in vectors}

    # CPython hashes bytes the same way from 3.11 on; without randomisation its key is zero.
    if sys.hash_info.algorithm != "siphash13" or sys.hash_info.width != 64:
        pytest.skip(f"this Python hashes by {sys.hash_info.algorithm}")
    program = "print(*(hash(bytes(i % 256 for i in range(n))) for n in range(257)))"
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    theirs = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    for n, value in enumerate(theirs.stdout.split()):
        if n > sys.hash_info.cutoff and int(value) not in (0, -2):  # nothing hashes to 0, and -1 means an error
            assert int(value) % 2**64 == ours[n][1], n
