"""Starting the listener: whichever process needs it does, if no other one has it or is about to."""

from __future__ import annotations

import json
import os
import sys
from os.path import basename

from shmstore._base.imports import late
from shmstore._store import leases
from shmstore.near import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import Any

    from shmstore.store import Store
else:
    subprocess = late("subprocess")

__all__ = ["ensure"]

_STARTS_WITHIN = 5.0  # seconds: after that, another process may try
# sys.path as here: the listener must find this very package, and what the program that started it was allowed to import.
_PROGRAM = """\
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from shmstore.near.listener import run
run()
"""


def ensure(store: Store[Any], config: dict[str, Any]) -> bool:
    """Start the listener unless there is one, or one is being started. Return whether this call started one."""
    if state.ListenerLock(store, state.LISTENER, None).locked():
        return False
    if not store._put_if_(state.STARTING, b"", _STARTS_WITHIN, leases.ADD, 0, False, leases.RAW):
        return False
    _start(config)
    return True


def _start(config: dict[str, Any]) -> None:
    """The shell ends at once, so the listener is no child of this process, which need not wait for it. What it is told has a
    password, so it gets that through a pipe: others can read arguments."""
    reading, writing = os.pipe()
    try:
        path = [folder or os.getcwd() for folder in sys.path]
        command = [_python(), "-I", "-c", _PROGRAM, str(reading), json.dumps(path)]
        done = subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            pass_fds=[reading], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            start_new_session=True,
        )  # fmt: skip
        done.check_returncode()
        os.write(writing, json.dumps(config).encode())  # a pipe takes 64 KiB at once
    finally:
        os.close(reading)
        os.close(writing)


def _python() -> str:
    """In a program that embeds Python, sys.executable may be that program."""
    if basename(sys.executable).startswith("python"):
        return sys.executable
    return os.path.join(sys.exec_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
