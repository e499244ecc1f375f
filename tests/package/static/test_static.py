"""gcc -fanalyzer and cppcheck find nothing in the engine; REPORT.md says what they are not asked, and why."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[3] / "shmstore" / "csrc"
SOURCES = sorted(CSRC.rglob("*.c"))
pytestmark = pytest.mark.slow

LEAK = """
#include <stdlib.h>
int leak(int n) { char *p = malloc(8); if (!p) return 0; p[0] = (char)n; return n > 3 ? p[0] : (free(p), 0); }
"""


def analyze(source):
    compiler = shutil.which("gcc")
    if (
        not compiler
        or "Free Software Foundation"
        not in subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    ):
        pytest.skip("needs gcc: the package gcc")
    command = [
        compiler, "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-fanalyzer", "-Wall", "-Wextra", "-Wno-unused-parameter",
        "-Wno-missing-field-initializers", f"-I{CSRC}", f"-I{sysconfig.get_paths()['include']}", "-c", "-o", "/dev/null",
        source,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stderr


def cppcheck(*paths):
    if not shutil.which("cppcheck"):
        pytest.skip("needs cppcheck: the package cppcheck")
    command = [
        "cppcheck", "--quiet", "--std=c11", "--enable=warning,style,performance,portability", "-D__x86_64__=1",
        "-D__SSE2__=1", "-D__linux__=1", "--suppress=missingIncludeSystem", f"-I{CSRC}", *paths,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    return done.stdout + done.stderr


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_analyzer(source):
    assert analyze(source) == ""


def test_cppcheck():
    assert cppcheck(CSRC) == ""


def test_both_find_what_there_is_to_find(tmp_path):
    leak = tmp_path / "leak.c"
    leak.write_text(LEAK)
    assert "leak" in analyze(leak)
    leak.write_text("int f(void) { int a[4]; a[4] = 1; return a[0]; }\n")
    assert "arrayIndexOutOfBounds" in cppcheck("--template={id}", leak)
