"""A store for Litestar's response cache, sessions and rate limits, shared by all workers on the host.

from shmstore.integrations.litestar import ShmStore

app = Litestar(..., stores={"response_cache": ShmStore("shop", size="256M")})
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from litestar.stores.base import NamespacedStore

from shmstore._base.foreign import is_foreign
from shmstore.integrations import _shared

if TYPE_CHECKING:
    from typing_extensions import Self

    from shmstore.cache import Cache

__all__ = ["ShmStore"]


class ShmStore(NamespacedStore):
    """The cache of this name. *options* are those of shmstore.Cache.

    A namespace is a part of the cache: ``store.with_namespace("a")``. delete_all() there leaves all other parts.
    """

    __slots__ = ("_name", "_options", "_prefix")

    def __init__(self, name: str, **options: Any) -> None:
        self._name, self._options = name, options
        self._prefix = ""

    @property
    def _cache(self) -> Cache[Any]:
        return _shared.handle(self._name, self._options)

    def _entry(self, key: str) -> str:
        return f"{self._prefix}={key}"  # a namespace begins with a digit, so no key is in one

    def with_namespace(self, namespace: str) -> Self:
        made = type(self)(self._name, **self._options)
        made._prefix = f"{self._prefix}{len(namespace)}:{namespace}"
        return made

    async def set(self, key: str, value: str | bytes, expires_in: int | timedelta | None = None) -> None:
        seconds = expires_in.total_seconds() if isinstance(expires_in, timedelta) else expires_in
        if seconds is not None and seconds < 0:
            self._cache.delete(self._entry(key))
        else:
            data = value.encode() if isinstance(value, str) else value
            _shared.put(self._cache, self._entry(key), data, seconds or None)

    async def get(self, key: str, renew_for: int | timedelta | None = None) -> bytes | None:
        if not renew_for:
            return self._cache.get(self._entry(key))
        try:
            value, left = self._cache.get_with_ttl(self._entry(key))
        except KeyError as error:
            if is_foreign(error):
                raise
            return None
        if left is not None:
            self._cache.touch(self._entry(key), renew_for)
        return value  # type: ignore[no-any-return]

    async def delete(self, key: str) -> None:
        self._cache.delete(self._entry(key))

    async def delete_all(self) -> None:
        if self._prefix:
            self._cache.delete_many(list(self._cache.keys(self._prefix)))
        else:
            self._cache.clear()

    async def exists(self, key: str) -> bool:
        return self._entry(key) in self._cache

    async def expires_in(self, key: str) -> int | None:
        try:
            left = self._cache.ttl(self._entry(key))
        except KeyError as error:
            if is_foreign(error):
                raise
            return None
        return None if left is None else int(left)
