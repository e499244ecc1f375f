"""Ctrl-C in calls that wait for a lock of a process that is stopped."""

from __future__ import annotations

import os
import signal
import struct
import threading
import time

import pytest

import shmstore
from shmstore import Store
from shmstore._core import ffi, lib


@pytest.fixture
def behind_a_stopped_holder(key):
    """A handle that waits for ever for the arena's lock, which a stopped process holds."""
    with Store(key, size="1M", timeout=None) as store:
        store["k"] = 1
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            store["k"]  # a client of its own
            os.write(tell, b"x")
            time.sleep(60)
            os._exit(0)
        os.read(ready, 1)
        os.close(ready), os.close(tell)
        number = next(client.number for client in store.clients() if client.pid == pid)
        os.kill(pid, signal.SIGSTOP)
        size = ffi.new("uint64_t *")
        memory = ffi.buffer(lib.shms_memory(store._handle, size), size[0])
        (arena,) = struct.unpack_from("<Q", memory, 256)
        struct.pack_into("<H", memory, arena, number)
        yield store
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert store.check(repair=True) == 0
        store.destroy()


@pytest.mark.parametrize("call", [
    lambda store: store.check(), lambda store: store.check(repair=True), lambda store: store.put("k", 2), lambda store: store.delete("k"),
], ids=["check", "repair", "put", "delete"])  # fmt: skip
def test_it_acts_at_once(behind_a_stopped_holder, call):
    me = threading.main_thread().ident
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    alarm = threading.Timer(0.3, signal.pthread_kill, (me, signal.SIGINT))
    alarm.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call(behind_a_stopped_holder)
    finally:
        alarm.join()
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("repair", [False, True])
def test_the_time_is_up(behind_a_stopped_holder, repair):
    store = behind_a_stopped_holder
    with Store(store.info().name, create=False, timeout=0.25, backend=store.info().backend) as impatient:
        with pytest.raises(shmstore.LockTimeout, match="holds a lock"):
            impatient.check(repair=repair)
