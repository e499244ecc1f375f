"""What might bring a process down runs in one of its own; what it must leave behind."""

from __future__ import annotations

import resource
import subprocess
import sys

import shmstore


def run(program, *args):
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program, *map(str, args)],
        cwd="/", capture_output=True, text=True, timeout=600,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )  # fmt: skip


def assert_quiet(done):
    assert done.stderr == "" and done.returncode == 0


def assert_nothing_is_held(store):
    """Another process can write every name at once, and the store is what its format says."""
    store.recover()
    assert [client.is_me for client in store.clients()] == [True]
    with shmstore.Store(store.info().name, create=False, timeout=20) as other:
        for name in list(other):
            other.put(name, 0)
        other.clear()
        other.check()
        assert other.stats().bytes_used == 0


# ---- close -------------------------------------------------------------------------------------------------
