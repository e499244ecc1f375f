"""A cache for aiocache, shared by all workers on the host.

    from aiocache import cached
    from shmstore.integrations.aiocache import ShmCache

    @cached(ttl=60, cache=ShmCache, name="shop", size="256M")
    async def page(number): ...

A call takes microseconds and no system call, so the coroutines run in the event loop.
"""

from __future__ import annotations

import inspect
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aiocache.base import BaseCache
from aiocache.serializers import NullSerializer

from shmstore._base.foreign import is_foreign
from shmstore.cache import Cache
from shmstore.integrations import _shared

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ShmCache"]

_OWN = {
    "plugins",
    "namespace",
    "key_builder",
    "timeout",
    "ttl",
}  # options of aiocache; all others are those of the cache
_OPTIONS = set(inspect.signature(Cache.__init__).parameters) - {"self", "name"}


class ShmCache(BaseCache):
    """The cache of this name. *options* are those of aiocache and of shmstore.Cache; the codec is "pickle" by default.

    ``ttl`` and ``timeout`` are those of aiocache.
    """

    NAME = "shmstore"

    def __init__(self, name: str, serializer: Any = None, **options: Any) -> None:
        if unknown := options.keys() - _OWN - _OPTIONS:
            raise TypeError(f"ShmCache has no option {sorted(unknown)[0]!r}")
        own = {option: options.pop(option) for option in _OWN & options.keys()}
        super().__init__(serializer=serializer or NullSerializer(), **own)
        self._name, self._options = name, {"codec": "pickle", **options}

    @classmethod
    def parse_uri_path(cls, path: str) -> dict[str, str]:
        """For Cache.from_url, if AIOCACHE_CACHES has this class: shmstore:///shop."""
        return {"name": path.lstrip("/")}

    @cached_property
    def _cache(self) -> Cache[Any]:
        """The cache; opened when it is first used, not when settings are read."""
        return _shared.handle(self._name, self._options)

    async def _get(self, key: Any, encoding: Any = "utf-8", _conn: Any = None) -> Any:
        return self._cache.get(_plain(key))

    async def _gets(self, key: Any, encoding: Any = "utf-8", _conn: Any = None) -> Any:
        return self._cache.get(_plain(key))

    async def _multi_get(self, keys: Iterable[Any], encoding: Any = "utf-8", _conn: Any = None) -> list[Any]:
        asked = [_plain(key) for key in keys]
        found = self._cache.get_many(asked)
        return [found.get(key) for key in asked]

    async def _set(self, key: Any, value: Any, ttl: Any = None, _cas_token: Any = None, _conn: Any = None) -> Any:
        key = _plain(key)
        if _cas_token is None:
            _shared.put(self._cache, key, value, ttl or None)
            return True
        found = _shared.versioned(self._cache, key)
        if found is None or found[0] != _cas_token:
            return 0
        return int(self._cache.cas(key, value, found[1], ttl=ttl or None))

    async def _multi_set(self, pairs: Iterable[Any], ttl: Any = None, _conn: Any = None) -> bool:
        _shared.put_many(self._cache, {_plain(key): value for key, value in pairs}, ttl or None)
        return True

    async def _add(self, key: Any, value: Any, ttl: Any = None, _conn: Any = None) -> bool:
        if not _shared.add(self._cache, _plain(key), value, ttl or None) and _plain(key) in self._cache:
            raise ValueError(f"Key {key} already exists, use .set to update the value")
        return True

    async def _exists(self, key: Any, _conn: Any = None) -> bool:
        return _plain(key) in self._cache

    async def _increment(self, key: Any, delta: int, _conn: Any = None) -> int:
        """Add *delta*, atomically. A serializer may have made a text of the number."""
        try:
            return self._cache.incr(_plain(key), delta, ttl=None)
        except (TypeError, OverflowError) as error:
            if is_foreign(error):
                raise
        try:
            return int(self._cache.modify(_plain(key), lambda value: int(value) + delta, 0))
        except ValueError as error:
            if is_foreign(error):
                raise
            raise TypeError("Value is not an integer") from None

    async def _expire(self, key: Any, ttl: Any, _conn: Any = None) -> bool:
        return self._cache.touch(_plain(key), ttl or None)

    async def _delete(self, key: Any, _conn: Any = None) -> int:
        return int(self._cache.delete(_plain(key)))

    async def _clear(self, namespace: Any = None, _conn: Any = None) -> bool:
        if namespace:
            self._cache.delete_many(list(self._cache.keys(namespace)))
        else:
            self._cache.clear()
        return True

    async def _raw(self, command: str, *args: Any, encoding: Any = "utf-8", _conn: Any = None, **kwargs: Any) -> Any:
        return getattr(self._cache, command)(*args, **kwargs)

    async def _redlock_release(self, key: Any, value: Any) -> int:
        found = _shared.versioned(self._cache, _plain(key))
        return int(found is not None and found[0] == value and self._cache.delete(_plain(key), found[1]))


def _plain(key: Any) -> Any:
    """A member of an enum stands for its value, as in other backends."""
    return key.value if isinstance(key, Enum) else key
