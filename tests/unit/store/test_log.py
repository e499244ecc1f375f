"""What is logged, at WARNING, and that there is silence otherwise."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import shmstore

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from segment_words import Memory  # noqa: E402


def held_by_a_child(store, end):
    """A child that attached and ends as *end* says, with the lock of a's bucket in its name: its client number."""
    store["a"] = 0
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        store.get("nothing")  # a client of its own
        os.write(tell, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    os.kill(pid, end)
    number = next(client.number for client in store.clients() if client.pid == pid)
    Memory(store).hold("a", number)
    return pid, number


def test_silence(store, caplog):
    caplog.set_level(logging.DEBUG, "shmstore")
    store["a"] = 1
    with shmstore.Store(store.info().name, readonly=True) as other:
        other.check()
    store.check()
    store.recover()
    assert not caplog.records


def test_a_takeover_is_logged(store, caplog):
    pid, _ = held_by_a_child(store, signal.SIGKILL)
    os.waitpid(pid, 0)
    store["a"] = 1
    (record,) = caplog.records
    assert record.name == "shmstore" and record.levelno == logging.WARNING
    assert f"process {pid} died" in record.message and f"process {os.getpid()} took over" in record.message


def test_recover_logs_it_too(store, caplog):
    pid, _ = held_by_a_child(store, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert store.recover() == 1
    assert [f"process {pid} died" in record.message for record in caplog.records] == [True]


def test_what_an_exception_says_is_not_logged_as_well(make, caplog):
    store = make(timeout=0.2)
    pid, number = held_by_a_child(store, signal.SIGSTOP)
    try:
        with pytest.raises(shmstore.LockTimeout, match=f"process {pid} "):
            store["a"] = 1
        assert not caplog.records
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    store["a"] = 1
    store.check()


SILENT = """
import os, signal, sys, time
import shmstore
{configure}
with shmstore.open(shmstore.PRIVATE, size="1M") as store:
    store["a"] = 0
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        from shmstore._core import ffi, lib
        store.get("x")
        number = next(client.number for client in store.clients() if client.is_me)
        memory = ffi.cast("uint64_t *", lib.shms_memory(store._handle, ffi.new("uint64_t *")))
        home = (lib.shms_hash(b"a", 1, memory[9], memory[10]) >> 32) * memory[28] >> 32
        memory[memory[27] // 8 + 8 * home] |= number
        memory[memory[23] // 8 + 512 * (number - 1) + 24] = home + 1  # its record
        os.write(tell, b"x")
        signal.pause()
    os.read(ready, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    store["a"] = 1
"""


@pytest.mark.parametrize("configured", [False, True])
def test_a_program_that_configures_no_logging_sees_nothing(configured):
    configure = "import logging; logging.basicConfig()" if configured else ""
    done = subprocess.run([sys.executable, "-c", SILENT.format(configure=configure)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == ""
    assert ("died" in done.stderr) is configured and bool(done.stderr) is configured
