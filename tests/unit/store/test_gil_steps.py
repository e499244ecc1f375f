"""Long calls work in steps of a bounded size, and other threads of the process run between two of them."""

from __future__ import annotations

import threading
from itertools import islice, repeat

import pytest

from shmstore._core import ffi, lib
from shmstore._store import many
from shmstore._store.keys import ALL_KEYS

ENTRIES = 20_000
SLOTS, KEYS = 2048, 1024  # of a step: SHMS_WALK_SLOTS in walk.h, KEYS_AT_ONCE in walk.c
END = 2**64 - 1


@pytest.fixture(params=[None, 1000], ids=["", "ttl"])
def full(make, request):
    store = make(size="16M", max_entries=100_000)
    store.put_many({f"key {n}": n for n in range(ENTRIES)}, ttl=request.param)
    return store


@pytest.fixture
def others():
    """A list to which another thread appends whenever it may run."""
    ran, stop = [0], threading.Event()

    def run():
        while not stop.is_set():
            if len(ran) < 10_000_000:
                ran.append(0)

    thread = threading.Thread(target=run)
    thread.start()
    yield ran
    stop.set()
    thread.join()


CALLS = {
    "len": lambda store, seen: zip(seen(1), map(len, [store]), seen(1)),
    "list": lambda store, seen: zip(store, seen()),
    "list(keys())": lambda store, seen: zip(store.keys("key"), seen()),
    "len(keys())": lambda store, seen: zip(seen(1), map(len, [store.keys("key")]), seen(1)),
    "len(keys()) of none": lambda store, seen: zip(seen(1), map(len, [store.keys("x")]), seen(1)),
    "get_many": lambda store, seen: zip(seen(1), map(store._get_many, [KEYS_OF_ALL]), seen(1)),
    "put_many": lambda store, seen: zip(
        seen(1), map(store._put_many, [KEYS_OF_ALL], [tuple(range(ENTRIES))], [None], [many.SET], [None]), seen(1)
    ),
    "delete_many": lambda store, seen: zip(seen(1), map(store._delete_many, [KEYS_OF_ALL]), seen(1)),
}
KEYS_OF_ALL = tuple(f"key {n}" for n in range(ENTRIES))


@pytest.mark.parametrize("call", CALLS)
def test_other_threads_run_within_a_call(full, others, call):
    """list() drives the call and notes what the other thread has done, all in C: no Python code here lets it run."""

    def seen(times=None):
        return map(len, repeat(others) if times is None else repeat(others, times))

    for _ in range(1000):  # the machine may give the other thread no core for a while
        rows = list(CALLS[call](full, seen))
        if rows[0][0 if len(rows[0]) == 3 else 1] != rows[-1][-1]:
            return
    raise AssertionError(f"no other thread ran within {call}")


def test_a_walk_looks_at_a_bounded_number_of_slots(full):
    """Batches of keys end at the first of two limits."""
    walk, slots, before = full._walk(b"", ALL_KEYS), [], 0
    for _ in walk:
        if walk.cursor not in (before, END):
            slots.append(walk.cursor - before)
            before = walk.cursor
    assert max(slots) <= SLOTS and len(slots) > ENTRIES // KEYS


def test_a_repair_looks_at_a_bounded_number_of_buckets(full):
    state, steps = ffi.new("struct shms_repair *"), 1
    while lib.shms_repair_some(full._handle, state) == lib.SHMS_AGAIN:
        steps += 1
    assert state.lost == 0
    assert steps > 3 * (125_000 // 7 // 64)  # three walks in pages of 64 buckets


def test_clear_removes_a_bounded_number_at_once(full, monkeypatch):
    batches = []
    monkeypatch.setattr(many, "islice", lambda walk, most: batches.append(most) or islice(walk, most))
    assert full.clear() == ENTRIES and set(batches) == {many.AT_ONCE} and many.AT_ONCE <= 256


def test_popitem_goes_on_where_it_was(full):
    """Popping all entries of a store walks once through its table, and not once for each entry."""
    walk, cursors = full._walk, []

    class Counting(type(full)):
        __slots__ = ()

        def _walk(self, prefix, kind, first=0, end=END, most=1, /):
            if end > first + 1:  # else it looks at what was put last
                cursors.append(first)
            return super()._walk(prefix, kind, first, end, most)

    assert walk is not None
    full.__class__ = Counting
    assert len({full.popitem()[0] for _ in range(ENTRIES // 2)}) == ENTRIES // 2
    assert cursors == sorted(cursors) and ENTRIES // 2 - 1 <= len(cursors) <= ENTRIES // 2


def test_clear_leaves_free_memory_to_all(full, monkeypatch):
    """What a process keeps for its next puts is given up at the end of clear()."""
    gave_up = []

    class Spy:
        def shms_give_up_hints(self, handle):
            gave_up.append(len(full))
            lib.shms_give_up_hints(handle)

    monkeypatch.setattr(many, "lib", Spy())
    full.clear()
    assert gave_up == [0]
    full["a"] = 1
    full.check()
