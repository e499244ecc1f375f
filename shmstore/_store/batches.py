"""Many keys: batches, iteration and views. None of it is a snapshot; each item is an operation of its own."""

from __future__ import annotations

from _collections_abc import Mapping as AnyMapping  # collections.abc does no more than to rename it, at a price

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore._base.sentinels import DEFAULT, MISSING
from shmstore._core import lib
from shmstore._store.copying import IN_LOOP, hand_over, list_keys, place
from shmstore._store.entries import ADD, SET, Entries
from shmstore._store.failures import partly
from shmstore._store.keys import ALL_KEYS, EntryKey
from shmstore._store.views import Items, Keys, Values, check_on_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, TypeVar, overload

    from shmstore._base.durations import Duration
    from shmstore._base.sentinels import Default
    from shmstore._store.views import _OnError

    _V = TypeVar("_V")
    _T = TypeVar("_T")
    # A Mapping is invariant in its key, so a dict[str, V] is none of the third.
    _Pairs = Mapping[str, _V] | Mapping[bytes, _V] | Mapping[EntryKey, _V] | Iterable[tuple[EntryKey, _V]]
else:
    _V = object

__all__ = ["Batches"]

_END = 2**64 - 1  # behind the last slot


class Batches(Entries[_V]):
    """The whole mapping."""

    __slots__ = ()
    _hand_over = hand_over

    if TYPE_CHECKING:

        @overload
        def get_many(self, keys: Iterable[EntryKey], *, on_error: _OnError = "raise") -> dict[EntryKey, _V]: ...
        @overload
        def get_many(
            self, keys: Iterable[EntryKey], *, type: type[_T], on_error: _OnError = "raise"
        ) -> dict[EntryKey, _T]: ...
        @overload
        def get_many(
            self, keys: Iterable[EntryKey], *, type: Any, on_error: _OnError = "raise"
        ) -> dict[EntryKey, Any]: ...

    def get_many(
        self, keys: Iterable[EntryKey], *, type: Any = None, on_error: _OnError = "raise"
    ) -> dict[EntryKey, Any]:
        """Return copies of the values of those keys that are there. Not a snapshot; each value is whole.

        type: read each value as this type; for handles of codec "msgspec".
        on_error: "skip" leaves out the entries that this handle cannot read; "raise" raises their CodecError.
        """
        check_on_error(on_error)
        keys = self._several("get_many", keys)
        if type is None:
            try:
                return self._get_many(keys)
            except errors.CodecError as error:
                if is_foreign(error):
                    raise
                if on_error == "raise":
                    raise _skippable(error)
        found: dict[EntryKey, Any] = {}
        for key in keys:
            try:
                value = self.get(key, MISSING) if type is None else self._get_typed(key, MISSING, type)
            except errors.CodecError as error:
                if is_foreign(error):
                    raise
                if on_error == "raise":
                    raise _skippable(error)
                continue
            if value is not MISSING:
                found[key] = value
        return found

    def _store_many(self, items: _Pairs[_V], ttl: Any, mode: int) -> int:
        pairs = self._pairs("put_many" if mode == SET else "add_many", items)
        keys = tuple(pairs)
        result = self._put_many(keys, tuple(pairs.values()), ttl, mode)
        if type(result) is int:
            return result
        status, stored, at, asked = result
        raise partly(self._fail(status, asked, keys[at] if keys else None), "stored", stored, keys, at)

    def _several(self, method: str, keys: Any) -> tuple[Any, ...]:
        """What a method takes as its keys. A str is an iterable of letters, which nobody means."""
        if isinstance(keys, (str, bytes, bytearray, memoryview)):
            raise TypeError(
                f"store {self._key.shown}: {method}() takes several keys, and {keys!r} is a single {type(keys).__name__}; "
                f"write {method}([{keys!r}])"
            )
        return tuple(keys)

    def _pairs(self, method: str, items: Any) -> dict[Any, Any]:
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
                    f"store {self._key.shown}: {method}() takes a mapping, or pairs of a key and a value, and {pair!r} is "
                    f"a single {type(pair).__name__}; write {method}({{key: value}})"
                )
        return dict(pairs)

    def put_many(self, items: _Pairs[_V], *, ttl: Duration | None | Default = DEFAULT) -> int:
        """Store many values; return how many.

        All are encoded first, so a CodecError changes nothing. Then they are put one by one. An error of the package says in
        ``stored`` how many were put, and in ``failed`` which keys were not; an exception of a signal handler cannot.
        """
        return self._store_many(items, ttl, SET)

    def add_many(self, items: _Pairs[_V], *, ttl: Duration | None | Default = DEFAULT) -> int:
        """Store those whose key is absent; return how many that were. Otherwise as :meth:`put_many`."""
        return self._store_many(items, ttl, ADD)

    def delete_many(self, keys: Iterable[EntryKey]) -> int:
        """Remove many entries; return how many there were.

        Each is removed by itself. An error says in ``stored`` how many were removed, and in ``failed`` which keys are left.
        """
        keys = self._several("delete_many", keys)
        result = self._delete_many(keys)
        if type(result) is int:
            return result
        status, removed, at = result
        raise partly(self._fail(status, None, keys[at] if keys else None), "removed", removed, keys, at)

    def update(self, other: Any = (), /, **more: _V) -> None:
        """As ``dict.update``, by :meth:`put_many`."""
        pairs = self._pairs("update", other)
        self._store_many({**pairs, **more} if more else pairs, DEFAULT, SET)

    def clear(self) -> None:
        """Remove every entry. Not atomic: what others put meanwhile may stay."""
        batch: list[EntryKey] = []
        for key in self._walk(b"", ALL_KEYS):
            batch.append(key)
            if len(batch) == 250:  # well below a millisecond, in which no other thread of this process runs
                self.delete_many(batch)
                batch.clear()
        self.delete_many(batch)

    def _text(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            if is_foreign(error):
                raise
            raise self._no_text(raw) from None

    def _no_text(self, raw: bytes) -> Exception:
        return errors.StoreCorrupt(
            f"store {self._key.shown}: a key that was put as str is no UTF-8 ({raw[:40]!r}); check() says more"
        )

    def __iter__(self) -> Iterator[EntryKey]:
        caller = place(1)
        if caller is not None and caller[1] == IN_LOOP:
            return list_keys(self, caller, lambda: None)
        walk: Iterator[EntryKey] = self._walk(b"", ALL_KEYS)
        return walk

    def keys(self, prefix: EntryKey = "") -> Keys:
        """The keys, or those that begin with *prefix* (and are of its type). A live view, not a snapshot."""
        return Keys(self, prefix, place(1))

    def items(self, *, on_error: _OnError = "raise") -> Items[_V]:
        """Keys and copies of values. A live view, not a snapshot; entries that go meanwhile are left out.

        on_error: as of :meth:`get_many`.
        """
        return Items(self, on_error)

    def values(self, *, on_error: _OnError = "raise") -> Values[_V]:
        """Copies of values. A live view, not a snapshot.

        on_error: as of :meth:`get_many`.
        """
        return Values(self, on_error)

    def __eq__(self, other: object) -> bool:
        """Compare with what another mapping holds. A value that cannot be read equals nothing."""
        if self is other or not isinstance(other, AnyMapping):
            return True if self is other else NotImplemented
        try:
            return dict(self.items()) == dict(other.items())
        except errors.CodecError as error:
            if is_foreign(error):
                raise
            return False

    def popitem(self) -> tuple[EntryKey, _V]:
        """Remove some entry and return it with its key; each comes once, whoever asks. Entries that this handle
        cannot read are passed over, and stay.

        It begins behind the entry that this handle popped last. Cost: 1 us, and a look at each empty slot in between.

        Raises: KeyError if the store is empty, or has no other entries.
        """
        if self._options[1]:  # before an entry is decoded that will not be taken
            self._look()
            raise self._fail(lib.SHMS_READ_ONLY)
        unreadable: list[EntryKey] = []
        start = self._popped_at
        for first, end in ((start, _END), (0, start)) if self else ():
            walk = self._walk(b"", ALL_KEYS, first, end, 1)
            for key in walk:
                try:
                    value = self._take(key)
                except errors.CodecError as error:
                    if is_foreign(error):
                        raise
                    unreadable.append(key)
                    continue
                if value is not MISSING:
                    self._popped_at = walk.cursor
                    return key, value
        if not unreadable:
            raise KeyError(f"store {self._key.shown} is empty")
        raise KeyError(
            f"store {self._key.shown} has no entry left that this handle can read, and {len(unreadable)} that it cannot "
            f"({unreadable[0]!r} first): get() says why; delete() or pop() with a default removes one"
        )


def _skippable(error: errors.CodecError) -> errors.CodecError:
    """Add to an error about one entry what walks can do about it."""
    error.args = (f'{error.args[0]}; get_many, items and values leave it out with on_error="skip"', *error.args[1:])
    return error
