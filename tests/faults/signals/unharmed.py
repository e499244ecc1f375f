"""What signals must leave as it was, and the cases that they strike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from calls import fill
from more_calls import Blocks
from strikes import footprint

import shmstore
from shmstore import Store

# A signal may strike between the call that makes a file or a coroutine and the one that enters or awaits it. Then only its
# finalizer closes it, which warns.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]


MORE_THAN_PINS = 300


def numbered(calls: dict[str, list[Callable[..., Any]]]) -> list[tuple[str, Callable[..., Any]]]:
    """Each call with a name of its own: the method's, and a number from the second on."""
    return [(f"{name} {at}" if at else name, call) for name, of_one in calls.items() for at, call in enumerate(of_one)]


def pins(store: Store[Any]) -> int:
    """How many values can be viewed at once. Views of one value share a pin."""
    names = [f"pin {number}" for number in range(MORE_THAN_PINS)]
    store.put_many(dict.fromkeys(names, b"p"))
    views: list[memoryview] = []
    try:
        views.extend(map(store.view, names))
    except shmstore.StoreFull:
        pass
    count = len(views)
    views.clear()
    store.delete_many(names)
    assert count < MORE_THAN_PINS
    return count


def counted(found: dict[str, Any]) -> dict[str, Any]:
    """A footprint without the numbers by which the kernel knows segments and sockets."""
    descriptors = {number: name.partition("[")[0] for number, name in found["descriptors"].items()}
    return {**found, "descriptors": descriptors, "segments": len(found["segments"])}


@contextlib.contextmanager
def store_unharmed(store: Store[Any]) -> Iterator[None]:
    """No pin, descriptor, mapping, segment or client is left, and check() finds nothing."""
    fill(store)
    with_ids = store.info().id
    clients, before, views = store.stats().clients, footprint(), pins(store)
    yield
    fill(store)
    after = pins(store), footprint(), store.stats().clients
    if store.info().id != with_ids:  # it was resized: another segment, and another socket, but not one more
        before, after = counted(before), (after[0], counted(after[1]), after[2])
    assert after == (views, before, clients), f"{after} instead of {(views, before, clients)}"
    assert store.stats().zombies == 0 and store.check() == 0


class FreshBlocks:
    """The blocks of shared memory that a call works on, made anew before each call."""

    def __init__(self) -> None:
        self.blocks: Blocks | None = None

    def renew(self) -> None:
        self.end()
        self.blocks = Blocks()

    def end(self) -> None:
        if self.blocks is not None:
            self.blocks.end()
            self.blocks = None


@contextlib.contextmanager
def process_unharmed(call: Callable[[Blocks], Any]) -> Iterator[FreshBlocks]:
    """A call was made once, for what it imports; nothing of the kernel's is left at the end."""
    fresh = FreshBlocks()
    fresh.renew()
    call(fresh.blocks)
    fresh.end()
    before = footprint()
    yield fresh
    fresh.end()
    after = footprint()
    assert after == before, f"{after} instead of {before}"
