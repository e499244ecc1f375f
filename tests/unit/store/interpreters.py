"""Sub-interpreters on every Python that has them, and what each of them is to do. For programs of test_imports.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters

HERE = str(Path(__file__).resolve().parent)
OWN_GIL = sys.version_info >= (3, 12)  # isolated ones have, and refuse modules that are not made for them


def create(isolated=False):
    """One that shares the GIL, as Py_NewInterpreter makes it."""
    if sys.version_info >= (3, 13):
        return _interpreters.create("isolated" if isolated else "legacy")
    return _interpreters.create(isolated=isolated)


def run(interpreter, program, **shared):
    """Run a program there, which may use every_call and this module; raise what it raises."""
    program = (
        f"import sys; sys.path.insert(0, {HERE!r}); import every_call, interpreters\n"
        + "".join(f"{k} = {v!r}\n" for k, v in shared.items())
        + program
    )
    failed = _interpreters.run_string(interpreter, program)  # from 3.13 on it returns what was raised
    if failed is not None:
        raise AssertionError(failed.formatted)


def end(interpreter):
    _interpreters.destroy(interpreter)


OWNER = """
import shmstore, sys, time
store = shmstore.open(sys.argv[1], create=False)
print(next(client.number for client in store.clients() if client.is_me), flush=True)
time.sleep(600)
"""


def leave_a_lock(package, store):
    """The lock of the entry "after" is held by a process that is dead: the next writer takes it over, and logs that."""
    store["after"] = None
    process = subprocess.Popen([sys.executable, "-c", OWNER, store.info().name], cwd="/", stdout=subprocess.PIPE)
    with process:
        number = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
    core = sys.modules[f"{package.__name__}._core"]
    size = core.ffi.new("uint64_t *")
    memory = core.ffi.buffer(core.lib.shms_memory(store._handle, size), size[0])
    clients, slots, buckets = (int.from_bytes(memory[at : at + 8], "little") for at in (184, 216, 224))
    k0, k1 = (int.from_bytes(memory[at : at + 8], "little") for at in (72, 80))
    bucket = (core.lib.shms_hash(b"after", 5, k0, k1) >> 32) * buckets >> 32
    memory[slots + 64 * bucket : slots + 64 * bucket + 2] = number.to_bytes(2, "little")
    record = clients + (number - 1) * 4096 + 192
    memory[record : record + 8] = (bucket + 1).to_bytes(8, "little")


def takeover(package, store):
    """Take over what a dead process holds, and return what was logged."""
    import logging

    class Log(logging.Handler):
        def __init__(self):
            super().__init__()
            self.lines = []

        def emit(self, record):
            self.lines.append(record.getMessage())

    log = Log()
    logger = logging.getLogger("shmstore")
    logger.addHandler(log)
    logger.propagate = False
    try:
        leave_a_lock(package, store)
        store["after"] = ("takeover", 1)
        assert store["after"] == ("takeover", 1)
    finally:
        logger.removeHandler(log)
    return log.lines


class User:
    """An interpreter's use of the package: every call, and a takeover."""

    def __init__(self, key, name):
        import every_call

        import shmstore

        self.package = shmstore
        self.calls = every_call.calls(shmstore, name)
        if sys.version_info < (3, 12):  # the C modules of both keep objects of interpreters that have ended, up to 3.11
            for call in ("wait_async", "put and [] decimal", "put and [] fraction"):
                del self.calls[call]
        self.store = shmstore.open(key, size="1M")
        self.failures = every_call.failures
        self.again()

    def again(self):
        assert self.failures(self.calls) == []
        (line,) = takeover(self.package, self.store)
        assert "died while it used the store" in line
