"""What the integrations share: one handle in each process, and what happens to a value that cannot be stored.

Frameworks make an object of a backend for each thread, task or test, and drop it without closing it. Opening a cache each time
would take longer than what is done with it, so all objects with the same name and options share one handle. A forked child goes
on with those it inherits.

A value that cannot be encoded raises pickle's PicklingError, which frameworks expect. A value that is larger than the cache is
logged and not cached, as memcached does it: the page that it was computed for is answered all the same.
"""

from __future__ import annotations

import logging
import pickle
from typing import TYPE_CHECKING, Any

from shmstore._base.foreign import is_foreign
from shmstore.cache import Cache
from shmstore.errors import CodecError, StoreFull

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shmstore._base.durations import Duration
    from shmstore._store.keys import EntryKey

__all__ = ["add", "handle", "put", "put_many", "versioned"]

_log = logging.getLogger("shmstore")
_handles: dict[tuple[str, str], Cache[Any]] = {}


def handle(name: Any, options: Mapping[str, Any]) -> Cache[Any]:
    """Return this process's handle on the cache, which is opened by the first call with these arguments.

    No lock, because a fork could copy a locked one. Two threads at once may open a handle each. The first that is noted stays,
    and the other one closes itself.
    """
    identity = (repr(name), repr(sorted(options.items())))
    found = _handles.get(identity)
    if found is not None and found.closed:
        _handles.pop(identity, None)
        found = None
    return found if found is not None else _handles.setdefault(identity, Cache(name, **options))


def versioned(cache: Cache[Any], key: EntryKey) -> tuple[Any, int] | None:
    """The value and its version, for cas(). None: it is absent, or, with on_error="miss", something is wrong."""
    try:
        return cache.get_versioned(key)
    except KeyError as error:
        if is_foreign(error):
            raise
        return None


def put(cache: Cache[Any], key: EntryKey, value: Any, ttl: Duration | None) -> bool:
    """Store a value, and return whether it was stored. If it was not, the old one is removed, because it is outdated."""
    try:
        if cache.put(key, value, ttl=ttl):
            return True
    except (StoreFull, CodecError) as error:
        if is_foreign(error) and not isinstance(
            error, StoreFull
        ):  # as a MemoryError, StoreFull always counts as foreign
            raise
        _report(error)
    cache.delete(key)  # with on_error="miss", a put that stores nothing raises nothing
    return False


def add(cache: Cache[Any], key: EntryKey, value: Any, ttl: Duration | None) -> bool:
    """Store a value if the key is absent, and return whether it was stored."""
    try:
        return cache.add(key, value, ttl=ttl)
    except (StoreFull, CodecError) as error:
        if is_foreign(error) and not isinstance(error, StoreFull):
            raise
        _report(error)
        return False


def put_many(cache: Cache[Any], items: Mapping[Any, Any], ttl: Duration | None) -> list[EntryKey]:
    """Store the values that can be stored, and return the keys of those that are too large, which are now absent."""
    failed = getattr(cache.put_many(items, ttl=ttl, on_error="skip"), "failed", {})
    too_large = [key for key, error in failed.items() if isinstance(error, StoreFull)]
    cache.delete_many(too_large)
    for error in failed.values():
        _report(error)
    return too_large


def _report(error: Exception) -> None:
    """Log that a value is too large. Raise every other reason."""
    if isinstance(error, CodecError):
        raise pickle.PicklingError(str(error)) from error
    if not isinstance(error, StoreFull):
        raise error
    _log.warning("a value was not cached: %s", error)
