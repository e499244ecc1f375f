"""Waiting for many keys in one event loop: an asyncio loop, or the hub of gevent or eventlet.

Each loop has one Ear while it has waiters: a descriptor that becomes readable when a bucket with a key that is waited for has
changed. A thread of C code sets it (csrc/api/listen.c), one for all loops and up to 127 stores of this process. So a waiter
costs an entry of a dict and a timer, and no thread. While nothing happens, the thread and each loop wake once a second.

A waiter ends when its key has another version than *after*, when one of its *owners* has died, when its time is up, or when
the store is closed or destroyed. The kernel announces the death of an owner by a descriptor of its process (pidfd). Owners in
other pid namespaces are checked once a second.

Only the thread of the loop calls an Ear, except for coroutines that the garbage collector ends after their loop.
"""

from __future__ import annotations

import os
from time import monotonic

from shmstore._base.calls import set_result, through
from shmstore._base.durations import FOREVER
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import late
from shmstore._core import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from shmstore._store.keys import EntryKey
    from shmstore.store import Store

    _E = TypeVar("_E", bound="Ear")
else:
    asyncio = late("asyncio")

__all__ = ["TIME_IS_UP", "Ear", "Waiter", "ear_of", "ears", "first_look", "wait_in_loop"]

TIME_IS_UP = -1  # instead of a version
_OWNER_GONE = -2
_LOG = 64  # layout.h: SHMS_BELL_LOG
_DAY = 86400.0  # seconds: some hubs refuse timers of a month
_EVERYTHING = 0.9  # seconds after which all keys are looked at, at the next wake


class Waiter:
    """One that waits for a key. *future* gets the version, TIME_IS_UP or a negative number for "look yourself", and an error."""

    __slots__ = (
        "after",
        "bucket",
        "expiry",
        "future",
        "key",
        "kind",
        "listening",
        "owners",
        "places",
        "raw",
        "store",
        "timer",
    )

    def __init__(
        self, store: Store[Any], key: EntryKey, after: int | None, future: Any, owners: Sequence[bytes] = ()
    ) -> None:
        self.store = store
        self.key = key
        self.raw, self.kind = store._raw_key(key)
        self.after = after
        self.owners = {*owners}
        self.places: list[tuple[int, bytes]] = []  # of these in Ear.owners
        self.future = future
        self.listening: _Listening | None = None
        self.bucket = -1
        self.timer: Any = None  # of the timeout
        self.expiry: Any = None


class _Listening:
    """What waits in a loop for keys of one handle."""

    __slots__ = ("counts", "handle", "places", "rings", "tagged")

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.rings = ffi.new("uint32_t *")
        self.places: dict[int, dict[Waiter, None]] = {}  # by bucket
        self.counts: dict[int, int] = {}  # of these buckets, as they were at a look that all their waiters had
        self.tagged: dict[Waiter, None] = {}  # whose entry an eviction may end, which moves no count


class _Owner:
    """A process that some wait for to release something, or to die."""

    __slots__ = ("fd", "waiters")

    def __init__(self) -> None:
        self.fd = -1  # a pidfd
        self.waiters: dict[Waiter, None] = {}


