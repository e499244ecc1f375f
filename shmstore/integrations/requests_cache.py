"""A backend for requests-cache: the responses that one worker fetched are there for all workers on the host.

from requests_cache import CachedSession
from shmstore.integrations.requests_cache import ShmCache

session = CachedSession(backend=ShmCache("responses", size="256M"), expire_after=300)
"""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any

from requests_cache.backends.base import BaseCache, BaseStorage

from shmstore._base.sentinels import MISSING
from shmstore.cache import Cache
from shmstore.integrations import _shared

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ShmCache", "ShmDict"]

_OPTIONS = set(inspect.signature(Cache.__init__).parameters) - {"self", "name"}


class ShmCache(BaseCache):
    """The cache of this name, for responses and redirects. *options* are those of shmstore.Cache.

    serializer: as in other backends; the default is "pickle".
    ttl: whether an expired response is removed, after further *ttl_offset* seconds. Until then it can be revalidated, or answer
        for a server that fails (stale_if_error). False: when the cache needs its memory.
    """

    def __init__(
        self, cache_name: str = "http_cache", serializer: Any = None, ttl: bool = True, ttl_offset: int = 3600, **options: Any
    ) -> None:  # fmt: skip
        super().__init__(cache_name=cache_name, **options)
        self.responses = ShmDict(
            cache_name, "responses", serializer=serializer or "pickle", ttl=ttl, ttl_offset=ttl_offset, **options
        )
        self.redirects = ShmDict(cache_name, "redirects", serializer=None, **options)


class ShmDict(BaseStorage[str, Any]):
    """A table of the cache: the entries whose key begins with its name."""

    def __init__(
        self, cache_name: str, table_name: str = "responses", serializer: Any = "pickle", ttl: bool = True, ttl_offset: int = 3600, **options: Any
    ) -> None:  # fmt: skip
        super().__init__(serializer=serializer, **{name: options[name] for name in options if name not in _OPTIONS})
        own = {name: options[name] for name in options if name in _OPTIONS}
        self._name, self._options = cache_name, {"codec": "pickle", **own}
        self._prefix = f"{table_name}:"
        self._expires, self._offset = ttl, ttl_offset

    @cached_property
    def _cache(self) -> Cache[Any]:
        return _shared.handle(self._name, self._options)

    def __getitem__(self, key: str) -> Any:
        value = self._cache.get(self._prefix + key, MISSING)
        if value is MISSING:
            raise KeyError(key)
        return self.deserialize(key, value)

    def __setitem__(self, key: str, value: Any) -> None:
        lives = getattr(value, "expires_delta", None)
        ttl = lives + self._offset if self._expires and lives is not None else 0
        _shared.put(self._cache, self._prefix + key, self.serialize(value), ttl if ttl > 0 else None)

    def __delitem__(self, key: str) -> None:
        del self._cache[self._prefix + key]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._prefix + key in self._cache

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._cache.keys(self._prefix))

    def keys(self) -> Any:
        return [str(key)[len(self._prefix) :] for key in self._cache.keys(self._prefix)]

    def items(self) -> Any:
        """What is there, in one walk: an entry may end between the look at its key and at its value."""
        found = self._cache.get_many(list(self._cache.keys(self._prefix)))
        return [(key[len(self._prefix) :], self.deserialize(key[len(self._prefix) :], found[key])) for key in found]

    def values(self) -> Any:
        return [value for _, value in self.items()]

    def bulk_delete(self, keys: Iterable[str]) -> None:
        self._cache.delete_many([self._prefix + key for key in keys])

    def clear(self) -> None:
        self._cache.delete_many(list(self._cache.keys(self._prefix)))
