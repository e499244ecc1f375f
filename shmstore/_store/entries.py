"""One key at a time: every operation here is linearizable among all processes and threads."""

from __future__ import annotations

from _collections_abc import MutableMapping  # collections.abc does no more than to rename it, at a price

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import late
from shmstore._base.sentinels import DEFAULT, MISSING
from shmstore._core import lib
from shmstore._store.attachment import NAMES_OF_CODECS
from shmstore._store.keys import EntryKey, raw_key
from shmstore._store.waiting import Waiting
from shmstore.codecs import msgpack as _msgpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, overload

    from shmstore._base.durations import Duration
    from shmstore._base.sentinels import Default

    _V = TypeVar("_V")
    _T = TypeVar("_T")
    _D = TypeVar("_D")
    from shmstore.codecs import arrays
else:
    arrays = late("shmstore.codecs.arrays", needs="numpy")
    _V = object  # a subscript at run time needs something; typing itself takes 9 ms to import

__all__ = ["Entries"]

SET, ADD = range(2)  # enum shms_mode in op.h


class Entries(Waiting, MutableMapping["str | bytes", _V]):
    """A mapping without its iteration: what is done to one entry."""

    __slots__ = ()

    if TYPE_CHECKING:  # in C: csrc/store_type.c

        @overload  # type: ignore[override]  # of Any, which StoreCalls says
        def get(self, key: EntryKey, default: None = None) -> _V | None: ...
        @overload
        def get(self, key: EntryKey, default: _V | _T) -> _V | _T: ...
        @overload
        def get(self, key: EntryKey, default: None = None, *, type: type[_T]) -> _T | None: ...
        @overload
        def get(self, key: EntryKey, default: _D, *, type: type[_T]) -> _T | _D: ...
        @overload
        def get(self, key: EntryKey, default: Any = None, *, type: Any) -> Any: ...
        def get(self, key: EntryKey, default: Any = None, *, type: Any = None) -> Any: ...

        def get_into(self, key: EntryKey, buffer: Any, /) -> int: ...
        def __getitem__(self, key: EntryKey, /) -> _V: ...
        def __contains__(self, key: object, /) -> bool: ...
        def put(self, key: EntryKey, value: _V, *, ttl: Duration | None | Default = DEFAULT) -> int: ...
        def __setitem__(self, key: EntryKey, value: _V, /) -> None: ...
        def delete(self, key: EntryKey, /) -> bool: ...
        def add(self, key: EntryKey, value: _V, *, ttl: Duration | None | Default = DEFAULT) -> bool: ...
        def replace(self, key: EntryKey, value: _V, *, ttl: Duration | None | Default = DEFAULT) -> bool: ...
        def cas(self, key: EntryKey, value: _V, version: int, *, ttl: Duration | None | Default = DEFAULT) -> bool: ...
        def get_versioned(self, key: EntryKey, /) -> tuple[_V, int]: ...
        def __delitem__(self, key: EntryKey, /) -> None: ...
        def incr(self, key: EntryKey, by: int = 1, *, initial: int = 0) -> int: ...
        def decr(self, key: EntryKey, by: int = 1, *, initial: int = 0) -> int: ...
        def view(self, key: EntryKey) -> memoryview: ...

    def _get_typed(self, key: EntryKey, default: Any, kind: Any) -> Any:
        if self._typed is None:
            raise TypeError(
                f"store {self._key.shown}: type= is for handles opened with codec='msgspec' "
                "(or decoders=('msgspec',)); this one is not"
            )
        found = self._get_versioned(key)
        if found is None:
            return default
        _, codec, data = found
        value = None if codec == lib.SHMS_CODEC_MSGPACK else self._decode(codec, data, key)
        try:
            if codec == lib.SHMS_CODEC_MSGPACK:
                return self._typed.decode_as(data, kind)
            return self._typed.convert(value, kind)
        except errors.CodecError as error:
            if is_foreign(error):
                raise
            self._name_entry(key, error)
            raise

    def _name_entry(self, key: EntryKey, error: errors.CodecError) -> None:
        """Put in front of what a codec says, which knows a value alone, whose value it was."""
        said, *more = error.args or ("",)
        error.args = (f"store {self._key.shown}, entry {key!r}: {said}", *more)

    def _decode(self, number: int | str, data: bytes, key: EntryKey) -> Any:
        try:
            if number == lib.SHMS_CODEC_MSGPACK:
                return (self._typed or _msgpack).decode(data)
            codec = number if type(number) is str else NAMES_OF_CODECS.get(number, f"number {number}")  # type: ignore[arg-type]
            reader = self._codecs.get(codec)
            if reader is not None:
                return reader.decode(data)
            raise errors.CodecError(
                f"the value was put with the codec {codec!r}, and this handle reads "
                f"{', '.join(sorted(self._codecs))}; if you trust whoever put it, open the store with "
                f"decoders=({codec!r},)"
            )
        except errors.CodecError as error:
            if is_foreign(error):
                raise
            self._name_entry(key, error)
            raise

    def _unencodable(self, key: EntryKey, value: object, cause: Exception) -> Exception:
        """For csrc/python: the exception to raise for a value in which a function of Python's raised *cause*."""
        return self._named(key, _msgpack.refused(value, cause))

    def _undecodable(
        self, key: EntryKey, size: int, code: int, part: int, why: str | None, cause: Exception | None
    ) -> Exception:
        """For csrc/python: the exception to raise for bytes that are no value."""
        return self._named(key, _msgpack.undecodable(size, code, part, why, cause))

    def _named(self, key: EntryKey, error: Exception) -> Exception:
        if isinstance(error, errors.CodecError) and not is_foreign(error, caught_in_c=True):
            self._name_entry(key, error)
        return error

    def _encode_parts(self, value: _V, key: EntryKey) -> Any:
        """For csrc/python/store_type.c: bytes, or a head and the memory that follows it."""
        try:
            return self._parts(value)
        except errors.CodecError as error:
            if is_foreign(error):
                raise
            self._name_entry(key, error)
            raise

    def _memory_of(self, buffer: Any) -> tuple[bytes, Any]:
        """Of a numpy array what a value begins with whose elements may be copied into it, and its memory."""
        if type(buffer).__module__.partition(".")[0] != "numpy":
            return b"", buffer
        return arrays.head_and_memory(buffer)

    def _unfit(self, key: EntryKey, buffer: object, length: int, room: int) -> Exception:
        if length:
            return ValueError(f"store {self._key.shown}: {key!r} has {length} bytes, and the buffer {room}")
        wanted = "bytes or a bytearray"
        if type(buffer).__module__ == "numpy":
            wanted = f"an array of the buffer's dtype ({buffer.dtype}), shape {buffer.shape} and order"  # type: ignore[attr-defined]
        return TypeError(
            f"store {self._key.shown}: {key!r} is not {wanted}, so it cannot be copied into the buffer; get() it"
        )

    def _view_failure(self, key: EntryKey, status: int) -> Exception:
        where = f"store {self._key.shown}: view({key!r})"
        if status == lib.SHMS_UNMET:
            return TypeError(f"{where}: only bytes have memory to be read in place; get() returns a copy of any value")
        if status == lib.SHMS_FULL:
            return errors.StoreFull(f"{where}: this process holds as many views as it can; release some of them")
        return self._fail(status)

    def modify(self, key: EntryKey, function: Callable[[_V], _V], default: Any = MISSING) -> _V:
        """Replace the value by ``function(value)``, atomically, and return the new one.

        *function* gets a copy, runs while nothing is locked, and is called again if somebody was faster. A key
        that is absent starts with *default*. The entry keeps its time to live.

        Raises: KeyError if the key is absent and there is no default; whatever *function* raises.
        """
        while True:
            found = self._value_and_version(key)
            if found is None:
                if default is MISSING:
                    raise KeyError(key)
                raw_key(f"store {self._key.shown}", key)
                found = default, 0
            value, version = found
            new = function(value)
            if self._swap(key, new, version):
                return new

    def setdefault(self, key: EntryKey, default: Any = None) -> Any:
        """Return the value; if the key is absent, store *default* first and return it. Atomic."""
        value = self.get(key, MISSING)
        while value is MISSING:
            if self.add(key, default):
                return default
            value = self.get(key, MISSING)
        return value

    if TYPE_CHECKING:

        @overload
        def pop(self, key: EntryKey, default: Default = MISSING) -> _V: ...
        @overload
        def pop(self, key: EntryKey, default: _V | _T) -> _V | _T: ...

    def pop(self, key: EntryKey, default: Any = MISSING) -> Any:
        """Remove the entry and return its value; of all who pop it at once, one gets it.

        With a default, an entry that this handle cannot read is removed as well, and the default returned.

        Raises: KeyError if the key is absent and no default is given; CodecError likewise, and the entry stays.
        """
        value = self._take(key, default)
        if value is not MISSING:
            return value
        if default is MISSING:
            raise KeyError(key)
        return default

    def _take(self, key: EntryKey, instead: Any = MISSING) -> Any:
        """Remove the entry and return its value, MISSING if there is none. *instead*: of what cannot be read."""
        while True:
            found = self._get_versioned(key)
            if found is None:
                return MISSING
            version, codec, data = found
            try:
                value = self._decode(codec, data, key)
            except errors.CodecError as error:
                if instead is MISSING or is_foreign(error):
                    raise
                value = instead
            if self._delete_if(key, version):
                return value

    def touch(self, key: EntryKey, ttl: Duration | None | Default = DEFAULT) -> bool:
        """Give the entry a new time to live (seconds; None: for ever); tell whether there is one."""
        return self._touch(key, ttl)

    def ttl(self, key: EntryKey) -> float | None:
        """Seconds that the entry has left; None: for ever.

        Raises: KeyError if the key is absent.
        """
        left = self._time_left(key)
        if left is None:
            raise KeyError(key)
        return left / 1e9 if left else None
