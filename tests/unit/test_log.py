"""What is logged, at WARNING, and that there is silence otherwise."""

import logging
import os
import signal
import time

import pytest

import shmstore
from shmstore._core import ffi, lib


def memory_of(store):
    size = ffi.new("uint64_t *")
    return ffi.buffer(lib.shms_memory(store._handle, size), size[0])


def word(memory, offset):
    return int.from_bytes(memory[offset : offset + 8], "little")


def set_word(memory, offset, value):
    memory[offset : offset + 8] = value.to_bytes(8, "little")


def held_by_a_child(store, end):
    """A child that attached and ends as *end* says, with every bucket's lock in its name: its client number."""
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
    memory = memory_of(store)
    arena = word(memory, 256)
    set_word(memory, arena, word(memory, arena) | number)
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
    assert f"process {pid} died" in record.message and f"by process {os.getpid()}" in record.message


def test_recover_logs_it_too(store, caplog):
    pid, _ = held_by_a_child(store, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert store.recover() == 1
    assert [f"process {pid} died" in record.message for record in caplog.records] == [True]


def test_a_refusal_is_logged(make, caplog):
    store = make(timeout=0.2)
    pid, number = held_by_a_child(store, signal.SIGSTOP)
    try:
        with pytest.raises(shmstore.LockTimeout, match=f"process {pid} "):
            store["a"] = 1
        (record,) = caplog.records
        assert f"process {os.getpid()} refuses to take over" in record.message and f"process {pid} " in record.message
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    store["a"] = 1
    store.check()
