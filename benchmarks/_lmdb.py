"""The peer to beat: LMDB through py-lmdb, set up as fast as it goes while several processes may use it.

The database lies in /dev/shm, nothing is flushed (``sync=False, metasync=False, writemap=True``), values are
decoded while their transaction is open, without a copy (``buffers=True``), and names are bytes before the clock
starts. Each operation is a transaction, since that is what makes it visible to, and of, other processes; the
many-calls put a hundred into one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from msgpack import Packer, unpackb  # type: ignore[import-untyped]

from benchmarks._peers import in_memory

try:
    import lmdb
except ImportError:
    INSTALLED = False
else:
    INSTALLED = True

HOW_TO_GET_IT = "not installed: pip install '.[bench]'"


class Lmdb:
    """An environment in a folder of its own, removed at the end. *plain*: values are bytes and stay so."""

    name = "lmdb"

    def __init__(
        self, stack: ExitStack, values: Mapping[str, Any], *, size: int = 64 << 20, plain: bool = False
    ) -> None:
        if not INSTALLED:
            raise ImportError("lmdb", name="lmdb")
        self.folder = in_memory(stack)
        self.size = size
        self.buffer = bytearray()
        self._pack: Callable[[Any], bytes] = bytes if plain else Packer(strict_types=True).pack
        self._env = self._open()
        stack.callback(self.close)
        with self._env.begin(write=True) as transaction:
            for name, value in values.items():
                transaction.put(name.encode(), self._pack(value))

    def begin(self, **options: bool) -> Any:
        """A transaction, for what is not below."""
        return self._env.begin(**options)

    def _open(self) -> Any:
        return lmdb.open(str(self.folder), map_size=self.size, sync=False, metasync=False, writemap=True)

    def get(self, names: Sequence[bytes]) -> None:
        begin = self._env.begin
        for name in names:
            with begin(buffers=True) as transaction:
                unpackb(transaction.get(name), strict_map_key=False)

    def get_bytes(self, names: Sequence[bytes]) -> None:
        begin = self._env.begin
        for name in names:
            with begin() as transaction:
                transaction.get(name)

    miss = get_bytes

    def get_into(self, names: Sequence[bytes]) -> None:
        begin, buffer = self._env.begin, memoryview(self.buffer)
        for name in names:
            with begin(buffers=True) as transaction:
                buffer[:] = transaction.get(name)

    def contains(self, names: Sequence[bytes]) -> None:
        begin = self._env.begin
        for name in names:
            with begin(buffers=True) as transaction:
                transaction.get(name) is not None

    def put(self, pairs: Sequence[tuple[bytes, Any]]) -> None:
        begin, pack = self._env.begin, self._pack
        for name, value in pairs:
            with begin(write=True) as transaction:
                transaction.put(name, pack(value))

    put_ttl = put  # LMDB knows no time to live

    def put_bytes(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        begin = self._env.begin
        for name, value in pairs:
            with begin(write=True) as transaction:
                transaction.put(name, value)

    def incr(self, names: Sequence[bytes]) -> None:
        begin, pack = self._env.begin, self._pack
        for name in names:
            with begin(write=True, buffers=True) as transaction:
                transaction.put(name, pack(unpackb(transaction.get(name)) + 1))

    def get_many(self, batches: Sequence[Sequence[bytes]]) -> None:
        begin = self._env.begin
        for names in batches:
            with begin(buffers=True) as transaction:
                get = transaction.get
                {name: unpackb(get(name), strict_map_key=False) for name in names}

    def put_many(self, batches: Sequence[Mapping[bytes, Any]]) -> None:
        begin, pack = self._env.begin, self._pack
        for pairs in batches:
            with begin(write=True) as transaction:
                put = transaction.put
                for name, value in pairs.items():
                    put(name, pack(value))

    # ---- several processes ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Also before others are forked: LMDB forbids to have an environment open across a fork."""
        self._env.close()

    @contextmanager
    def attached(self) -> Iterator[Lmdb]:
        """In another process: the environment opened there."""
        self._env = self._open()
        try:
            yield self
        finally:
            self.close()

    def count(self, times: int) -> None:
        self.incr([b"counter"] * times)

    def counted(self) -> int:
        with self.attached(), self._env.begin() as transaction:
            return int(unpackb(transaction.get(b"counter")))
