"""Many processes that do the same at once, and tell what happened through a pipe; one may be killed in the middle."""

from __future__ import annotations

import os
import select
import signal
import traceback


class Crowd:
    """*count* forked children that each call *work*, which may note() what it does. They begin together."""

    def __init__(self, count, work):
        self._read, self._write = os.pipe()
        begin, go = os.pipe()
        self.children = {}
        for number in range(count):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    os.close(go)
                    os.read(begin, 1)  # ends when the parent closes the other end
                    work(self, number)
                    status = 0
                except BaseException:
                    os.write(2, traceback.format_exc().encode())
                finally:
                    os._exit(status)
            self.children[pid] = number
        os.close(begin)
        os.close(go)

    def note(self, text):
        os.write(self._write, f"{os.getpid()} {text}\n".encode())  # short, so it is written as a whole

    def next(self, seconds=300):
        """The next note: process id and text."""
        assert select.select([self._read], [], [], seconds)[0], "nothing happened"
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(self._read, 1)
        pid, text = line.decode().split()
        return int(pid), text

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        del self.children[pid]

    def end(self):
        """All notes that were not taken yet. Every child must have ended well."""
        statuses = {number: os.waitpid(pid, 0)[1] for pid, number in self.children.items()}
        os.close(self._write)
        with open(self._read) as notes:
            said = [line.split()[1] for line in notes]
        assert set(statuses.values()) <= {0}, statuses
        return said
