"""A machine that cannot build the package gets one sentence, the last one, that says what is missing."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = "import sys; sys.path.insert(0, '.'); import build_backend as b; print(b.build_wheel(sys.argv[1]))"


@pytest.fixture
def checkout(copied):
    """With nothing built in it."""
    shutil.rmtree(copied / "build", ignore_errors=True)
    return copied


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy to build in, of the files that are in git or could be."""
    copy = tmp_path_factory.mktemp("building") / "copy"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


def last_line(*command, folder, **environment):
    """Of a program that fails."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("CC", "CFLAGS")}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**inherited, **environment})
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.splitlines()[-1]


# ---- what is refused before anything is built ----


@pytest.mark.parametrize(
    "pretend, sentence",
    [
        ("sys.platform = 'darwin'", "shmstore needs Linux: this is darwin."),
        ("sys.platform = 'win32'", "shmstore needs Linux: this is win32."),
        ("platform.machine = lambda: 'riscv64'", "shmstore needs a 64-bit Python on x86-64 or ARM: this is riscv64 with 64 bits."),
        ("sys.maxsize = 2**31 - 1", f"shmstore needs a 64-bit Python on x86-64 or ARM: this is {os.uname().machine} with 32 bits."),
        ("platform.python_implementation = lambda: 'PyPy'", "shmstore needs CPython: this is PyPy."),
        ("sys.version_info = (3, 9, 18, 'final', 0)", "shmstore needs Python 3.10 or later: this is 3.9."),
        ("sysconfig.get_config_var = lambda name: 1", "shmstore is not yet tested on free-threaded Python: use the ordinary build."),
    ],
)  # fmt: skip
def test_machines_that_it_does_not_run_on(checkout, pretend, sentence):
    first = "import platform, shutil, subprocess, sys, sysconfig, tempfile"  # they ask for the real platform
    program = f"{first}; sys.path.insert(0, '.'); {pretend}; import build_backend"
    assert last_line(sys.executable, "-c", program, folder=checkout) == sentence


OLD = sorted(Path.home().glob(".pyenv/versions/3.[6-9].*/bin/python"))


@pytest.mark.parametrize("python", OLD or [None], ids=lambda path: path and path.parts[-3])
def test_an_old_python_that_runs_setup_py(checkout, python):
    if python is None:
        pytest.skip("needs Python 3.6 to 3.9 in ~/.pyenv/versions")
    version = python.parts[-3].rpartition(".")[0]
    for command in ("build", "install", "egg_info", "--version"):
        assert (
            last_line(python, "setup.py", command, folder=checkout)
            == f"shmstore needs Python 3.10 or later: this is {version}."
        )


@pytest.mark.parametrize("missing", ["cffi", "setuptools"])
def test_what_builds_it_is_not_there(checkout, missing):
    """Without cffi, setuptools alone would make a wheel without the engine, and call that a success."""
    program = f"import sys; sys.path.insert(0, '.'); sys.modules[{missing!r}] = None; import build_backend"
    sentence = last_line(sys.executable, "-c", program, folder=checkout)
    assert sentence.startswith("shmstore is built with setuptools 77 or later and cffi 2.1 or later (")
    assert missing in sentence and sentence.endswith("pip install 'setuptools>=77' 'cffi>=2.1'")


# ---- the compiler ----


def requirements():
    requires = re.search(r"^requires = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.M)
    return ast.literal_eval(requires[1])


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """The requirements of the build, as a folder for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("tools")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, *requirements()], check=True)
    return folder


@pytest.fixture
def compiler(tmp_path):
    """A compiler that refuses files in which something occurs."""
    gcc = shutil.which("gcc") or shutil.which("cc")

    def compiler(pattern):
        program = tmp_path / "mycc"
        program.write_text(f"""#!/bin/sh
for word in "$@"; do
    case $word in *.c) grep -q '{pattern}' "$word" && {{ echo "$word:1: fatal error: not here" >&2; exit 1; }} ;; esac
done
exec {gcc} "$@"
""")
        program.chmod(0o755)
        return str(program)

    return compiler


