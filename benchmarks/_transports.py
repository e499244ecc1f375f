"""Ways to hand bytes to another process and to get some back: the kernel's, and a store.

Each is made by the parent and then used by both ends, so it must survive a fork. `ask` sends and waits for the answer;
`answer` waits, and sends the very bytes back.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import shmstore
from benchmarks._guard import fresh_name
from benchmarks._shmstore import destroy

try:
    import posix_ipc
except ImportError:
    posix_ipc = None
try:
    import sysv_ipc
except ImportError:
    sysv_ipc = None

MESSAGE = 8_192  # bytes that both kinds of queue take in one message, unless root has raised the limits


class Transport(Protocol):
    def begin(self) -> None:
        """At each end, before the first exchange."""

    def ask(self, body: bytes) -> bytes: ...

    def answer(self, length: int) -> None: ...


class Through:
    """A store: put, wait, get. The names are two, since each is written by one side."""

    spin = 0.0

    def __init__(self, stack: ExitStack) -> None:
        self.key = fresh_name()
        stack.callback(destroy, self.key)
        self._store: shmstore.Store[bytes] = shmstore.Store(self.key, create=True, size="64M")
        stack.callback(self._store.close)
        self._seen = {"question": 0, "answer": 0}

    def begin(self) -> None:
        """What an earlier exchange left is not taken for this one's."""
        self._seen = {name: self._store.get_versioned(name)[1] if name in self._store else 0 for name in self._seen}

    def ask(self, body: bytes) -> bytes:
        self._store.put("question", body)
        return self._next("answer")

    def answer(self, length: int) -> None:
        self._store.put("answer", self._next("question"))

    def _next(self, name: str) -> bytes:
        self._seen[name] = self._store.wait(name, after=self._seen[name], spin=self.spin)
        return self._store[name]


class Spinning(Through):
    """The same, but looking for a while before it sleeps."""

    spin = 0.01


class _Streams:
    """Two directions, each a pair of descriptors."""

    def __init__(self, there: tuple[int, int], back: tuple[int, int]) -> None:
        self._there, self._back = there, back

    def begin(self) -> None:
        pass

    def ask(self, body: bytes) -> bytes:
        return self._exchange(self._there[1], body, self._back[0])

    def answer(self, length: int) -> None:
        _write(self._back[1], _read(self._there[0], length))

    def _exchange(self, out: int, body: bytes, back: int) -> bytes:
        _write(out, body)
        return _read(back, len(body))


def pipe(stack: ExitStack) -> Transport:
    there, back = os.pipe(), os.pipe()
    for end in (*there, *back):
        stack.callback(os.close, end)
    return _Streams(there, back)


def fifo(stack: ExitStack) -> Transport:
    ends = []
    for _ in range(2):
        path = Path("/dev/shm") / fresh_name()
        stack.callback(path.unlink, missing_ok=True)
        os.mkfifo(path, 0o600)
        both = os.open(path, os.O_RDWR)  # does not wait for the other end, which is to be forked
        stack.callback(os.close, both)
        ends.append((both, both))
    return _Streams(*ends)


def unix_socket(stack: ExitStack) -> Transport:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in (here, there):
        stack.callback(end.close)
    return _Streams((there.fileno(), here.fileno()), (here.fileno(), there.fileno()))


def _write(descriptor: int, body: bytes) -> None:
    sent = os.write(descriptor, body)
    if sent < len(body):
        view = memoryview(body)
        while sent < len(body):
            sent += os.write(descriptor, view[sent:])


def _read(descriptor: int, length: int) -> bytes:
    part = os.read(descriptor, length)
    if len(part) == length:
        return part
    whole = bytearray(part)
    while len(whole) < length:
        whole += os.read(descriptor, length - len(whole))
    return bytes(whole)


class _Queues:
    """Messages of at most MESSAGE bytes; larger bodies go in pieces."""

    def __init__(self, send: tuple[Callable[[bytes], Any], ...], receive: tuple[Callable[[], bytes], ...]) -> None:
        self._send, self._receive = send, receive

    def begin(self) -> None:
        pass

    def ask(self, body: bytes) -> bytes:
        self._pieces(self._send[0], body)
        return self._whole(self._receive[1], len(body))

    def answer(self, length: int) -> None:
        self._pieces(self._send[1], self._whole(self._receive[0], length))

    def _pieces(self, send: Callable[[bytes], Any], body: bytes) -> None:
        for at in range(0, len(body), MESSAGE):
            send(body[at : at + MESSAGE])

    def _whole(self, receive: Callable[[], bytes], length: int) -> bytes:
        if length <= MESSAGE:
            return receive()
        return b"".join(receive() for _ in range(0, length, MESSAGE))


def system_v_queue(stack: ExitStack) -> Transport:
    queues = []
    for _ in range(2):
        queues.append(sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX, 0o600, MESSAGE))
        stack.callback(queues[-1].remove)
    receive = tuple(lambda queue=queue: queue.receive()[0] for queue in queues)
    return _Queues(tuple(queue.send for queue in queues), receive)


def posix_queue(stack: ExitStack) -> Transport:
    queues = []
    for _ in range(2):
        name = f"/{fresh_name()}"
        stack.callback(_unlink_queue, name)
        queues.append(
            posix_ipc.MessageQueue(name, posix_ipc.O_CREX, mode=0o600, max_messages=10, max_message_size=MESSAGE)
        )
        stack.callback(queues[-1].close)
    receive = tuple(lambda queue=queue: queue.receive()[0] for queue in queues)
    return _Queues(tuple(queue.send for queue in queues), receive)


def _unlink_queue(name: str) -> None:
    try:
        posix_ipc.unlink_message_queue(name)
    except posix_ipc.ExistentialError:
        pass  # stopped before it was made


KERNEL: dict[str, Callable[[ExitStack], Transport]] = {"pipe": pipe, "FIFO": fifo, "unix socket": unix_socket}
LEFT_OUT = {}
if sysv_ipc:
    KERNEL["System V queue"] = system_v_queue
else:
    LEFT_OUT["System V queue"] = "sysv_ipc"
if posix_ipc:
    KERNEL["POSIX queue"] = posix_queue
else:
    LEFT_OUT["POSIX queue"] = "posix_ipc"
