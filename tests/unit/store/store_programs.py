"""Programs that tests run on a store, and wait for."""

from __future__ import annotations

import subprocess
import sys

LONG = 60  # seconds: nobody waits so long unless something is wrong


def elsewhere(store, program, **options):
    """A process that runs *program* on the store."""
    text = "import sys, os, time\nimport shmstore, shmstore.store\nstore = shmstore.Store(sys.argv[1], create=False)\n"
    return subprocess.Popen(
        [sys.executable, "-c", text + program, store.info().name], cwd="/", text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def finished(process):
    try:
        output, errors = process.communicate(timeout=10 * LONG)
    finally:
        process.kill()
        process.wait()
    assert errors == "" and process.returncode == 0
    return output
