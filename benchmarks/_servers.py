"""Servers that keep objects for others, started on a unix socket for the time of the benchmark: Redis and memcached.

They inherit the core that the benchmark runs on: two processes on two cores wake each other for far longer than they
work, and which cores they get is luck.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from msgpack import Packer, unpackb  # type: ignore[import-untyped]

from benchmarks._guard import SIGNALS, unsignalled
from benchmarks._peers import Names, Pairs

DEADLINE = 10.0  # seconds for a server to listen, and to end


class Missing(Exception):
    """A server's program is not here."""


def start(stack: ExitStack, program: str, *arguments: str) -> str:
    """Start a server that listens on `{socket}` and ends with the stack; give the socket's path."""
    found = shutil.which(program)
    if not found:
        raise Missing(f"no {program}")
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="shmstore-bench-"))  # short: sockets' paths are
    path = f"{folder}/socket"
    command = [found, *(argument.format(socket=path) for argument in arguments)]
    server = launch(stack, command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + DEADLINE
    while not _listens(path):
        if server.poll() is not None or time.monotonic() > end:
            raise Missing(f"{program} does not start")
        time.sleep(0.01)
    return path


def launch(stack: ExitStack, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a program that ends with the stack."""
    with unsignalled():  # a server that is not in the stack yet would be left behind
        server = subprocess.Popen(command, preexec_fn=_heed_signals, **options)
        stack.callback(_stop, server)
    return server


def _heed_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
    return True


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(DEADLINE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


class Redis:
    """Redis through redis-py, which uses hiredis where it is installed; nothing saved."""

    def __init__(self, stack: ExitStack, values: Mapping[str, Any]) -> None:
        import redis

        self._pack = Packer(strict_types=True).pack
        path = start(
            stack, "redis-server", "--port", "0", "--unixsocket", "{socket}", "--save", "", "--appendonly", "no"
        )
        self._client = redis.Redis(unix_socket_path=path)
        stack.callback(self._client.close)
        bodies = {name: value if type(value) is int else self._pack(value) for name, value in values.items()}
        self._client.mset(bodies)

    def get(self, names: Names) -> None:
        get = self._client.get
        for name in names:
            body = get(name)
            if body:
                unpackb(body)

    def put(self, pairs: Pairs) -> None:
        put, pack = self._client.set, self._pack
        for name, value in pairs:
            put(name, pack(value))

    def contains(self, names: Names) -> None:
        exists = self._client.exists
        for name in names:
            exists(name)

    def incr(self, names: Names) -> None:
        incr = self._client.incr
        for name in names:
            incr(name)

    def get_many(self, batches: Sequence[Names]) -> None:
        for names in batches:
            [unpackb(body) for body in self._client.mget(names)]

    def put_many(self, batches: Sequence[Mapping[str, Any]]) -> None:
        pack = self._pack
        for pairs in batches:
            self._client.mset({name: pack(value) for name, value in pairs.items()})


class Memcached:
    """memcached through pymemcache."""

    name = "memcached"
    _client: Any

    def __init__(self, stack: ExitStack, values: Mapping[str, Any]) -> None:
        self._pack = Packer(strict_types=True).pack
        self._path = start(stack, "memcached", "-s", "{socket}", "-m", "256", "-u", _user())
        self._connect(stack)
        for name, value in values.items():
            self._client.set(name, str(value) if type(value) is int else self._pack(value), noreply=True)

    def _connect(self, stack: ExitStack) -> None:
        from pymemcache.client.base import Client

        self._client = Client(self._path)
        stack.callback(self._client.close)

    @contextmanager
    def attached(self) -> Iterator[Memcached]:
        """In a forked child: with a connection of its own."""
        with ExitStack() as stack:
            self._connect(stack)
            yield self

    def get(self, names: Names) -> None:
        get = self._client.get
        for name in names:
            body = get(name)
            if body:
                unpackb(body)

    def put(self, pairs: Pairs) -> None:
        put, pack = self._client.set, self._pack
        for name, value in pairs:
            put(name, pack(value), noreply=False)

    def contains(self, names: Names) -> None:
        get = self._client.get  # it has no other way to ask
        for name in names:
            get(name)

    def incr(self, names: Names) -> None:
        incr = self._client.incr
        for name in names:
            incr(name, 1, noreply=False)

    def get_many(self, batches: Sequence[Names]) -> None:
        for names in batches:
            {name: unpackb(body) for name, body in self._client.get_many(names).items()}

    def put_many(self, batches: Sequence[Mapping[str, Any]]) -> None:
        pack = self._pack
        for pairs in batches:
            self._client.set_many({name: pack(value) for name, value in pairs.items()}, noreply=False)


def _user() -> str:
    """memcached run by root wants to be told whose it is to be."""
    import getpass

    return getpass.getuser()
