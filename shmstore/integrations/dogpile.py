"""A backend for regions of dogpile.cache, shared by all workers on the host.

    region = make_region().configure(
        "shmstore",  # an entry point of this package
        expiration_time=300,
        arguments={"name": "shop", "size": "256M"},
    )

arguments: the name of the cache, the options of shmstore.Cache (the codec is "pickle" unless they give another one), and

- ``expire``: seconds after which an entry is removed. None, the default: when the cache needs its memory. It should be larger than
  the region's expiration_time, so that the old value can be returned while another worker makes the new one.
- ``distributed_lock``: True, the default: one worker of all processes makes the value of a key. The lock of a worker that is
  killed is free at once. False: one of each process.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from dogpile.cache.api import NO_VALUE, CacheBackend, CachedValue

from shmstore.integrations import _shared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shmstore.cache import Cache

__all__ = ["ShmBackend"]


class ShmBackend(CacheBackend):
    """The cache that the argument ``name`` names."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        options = {"codec": "pickle", **arguments}
        if "name" not in options:
            raise TypeError('dogpile.cache: the backend "shmstore" needs the argument "name", the name of the cache')
        self._name = options.pop("name")
        self._ttl = options.pop("expire", None)
        self._locks = options.pop("distributed_lock", True)
        self._options = options

    @cached_property
    def _cache(self) -> Cache[Any]:
        """The cache; opened when it is first used, not when the region is configured."""
        return _shared.handle(self._name, self._options)

    def get_mutex(self, key: str) -> Any:
        return self._cache.lock(f"dogpile:{key}") if self._locks else None

    def get(self, key: str) -> Any:
        return _loaded(self._cache.get(key, NO_VALUE))

    def get_multi(self, keys: Iterable[str]) -> list[Any]:
        asked = list(keys)
        found = self._cache.get_many(asked)
        return [_loaded(found.get(key, NO_VALUE)) for key in asked]

    def set(self, key: str, value: Any) -> None:
        _shared.put(self._cache, key, _plain(value), self._ttl)

    def set_multi(self, mapping: Mapping[str, Any]) -> None:
        _shared.put_many(self._cache, {key: _plain(value) for key, value in mapping.items()}, self._ttl)

    def delete(self, key: str) -> None:
        self._cache.delete(key)

    def delete_multi(self, keys: Iterable[str]) -> None:
        self._cache.delete_many(list(keys))


def _plain(value: Any) -> Any:
    """A CachedValue as a tuple, which every codec stores; bytes of the region's serializer as they are."""
    return tuple(value) if isinstance(value, CachedValue) else value


def _loaded(value: Any) -> Any:
    return CachedValue(*value) if isinstance(value, tuple) else value
