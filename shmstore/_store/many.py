"""Calls on many entries. None of them is a snapshot: each entry is an operation of its own."""

from __future__ import annotations

from itertools import islice

from shmstore import errors
from shmstore._base.durations import check_ttl
from shmstore._base.foreign import is_foreign
from shmstore._base.sentinels import KEEP, MISSING
from shmstore._core import lib
from shmstore._store.control import require_writing
from shmstore._store.failures import partly, so_far
from shmstore._store.keys import ALL_KEYS, EntryKey
from shmstore._store.records import Found, Removed, Stored
from shmstore._store.views import check_on_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from shmstore._store.views import _OnError
    from shmstore.store import Store

SET, ADD = range(2)  # enum shms_mode in op.h
AT_ONCE = 125
_END = 2**64 - 1  # behind the last slot


def get_many(
    store: Store[Any], keys: Iterable[EntryKey], *, type: Any = None, on_error: _OnError = "raise"
) -> dict[EntryKey, Any]:
    check_on_error(on_error)
    keys = _several(store, "get_many", keys)
    if type is None:
        try:
            found: dict[EntryKey, Any] = store._get_many(keys)
            return found if on_error == "raise" else Found(found)
        except errors.CodecError as error:
            if is_foreign(error):
                raise
            if on_error == "raise" and not store._EVICTS:
                raise _skippable(error)
    readable: Found[Any] = Found()
    for key in keys:
        try:
            value = store._get(key, MISSING) if type is None else store._get_typed(key, MISSING, type)
        except errors.CodecError as error:
            if is_foreign(error):
                raise
            if store._EVICTS:
                store._unreadable(error)
                if on_error == "raise":
                    continue
            if on_error == "raise":
                raise _skippable(error)
            readable.failed[key] = error
            continue
        if value is not MISSING:
            readable[key] = value
    return readable if on_error == "skip" else dict(readable)


def put_many(store: Store[Any], items: Any, ttl: Any, tags: Any, mode: int, on_error: _OnError) -> int:
    check_on_error(on_error)
    if tags and tags is not KEEP and not isinstance(tags, (str, bytes)):
        tags = tuple(tags)  # an iterator is used more than once
    pairs = pairs_of(store, "put_many" if mode == SET else "add_many", items)
    if on_error == "skip":
        return _put_what_can_be(store, pairs, ttl, tags, mode)
    keys = tuple(pairs)
    result = store._put_many(keys, tuple(pairs.values()), ttl, mode, tags)
    if type(result) is int:
        return result if mode == SET else result + store._add_many_over_unreadable(pairs, ttl, tags, result)
    status, stored, at, asked = result
    raise partly(store._fail(status, asked, keys[at] if keys else None), "stored", stored, keys, at)


def _put_what_can_be(store: Store[Any], pairs: dict[Any, Any], ttl: Any, tags: Any, mode: int) -> Stored:
    """All in one call; after a key or value that is none, one by one. Want of room ends a call at that item only."""
    check_ttl(ttl)
    require_writing(store)
    taken = tags if tags is KEEP else store._generations(tags)  # of one moment, before the first value is encoded
    keys, begin, step, stored = tuple(pairs), 0, len(pairs), 0
    failed: dict[Any, Exception] = {}
    while begin < len(keys):
        part = keys[begin : begin + step]
        try:
            result = store._put_many(part, tuple([pairs[key] for key in part]), ttl, mode, taken)
        except (errors.CodecError, errors.InvalidKey, TypeError) as error:
            if is_foreign(error) or (type(error) is TypeError and isinstance(part[0], (str, bytes)) and step == 1):
                raise
            if step == 1:
                failed[part[0]] = error
                begin += 1
            step = 1
            continue
        if type(result) is int:
            stored += result
            begin += step
            continue
        status, more, at, asked = result
        stored += more
        begin += at
        failure = store._fail(status, asked, keys[begin])
        if not isinstance(failure, errors.StoreFull):  # of the store: later items would meet it as well
            if isinstance(failure, errors.ShmStoreError):
                failure.stored, failure.failed = stored, (*failed, *keys[begin:])
            raise failure
        failed[keys[begin]] = failure
        begin += 1
    if mode == SET and store._options.on_error == "miss":  # as put does (rescue.py)
        store.delete_many([key for key, error in failed.items() if isinstance(error, errors.StoreFull)])
    if mode == ADD:
        stored += store._add_many_over_unreadable(pairs, ttl, taken, stored + len(failed))
    return Stored.of(stored, failed)


