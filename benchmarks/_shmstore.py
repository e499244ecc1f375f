"""The contestant whose benchmark this is, used as the README uses it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import shmstore
from benchmarks._guard import fresh_name

_S = TypeVar("_S", bound=shmstore.Store[Any])

TTL = 3600.0  # seconds: nothing expires while it is measured


class Ours:
    """A store of its own under a fresh name, destroyed at the end."""

    name = "shmstore"

    def __init__(
        self,
        stack: ExitStack,
        values: Mapping[Any, Any],
        *,
        size: str = "64M",
        max_entries: int | None = None,
        codec: str = "msgpack",
    ) -> None:
        self.key = fresh_name()
        self._codec = codec
        self.buffer = bytearray()  # what get_into copies into, as long as the values
        stack.callback(destroy, self.key)
        self.store: shmstore.Store[Any] = shmstore.Store(
            self.key, create=True, size=size, max_entries=max_entries, codec=codec
        )
        stack.callback(self.store.close)
        self.store.put_many(dict(values))

    def get(self, names: Sequence[str]) -> None:
        get = self.store.get
        for name in names:
            get(name)

    miss = get

    def get_into(self, names: Sequence[str]) -> None:
        get_into, buffer = self.store.get_into, self.buffer
        for name in names:
            get_into(name, buffer)

    def put(self, pairs: Sequence[tuple[str, Any]]) -> None:
        put = self.store.put
        for name, value in pairs:
            put(name, value)

    def put_ttl(self, pairs: Sequence[tuple[str, Any]]) -> None:
        put, ttl = self.store.put, TTL
        for name, value in pairs:
            put(name, value, ttl=ttl)

    def contains(self, names: Sequence[str]) -> None:
        store = self.store
        for name in names:
            name in store

    def incr(self, names: Sequence[str]) -> None:
        incr = self.store.incr
        for name in names:
            incr(name)

    def get_many(self, batches: Sequence[Sequence[str]]) -> None:
        get_many = self.store.get_many
        for names in batches:
            get_many(names)

    def put_many(self, batches: Sequence[Mapping[Any, Any]]) -> None:
        put_many = self.store.put_many
        for pairs in batches:
            put_many(pairs)

    # ---- several processes ---------------------------------------------------------------------------------

    @contextmanager
    def attached(self) -> Iterator[Ours]:
        """In another process: the store attached there."""
        other = copy.copy(self)
        with shmstore.Store[Any](self.key, create=False, codec=self._codec) as other.store:
            yield other

    def count(self, times: int) -> None:
        incr = self.store.incr
        for _ in range(times):
            incr("counter")

    def counted(self) -> int:
        return int(self.store.get("counter", 0))


@contextmanager
def destroyed(make: Callable[[str], _S]) -> Iterator[_S]:
    """A store under a fresh name, destroyed at the end."""
    key = fresh_name()
    try:
        with make(key) as store:
            yield store
    finally:
        destroy(key)


def destroy(key: str) -> None:
    try:
        shmstore.destroy(key)
    except shmstore.StoreNotFound:
        pass  # stopped before it was made
