"""Cases of the heap's pages: spans that are opened where memory lacks, hints that end, and what a full store does first."""

from __future__ import annotations

import os
from typing import Any

from cases import quiet, tried
from cases_basic import OWN_SPAN, populate_own_span
from cases_posix import on_posix
from raw_segment import wrong_hints
from seccomp_faults import FULL
from store_setup import POSIX, ROOMY, another, due, fill, let_expire, populate_huge, two_zombies, value

import shmstore


# ---- a full store: everything is looked at once before it is called full
def scattered(store: Any) -> None:
    """Another process left spans that are empty, of which no hint says so, and a full heap."""
    with another(store) as other:
        for i in range(4):
            other.put(f"gone{i}", value(f"gone{i}", "old", 900 << i if i < 3 else 300))
        fill(other)
        for i in range(4):
            other.delete(f"gone{i}")
    wrong_hints(store)


quiet("put a large value where only tidying makes room", lambda s, _: tried(lambda: s.put("new", value("new", "new", OWN_SPAN))), setup=scattered,
      room=("filler0",), changes={"new": [value("new", "new", OWN_SPAN)]}, thin=3)  # fmt: skip
quiet("put into a full store where blocks are read", lambda s, _: tried(lambda: s.put("new", value("new", "new", 700))),
      setup=lambda s: (two_zombies(s), fill(s))[0], kept=1, room=("filler0",), changes={"new": [value("new", "new", 700)]}, thin=3)  # fmt: skip
quiet("put small values until spans of larger ones give blocks", lambda s, _: [tried(lambda n=n: s.put(n, n)) for n in ("s0", "s1", "s2")],
      setup=fill, room=("filler0",), changes={n: [n] for n in ("s0", "s1", "s2")}, thin=3)  # fmt: skip


# ---- spans of more than 64 blocks, and more spans than a class has hints for
def many_blocks(store: Any) -> None:
    for i in range(40):
        store.put(f"{i}", i)


quiet("put into a span of two maps", lambda s, _: [s.put(f"{i}", i) for i in range(90, 97)], populate=many_blocks, entries=200,
      prepare=lambda s: [s.put(f"{i}", i) for i in range(40, 90)], reads_only=True, thin=3)  # fmt: skip


def many_spans(store: Any) -> None:
    """Twenty spans of one class have free blocks; a class has fifteen hints."""
    for i in range(40):
        store.put(f"n{i}", b"n" * 1900)
    for i in range(0, 40, 2):
        store.delete(f"n{i}")


quiet("put where a class has more spans than hints", lambda s, _: [s.put(f"m{i}", b"m" * 1900) for i in range(3)], populate=many_spans,
      changes={f"m{i}": [b"m" * 1900] for i in range(3)}, size=256 << 10)  # fmt: skip
quiet(
    "delete where a class has more spans than hints",
    lambda s, _: s.delete("n1"),
    populate=many_spans,
    changes={"n1": [None]},
    size=256 << 10,
)
quiet(
    "close where much is kept",
    lambda s, _: s.close(),
    prepare=lambda s: [s.put(f"k{i}", value(f"k{i}", "old")) for i in range(4)],
)
quiet(
    "expire what has spans of its own",
    lambda s, _: s.expire_due(),
    setup=lambda s: let_expire(s, 2, OWN_SPAN),
    never=due,
)


# ---- pages without memory
for _size in (100, 5000, 9500):
    on_posix(f"put {_size} bytes where pages lack memory, in a full /dev/shm", lambda s, _, n=_size: tried(lambda: s.put("new", b"n" * n)), refused=FULL,
             populate=populate_own_span, changes={"new": [b"n" * _size]})  # fmt: skip
    on_posix(f"put {_size} bytes where pages lack memory", lambda s, _, n=_size: s.put("new", b"n" * n), populate=populate_own_span,
             changes={"new": [b"n" * _size]})  # fmt: skip
on_posix("put into a full store in a full /dev/shm", lambda s, _: tried(lambda: s.put("new", value("new", "new", 700))), refused=FULL,
         setup=fill, room=("filler0",), changes={"new": [value("new", "new", 700)]}, thin=3)  # fmt: skip


def given_back(name: str, after: bool, again: int = 0) -> None:
    """A private store: its pages go back, because no other process is attached. It ends with its process."""

    def prepare(_: Any) -> Any:
        store = shmstore.Store(shmstore.PRIVATE, backend=POSIX, size=64 << 20)
        store.put("first", b"f" * 9000)
        store.put("huge", b"h" * (24 << 20))
        if after:
            store.put("after", 1)
        if again:
            store.delete("huge")
        return store

    def act(_: Any, store: Any) -> None:
        if again:
            store.put("huge", b"g" * again)
            store.delete("huge")
        else:
            store.delete("huge")
        store.delete("first")

    on_posix(name, act, prepare=prepare)


given_back("give pages back at the end, POSIX", False)
given_back("give pages back within, POSIX", True)
given_back("use what was given back, POSIX", True, 3 << 20)
given_back("use what was given back at the end, POSIX", False, 3 << 20)


def close_of(store: Any) -> None:
    """The checking process's descriptor is gone, and with it what says that it is attached."""
    os.close(store._raw_info().descriptor)


on_posix("delete what gives pages back beside one without a descriptor", lambda s, _: s.delete("huge"), populate=populate_huge,
         size=ROOMY, unread=("huge",), setup=close_of)  # fmt: skip