class Ear:
    """What waits in one loop. A subclass knows the loop: how to be called when a descriptor is readable, and later."""

    _give = staticmethod(set_result)

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.pid = os.getpid()
        self.fd = ffi.new("int *", -1)  # C writes it: no exception of a signal handler comes in between
        self.is_called = False
        self.listenings: dict[int, _Listening] = {}  # by handle
        self.owners: dict[tuple[int, bytes], _Owner] = {}
        self.looked = monotonic()
        self._answer = ffi.new("struct shms_announced *")
        self._buckets = ffi.new("uint32_t[]", _LOG)

    # ---- the loop's

    def _call_when_readable(self, fd: int, function: Callable[[], object]) -> None:
        raise NotImplementedError

    def _forget(self, fd: int) -> None:
        raise NotImplementedError

    def _call_later(self, seconds: float, function: Callable[..., object], *arguments: Any) -> Any:
        """What has a method cancel()."""
        raise NotImplementedError

    # ---- beginning and ending

    def add(self, waiter: Waiter, left: int) -> None:
        """From now on its future gets a result, within *left* ns. The caller removes the waiter in the end."""
        self._open()
        if left < FOREVER // 2:
            self._time(waiter, lib.shms_now() + left)
        self._look(waiter)
        if not waiter.future.done():
            self._watch_owners(waiter)

    def _time(self, waiter: Waiter, end: int) -> None:
        left = (end - lib.shms_now()) / 1e9
        if left > _DAY:
            waiter.timer = self._call_later(_DAY, self._time, waiter, end)
        else:
            waiter.timer = self._call_later(max(left, 0), self._give, waiter.future, (TIME_IS_UP, None))

    def remove(self, waiter: Waiter) -> None:
        if self.pid != os.getpid():
            return  # a forked child: the loop, and what the kernel knows of it, are the parent's
        for timer in (waiter.timer, waiter.expiry):
            if timer is not None:
                timer.cancel()
        self._leave(waiter)
        for place in waiter.places:
            owner = self.owners.get(place)
            if owner is not None:
                owner.waiters.pop(waiter, None)
                if not owner.waiters:
                    self._end_owner(place)
        if not self.listenings:
            if self.fd[0] >= 0:
                self._forget(self.fd[0])
            self.is_called = False
            lib.shms_event_close(self.fd)
            if ears.get(id(self.loop)) is self:
                del ears[id(self.loop)]

    def _open(self) -> None:
        if not self.is_called:
            ears[id(self.loop)] = self
            lib.shms_event_open(self.fd)
            if self.fd[0] < 0:
                raise OSError("a waiting event loop needs a descriptor, and the limit of open files is reached")
            self._call_when_readable(self.fd[0], self._heard)
            self.is_called = True

    def _enter(self, waiter: Waiter, bucket: int) -> None:
        handle = waiter.store._handle
        listening = self.listenings.get(handle)
        if listening is None:
            listening = _Listening(handle)
            status = lib.shms_listen(handle, self.fd[0], listening.rings)
            if status:
                raise waiter.store._fail(status)
            self.listenings[handle] = listening
        listening.places.setdefault(bucket, {})[waiter] = None
        waiter.listening, waiter.bucket = listening, bucket

    def _leave(self, waiter: Waiter) -> None:
        listening, bucket = waiter.listening, waiter.bucket
        if listening is None:
            return
        listening.tagged.pop(waiter, None)
        others = listening.places.get(bucket, {})
        others.pop(waiter, None)
        if not others:
            listening.places.pop(bucket, None)
            listening.counts.pop(bucket, None)
        if not listening.places and self.listenings.get(listening.handle) is listening:
            del self.listenings[listening.handle]
            lib.shms_unlisten(listening.handle, self.fd[0])
        waiter.listening = None

    # ---- looking

    def _look(self, waiter: Waiter) -> None:
        """Give the waiter its result, if there is one by now. Otherwise the next change of its bucket is heard."""
        try:
            status = self._announce(waiter)
            if status == lib.SHMS_OK:
                self._give(waiter.future, (self._answer.version, None))
        except BaseException as error:
            self._give(waiter.future, (0, error))

    def _announce(self, waiter: Waiter) -> int:
        answer, store = self._answer, waiter.store
        while True:
            status = lib.shms_announce(
                store._handle,
                waiter.raw,
                len(waiter.raw),
                waiter.kind,
                waiter.after is not None,
                waiter.after or 0,
                answer,
            )
            if status in (lib.SHMS_DESTROYED, lib.SHMS_CLOSED, lib.SHMS_SUPERSEDED):
                self._leave(waiter)
                store._reopen(status)
                waiter.raw, waiter.kind = store._raw_key(waiter.key)  # of a namespace it is another one now
            elif status != lib.SHMS_AGAIN:
                if status:
                    raise store._fail(status)
                return lib.SHMS_OK
            elif waiter.listening is None or waiter.listening.handle != store._handle:
                self._leave(waiter)
                self._enter(waiter, answer.bucket)  # and look again: it was not listened to before
            else:
                break
        if answer.left:
            if waiter.expiry is not None:
                waiter.expiry.cancel()
            waiter.expiry = self._call_later(min(answer.left / 1e9 + 1e-4, _DAY), self._look, waiter)
        if answer.tagged:
            waiter.listening.tagged[waiter] = None
        else:
            waiter.listening.tagged.pop(waiter, None)
        self._note(waiter.listening, waiter.bucket, answer.count)
        return lib.SHMS_AGAIN

    def _note(self, listening: _Listening, bucket: int, count: int) -> None:
        if listening.counts.setdefault(bucket, count) != count:
            listening.counts[bucket] = count
            self._look_in(listening, bucket)

    def _look_in(self, listening: _Listening, bucket: int) -> None:
        for waiter in list(listening.places.get(bucket, ())):
            self._look(waiter)

    # ---- hearing

    def _heard(self) -> None:
        """The descriptor is readable. If an exception of a signal handler ends this, the next look at everything makes up for it,
        and one of those that wait gets the exception."""
        try:
            lib.shms_event_clear(self.fd[0])
            for listening in list(self.listenings.values()):
                count = lib.shms_heard(listening.handle, listening.rings, self._buckets)
                if count < 0:
                    self._look_at_moved(listening)
                    self._look_for_leavers(listening.handle)
                for bucket in list(self._buckets[0 : max(count, 0)]):
                    self._look_in(listening, bucket)
            if monotonic() - self.looked > _EVERYTHING:
                self.looked = monotonic()
                self._look_at_everything()
        except BaseException as error:
            if not self._told(error):
                raise

    def _told(self, error: BaseException) -> bool:
        for listening in list(self.listenings.values()):
            for waiters in list(listening.places.values()):
                for waiter in waiters:
                    self._give(waiter.future, (0, error))
                    return True
        return False

    def _look_at_everything(self) -> None:
        """At what nobody announces: a death between a change and its ring, removal by the kernel, a death elsewhere."""
        for listening in list(self.listenings.values()):
            self._look_at_moved(listening)
        for place, owner in list(self.owners.items()):
            if any([waiter.store._is_gone(place[1], True) for waiter in list(owner.waiters)[:1]]):
                self._owner_gone(place)

    def _look_at_moved(self, listening: _Listening) -> None:
        buckets = ffi.new("uint32_t[]", list(listening.counts))
        counts = ffi.new("uint32_t[]", list(listening.counts.values()))
        moved = lib.shms_moved(listening.handle, buckets, counts, len(buckets))
        if moved < 0 or lib.shms_revalidate_now(listening.handle):  # it is closed or destroyed
            changed = list(listening.places)
        else:
            changed = list(buckets[0:moved])
        for bucket in changed:
            self._look_in(listening, bucket)
        for waiter in list(listening.tagged):
            self._look(waiter)

    # ---- owners

    def _look_for_leavers(self, handle: int) -> None:
        """Owners that have left, or that were found dead. It costs no system call for one of this pid namespace."""
        for place, owner in list(self.owners.items()):
            if place[0] == handle and any([w.store._is_gone(place[1], False) for w in list(owner.waiters)[:1]]):
                self._owner_gone(place)

    def _watch_owners(self, waiter: Waiter) -> None:
        store = waiter.store
        for name in waiter.owners:
            place = store._handle, name
            waiter.places.append(place)
            owner = self.owners.get(place)
            if owner is not None:
                owner.waiters[waiter] = None
                continue
            owner = self.owners[place] = _Owner()
            owner.waiters[waiter] = None
            self._open_owner(place, owner)
            if store._is_gone(name, True):  # the process id was not another one's before the descriptor was opened
                self._owner_gone(place)

    def _open_owner(self, place: tuple[int, bytes], owner: _Owner) -> None:
        pid = int.from_bytes(place[1][:8], "little") & 0x3FFFFF  # layout.h: the owner word
        if pid in (0, os.getpid()) or not hasattr(os, "pidfd_open"):
            return
        try:
            owner.fd = os.pidfd_open(pid)
        except OSError as error:  # an old kernel, another pid namespace, or it has ended
            if is_foreign(error):
                raise
            return
        self._call_when_readable(owner.fd, lambda: self._owner_gone(place))

    def _end_owner(self, place: tuple[int, bytes]) -> list[Waiter]:
        owner = self.owners.pop(place, None)
        if owner is None:
            return []
        if owner.fd >= 0:
            self._forget(owner.fd)
            os.close(owner.fd)
        return list(owner.waiters)

    def _owner_gone(self, place: tuple[int, bytes]) -> None:
        for waiter in self._end_owner(place):
            self._give(waiter.future, (_OWNER_GONE, None))


