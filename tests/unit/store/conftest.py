"""Segments and clients that only the tests of errors make."""

import os
import random
import signal

import pytest

from shmstore import Store, sysv
from shmstore._core import lib


@pytest.fixture
def removed(request):
    """Stores too broken to be opened, or another user's, are removed by their key."""
    if "key" not in request.fixturenames:
        yield
        return
    key = request.getfixturevalue("key").encode()
    yield
    try:
        sysv.shmctl(sysv.shmget(lib.shms_key_of_name(key, len(key)), 0), sysv.IPC_RMID)
    except FileNotFoundError:
        pass


@pytest.fixture
def number():
    number = 0x40000000 | random.SystemRandom().getrandbits(28)
    yield number
    try:
        sysv.shmctl(sysv.shmget(number, 0), sysv.IPC_RMID)
    except FileNotFoundError:
        pass


@pytest.fixture
def stopped_client(key, make):
    """A client of the test's store that was stopped: its number and process id."""
    make()
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            store = Store(key, create=False)
            os.write(into, b"%d" % [client.number for client in store.clients() if client.is_me][0])
            os.kill(os.getpid(), signal.SIGSTOP)
        finally:
            os._exit(0)
    os.waitpid(pid, os.WUNTRACED)
    os.close(into)
    yield int(os.read(out, 10)), pid
    os.close(out)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
