"""A cache for cachelib, and by it for Flask-Caching and Flask-Session, shared by all workers on the host.

    from shmstore.integrations.cachelib import ShmCache

    cache = ShmCache("shop", size="256M")

Flask-Caching makes one of its settings:

    CACHE_TYPE = "shmstore.integrations.cachelib.ShmCache"
    CACHE_ARGS = ["shop"]
    CACHE_OPTIONS = {"size": "256M"}

Flask-Session is given one: ``SESSION_TYPE = "cachelib"``, ``SESSION_CACHELIB = ShmCache("sessions")``.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from cachelib.base import BaseCache

from shmstore._base.foreign import is_foreign
from shmstore.integrations import _shared

if TYPE_CHECKING:
    import datetime

    from shmstore.cache import Cache

__all__ = ["ShmCache"]


class Unchanged:
    """The serializer of a ShmCache: the codec gets the values as they are."""

    def dumps(self, value: Any) -> Any:
        return value

    def loads(self, value: Any) -> Any:
        return value


class ShmCache(BaseCache):
    """The cache of this name. *options* are those of shmstore.Cache; the codec is "pickle" unless they give another one.

    default_timeout: seconds for values that are set without a timeout; 0: no limit.
    key_prefix: begins the key of each entry. clear() then removes entries with this prefix only.
    serializer: an attribute. If it is set to an object with dumps and loads, that one encodes the values, to bytes.
    """

    serializer: Any = Unchanged()

    def __init__(
        self,
        name: str,
        default_timeout: int | datetime.timedelta = 300,
        ignore_delete_many_errors: bool = True,
        key_prefix: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(default_timeout)
        self.ignore_delete_many_errors = ignore_delete_many_errors  # no removal fails without an exception
        self.key_prefix = key_prefix or ""
        self._name, self._options = name, {"codec": "pickle", **options}

    @cached_property
    def _cache(self) -> Cache[Any]:
        """The cache; opened when it is first used, not when settings are read."""
        return _shared.handle(self._name, self._options)

    def _ttl(self, timeout: Any) -> int | None:
        """The time to live in seconds: None without limit, negative if the value must not be stored."""
        return self._normalize_timeout(timeout) or None

    def _loaded(self, value: Any) -> Any:
        return value if value is None else self.serializer.loads(value)

    def get(self, key: str) -> Any:
        return self._loaded(self._cache.get(self.key_prefix + key))

    def has(self, key: str) -> bool:
        return self.key_prefix + key in self._cache

    def delete(self, key: str) -> bool:
        return self._cache.delete(self.key_prefix + key)

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        ttl = self._ttl(timeout)
        if ttl is not None and ttl < 0:
            self._cache.delete(self.key_prefix + key)
            return True
        return _shared.put(self._cache, self.key_prefix + key, self.serializer.dumps(value), ttl)

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        ttl = self._ttl(timeout)
        if ttl is not None and ttl < 0:
            return not self.has(key)
        return _shared.add(self._cache, self.key_prefix + key, self.serializer.dumps(value), ttl)

    def get_many(self, *keys: str) -> list[Any]:
        found = self._cache.get_many([self.key_prefix + key for key in keys])
        return [self._loaded(found.get(self.key_prefix + key)) for key in keys]

    def set_many(self, mapping: dict[str, Any], timeout: Any = None) -> list[str]:
        ttl = self._ttl(timeout)
        if ttl is not None and ttl < 0:
            return self.delete_many(*mapping)
        items = {self.key_prefix + key: self.serializer.dumps(value) for key, value in mapping.items()}
        failed = _shared.put_many(self._cache, items, ttl)
        return [key for key in mapping if self.key_prefix + key not in failed]

    def delete_many(self, *keys: str) -> list[str]:
        self._cache.delete_many([self.key_prefix + key for key in keys])
        return list(keys)

    def clear(self) -> bool:
        if self.key_prefix:
            self._cache.delete_many(list(self._cache.keys(self.key_prefix)))
        else:
            self._cache.clear()
        return True

    def inc(self, key: str, delta: int = 1) -> Any:
        """Add *delta*, atomically. An existing entry keeps its time to live, a new one gets the default."""
        name, ttl = self.key_prefix + key, self._ttl(None)
        if ttl is not None and ttl < 0:
            return (self.get(key) or 0) + delta
        if isinstance(self.serializer, Unchanged):
            try:
                return self._cache.incr(name, delta, ttl=ttl)
            except (TypeError, OverflowError) as error:  # None, a float, or an int of more than 64 bits
                if is_foreign(error):
                    raise
        if self._cache.add(name, self.serializer.dumps(delta), ttl=ttl):
            return delta
        # The default is for an entry that was removed after add() found it, and for on_error="miss".
        new = self._cache.modify(name, lambda old: self.serializer.dumps((self._loaded(old) or 0) + delta), None)
        return self._loaded(new)

    def dec(self, key: str, delta: int = 1) -> Any:
        """Subtract *delta*: see inc()."""
        return self.inc(key, -delta)
