"""Programs that PyInstaller made of a program with this package in it: they say what it says under Python.

The hook is found by an entry point, so nothing is said on the command line but what every user says."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import shmstore.__pyinstaller

PROGRAM = Path(__file__).with_name("frozen_program.py")
INSTALLED = Path(shmstore.__file__).parent


def hook():
    (folder,) = shmstore.__pyinstaller.get_hook_dirs()
    spec = importlib.util.spec_from_file_location("hook", Path(folder) / "hook-shmstore.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.hiddenimports


def test_the_hook_is_found():
    from importlib.metadata import entry_points

    (found,) = [one for one in entry_points(group="pyinstaller40") if one.value.startswith("shmstore.")]
    assert found.name == "hook-dirs" and found.load() is shmstore.__pyinstaller.get_hook_dirs


def test_the_hook_names_every_module_of_the_library():
    """And draws in neither the command line, with argparse and rich, nor anything that is not there."""
    named = hook()
    assert "_cffi_backend" in named and len(set(named)) == len(named)
    for name in named:
        assert importlib.util.find_spec(name), name
    modules = {name.removeprefix("shmstore").removeprefix(".") for name in named if name.startswith("shmstore")}
    files = {
        ".".join(path.relative_to(INSTALLED).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        for path in INSTALLED.rglob("*.py")
    }
    left_out = files - modules
    assert {"codecs.arrays", "codecs.pickle", "_store", "store", ""} <= modules
    assert all(
        name.split(".")[0] in ("cli", "demo", "_demo_parent", "__main__", "__pyinstaller", "integrations")
        for name in left_out
    ), left_out


def test_a_zip_says_what_to_use_instead(tmp_path):
    """zipapp leaves everything in the file, and the kernel maps no library from within one."""
    with zipfile.ZipFile(tmp_path / "program.pyz", "w") as program:
        program.writestr("__main__.py", "import shmstore")
        for path in INSTALLED.rglob("*"):
            if path.suffix in (".py", ".so"):
                program.write(path, Path("shmstore") / path.relative_to(INSTALLED))
    done = subprocess.run([sys.executable, tmp_path / "program.pyz"], capture_output=True, text=True, cwd="/")
    assert done.returncode == 1
    assert (
        f"cannot be imported from within the file {tmp_path / 'program.pyz'}" in done.stderr
        and "pex or PyInstaller" in done.stderr
    )


def test_a_program_that_was_packed_without_cffi_says_how_to_pack_it():
    program = "import sys; sys.frozen = True; sys.modules['_cffi_backend'] = None; import shmstore"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd="/")
    assert done.returncode == 1 and "packed without cffi's module _cffi_backend" in done.stderr.splitlines()[-1], (
        done.stderr
    )


def said(*command, cwd):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=cwd, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["--onedir", "--onefile"])
def test_a_frozen_program_says_what_it_says_under_python(key, tmp_path, kind):
    if importlib.util.find_spec("PyInstaller") is None:
        pytest.skip("PyInstaller is not installed here: pip install '.[freeze]'")
    command = [sys.executable, "-m", "PyInstaller", "--log-level", "ERROR", kind, "--name", "program", PROGRAM]
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, cwd=tmp_path, timeout=900,
        env={**os.environ, "PYINSTALLER_CONFIG_DIR": str(tmp_path / "config")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    program = tmp_path / "dist" / "program"
    frozen = said(program / "program" if program.is_dir() else program, key, cwd=tmp_path)
    assert frozen == said(sys.executable, PROGRAM, key, cwd=tmp_path)
    assert "fork 0" in frozen and ("msgspec b'bytes'" in frozen) == (importlib.util.find_spec("msgspec") is not None)