class LoopEar(Ear):
    """Of an asyncio loop."""

    def _call_when_readable(self, fd: int, function: Callable[[], object]) -> None:
        self.loop.add_reader(fd, function)

    def _forget(self, fd: int) -> None:
        if not self.loop.is_closed():
            self.loop.remove_reader(fd)

    def _call_later(self, seconds: float, function: Callable[..., object], *arguments: Any) -> Any:
        return self.loop.call_later(seconds, function, *arguments)


ears: dict[int, Ear] = {}  # by the id of the loop or hub, which its ear keeps alive; those in which something waits


def ear_of(loop: Any, kind: type[_E]) -> _E:
    ear = ears.get(id(loop))
    return ear if type(ear) is kind and ear.loop is loop and ear.pid == os.getpid() else kind(loop)


def first_look(store: Store[Any], key: EntryKey, after: int | None, left: int) -> int | None:
    """What need not be waited for, as wait_in_loop() returns it."""
    raw, kind = store._raw_key(key)
    answer = ffi.new("struct shms_announced *")
    status = lib.shms_announce(store._handle, raw, len(raw), kind, after is not None, after or 0, answer)
    if status == lib.SHMS_OK:
        return int(answer.version)
    return TIME_IS_UP if status == lib.SHMS_AGAIN and left <= 0 else None


async def wait_in_loop(
    store: Store[Any], key: EntryKey, after: int | None, left: int, owners: Sequence[bytes] = ()
) -> int:
    """The version that is not *after*, TIME_IS_UP, or another negative number: one of the owners is gone."""
    found = first_look(store, key, after, left)
    if found is not None:
        return found
    loop = asyncio.get_running_loop()
    waiter = Waiter(store, key, after, loop.create_future(), owners)
    ear = ear_of(loop, LoopEar)
    try:
        ear.add(waiter, left)
        version, error = await waiter.future
    finally:
        through(ear.remove, waiter)
    if error is not None:
        raise error
    return int(version)
