"""Two Pythons, one key. Other interpreters that have the package take part: those on PATH, and those that
SHMSTORE_PYTHONS names (paths, separated by colons)."""

import os
import shutil
import subprocess
import sys

import pytest

PUT = "import shmstore, sys; s = shmstore.open(sys.argv[1]); s.put('from ' + sys.argv[2], {'a': [1, (2, 3)], 'b': {4}})"
GET = "import shmstore, sys; print(shmstore.Store(sys.argv[1], create=False)['from ' + sys.argv[2]])"


def others():
    names = [f"python3.{minor}" for minor in range(10, 16) if minor != sys.version_info.minor]
    found = [path for path in map(shutil.which, names) if path]
    found += filter(None, os.environ.get("SHMSTORE_PYTHONS", "").split(":"))
    ready = [subprocess.run([path, "-c", "import shmstore"], capture_output=True, cwd="/").returncode for path in found]
    return [path for path, code in zip(found, ready, strict=True) if code == 0]


def run(python, program, key, name):
    done = subprocess.run([python, "-c", program, key, name], capture_output=True, text=True, cwd="/", timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_one_python_puts_another_gets(make, key):
    make()
    pythons = others()
    if not pythons:
        pytest.skip("no other Python here has shmstore installed (SHMSTORE_PYTHONS names some)")
    for python in pythons:
        run(python, PUT, key, "there")
        run(sys.executable, PUT, key, "here")
        expected = "{'a': [1, (2, 3)], 'b': {4}}"
        assert run(python, GET, key, "here") == run(sys.executable, GET, key, "there") == expected