@pytest.mark.slow
@pytest.mark.parametrize(
    "refused, sentence",
    [
        ("Python.h", r"shmstore is compiled when it is installed, and the headers of Python \d\.\d+ \(Python\.h\) are missing: correct CC=\S+mycc, or .*"),
        (r"sys/shm.h\|Python.h", r"shmstore is compiled .*, and '\S+mycc' is no C11 compiler with the headers of the C library and of Linux \(.*not here\): .*"),
        (r"int nothing\|Python.h", r"shmstore is compiled .*, and the C compiler '\S+mycc' does not work \(.*not here\): .*"),
        ("_cffi_", r"shmstore could not be compiled by '\S+mycc': its messages stand above"),
    ],
)  # fmt: skip
def test_what_the_compiler_lacks(checkout, tools, tmp_path, compiler, refused, sentence):
    """What cffi generates includes Python.h, so each of these refuses that, too."""
    said = last_line(
        sys.executable, "-c", BUILD, tmp_path, folder=checkout, PYTHONPATH=str(tools), CC=compiler(refused)
    )
    assert re.fullmatch(sentence, said), said


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment, sentence",
    [
        ({"CC": "nonexistent"}, "there is no C compiler 'nonexistent' here: correct CC=nonexistent, or "),
        ({"CC": "nonexistent -m64"}, "there is no C compiler 'nonexistent' here: correct CC=nonexistent -m64, or "),
        ({"CC": "false"}, "the C compiler 'false' does not work (it ended with 1): correct CC=false, or "),
        ({"CC": "env nonexistent"}, "the C compiler 'env nonexistent' does not work (env: "),
        ({"CFLAGS": "-fnonexistent"}, "does not take the options that CC or CFLAGS give it ("),
    ],
    ids=str,
)  # fmt: skip
def test_a_compiler_that_is_none(checkout, tools, tmp_path, environment, sentence):
    said = last_line(sys.executable, "-c", BUILD, tmp_path, folder=checkout, PYTHONPATH=str(tools), **environment)
    assert said.startswith("shmstore is compiled when it is installed, and ") and sentence in said


@pytest.mark.slow
def test_what_pip_shows_without_a_compiler(checkout, tmp_path):
    """Nothing but pip's own words comes behind the sentence."""
    shell = tmp_path / "bin"
    shell.mkdir()
    for name in ("sh", "env", "uname"):
        (shell / name).symlink_to(shutil.which(name))
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("CC", "CFLAGS")}
    done = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-m", "pip", "install", "--no-deps", checkout], capture_output=True, text=True,
        env={**environment, "PATH": str(shell)},
    )  # fmt: skip
    assert done.returncode == 1
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    sentence = lines[lines.index("[end of output]") - 1]
    assert sentence.startswith("shmstore is compiled when it is installed, and there is no C compiler '")


@pytest.mark.slow
@pytest.mark.parametrize("python", OLD or [None], ids=lambda path: path and path.parts[-3])
def test_what_pip_of_an_old_python_shows(checkout, tmp_path, python):
    """Not that cffi or setuptools cannot be found for it."""
    if python is None:
        pytest.skip("needs Python 3.6 to 3.9 in ~/.pyenv/versions")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    done = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-m", "pip", "install", "--no-deps", checkout],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "shmstore needs Python 3.10 or later: this is 3." in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("flags", ["-Werror", "-O1 -g"])
def test_flags_of_the_user(checkout, tools, tmp_path, flags):
    """-Werror is for warnings that another compiler may have; ours are looked at in the tests of the engine."""
    environment = {**os.environ, "PYTHONPATH": str(tools), "CFLAGS": flags}
    done = subprocess.run(
        [sys.executable, "-c", BUILD, tmp_path], cwd=checkout, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.fullmatch(r"shmstore-[\d.]+-cp310-abi3-linux_\w+\.whl", done.stdout.splitlines()[-1])
