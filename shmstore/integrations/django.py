"""A backend for Django's ``CACHES``, shared by all workers on the host.

    CACHES = {
        "default": {
            "BACKEND": "shmstore.integrations.django.ShmCache",
            "LOCATION": "shop",  # the name of the cache
            "OPTIONS": {"size": "256M"},  # options of shmstore.Cache
        }
    }

Values are stored with codec "pickle" unless OPTIONS gives another one: Django caches responses, querysets and sessions. None,
bool, int, float, str and bytes are stored as msgpack all the same. docs/integrations.md has the details.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.exceptions import ImproperlyConfigured

from shmstore._base.foreign import is_foreign
from shmstore.integrations import _shared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shmstore.cache import Cache

__all__ = ["ShmCache"]


class ShmCache(BaseCache):
    """The cache that LOCATION names. The a* methods run in the event loop, because a call takes microseconds."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        options = {name.lower(): value for name, value in params.get("OPTIONS", {}).items()}
        options.pop("cull_frequency", None)  # a full cache evicts a few entries, not a part of all
        if not location:
            raise ImproperlyConfigured(
                "LOCATION names the cache in shared memory. Give each project a name of its own, such as 'shop': "
                "all projects of a user that give the same name share one cache"
            )
        if "ttl" in options:
            raise ImproperlyConfigured("OPTIONS has 'ttl'; give Django's TIMEOUT instead")
        self._location, self._options = location, {"codec": "pickle", **options}

    @cached_property
    def _cache(self) -> Cache[Any]:
        """The cache; opened when it is first used, not when settings are read."""
        return _shared.handle(self._location, self._options)

    def _ttl(self, timeout: Any) -> Any:
        """The time to live in seconds: None without limit, 0 if the value must not be stored."""
        ttl = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return ttl if ttl is None or ttl > 0 else 0

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        key = self.make_and_validate_key(key, version=version)
        ttl = self._ttl(timeout)
        if ttl == 0:
            return key not in self._cache
        return _shared.add(self._cache, key, value, ttl)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self._cache.get(self.make_and_validate_key(key, version=version), default)

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        key = self.make_and_validate_key(key, version=version)
        ttl = self._ttl(timeout)
        if ttl == 0:
            self._cache.delete(key)
        else:
            _shared.put(self._cache, key, value, ttl)

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        key = self.make_and_validate_key(key, version=version)
        ttl = self._ttl(timeout)
        return self._cache.delete(key) if ttl == 0 else self._cache.touch(key, ttl)

    def delete(self, key: str, version: int | None = None) -> bool:
        return self._cache.delete(self.make_and_validate_key(key, version=version))

    def has_key(self, key: str, version: int | None = None) -> bool:
        return self.make_and_validate_key(key, version=version) in self._cache

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> Any:
        """Add *delta*, atomically, and return the sum. The entry keeps its time to live."""
        made = self.make_and_validate_key(key, version=version)
        try:
            try:
                return self._cache.incr(made, delta, create=False)
            except (TypeError, OverflowError) as error:  # a float, or an int of more than 64 bits
                if is_foreign(error):
                    raise
                return self._cache.modify(made, lambda value: value + delta)
        except KeyError as error:
            if is_foreign(error):
                raise
            raise ValueError(f"Key {key!r} not found") from None

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        asked = {self.make_and_validate_key(key, version=version): key for key in keys}
        return {asked[made]: value for made, value in self._cache.get_many(asked).items()}

    def set_many(
        self, data: Mapping[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[str]:
        """Store the values, and return the keys of those that are larger than the cache."""
        asked = {self.make_and_validate_key(key, version=version): key for key in data}
        ttl = self._ttl(timeout)
        if ttl == 0:
            self._cache.delete_many(asked)
            return []
        items = {made: data[key] for made, key in asked.items()}
        return [asked[made] for made in _shared.put_many(self._cache, items, ttl)]

    def delete_many(self, keys: Iterable[str], version: int | None = None) -> None:
        self._cache.delete_many([self.make_and_validate_key(key, version=version) for key in keys])

    def clear(self) -> None:
        """Remove all entries of this LOCATION, whatever their prefix and version. The coroutine aclear uses a thread."""
        self._cache.clear()

    # Django closes caches at the end of each request; the handle stays open for the next one (close of BaseCache).

    async def aadd(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return self.add(key, value, timeout, version)

    async def aget(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self.get(key, default, version)

    async def aset(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        self.set(key, value, timeout, version)

    async def atouch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return self.touch(key, timeout, version)

    async def adelete(self, key: str, version: int | None = None) -> bool:
        return self.delete(key, version)

    async def ahas_key(self, key: str, version: int | None = None) -> bool:
        return self.has_key(key, version)

    async def aincr(self, key: str, delta: int = 1, version: int | None = None) -> Any:
        return self.incr(key, delta, version)

    async def aget_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        return self.get_many(keys, version)

    async def aset_many(
        self, data: Mapping[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[str]:
        return self.set_many(data, timeout, version)

    async def adelete_many(self, keys: Iterable[str], version: int | None = None) -> None:
        self.delete_many(keys, version)
