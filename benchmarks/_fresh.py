"""Fresh processes: what an import costs, and opening a store with the first get."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from benchmarks import ROOT

DEADLINE = 60.0

IMPORT = """
import sys, time
sys.path[:] = [entry for entry in sys.path if entry != {root!r}]
began = time.perf_counter_ns()
import {module}
print(time.perf_counter_ns() - began)
"""
SHMSTORE = """
import time
import shmstore
began = time.perf_counter_ns()
store = shmstore.Store({where!r}, create=False)
value = store.get({name!r})
print(time.perf_counter_ns() - began)
assert value is not None
"""
LMDB = """
import time
import lmdb
from msgpack import unpackb
began = time.perf_counter_ns()
environment = lmdb.open({where!r}, map_size={size}, sync=False, metasync=False, writemap=True)
with environment.begin(buffers=True) as transaction:
    value = unpackb(transaction.get({name!r}.encode()), strict_map_key=False)
print(time.perf_counter_ns() - began)
assert value is not None
"""


def nanoseconds(program: str, **values: object) -> int:
    """What the program prints, run by a Python of its own, with the site-packages but not the checkout."""
    return int(_run(program.format(root=str(ROOT), **values)))


def imported_by(module: str, unwanted: Sequence[str]) -> list[str]:
    """Which of the unwanted modules are there after the import and were not before."""
    program = f"import sys; before = set(sys.modules); import {module}; print(*set(sys.modules) - before)"
    return sorted(set(_run(program).split()) & set(unwanted))


def _run(program: str) -> str:
    # Outside the checkout; -I would be simpler, but leaves PYTHONPATH out, where the package may be.
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE, cwd="/", env=environment
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout
