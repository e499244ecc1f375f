"""Copies that C code makes of a store: dict(store), {**store}, f(**store), other.update(store), other |= store.

CPython copies a mapping that is no dict in two steps: it makes a list of ``keys()``, and then asks for ``[key]`` of each.
An entry that expires or is deleted in between would be a KeyError, for ``[]`` has no way to say "leave this one out". So
``keys()`` reads the values along with the keys if it is listed for such a copy, and ``[]`` hands them over.

``[]`` is linearizable, so it must know for sure that it is asked for the sake of a copy. A copy is one bytecode instruction:
a call, DICT_UPDATE, DICT_MERGE or an operator. A value is handed over only if

1. the frame that executes now was at this very instruction when ``keys()`` was called, when the iterator was made, and when
   the first key was taken;
2. the view was gone by then: C code called ``keys()``, and dropped the view when it had the iterator; and
3. the key is the very object that comes next in the listing, or one of those behind it.

Python code calls ``keys()``, iterates and subscripts by different instructions, so it always gets the entry as it is. Nobody
can observe the parts of a copy, since its frame executes nothing between them: the copy is what a walk is, and each
item of it is as it was at one moment within the call. A frame runs in one thread. So threads that copy at once, and signal
handlers that copy in the midst of a copy, have frames of their own and do not meet.

``MutableMapping.update``, by which UserDict, os.environ and others copy, is the same loop in Python. It is known by its
code, and all its instructions count as one.

A copy that fails on the way (``f(a=1, **store)`` with an entry "a") leaves the rest of its listing here. No one has the keys
by which to ask for it. It is freed when no thread is at that instruction any more, and the next copy, or ``[]`` now and then,
looks for that.

One thing cannot be told from a copy: C code that returns a list of ``keys()``, in a loop in which the same instruction of the
same frame then calls ``store.__getitem__`` with the first of these very objects, and with the next, in their order.
"""

from __future__ import annotations

from _collections_abc import MutableMapping  # collections.abc does no more than to rename it, at a price
from collections import deque
from itertools import count, islice
from sys import _current_frames, _getframe

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore._store.keys import ALL_KEYS, EntryKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any, TypeAlias

    from shmstore.store import Store

    _Place: TypeAlias = tuple[int, int]  # a frame, by its address, and an instruction in it

__all__ = ["IN_LOOP", "batches", "hand_over", "list_keys", "place"]

IN_LOOP = -1  # any instruction of MutableMapping.update
_LOOP = MutableMapping.update.__code__
_strangers = count()  # calls of [] that no copy made


def place(depth: int) -> _Place | None:
    """Where the frame is that is *depth* calls above the caller; None if only C code is there."""
    try:
        frame = _getframe(depth + 1)
    except ValueError as error:
        if is_foreign(error):
            raise
        return None
    return id(frame), IN_LOOP if frame.f_code is _LOOP else frame.f_lasti


class Copy:
    """What was listed for a copy, and has not been asked for: keys and values, in order."""

    __slots__ = ("complete", "instruction", "keys", "values")

    def __init__(self, instruction: int) -> None:
        self.instruction = instruction
        self.keys: deque[EntryKey] = deque()
        self.values: deque[Any] = deque()
        self.complete = False  # nothing will be added


class _Unreadable:
    """Stands for a value that raised."""

    __slots__ = ("error",)

    def __init__(self, error: errors.CodecError) -> None:
        self.error = error


def list_keys(store: Store[Any], here: _Place, view: Callable[[], object]) -> Iterator[EntryKey]:
    """All keys; and their values are kept, if this is for a copy that is made *here*. *view*: a weak reference."""
    if view() is not None or place(1) != here:
        yield from store._walk(b"", ALL_KEYS)
        return
    forget_abandoned(store)
    frame, instruction = here
    copies, copy = store._copies, Copy(instruction)
    copies[frame] = copy
    try:
        for batch in batches(store._walk(b"", ALL_KEYS)):
            found = _read(store, batch)
            if copies.get(frame) is copy:
                copy.keys.extend(found)
                copy.values.extend(found.values())
            yield from found
        copy.complete = True
    finally:
        if not (copy.complete and copy.keys) and copies.get(frame) is copy:
            copies.pop(frame, None)


def hand_over(store: Store[Any], key: object) -> tuple[Any] | None:
    """The value of *key*, if a copy asks for it; else None. A method of stores, called by [] (csrc/python/store_type.c)."""
    copies, caller = store._copies, _getframe(1)
    frame = id(caller)
    copy = copies.get(frame)
    if copy is None or (copy.instruction != caller.f_lasti and copy.instruction != IN_LOOP):
        if not next(_strangers) % 256:
            forget_abandoned(store)
        return None
    while copy.keys:
        listed, value = copy.keys.popleft(), copy.values.popleft()
        if listed is key:
            break
    else:
        copies.pop(frame, None)  # this is no copy
        return None
    if copy.complete and not copy.keys:
        copies.pop(frame, None)
    if type(value) is _Unreadable:
        copies.pop(frame, None)
        raise value.error
    return (value,)


def forget_abandoned(store: Store[Any]) -> None:
    """Drop what was listed for copies that no thread is making any more."""
    if not store._copies:
        return
    running = {}
    frame: FrameType | None
    for frame in _current_frames().values():
        while frame is not None:
            running[id(frame)] = IN_LOOP if frame.f_code is _LOOP else frame.f_lasti
            frame = frame.f_back
    for at, copy in tuple(store._copies.items()):
        if running.get(at) != copy.instruction:
            store._copies.pop(at, None)


def batches(keys: Iterator[EntryKey]) -> Iterator[list[EntryKey]]:
    """Lists of keys whose values are read by one call."""
    while batch := list(islice(keys, 100)):
        yield batch


def _read(store: Store[Any], batch: list[EntryKey]) -> dict[EntryKey, Any]:
    """Those that are there; whatever raises will raise when it is asked for."""
    try:
        return store.get_many(batch)
    except errors.CodecError as error:
        if is_foreign(error):
            raise
    found: dict[EntryKey, Any] = {}
    for key in batch:
        try:
            found.update(store.get_many([key]))
        except errors.CodecError as error:
            if is_foreign(error):
                raise
            found[key] = _Unreadable(error.with_traceback(None))
    return found
