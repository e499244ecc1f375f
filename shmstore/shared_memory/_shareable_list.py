"""``ShareableList``: the interface of ``multiprocessing.shared_memory.ShareableList``, on our ``SharedMemory``.

    0        8       16                     16+8(n+1)         24+16n
    +--------+-------+----------------------+-----------------+--------+--------+- - -
    | magic  | n     | n+1 offsets of slots | n tags          | slot 0 | slot 1 |
    +--------+-------+----------------------+-----------------+--------+--------+- - -
    u8[8]    u64     u64[]                  u64[]

The last offset is the end. A tag holds the kind of value in its low byte and, above, the length of a str or
bytes, so nothing is taken from what follows the value, and trailing NULs are kept.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from operator import index

from shmstore._base.calls import Sized
from shmstore._base.imports import current
from shmstore.shared_memory._block import SharedMemory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, TypeVar

    _T = TypeVar("_T", bound="int | float | str | bytes | None")
else:
    _T = object  # a subscript at run time needs something; typing itself takes 9 ms to import

__all__ = ["ShareableList"]

MAGIC = b"SHMSLIST"
_START = struct.Struct("<8sQ")
_NONE, _BOOL, _INT, _FLOAT, _STR, _BYTES = range(6)
_FORMATS = {_NONE: "xxxxxx?x", _BOOL: "xxxxxxx?", _INT: "q", _FLOAT: "d"}


class ShareableList(Sized, Collection[_T]):
    """A list of fixed length that processes share. Items are int, float, bool, str, bytes and None.

    ``ShareableList(sequence)`` creates a list, with a new name or with ``name``. ``ShareableList(name=...)`` attaches to
    one. ``shm`` is its SharedMemory: close and unlink that.

    An item may get a value of another type. A str or bytes may grow to the end of its slot, which is a multiple of 8
    bytes. An int has 64 bits. There are differences to the standard library: trailing NUL bytes are kept; a str is not
    cut off if its UTF-8 has more bytes than it has characters; a refused item changes nothing; and a refused sequence
    leaves no memory behind.

    An item that is read while another process writes it may be a mixture of old and new bytes. Use a lock, or a Store.

    Cost: one or two microseconds for each item. ``count``, ``index`` and ``in`` read all items.

    >>> numbers = shmstore.ShareableList([1, 2.5, "three", None])
    >>> numbers[0] = 10
    >>> other = shmstore.ShareableList(name=numbers.shm.name)  # in this process or in another one
    >>> list(other)
    [10, 2.5, 'three', None]
    >>> other.shm.close()
    >>> numbers.shm.close()
    >>> numbers.shm.unlink()
    """

    def __init__(self, sequence: Iterable[_T] | None = None, *, name: str | None = None) -> None:
        if name is not None and sequence is None:
            self._open(name)
            return
        self._build([] if sequence is None else list(sequence), name)
        owner = self.shm._attachment._owner
        try:
            owner.keep(True)  # the last step: a caller that never gets this list could not unlink its block
        except BaseException:
            owner.keep(False)
            raise

    def _build(self, values: list[Any], name: str | None) -> None:
        items = [_encode(value) for value in values]
        count = len(items)
        slots = [_START.size + 8 * (count + 1) + 8 * count]
        for value, (_, raw) in zip(values, items, strict=True):
            slots.append(slots[-1] + _room_for(value, raw))
        self._list_len, self._sized = count, range(count)
        self._slots = slots
        self.shm = SharedMemory.__new__(SharedMemory)
        self.shm._begin(name, True, slots[-1])
        struct.pack_into(f"<{count + 1}Q", self.shm.buf, _START.size, *slots)
        for position, (tag, raw) in enumerate(items):
            self._store(position, tag, raw)
        _START.pack_into(self.shm.buf, 0, MAGIC, count)

    def _open(self, name: str) -> None:
        self.shm = SharedMemory(name)
        try:
            buf = self.shm.buf
            magic, count = _START.unpack_from(buf) if self.shm.size >= _START.size else (b"", 0)
            slots: tuple[int, ...] = ()
            if magic == MAGIC and count <= self.shm.size // 24:
                slots = struct.unpack_from(f"<{count + 1}Q", buf, _START.size)
            first = _START.size + 8 * (count + 1) + 8 * count
            if not slots or slots[0] != first or slots[-1] > self.shm.size or not _ascending(slots):
                raise ValueError(f"the shared memory {name!r} holds no ShareableList")
        except BaseException:
            self.shm.close()
            raise
        self._list_len, self._sized = count, range(count)
        self._slots = list(slots)

    def _position(self, position: int, what: str) -> int:
        number = index(position)
        if number < 0:
            number += self._list_len
        if not 0 <= number < self._list_len:
            raise IndexError(f"{what} out of range")
        return number

    def _tag(self, position: int) -> tuple[int, int]:
        """Kind and length, checked: another process wrote them."""
        at = _START.size + 8 * (self._list_len + 1) + 8 * position
        tag: int = struct.unpack_from("<Q", self.shm.buf, at)[0]
        kind, length = tag & 0xFF, tag >> 8
        if kind > _BYTES or length > self._room(position):
            raise ValueError(f"item {position} of {self.shm.name!r} is damaged")
        return kind, length

    def _room(self, position: int) -> int:
        return self._slots[position + 1] - self._slots[position]

    def _store(self, position: int, tag: int, raw: bytes) -> None:
        buf, slot = self.shm.buf, self._slots[position]
        buf[slot : slot + len(raw)] = raw
        struct.pack_into("<Q", buf, _START.size + 8 * (self._list_len + 1) + 8 * position, tag)

    def _get_packing_format(self, position: int) -> str:
        kind, _ = self._tag(position)
        return _FORMATS[kind] if kind < _STR else f"{self._room(position)}s"

    def __getitem__(self, position: int) -> _T:
        position = self._position(position, "index")
        kind, length = self._tag(position)
        slot = self._slots[position]
        value: Any = None
        if kind >= _STR:
            value = bytes(self.shm.buf[slot : slot + length])
            if kind == _STR:
                value = value.decode()
        elif kind != _NONE:
            (value,) = struct.unpack_from(_FORMATS[kind], self.shm.buf, slot)
        result: _T = value
        return result

    def __setitem__(self, position: int, value: _T) -> None:
        position = self._position(position, "assignment index")
        tag, raw = _encode(value)
        if len(raw) > self._room(position):
            raise ValueError("bytes/str item exceeds available storage")
        self._store(position, tag, raw)

    def __iter__(self) -> Iterator[_T]:
        for position in range(self._list_len):
            yield self[position]

    def __contains__(self, value: object) -> bool:
        return any([value == self[position] for position in range(self._list_len)])

    def __reduce__(self) -> tuple[Any, ...]:
        return (current(_attached), (current(self.__class__), self.shm.name))

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({list(self)}, name={self.shm.name!r})"

    @property
    def format(self) -> str:
        """The layout of the items, in the notation of the struct module."""
        return "".join([self._get_packing_format(position) for position in range(self._list_len)])

    def count(self, value: _T) -> int:
        """Return the number of items that equal a value."""
        return sum([value == self[position] for position in range(self._list_len)])

    def index(self, value: _T) -> int:
        """Return the position of the first item that equals a value.

        Raises: ValueError if there is none.
        """
        for position in range(self._list_len):
            if value == self[position]:
                return position
        raise ValueError(f"{value!r} not in this container")


def _attached(kind: type[ShareableList[Any]], name: str) -> ShareableList[Any]:
    return kind(name=name)


def _ascending(slots: tuple[int, ...]) -> bool:
    return all([before + 8 <= after and before % 8 == 0 for before, after in zip(slots, slots[1:], strict=False)])


def _room_for(value: Any, raw: bytes) -> int:
    """As much as the standard library's gives, but in any case enough: it counts characters."""
    counted = 8 * (len(value) // 8 + 1) if isinstance(value, (str, bytes)) else 8
    return max(counted, (len(raw) + 7) // 8 * 8)


def _encode(value: Any) -> tuple[int, bytes]:
    """The tag of a value and the bytes of its slot."""
    if isinstance(value, str):
        raw = value.encode()
        return len(raw) << 8 | _STR, raw
    if isinstance(value, bytes):
        return len(value) << 8 | _BYTES, value
    if value is None:
        return _NONE, struct.pack(_FORMATS[_NONE], False)
    if isinstance(value, bool):
        return _BOOL, struct.pack(_FORMATS[_BOOL], value)
    if isinstance(value, int):
        return _INT, struct.pack("q", value)
    if isinstance(value, float):
        return _FLOAT, struct.pack("d", value)
    raise TypeError(f"a ShareableList holds int, float, bool, str, bytes and None, not {type(value).__name__}")
