"""Copies that C code makes of a store: dict(store), {**store}, f(**store), other.update(store), other |= store.

CPython copies a mapping that is not a dict in two steps: it makes a list of ``keys()``, and then reads ``[key]`` for each key.
An entry that expires or is deleted in between would raise KeyError, because ``[]`` cannot leave an entry out. So ``keys()``
also reads the values if it is listed for such a copy, and ``[]`` returns these.

``[]`` is linearizable, so it must be certain that a copy calls it. A copy is one bytecode instruction: a call, DICT_UPDATE,
DICT_MERGE or an operator. ``[]`` returns a listed value only if

1. the executing frame was at this same instruction when ``keys()`` was called, when the iterator was made, and when the
   first key was taken;
2. the view did not exist any more then: C code called ``keys()``, and dropped the view when it had the iterator; and
3. the key is the next object of the listing, or a later one.

Python code calls ``keys()``, iterates and subscripts in different instructions, so it always gets the current entry. No code
can observe the parts of a copy, because the frame executes nothing between them. So the copy is like a walk: each item is
as it was at one moment within the call. A frame runs in one thread. So threads that copy at the same time, and signal
handlers that copy during a copy, have different frames and do not interfere.

``MutableMapping.update``, by which UserDict, os.environ and others copy, is the same loop in Python. It is recognised by its
code object, and all its instructions count as one.

A copy that fails before its end (``f(a=1, **store)`` with an entry "a") leaves the rest of its listing here. No caller has
these key objects. The listing is freed when no thread is at that instruction any more. The next copy checks this, and
``[]`` checks it from time to time.

One case cannot be distinguished from a copy: C code that returns a list of ``keys()``, in a loop in which the same instruction of the
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
_strangers = count()  # calls of [] by other code


def place(depth: int) -> _Place | None:
    """The position of the frame *depth* calls above the caller; None if only C code is there."""
    try:
        frame = _getframe(depth + 1)
    except ValueError as error:
        if is_foreign(error):
            raise
        return None
    return id(frame), IN_LOOP if frame.f_code is _LOOP else frame.f_lasti


class Copy:
    """The rest of a listing for a copy: keys and values, in order."""

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
    """The value of *key*, if a copy reads it; else None. A method of stores, called by [] (csrc/python/get.c)."""
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
    """Drop the listings of copies that no thread is making any more."""
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
    """The entries that are present. A value that cannot be read raises when the copy reads it."""
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
