"""What ``keys()``, ``items()`` and ``values()`` return: live views of a store, as those of a dict."""

from __future__ import annotations

from _collections_abc import (  # collections.abc does no more than to rename it, at a price
    ItemsView,
    KeysView,
    MappingView,
    ValuesView,
)
from _weakref import ref  # weakref itself costs a millisecond of import

from shmstore._base.calls import Sized
from shmstore._store.copying import batches, list_keys, place
from shmstore._store.keys import ALL_KEYS, EntryKey, prefix_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Literal, TypeVar

    from shmstore._store.copying import _Place
    from shmstore.store import Store

    _V = TypeVar("_V")
    _OnError = Literal["raise", "skip"]
else:
    _V = object

__all__ = ["Items", "Keys", "Values", "check_on_error"]


def check_on_error(on_error: object) -> None:
    """Raises: ValueError."""
    if on_error != "raise" and on_error != "skip":
        raise ValueError(f'on_error is "raise" or "skip", not {on_error!r}')


class Keys(Sized, KeysView["str | bytes"]):
    """The keys of a store, or those with a prefix."""

    __slots__ = ("__weakref__", "_caller", "_kind", "_prefix", "_raw", "_sized")

    def __init__(self, store: Store[Any], prefix: EntryKey = "", caller: _Place | None = None) -> None:
        super().__init__(store)
        self._prefix = prefix
        self._raw, self._kind = prefix_of(prefix)
        self._caller = None if prefix else caller
        self._sized = store._keys(self._raw, self._kind) if self._kind != ALL_KEYS else store

    def __iter__(self) -> Iterator[EntryKey]:
        store: Any = self._mapping  # type: ignore[attr-defined]
        if self._caller is not None and self._caller == place(1):
            return list_keys(store, self._caller, ref(self))
        return store._walk(self._raw, self._kind)  # type: ignore[no-any-return]

    def __contains__(self, key: object) -> bool:
        if key not in self._mapping:  # type: ignore[attr-defined]
            return False
        if self._kind == ALL_KEYS:
            return True
        prefix: Any = self._prefix
        return isinstance(key, bytes if isinstance(prefix, bytes) else str) and key.startswith(prefix)

    def __repr__(self) -> str:
        return f"<keys of {self._mapping!r}>"  # type: ignore[attr-defined]


class _Fetched(Sized, MappingView):
    """What items() and values() have in common: values, fetched in batches."""

    __slots__ = ("_on_error", "_sized")
    _mapping: Store[Any]

    def __init__(self, store: Store[Any], on_error: _OnError = "raise") -> None:
        super().__init__(store)
        check_on_error(on_error)
        self._on_error: _OnError = on_error
        self._sized = store if on_error == "raise" else None

    def _pairs(self) -> Iterator[tuple[EntryKey, Any]]:
        store = self._mapping
        for batch in batches(iter(store)):
            yield from store.get_many(batch, on_error=self._on_error).items()

    def _count(self) -> int:
        count = 0
        for _ in self._pairs():
            count += 1
        return count


class Items(_Fetched, ItemsView["str | bytes", _V]):
    """Keys and values of a store."""

    __slots__ = ()

    def __iter__(self) -> Iterator[tuple[EntryKey, _V]]:
        return self._pairs()

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, tuple) or len(item) != 2:
            return False
        for value in self._mapping.get_many(item[:1], on_error=self._on_error).values():
            return value is item[1] or value == item[1]
        return False

    def __repr__(self) -> str:
        return f"<items of {self._mapping!r}>"


class Values(_Fetched, ValuesView[_V]):
    """Values of a store."""

    __slots__ = ()

    def __iter__(self) -> Iterator[_V]:
        for _, value in self._pairs():
            yield value

    def __contains__(self, value: object) -> bool:
        for found in self:
            if found is value or found == value:
                return True
        return False

    def __repr__(self) -> str:
        return f"<values of {self._mapping!r}>"
