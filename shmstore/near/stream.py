"""The connection on which a server says which keys were written: RESP3, client tracking in broadcast mode.

What the server sends is read in its order, so whatever stands before an answer was pushed before it. redis-py connects and logs in.
From then on hiredis reads the bytes: of redis-py's own readers, each handles pushes and answers apart from each other.

A subscription to a channel that nobody uses makes the connection one of the class "pubsub", whose output buffer the server limits.
Without it, a listener that is stopped while much is written would fill the server's memory.
"""

from __future__ import annotations

from shmstore._base.foreign import is_foreign
from shmstore._base.imports import late

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import hiredis

    from shmstore.near.backing import Address
else:
    hiredis = late("hiredis")

__all__ = ["Gap", "Stream"]

_CHANNEL = b"shmstore:near"
_NOTHING = object()
_READ = 1 << 16  # bytes


class Gap(Exception):
    """Something may have been missed, or the server cannot be followed. The message says why."""


class Stream:
    """Raises: Gap, OSError and the errors of redis-py; from every call."""

    def __init__(self, address: Address, prefixes: Sequence[bytes]) -> None:
        self._connection = address.connection(protocol=3)
        self._connection.connect()
        self._socket: Any = self._connection._sock  # whose answers to HELLO and the like were all read
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        greeting = self._connection.handshake_metadata
        self.server = {_text(name): _text(value) for name, value in greeting.items()}
        if self.server.get("mode") != "standalone":
            raise Gap(f"the server is in mode {self.server.get('mode')!r}; only single servers are supported")
        self.send(b"SUBSCRIBE", _CHANNEL)
        wanted = [part for prefix in prefixes if prefix for part in (b"PREFIX", prefix)]
        self.send(b"CLIENT", b"TRACKING", b"ON", b"BCAST", *wanted)
        while (item := self.next(_PATIENCE)) is not None and isinstance(item, hiredis.PushNotification):
            pass
        if item != b"OK":
            raise Gap(f"CLIENT TRACKING was answered by {item!r}")

    def send(self, *command: bytes) -> None:
        self._socket.settimeout(_PATIENCE)
        self._socket.sendall(hiredis.pack_command(command))

    def next(self, seconds: float) -> Any:
        """The next push or answer; None: there was none in that time. An error of the server raises Gap."""
        while (item := self._reader.gets(False)) is _NOTHING:
            self._socket.settimeout(max(seconds, 0.0001))  # 0 would not wait at all
            try:
                data = self._socket.recv(_READ)
            except TimeoutError as error:
                if is_foreign(error):
                    raise
                return None
            if not data:
                raise Gap("the server closed the connection")
            self._reader.feed(data)
        if isinstance(item, hiredis.ReplyError):
            raise Gap(f"the server says {item}")
        return item

    def close(self) -> None:
        self._connection.disconnect()


_PATIENCE = 5.0  # seconds for the server to take or to answer a command


def is_push(item: Any) -> bool:
    return isinstance(item, hiredis.PushNotification)


def _text(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
