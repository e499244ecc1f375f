"""A lock with a stopped holder, and one with a dead holder: each is reported once, in one sentence."""

from __future__ import annotations

import logging
import os
import signal
import time

import pytest

from shmstore._core import ffi, lib


@pytest.fixture
def held(make):
    """held(end): a client of the store that a signal stopped or killed, and that has the lock of a's bucket."""
    children = []

    def held(end):
        store = make()
        store["a"] = 1
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            store.get("nothing")  # a client of its own
            os.write(tell, b"x")
            time.sleep(60)
            os._exit(0)
        children.append(pid)
        os.read(ready, 1)
        os.close(ready), os.close(tell)
        number = next(client.number for client in store.clients() if client.pid == pid)
        os.kill(pid, end)
        if end == signal.SIGKILL:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        size = ffi.new("uint64_t *")
        memory = ffi.buffer(lib.shms_memory(store._handle, size), size[0])
        clients, slots, buckets = (int.from_bytes(memory[at : at + 8], "little") for at in (184, 216, 224))
        k0, k1 = (int.from_bytes(memory[at : at + 8], "little") for at in (72, 80))
        bucket = (lib.shms_hash(b"a", 1, k0, k1) >> 32) * buckets >> 32
        memory[slots + 64 * bucket : slots + 64 * bucket + 2] = number.to_bytes(2, "little")
        record = clients + (number - 1) * 4096 + 192
        memory[record : record + 8] = (bucket + 1).to_bytes(8, "little")
        return pid

    yield held
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("command", ["put", "incr", "del", "clear"])
def test_a_stopped_holder_is_reported_once(held, key, cli, command):
    pid = held(signal.SIGSTOP)
    name, *options = command.split()
    rest = {"put": ["a", "2"], "incr": ["a"], "del": ["a"]}.get(name, [])
    done = cli(name, key, *rest, *options, "--timeout", "100ms")
    assert done.code == 1 and done.out == "" and len(done.err.splitlines()) == 1
    assert f"process {pid} " in done.err and done.err.count("--timeout") == 1


@pytest.mark.parametrize("command", ["put", "incr"])
def test_a_dead_holder_is_reported_once_on_stderr(held, key, script, command):
    pid = held(signal.SIGKILL)
    name, *options = command.split()
    out, err = script(name, key, *{"put": ["a", "2"], "incr": ["a"]}.get(name, []), *options, "--json").communicate(
        timeout=60
    )
    (line,) = err.decode().splitlines()
    assert line.startswith(f"shmstore: store '{key}': process {pid} died") and out.startswith(b"{")


def test_nothing_is_left_in_the_process(held, key, cli):
    """A program may call main, and log as it likes afterwards."""
    held(signal.SIGKILL)
    assert "died" in cli("put", key, "a", "2").err
    assert all(type(handler) is logging.NullHandler for handler in logging.getLogger("shmstore").handlers)
