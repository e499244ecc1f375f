"""A forked child that answers, values that show whether they are whole, and the client table."""

from __future__ import annotations

import hashlib
import os
import pickle
import select
import signal
import traceback

LARGE = 9 << 20  # bytes: copies of more than 8 MiB give the GIL up


class Child:
    """A forked child that runs *function* and hands its answer back. It never returns into the test."""

    def __init__(self, function, *args):
        self.read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                try:
                    answer = (True, function(*args))
                except BaseException:
                    answer = (False, traceback.format_exc())
                os.write(write, pickle.dumps(answer))
            finally:
                os._exit(0)
        os.close(write)

    def answer(self, seconds=300):
        text = b""
        try:
            while select.select([self.read], [], [], seconds)[0]:
                more = os.read(self.read, 65536)
                if not more:
                    break
                text += more
            else:
                os.kill(self.pid, signal.SIGKILL)
        finally:
            os.close(self.read)
            os.waitpid(self.pid, 0)
        assert text, "the child died, or hung and was killed"
        good, answer = pickle.loads(text)
        assert good, answer
        return answer


def sound(value):
    return hashlib.md5(value[1]).digest() == value[0]


def checked(body):
    return [hashlib.md5(body).digest(), body]


def places(store):
    """Of the living, by process id."""
    return sorted(client.pid for client in store.clients() if client.alive is not False)


def elsewhere(function, uid=None, seconds=120):
    """Call a function in a forked child, as another user if need be: what it returned, or the exception."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(seconds)
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            try:
                result = function()
            except Exception as error:
                result = type(error)(*error.args)
            os.write(into, pickle.dumps(result))
            os._exit(0)
        finally:
            os._exit(9)
    os.close(into)
    with open(out, "rb") as answer:
        data = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"the child ended with {status} ({-signal.SIGALRM} is a hang, {-signal.SIGSEGV} a crash)"
    return pickle.loads(data)
