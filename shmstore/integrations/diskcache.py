"""The core of diskcache's interface on a cache in shared memory, for programs that move. It does not need diskcache.

    from shmstore.integrations.diskcache import Cache

    cache = Cache("shop", size_limit=2**28)

Values without a tag, under keys that are str or bytes, are stored as they are, and incr counts ints in shared memory. All others are
wrapped in an Item, which has the tag, and the key itself, because the key of the entry is only a text that describes it.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import re
import time
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from shmstore._base.foreign import is_foreign
from shmstore._base.sentinels import MISSING
from shmstore._store.derived_keys import key as key_of
from shmstore._store.derived_keys import typed_key
from shmstore.integrations import _shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from shmstore.cache import Cache as ShmCache

__all__ = ["Cache", "Item"]

_ABSENT = object()
_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST = 8000  # characters of a key that is that of an entry
_DISK = ("eviction_policy", "cull_limit", "statistics", "tag_index", "disk", "disk_", "sqlite_")


class Item(NamedTuple):
    value: Any
    tag: str | None
    key: Any


class Cache:
    """The cache of this name. *options* are those of shmstore.Cache, and settings of diskcache.

    size_limit: bytes, as ``size``. Settings of files, SQLite and eviction (``eviction_policy``, ``cull_limit``, ...) are ignored.
    timeout: seconds to wait for a lock, for example of a stopped process.
    """

    def __init__(self, directory: Any, timeout: float = 60, **options: Any) -> None:
        limit = options.pop("size_limit", None)
        if limit is not None:
            options.setdefault("size", limit)
        kept = {option: options[option] for option in options if not option.startswith(_DISK)}
        self.directory, self.timeout = directory, timeout
        self._options = {"codec": "pickle", "timeout": timeout, **kept}
        self._counted = (0, 0)  # before the last reset of the statistics

    @cached_property
    def _cache(self) -> ShmCache[Any]:
        return _shared.handle(self.directory, self._options)

    def __reduce__(self) -> Any:
        return functools.partial(Cache, **self._options), (self.directory,)

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing: all objects of a process with one name share a handle."""

    # ---- one key

    def set(
        self, key: Any, value: Any, expire: float | None = None, read: bool = False, tag: str | None = None, retry: bool = False
    ) -> bool:  # fmt: skip
        """Store a value, and return whether it was stored: not if it is larger than the cache."""
        if expire is not None and expire <= 0:
            self._cache.delete(_entry(key))
            return True
        return _shared.put(self._cache, _entry(key), _item(key, value.read() if read else value, tag), expire)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.set(key, value)

    def add(
        self, key: Any, value: Any, expire: float | None = None, read: bool = False, tag: str | None = None, retry: bool = False
    ) -> bool:  # fmt: skip
        if expire is not None and expire <= 0:
            return key not in self
        return _shared.add(self._cache, _entry(key), _item(key, value.read() if read else value, tag), expire)

    def get(
        self, key: Any, default: Any = None, read: bool = False, expire_time: bool = False, tag: bool = False, retry: bool = False
    ) -> Any:  # fmt: skip
        if read:
            value = self.get(key, _ABSENT)
            return default if value is _ABSENT else BytesIO(value)
        if not expire_time:
            return _wanted(self._cache.get(_entry(key), _ABSENT), default, None, False, tag)
        try:
            found, left = self._cache.get_with_ttl(_entry(key))
        except KeyError as error:
            if is_foreign(error):
                raise
            return _wanted(_ABSENT, default, None, True, tag)
        return _wanted(found, default, left, True, tag)

    def __getitem__(self, key: Any) -> Any:
        found = self.get(key, _ABSENT)
        if found is _ABSENT:
            raise KeyError(key)
        return found

    def read(self, key: Any, retry: bool = False) -> BytesIO:
        """A value that is bytes, as a file."""
        return BytesIO(self[key])

    def __contains__(self, key: Any) -> bool:
        return _entry(key) in self._cache

    def pop(
        self, key: Any, default: Any = None, expire_time: bool = False, tag: bool = False, retry: bool = False
    ) -> Any:
        left = self.get(key, expire_time=True)[1] if expire_time else None
        found = self._cache.pop(_entry(key), _ABSENT)
        return _wanted(found, default, None if left is None else left - time.time(), expire_time, tag)

    def delete(self, key: Any, retry: bool = False) -> bool:
        return self._cache.delete(_entry(key))

    def __delitem__(self, key: Any) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def touch(self, key: Any, expire: float | None = None, retry: bool = False) -> bool:
        if expire is not None and expire <= 0:
            return self._cache.delete(_entry(key))
        return self._cache.touch(_entry(key), expire)

    def incr(self, key: Any, delta: int = 1, default: int | None = 0, retry: bool = False) -> Any:
        """Add *delta*, atomically. An existing value keeps its time to live."""
        if _is_plain(key):
            try:
                return self._cache.incr(_entry(key), delta, initial=default or 0, create=default is not None, ttl=None)
            except (TypeError, OverflowError) as error:  # a float, a large int, or an Item
                if is_foreign(error):
                    raise

        def added(found: Any) -> Any:
            return found._replace(value=found.value + delta) if isinstance(found, Item) else found + delta

        start = MISSING if default is None else _item(key, default, None)
        return _wanted(self._cache.modify(_entry(key), added, start))

    def decr(self, key: Any, delta: int = 1, default: int | None = 0, retry: bool = False) -> Any:
        return self.incr(key, -delta, default)

    def memoize(
        self, name: str | None = None, typed: bool = False, expire: float | None = None, tag: str | None = None, ignore: Iterable[Any] = ()
    ) -> Any:  # fmt: skip
        """A decorator that stores results. One process at a time computes a result; the others wait for it.

        ignore: positions and names of arguments that do not count.
        """
        if callable(name):
            raise TypeError("name cannot be callable")
        ignored = set(ignore)

        def decorator(function: Callable[..., Any]) -> Any:
            base = f"{function.__module__}.{function.__qualname__}" if name is None else name

            def cache_key(*args: Any, **kwargs: Any) -> str:
                counted = [value for position, value in enumerate(args) if position not in ignored]
                named = {keyword: value for keyword, value in kwargs.items() if keyword not in ignored}
                return (typed_key if typed else key_of)(base, *counted, **named)

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                key = cache_key(*args, **kwargs)
                if expire is not None and expire <= 0:
                    found = self.get(key, _ABSENT)
                    return function(*args, **kwargs) if found is _ABSENT else found
                return _wanted(
                    self._cache.get_or_set(key, lambda: _item(key, function(*args, **kwargs), tag), ttl=expire)
                )

            wrapper.__cache_key__ = cache_key  # type: ignore[attr-defined]
            return wrapper

        return decorator

    # ---- all keys

    def iterkeys(self, reverse: bool = False) -> Iterator[Any]:
        """All keys, in the order of the sorted texts that describe them."""
        return iter([self._key(entry) for entry in sorted(self._cache, key=_sortable, reverse=reverse)])

    def __iter__(self) -> Iterator[Any]:
        return iter([self._key(entry) for entry in self._cache])

    def _key(self, entry: str | bytes) -> Any:
        if isinstance(entry, bytes) or not entry.startswith("\0"):
            return entry
        found = self._cache.get(entry)
        return found.key if isinstance(found, Item) else entry

    def __len__(self) -> int:
        return len(self._cache)

    def evict(self, tag: str | None, retry: bool = False) -> int:
        """Remove all items with this tag, by a walk through the cache; return their number."""
        items = self._cache.items(on_error="skip")
        tagged = [entry for entry, value in items if (value.tag if isinstance(value, Item) else None) == tag]
        return int(self._cache.delete_many(tagged))

    def clear(self, retry: bool = False) -> int:
        return self._cache.clear()

    def expire(self, now: float | None = None, retry: bool = False) -> int:
        """Free the memory of expired items; return their number. Puts do that, too."""
        return self._cache.expire_due()

    def cull(self, retry: bool = False) -> int:
        """Nothing: a cache never exceeds its size."""
        return 0

    # ---- the cache

    def stats(self, enable: bool = True, reset: bool = False) -> tuple[int, int]:
        """Hits and misses, of all processes."""
        now = self._cache.stats()
        result = now.hits - self._counted[0], now.misses - self._counted[1]
        if reset:
            self._counted = now.hits, now.misses
        return result

    def volume(self) -> int:
        return self._cache.stats().bytes_used

    def check(self, fix: bool = False, retry: bool = False) -> list[Any]:
        self._cache.check(repair=fix)
        return []


