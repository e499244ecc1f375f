"""Ctrl-C in calls that wait for a lock of a process that is stopped."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from shmstore import Store

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from segment_words import Memory  # noqa: E402


@pytest.fixture
def behind_a_stopped_holder(key):
    """A handle that waits for ever; a stopped process has the lock of the entry's bucket."""
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
        Memory(store).hold("k", number)
        yield store
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        store.recover()
        assert store.check(repair=True) == 0
        store.destroy()


@pytest.mark.parametrize("call", [
    lambda store: store.put("k", 2), lambda store: store.delete("k"), lambda store: store.incr("k"),
], ids=["put", "delete", "incr"])  # fmt: skip
def test_it_acts_at_once(behind_a_stopped_holder, call):
    me = threading.main_thread().ident
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    alarm = threading.Timer(0.3, signal.pthread_kill, (me, signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt):
            alarm.start()  # here, should it go off before the call
            call(behind_a_stopped_holder)
    finally:
        alarm.join()
        signal.signal(signal.SIGINT, before)