def _several(store: Store[Any], method: str, keys: Any) -> tuple[Any, ...]:
    """The keys as a tuple. A single str or bytes is an error, although it is an iterable."""
    if isinstance(keys, (str, bytes, bytearray, memoryview)):
        raise TypeError(
            f"store {store._key.shown}: {method}() takes several keys, and {keys!r} is a single {type(keys).__name__}; "
            f"write {method}([{keys!r}])"
        )
    return tuple(keys)


def pairs_of(store: Store[Any], method: str, items: Any) -> dict[Any, Any]:
    """The items as a dict, from a mapping or from pairs of a key and a value."""
    if isinstance(items, dict):
        return items
    if hasattr(items, "keys"):
        return dict(items)
    single = (str, bytes, bytearray, memoryview)
    pairs: list[Any] = [items] if isinstance(items, single) else list(items)
    for pair in pairs:
        if isinstance(pair, single):
            raise TypeError(
                f"store {store._key.shown}: {method}() takes a mapping, or pairs of a key and a value, and {pair!r} is "
                f"a single {type(pair).__name__}; write {method}({{key: value}})"
            )
    return dict(pairs)


def delete_many(store: Store[Any], keys: Iterable[EntryKey], on_error: _OnError) -> int:
    check_on_error(on_error)
    keys = _several(store, "delete_many", keys)
    begin, removed = 0, 0
    failed: dict[Any, Exception] = {}
    while True:
        result = store._delete_many(keys[begin:])
        if type(result) is int:
            return Removed.of(removed + result, failed) if on_error == "skip" else result
        status, more, at = result
        removed += more
        begin += at
        failure = store._fail(status, None, keys[begin] if keys else None)
        if on_error == "raise":
            raise partly(failure, "removed", removed, keys, begin)
        if status != lib.SHMS_TIMEOUT:  # of the store: later keys would meet it as well
            if isinstance(failure, errors.ShmStoreError):
                failure.stored, failure.failed = removed, (*failed, *keys[begin:])
            raise failure
        failed[keys[begin]] = failure
        begin += 1


def clear(store: Store[Any]) -> int:
    require_writing(store)
    store._clear_inside()  # of a namespace that is all
    if store._options.namespace:
        return 0
    removed, walk = 0, store._walk(b"", ALL_KEYS)
    while batch := tuple(islice(walk, AT_ONCE)):  # below a millisecond, in which no other thread of this process runs
        result = store._delete_many(batch)
        if type(result) is not int:
            status, more, at = result
            raise so_far(store._fail(status, None, batch[at]), removed + more)
        removed += result
    lib.shms_give_up_hints(store._handle)  # others can use all the memory that is free now
    return removed


def popitem(store: Store[Any]) -> tuple[EntryKey, Any]:
    require_writing(store)  # before an entry is decoded that will not be taken
    unreadable: dict[EntryKey, None] = {}
    start = store._popped_at
    likely = store._likely_slot(start)
    ranges = ((start, _END), (0, start)) if likely is not None else ()
    if likely != start and likely is not None:
        ranges = ((likely, likely + 1), *ranges)
    for first, end in ranges:
        walk = store._walk(b"", ALL_KEYS, first, end, 1)
        for key in walk:
            try:
                value = store._take(key)
            except errors.CodecError as error:
                if is_foreign(error):
                    raise
                unreadable[key] = None
                continue
            if value is not MISSING:
                if first != likely or likely == start:
                    store._popped_at = walk.cursor
                return key, value
    if not unreadable:
        raise KeyError(f"store {store._key.shown} is empty")
    raise KeyError(
        f"store {store._key.shown} has no entry left that this handle can read, and {len(unreadable)} that it cannot "
        f"({next(iter(unreadable))!r} first): get() says why; delete() or pop() with a default removes one"
    )


def _skippable(error: errors.CodecError) -> errors.CodecError:
    """Add to an error about one entry how calls on many entries can skip it."""
    error.args = (f'{error.args[0]}; get_many, items and values leave it out with on_error="skip"', *error.args[1:])
    return error
