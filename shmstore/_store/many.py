"""Calls on many entries. None of them is a snapshot: each entry is an operation of its own."""

from __future__ import annotations

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore._base.sentinels import MISSING
from shmstore._core import lib
from shmstore._store.control import revalidate
from shmstore._store.failures import partly
from shmstore._store.keys import ALL_KEYS, EntryKey
from shmstore._store.views import check_on_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from shmstore._store.views import _OnError
    from shmstore.store import Store

SET, ADD = range(2)  # enum shms_mode in op.h
_END = 2**64 - 1  # behind the last slot


def get_many(
    store: Store[Any], keys: Iterable[EntryKey], *, type: Any = None, on_error: _OnError = "raise"
) -> dict[EntryKey, Any]:
    """Return copies of the values of those keys that are there. Not a snapshot; each value is whole.

    type: read each value as this type; for handles of codec "msgspec".
    on_error: "skip" leaves out the entries that this handle cannot read; "raise" raises their CodecError.
    """
    check_on_error(on_error)
    keys = _several(store, "get_many", keys)
    if type is None:
        try:
            return store._get_many(keys)
        except errors.CodecError as error:
            if is_foreign(error):
                raise
            if on_error == "raise":
                raise _skippable(error)
    found: dict[EntryKey, Any] = {}
    for key in keys:
        try:
            value = store.get(key, MISSING) if type is None else store._get_typed(key, MISSING, type)
        except errors.CodecError as error:
            if is_foreign(error):
                raise
            if on_error == "raise":
                raise _skippable(error)
            continue
        if value is not MISSING:
            found[key] = value
    return found


def put_many(store: Store[Any], items: Any, ttl: Any, mode: int) -> int:
    pairs = pairs_of(store, "put_many" if mode == SET else "add_many", items)
    keys = tuple(pairs)
    result = store._put_many(keys, tuple(pairs.values()), ttl, mode)
    if type(result) is int:
        return result
    status, stored, at, asked = result
    raise partly(store._fail(status, asked, keys[at] if keys else None), "stored", stored, keys, at)


def _several(store: Store[Any], method: str, keys: Any) -> tuple[Any, ...]:
    """What a method takes as its keys. A str is an iterable of letters, which nobody means."""
    if isinstance(keys, (str, bytes, bytearray, memoryview)):
        raise TypeError(
            f"store {store._key.shown}: {method}() takes several keys, and {keys!r} is a single {type(keys).__name__}; "
            f"write {method}([{keys!r}])"
        )
    return tuple(keys)


def pairs_of(store: Store[Any], method: str, items: Any) -> dict[Any, Any]:
    """What a method takes as its items: a mapping, or pairs of a key and a value."""
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


def delete_many(store: Store[Any], keys: Iterable[EntryKey]) -> int:
    keys = _several(store, "delete_many", keys)
    result = store._delete_many(keys)
    if type(result) is int:
        return result
    status, removed, at = result
    raise partly(store._fail(status, None, keys[at] if keys else None), "removed", removed, keys, at)


def clear(store: Store[Any]) -> None:
    batch: list[EntryKey] = []
    for key in store._walk(b"", ALL_KEYS):
        batch.append(key)
        if len(batch) == 250:  # well below a millisecond, in which no other thread of this process runs
            delete_many(store, batch)
            batch.clear()
    delete_many(store, batch)


def popitem(store: Store[Any]) -> tuple[EntryKey, Any]:
    if store._options.readonly:  # before an entry is decoded that will not be taken
        revalidate(store)
        raise store._fail(lib.SHMS_READ_ONLY)
    unreadable: list[EntryKey] = []
    start = store._popped_at
    for first, end in ((start, _END), (0, start)) if store else ():
        walk = store._walk(b"", ALL_KEYS, first, end, 1)
        for key in walk:
            try:
                value = store._take(key)
            except errors.CodecError as error:
                if is_foreign(error):
                    raise
                unreadable.append(key)
                continue
            if value is not MISSING:
                store._popped_at = walk.cursor
                return key, value
    if not unreadable:
        raise KeyError(f"store {store._key.shown} is empty")
    raise KeyError(
        f"store {store._key.shown} has no entry left that this handle can read, and {len(unreadable)} that it cannot "
        f"({unreadable[0]!r} first): get() says why; delete() or pop() with a default removes one"
    )


def _skippable(error: errors.CodecError) -> errors.CodecError:
    """Add to an error about one entry what walks can do about it."""
    error.args = (f'{error.args[0]}; get_many, items and values leave it out with on_error="skip"', *error.args[1:])
    return error