def _is_plain(key: Any) -> bool:
    """Whether it is a key of a cache, and begins like none of the texts that stand for other keys."""
    if not isinstance(key, str):
        return isinstance(key, bytes) and len(key) <= _LONGEST
    return len(key) <= _LONGEST and not key.startswith("\0") and not _SURROGATE.search(key)


def _entry(key: Any) -> str | bytes:
    """The key of an entry: the key itself, or a text for it."""
    if _is_plain(key):
        return key  # type: ignore[no-any-return]
    try:
        return "\0" + key_of(key)
    except (TypeError, ValueError) as error:  # nothing but its pickle says what it is
        if is_foreign(error):
            raise
        return "\0pickle:" + hashlib.blake2b(pickle.dumps(key, 4), digest_size=20).hexdigest()


def _item(key: Any, value: Any, tag: str | None) -> Any:
    return value if tag is None and _is_plain(key) else Item(value, tag, key)


def _wanted(
    found: Any, default: Any = None, left: float | None = None, expire_time: bool = False, tag: bool = False
) -> Any:
    """The value, and what else was asked for."""
    item = found if isinstance(found, Item) else Item(default if found is _ABSENT else found, None, None)
    more = [] if not expire_time else [None if left is None else time.time() + left]
    more += [item.tag] if tag else []  # type: ignore[list-item]
    return (item.value, *more) if more else item.value


def _sortable(entry: str | bytes) -> tuple[bool, bytes]:
    return isinstance(entry, bytes), entry if isinstance(entry, bytes) else entry.encode(errors="surrogatepass")
