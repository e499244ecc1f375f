"""The server: its address, connections to it, and what may be said about a call that was cut off.

redis-py makes connections, logs in and speaks TLS. Its retries are switched off: it would send an INCR a second time after the
server has executed the first one. Here a call that only reads is sent once more over a new connection. A call that writes is
sent once. If the answer does not come, nobody knows whether it was executed, and OutcomeUnknown says so.
"""

from __future__ import annotations

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import late

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import hiredis
    import redis

    Command = tuple[Any, ...]
else:
    hiredis, redis = late("hiredis"), late("redis")

__all__ = ["Address", "Backing", "parse_backing"]

_SECONDS = 5.0  # for an answer, where the caller gave no time
_CONNECTIONS = 32  # of a process at once: more callers wait, so that a cache that is down does not flood its server
_KINDS = ("Connection", "SSLConnection", "UnixDomainSocketConnection")
_KEPT = (
    "host",
    "port",
    "path",
    "db",
    "username",
    "password",
    "socket_timeout",
    "socket_connect_timeout",
    "socket_keepalive",
)


class Address:
    """Where the server is and how to log in: what a process needs to connect, and a listener is told. *kind*: one of _KINDS."""

    __slots__ = ("kind", "options")

    def __init__(self, kind: str, options: dict[str, Any]) -> None:
        self.kind = kind
        self.options = options

    def identity(self) -> str:
        """The same for all processes that mean the same server and database. It has no secrets."""
        place = self.options.get("path") or f"{self.options.get('host', 'localhost')}:{self.options.get('port', 6379)}"
        return f"{place}/{self.options.get('db') or 0}"

    def connection(self, protocol: int) -> Any:
        return self._class()(**self._options(protocol))

    def pool(self) -> Any:
        return redis.BlockingConnectionPool(
            max_connections=_CONNECTIONS, timeout=_SECONDS, connection_class=self._class(), **self._options(2)
        )

    def _class(self) -> Any:
        return getattr(redis.connection, self.kind)

    def _options(self, protocol: int) -> dict[str, Any]:
        retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        times = {"socket_timeout": _SECONDS, "socket_connect_timeout": _SECONDS}
        return {**times, **self.options, "protocol": protocol, "retry": retry, "health_check_interval": 0}


def parse_backing(backing: Any) -> Address:
    """Raises: TypeError, ValueError; ImportError without redis-py and hiredis."""
    _require_clients()
    if isinstance(backing, str):
        pool: Any = redis.ConnectionPool.from_url(backing)
    elif isinstance(backing, redis.RedisCluster):
        raise TypeError("backing: clusters are not supported yet; give the URL or the redis.Redis client of one server")
    elif isinstance(backing, redis.Redis):
        pool = backing.connection_pool
    else:
        raise TypeError(f"backing is a URL or a redis.Redis client, not {type(backing).__name__}")
    options, kind = pool.connection_kwargs, pool.connection_class.__name__
    if kind not in _KINDS:
        raise ValueError(
            f"backing: connections of the class {kind} are not supported; give a URL (redis, rediss, unix)"
        )
    if options.get("credential_provider") is not None:
        raise ValueError("backing: a credential_provider cannot be handed to the listener; give username and password")
    kept = {name: value for name, value in options.items() if name in _KEPT or name.startswith("ssl_")}
    kept = {name: value for name, value in kept.items() if value is not None}
    for name, value in kept.items():
        if not isinstance(value, (str, int, float)):
            raise ValueError(f"backing: {name}={value!r} cannot be handed to the listener; give a str or a number")
    return Address(kind, kept)


def _require_clients() -> None:
    try:
        complete = hasattr(redis, "BlockingConnectionPool") and hasattr(hiredis, "PushNotification")
    except ImportError as error:
        if is_foreign(error):
            raise
        complete = False
    if not complete:
        raise ImportError(
            "a cache with a backing needs redis-py 6.0 and hiredis 3.2, or later: pip install 'shmstore[redis]'"
        )


class Backing:
    """The connections of this process. Threads and forked children may use it."""

    __slots__ = ("_name", "_pool")

    def __init__(self, address: Address, store: str) -> None:
        self._pool = address.pool()
        self._name = f"store {store}, server {address.identity()}"

    def read(self, *commands: Command) -> list[Any]:
        """The answers to commands that change nothing, sent together. An error of the server is an answer."""
        try:
            return self._send(commands)
        except errors.OutcomeUnknown as error:
            if is_foreign(error):
                raise
        try:
            return self._send(commands)
        except errors.OutcomeUnknown as error:
            if is_foreign(error):
                raise
            raise errors.BackingUnavailable(f"{error.args[0]}, twice; nothing was changed") from None

    def write(self, *commands: Command) -> list[Any]:
        """The same for commands that change something: they are sent once.

        Raises: BackingUnavailable: nothing was sent. OutcomeUnknown: some of them may have been executed, or all.
        """
        return self._send(commands)

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        try:
            connection = self._pool.get_connection()
        except (redis.RedisError, OSError) as error:
            if is_foreign(error):
                raise
            raise errors.BackingUnavailable(f"{self._name}: {error}; nothing was sent") from None
        try:
            return self._exchange(connection, commands)
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            if is_foreign(error):
                raise
            raise errors.OutcomeUnknown(f"{self._name}: {error}") from None
        finally:
            self._pool.release(connection)

    def _exchange(self, connection: Any, commands: Sequence[Command]) -> list[Any]:
        try:
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            return [self._answer(connection) for _ in commands]
        except BaseException:
            connection.disconnect()  # there may be answers that nobody waits for
            raise

    def _answer(self, connection: Any) -> Any:
        try:
            return connection.read_response(disable_decoding=True)
        except redis.ResponseError as error:
            if is_foreign(error):
                raise
            return error

    def checked(self, answer: Any, key: object) -> Any:
        """The answer, if it is no error.

        Raises: BackingError; TypeError and OverflowError for a counter.
        """
        if not isinstance(answer, redis.ResponseError):
            return answer
        where = f"{self._name}, entry {key!r}: {answer}"
        if "is not an integer" in str(answer):
            raise TypeError(f"{where}; the value was not changed")
        if "would overflow" in str(answer):
            raise OverflowError(f"{where}; the value was not changed")
        raise errors.BackingError(where)

    def check_server(self) -> None:
        """Raises: BackingError if it is a server that cannot be followed. One that is not there may come later."""
        try:
            found = self.read(("INFO", "server"))[0]
        except errors.BackingUnavailable as error:
            if is_foreign(error):
                raise
            return
        if isinstance(found, redis.ResponseError):
            return  # this user may not ask; the listener finds out
        lines = [line.partition(b":") for line in found.splitlines()]
        info = {name.decode(): value.decode() for name, _, value in lines}
        if info.get("redis_mode", "standalone") != "standalone":
            raise errors.BackingError(
                f"{self._name}: the server is in mode {info['redis_mode']!r}, which is not supported yet; only single servers are"
            )
        if int(info.get("redis_version", "6").partition(".")[0]) < 6:
            raise errors.BackingError(f"{self._name}: version {info['redis_version']} has no client tracking; 6.0 has")

    def close(self) -> None:
        self._pool.disconnect()
