"""Signals at random times, from a timer and a thread, against every public call: what no list of places can name.

They strike in libraries, in C calls that look at signals, and in functions of the user's. Each call is made until it was
struck so many times, or so often that it seems to end before a signal can come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from calls import CALLS, Mine, Point, fill, held, reopened, whole
from more_calls import MEMORY, Blocks, quietly
from strikes import CLASSES, Storm
from unharmed import numbered, process_unharmed, pytestmark, store_unharmed  # noqa: F401

from shmstore import CodecError, Store

# asyncio logs what comes up in a callback of its own, and goes on without it. What is acquired by hand is lost if a signal
# strikes between the return of acquire() and the next instruction, as it is of a lock of the module threading.
LOST = {"runs", "awaits", "acquired", "entered_twice", "of_two_threads"}
CASES = [
    (name, call)
    for name, call in numbered(CALLS)
    if not LOST & {call.__name__, *getattr(call, "__code__", quietly.__code__).co_names}
]
OF_MEMORY = numbered(MEMORY)
QUICK, FULL = 6, 150  # strikes on each call
COUNTS = {"delivered": 0, "struck": 0, "calls": 0}


@pytest.fixture(scope="module", autouse=True)
def told() -> Iterator[None]:
    """How much was tried, for -s."""
    yield
    print(f"\n{COUNTS['delivered']} signals, {COUNTS['struck']} of {COUNTS['calls']} calls struck")


def storm(
    call: Callable[[], Any], strikes: int, seed: int, prepare: Callable[[], Any], check: Callable[[], bool]
) -> None:
    with Storm(seed) as weather:
        for made in range(strikes * 20):
            if weather.struck >= strikes:
                break
            prepare()
            kind = CLASSES[made % len(CLASSES)]
            caught = weather.strike(call, kind, within=2e-5 * (1 + made % 40))
            told = f"seed {seed}, call {made}: a {kind.__name__} became {caught!r}"
            assert caught is None, told
            assert check(), told
            COUNTS["calls"] += 1
        COUNTS["delivered"] += weather.delivered
        COUNTS["struck"] += weather.struck


def strike(store: Store[Any], call: Callable[[Store[Any]], Any], strikes: int, seed: int) -> None:
    call(store)
    with store_unharmed(store):
        storm(lambda: call(store), strikes, seed, lambda: fill(store), lambda: whole(store) and held(store) == [])


@pytest.mark.parametrize("name, call", CASES, ids=[name for name, _ in CASES])
def test_calls(store, name, call):
    strike(store, call, QUICK, len(name))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name, call", CASES, ids=[name for name, _ in CASES])
def test_calls_in_a_long_storm(store, name, call, seed):
    strike(store, call, FULL, seed)


def strike_blocks(call: Callable[[Blocks], Any], strikes: int, seed: int) -> None:
    with process_unharmed(call) as fresh:
        storm(lambda: call(fresh.blocks), strikes, seed, fresh.renew, lambda: True)


# What these make has a number or a name and no owner: it is lost if a signal strikes as the caller gets it.
GIVEN = {"SharedMemory.__init__", "SharedMemory.__init__ 1", "ShareableList.__init__", "posix.shm_open"}
OWNED = [case for case in OF_MEMORY if case[0] not in GIVEN]


@pytest.mark.slow
@pytest.mark.parametrize("name, call", OWNED, ids=[name for name, _ in OWNED])
def test_memory_in_a_long_storm(name, call):
    strike_blocks(call, FULL // 3, 0)


VALUES = {
    "registered": ("msgpack", [Point(i) for i in range(300)]),
    "hashed by Python": ("msgpack", {Point(i): {Point(-i)} for i in range(200)}),
    "pickle": ("pickle", [{Point(i): (i,)} for i in range(300)]),
    "a codec of the user's": (Mine(), [(i, str(i)) for i in range(300)]),
}  # fmt: skip


@pytest.mark.parametrize("case", VALUES)
def test_functions_of_the_user(store, case):
    """It passes through these, too; and what they raise of their own is a CodecError as ever."""
    codec, value = VALUES[case]
    with reopened(store, codec=codec) as other:
        other["other"] = value
        storm(lambda: other["other"], 40, 1, lambda: None, lambda: True)
        storm(lambda: other.put("v", value), 40, 2, lambda: None, lambda: True)
        assert other["other"] == value
    with pytest.raises(CodecError):
        store.put("v", [object()])
