"""Green threads: in a thread that runs a hub of gevent or eventlet, what waits lets the hub run the others.

A hub is used if this thread has one, and the caller is not the hub itself; or, in the main thread, if the program was
monkey-patched, because then it will have one. Both packages are looked for among the modules that the program has imported.
This one imports neither.
"""

from __future__ import annotations

import os
import sys
from _thread import get_native_id

from shmstore._base.calls import through
from shmstore._base.imports import late
from shmstore._store.listening import Ear, Waiter, ear_of, first_look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from shmstore._store.keys import EntryKey
    from shmstore.store import Store

    gevent_event: Any
    eventlet_event: Any
else:
    gevent_event, eventlet_event = late("gevent.event"), late("eventlet.event")

__all__ = ["current", "hub_ear", "wait_in_hub"]

_PATCHED = "time", "threading", "thread", "select", "socket"


class _Future:
    """What a green thread waits for; set_result() in C uses it as one of asyncio."""

    __slots__ = ("event", "result", "send")

    def __init__(self, event: Any, send: Callable[[], object]) -> None:
        self.event = event
        self.send = send
        self.result: Any = None

    def done(self) -> bool:
        return self.result is not None

    def set_result(self, result: Any) -> None:
        self.result = result
        self.send()


class HubEar(Ear):
    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self.readers: dict[int, Any] = {}

    def future(self) -> _Future:
        raise NotImplementedError


class _Timer:
    """A timer of gevent, with the method of the others."""

    __slots__ = ("timer",)

    def __init__(self, timer: Any) -> None:
        self.timer = timer

    def cancel(self) -> None:
        self.timer.stop()
        self.timer.close()


class _GeventEar(HubEar):
    def future(self) -> _Future:
        event = gevent_event.Event()
        return _Future(event, event.set)

    def _call_when_readable(self, fd: int, function: Callable[[], object]) -> None:
        reader = self.readers[fd] = self.loop.loop.io(fd, 1)
        reader.start(function)

    def _forget(self, fd: int) -> None:
        reader = self.readers.pop(fd, None)
        if reader is not None:
            reader.stop()
            reader.close()

    def _call_later(self, seconds: float, function: Callable[..., object], *arguments: Any) -> Any:
        self.loop.loop.update_now()
        timer = self.loop.loop.timer(seconds)
        timer.start(function, *arguments)
        return _Timer(timer)


class _EventletEar(HubEar):
    def future(self) -> _Future:
        event = eventlet_event.Event()
        return _Future(event, event.send)

    def _call_when_readable(self, fd: int, function: Callable[[], object]) -> None:
        def readable(_: int) -> None:
            function()

        def refuse(*error: object) -> None:
            """A call when the descriptor is waited for in vain: it never is."""

        self.readers[fd] = self.loop.add(self.loop.READ, fd, readable, refuse, refuse)

    def _forget(self, fd: int) -> None:
        reader = self.readers.pop(fd, None)
        if reader is not None:
            self.loop.remove(reader)

    def _call_later(self, seconds: float, function: Callable[..., object], *arguments: Any) -> Any:
        return self.loop.schedule_call_global(seconds, function, *arguments)


def _patched(is_patched: Callable[[str], bool]) -> bool:
    return get_native_id() == os.getpid() and any([is_patched(module) for module in _PATCHED])


def _gevent() -> Any:
    """The hub of this thread, if there is one that others can run in."""
    local, monkey = sys.modules.get("gevent._hub_local"), sys.modules.get("gevent.monkey")
    hub = local.get_hub_if_exists() if local is not None else None
    if hub is None and monkey is not None and _patched(monkey.is_module_patched):
        hub = sys.modules["gevent"].get_hub()
    return None if hub is None or sys.modules["greenlet"].getcurrent() is hub else hub


def _eventlet() -> Any:
    hubs, patcher = sys.modules.get("eventlet.hubs"), sys.modules.get("eventlet.patcher")
    hub = getattr(hubs._threadlocal, "hub", None) if hubs is not None else None
    if hub is None and hubs is not None and patcher is not None and _patched(patcher.is_monkey_patched):
        hub = hubs.get_hub()
    return None if hub is None or sys.modules["greenlet"].getcurrent() is hub.greenlet else hub


def hub_ear() -> HubEar | None:
    """What the caller should wait with, if it is a green thread."""
    for package, find, kind in (("gevent", _gevent, _GeventEar), ("eventlet", _eventlet, _EventletEar)):
        hub = find() if package in sys.modules else None
        if hub is not None:
            return ear_of(hub, kind)
    return None


def current() -> int:
    """A number of the green thread that runs, among those of its thread; 0: there are none."""
    if "gevent" in sys.modules or "eventlet" in sys.modules:
        greenlet = sys.modules.get("greenlet")
        if greenlet is not None and (_gevent() is not None or _eventlet() is not None):
            return id(greenlet.getcurrent())
    return 0


def wait_in_hub(
    ear: HubEar, store: Store[Any], key: EntryKey, after: int | None, left: int, owners: Sequence[bytes] = ()
) -> int:
    """As wait_in_loop()."""
    found = first_look(store, key, after, left)
    if found is not None:
        return found
    waiter = Waiter(store, key, after, ear.future(), owners)
    try:
        ear.add(waiter, left)
        waiter.future.event.wait()
        version, error = waiter.future.result
    finally:
        through(ear.remove, waiter)
    if error is not None:
        raise error
    return int(version)
