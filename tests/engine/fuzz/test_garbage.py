"""Any bytes in the segment: one property in C (garbage.c and its parts), three drivers.

The loop runs generated cases by the million, libFuzzer looks for new paths, hypothesis makes small what fails. A fourth
program damages the segment from another thread while readers and writers run. Every failure prints the case as
hexadecimal digits; `garbage FILE` runs a case again."""

from __future__ import annotations

import os
import random
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "native"))

import engine_build  # noqa: E402

pytestmark = pytest.mark.sample  # minutes together: CI runs them once, beside the suite

CASES = 1_000_000
PARTS = [
    HERE / name
    for name in ("os_stub.c", "garbage.c", "garbage_calls.c", "garbage_stores.c", "garbage_damage.c", "drive.c")
]
FLAGS = ["-O1", "-Wl,--wrap=shmctl", f"-I{HERE}"]
SEED = int(os.environ.get("SHMSTORE_SEED") or random.SystemRandom().randrange(1 << 62))


@pytest.fixture(scope="session")
def directory(tmp_path_factory, request):
    return engine_build.shared_directory(tmp_path_factory, request.config, "fuzz")


def program(directory, name="garbage", cc=None, flags=()):
    cc = cc or engine_build.compiler("cc", "gcc")
    sources = engine_build.engine(without=("linux.c", "create.c", "sysv.c")) + PARTS
    return engine_build.build(directory, name, sources, [*FLAGS, *engine_build.ADDRESS, *flags], cc)


@pytest.fixture(scope="session")
def garbage(directory):
    return program(directory)


def survive(*command, timeout):
    done = engine_build.call(*command, timeout=timeout)
    assert done.returncode == 0, f"seed {SEED}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_some_cases(garbage):
    said = survive(garbage, "loop", str(SEED), "0", "6", timeout=900)
    assert int(re.match(r"(\d+) cases", said)[1]) > 100, said


def test_no_damage(garbage, tmp_path):
    """A case may damage nothing: then every answer must be what a model says."""
    paths = []
    for n in range(400):
        paths.append(tmp_path / str(n))
        paths[-1].write_bytes(bytes([n % 8, 63]) + random.Random(SEED + n).randbytes(4))
    survive(garbage, *paths, timeout=900)


def test_under_a_scribbler(garbage):
    said = survive(garbage, "scribble", str(SEED), "5", timeout=900)
    assert int(re.match(r"(\d+) scribbles", said)[1]) > 100, said


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_a_million_cases(garbage, part):
    print(survive(garbage, "loop", str(SEED + part), str(CASES // 4), "0", timeout=7200))


@pytest.mark.slow
def test_a_minute_of_scribbles(garbage):
    print(survive(garbage, "scribble", str(SEED), "60", timeout=600))


# ---- hypothesis: one process that is asked, so that a case costs no start

WORDS = st.tuples(st.integers(0, 5), st.integers(0, 255), st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1))
DAMAGE = st.one_of(
    WORDS.map(lambda w: struct.pack("<BBHH", *w)),
    st.tuples(st.integers(6, 15), st.binary(min_size=6, max_size=6)).map(lambda d: bytes([d[0]]) + d[1]),
    st.tuples(st.integers(0, 255), st.integers(0, 2**16 - 1), st.integers(0, 2**64 - 1)).map(
        lambda d: b"\4" + struct.pack("<BHQ", *d)
    ),
)
CASE = st.builds(
    lambda first, operations, seed, damage: bytes([first, operations]) + seed + b"".join(damage),
    st.integers(0, 255), st.integers(0, 63), st.binary(min_size=4, max_size=4), st.lists(DAMAGE, max_size=12),
)  # fmt: skip


class Asked:
    def __init__(self, garbage):
        environment = {**os.environ, **engine_build.ENVIRONMENT}
        self.command = {
            "args": [garbage, "ask"],
            "env": environment,
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
        }
        self.process = None

    def survives(self, case):
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(**self.command)
        self.process.stdin.write(struct.pack("<I", len(case)) + case)
        self.process.stdin.flush()
        return self.process.stdout.read(1) == b"."

    def close(self):
        if self.process:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait(30)


@pytest.fixture
def asked(garbage):
    asked = Asked(garbage)
    yield asked
    asked.close()


@given(case=CASE)
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cases_made_by_hypothesis(asked, case):
    assert asked.survives(case), case.hex()


# ---- libFuzzer


def fuzz(directory, tmp_path, garbage, seconds):
    cc = engine_build.compiler("clang")
    # Only the engine is instrumented for coverage of edges; the harness with it, since it is small.
    target = program(directory, "fuzzer", cc, ["-DLIBFUZZER", "-fsanitize=fuzzer"])
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    survive(garbage, "seeds", corpus, timeout=60)
    done = engine_build.call(
        target, f"-max_total_time={seconds}", f"-seed={SEED % 2**31}", "-max_len=256", "-timeout=30",
        "-rss_limit_mb=4096", f"-artifact_prefix={tmp_path}/", corpus, timeout=seconds + 300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]
    return done.stderr.splitlines()[-1]


def test_a_little_libfuzzer(directory, tmp_path, garbage):
    fuzz(directory, tmp_path, garbage, 5)


@pytest.mark.slow
def test_libfuzzer(directory, tmp_path, garbage):
    print(fuzz(directory, tmp_path, garbage, 300))
