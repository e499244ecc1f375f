"""What check() finds, what check(repair=True) mends, and deaths in the midst of both.

What is broken here stays broken (mended=False): survivors repair it once more, after the one who died repairing it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cases import case, fails, tried
from cases_processes import patience
from cases_raced import asleep, emptied, holds, raced
from cases_scribbled import at_block, scribbled
from raw_segment import Segment, far, get, home_of, put
from store_setup import UNUSED, crowd, two_zombies, value

import shmstore


# ---- each broken invariant
def found(
    name: str, scribble: Callable[[Segment], None], lost: dict[str, list[Any]] | None = None, **changes: Any
) -> None:
    """lost: what the names that cannot be kept may be, beside what they were."""
    scribbled(f"check finds {name}", scribble, lambda s, _: fails(s.check), **changes)
    scribbled(
        f"repair {name}",
        scribble,
        lambda s, _: s.check(repair=True),
        mended=False,
        repaired=True,
        changes=lost or {},
        **changes,
    )


def twice(g: Segment) -> None:
    """The block of k1 says that it is k2's, and lies in the home of k2."""
    k1, k2 = g.block("k1"), g.block("k2")
    old, home = g.slot("k1"), g.slots + 64 * home_of(g.store, "k2")
    empty = next(home + 8 * i for i in range(1, 8) if not get(g.memory, home + 8 * i))
    if empty < g.slot("k2") < home + 64:  # the copy is to be the later one
        put(g.memory, empty, get(g.memory, g.slot("k2")))
        put(g.memory, k2 + 32, (empty - g.slots) // 64 * 7 + (empty - g.slots) % 64 // 8 - 1, 4)
        empty, _ = home + 8 * 7, None
    word = get(g.memory, g.slot("k2")) & ~(2**40 - 1)
    put(g.memory, old, 0)
    put(g.memory, empty, word | k1 // 16)
    g.memory[k1 + 8 : k1 + 16] = g.memory[k2 + 8 : k2 + 16]
    put(g.memory, k1 + 32, (empty - g.slots) // 64 * 7 + (empty - g.slots) % 64 // 8 - 1, 4)
    g.memory[k1 + 40 : k1 + 42] = b"k2"


def no_due(g: Segment) -> None:
    for group in range((g.buckets + 7) // 8):
        put(g.memory, g.due + 8 * group, 0)


K1: dict[str, list[Any]] = {"k1": [None]}


def page(name: str, at: int, change: Callable[[int], int], further: int = 0) -> Callable[[Segment], None]:
    """A word of the page table: of the span of that entry, or so many pages further."""

    def scribble(g: Segment) -> None:
        where = g.page_of(name) + 32 * further + at
        put(g.memory, where, change(get(g.memory, where)))

    return scribble


def free_page(g: Segment) -> int:
    return next(at for at in range(g.pages, g.pages + 32 * get(g.memory, 272), 32) if not get(g.memory, at))


def free_block(g: Segment) -> int:
    """In the span of k1."""
    first = g.heap + (g.page_of("k1") - g.pages) // 32 * 4096
    return next(at for at in range(first + 4096 // 80 * 80 - 80, first, -80) if at not in g.blocks.values())


def count_of_mine(at: int) -> Callable[[Segment], None]:
    def scribble(g: Segment) -> None:
        where = g.client(1) + 64 + 8 * at
        put(g.memory, where, get(g.memory, where) + 16)

    return scribble


LARGE_LOST: dict[str, list[Any]] = {"large": [None]}
found("a page of nobody", lambda g: put(g.memory, free_page(g), 4711 << 2 | 1))
found("a page with an impossible word", lambda g: put(g.memory, free_page(g), 4711 << 2 | 3))
found("an open span of no class", page("large", 8, lambda w: w | 0xF0), lost=LARGE_LOST)
found("an open span of too many pages", page("large", 8, lambda w: w + (1 << 30)), lost=LARGE_LOST)
found("a page inside a span that says another number", page("large", 0, lambda w: w + 4, 1), lost=LARGE_LOST)
found("a page inside a span that says another distance", page("large", 8, lambda w: w + 1, 1), lost=LARGE_LOST)
found("a page inside a span that is free", page("large", 0, lambda w: 0, 1), lost=LARGE_LOST)
found("a span with another number", page("large", 0, lambda w: w + 4), lost=LARGE_LOST)
found("a span that is free", page("large", 0, lambda w: 0), lost=LARGE_LOST)
found("a free block that is alive", lambda g: put(g.memory, free_block(g), 4711 << 2))
found("a free block that is a zombie", lambda g: put(g.memory, free_block(g), 4711 << 2 | 2))
found("a free block of another span", lambda g: put(g.memory, free_block(g), get(g.memory, free_block(g)) ^ 1 << 40))
found("a free block of zeros", lambda g: put(g.memory, free_block(g), 0))
found("a miscount of entries", count_of_mine(8))
found("a miscount of bytes", count_of_mine(9))
found("a slot that names no block", lambda g: put(g.memory, g.slot("k1"), get(g.memory, g.slot("k1")) + 1), lost=K1)
found(
    "a slot that points out of the heap",
    lambda g: put(g.memory, g.slot("k1"), get(g.memory, g.slot("k1")) | (2**40 - 1)),
    lost=K1,
)
found("impossible lengths", at_block("k1", 24, (1 << 63) | 2 << 8), lost=K1)
found("another hash", at_block("k1", 8, 12345), lost=K1)
found("another slot", at_block("k1", 32, 3, 4))
found("another tag", lambda g: put(g.memory, g.slot("k1"), get(g.memory, g.slot("k1")) ^ 1 << 60), lost=K1)
found("a block without a word", at_block("k1", 0, 0), lost=K1)
found("a zombie in a slot", lambda g: put(g.memory, g.block("k1"), get(g.memory, g.block("k1")) & ~3 | 2), lost=K1)
found("the same name twice", twice, lost={**K1, "k2": [value("k1", "old")]})
found("an entry that is due too late", no_due)
found("a block that nobody has", lambda g: put(g.memory, g.slot("k1"), 0), lost=K1)
found("a lock of nobody", lambda g: put(g.memory, g.slots + 64 * home_of(g.store, "k2"), 9, 2))
found("a page that is not in the summary", lambda g: put(g.memory, g.summary, 0))
found(
    "a reach that is too short",
    lambda g: [put(g.memory, g.slots + 64 * i + 2, 0, 1) for i in range(g.buckets)],
    setup=crowd,
)


# ---- repair where nothing is broken, where somebody stands in the way, and where a name was put anew meanwhile
def former(g: Segment) -> None:
    """The farthest of a crowd is out of reach, and its name was put again, nearer to home."""
    name, near = far(g.store, 9), far(g.store, 0)
    g.store.delete(near)
    put(g.memory, g.slots + 64 * home_of(g.store, name) + 2, 0, 1)
    g.store.put(name, 0)


REPAIR: dict[str, Any] = {"sampled": False, "stops": False}
case("repair what is sound", lambda s, _: s.check(repair=True), **REPAIR)
case("repair what is sound, POSIX", lambda s, _: s.check(repair=True), backend="posix", **REPAIR)
case("repair with views", lambda s, _: s.check(repair=True), setup=two_zombies, kept=1, **REPAIR)
case(
    "repair readonly",
    lambda key, _: fails(lambda: shmstore.Store(key, readonly=True).check(repair=True)),
    opens=True,
    **REPAIR,
)
case("repair behind a held bucket", lambda s, _: s.check(repair=True), behind=("put over", "bucket"), timeout=patience,
     changes={"k2": [value("k2", "new")]}, thin=17, **REPAIR)  # fmt: skip
case("repair beside one that opens a span", lambda s, _: s.check(repair=True), behind=("put over, a class without a span", "opening"),
     timeout=patience, changes={"k2": [value("k2", "new", UNUSED)]}, thin=17, **REPAIR)  # fmt: skip
scribbled("repair a name that was put anew", former, lambda s, _: s.check(repair=True), mended=False, repaired=True, setup=crowd,
          changes={"far#0": [None]})  # fmt: skip


# ---- others go on while it is repaired
THIN: dict[str, Any] = {"thin": 5}


def repairs(store: Any, _: Any) -> str:
    return tried(lambda: store.check(repair=True))


raced("repair, and the slot is emptied meanwhile", repairs, emptied("k2"), changes={"k2": [None]}, **THIN)
raced("repair, and others fall asleep meanwhile", repairs, asleep, **THIN)
raced("repair, and a bucket is held meanwhile", repairs, holds(), timeout=0.001, **THIN)


def out_of_reach(g: Segment) -> None:
    """Nobody finds k0 and k1: each lies in the bucket behind its home, which says that none of its entries is so far."""
    for name in ("k0", "k1"):
        home, word, slot = home_of(g.store, name), get(g.memory, g.slot(name)), g.slot(name)
        behind = (home + 1) % g.buckets
        index = next(i for i in range(7) if not get(g.memory, g.slots + 64 * behind + 8 + 8 * i))
        put(g.memory, slot, 0)
        put(g.memory, g.slots + 64 * behind + 8 + 8 * index, word)
        put(g.memory, g.block(name) + 32, 7 * behind + index, 4)
    for name in ("k0", "k1"):
        put(g.memory, g.slots + 64 * home_of(g.store, name) + 2, 0, 1)


def put_anew(store: Any) -> None:
    for name in ("k0", "k1"):
        store.put(name, value(name, "anew"))


def put_anew_and_sleep(store: Any) -> None:
    put_anew(store)
    asleep(store)


NEARER: dict[str, Any] = {**THIN, "scribble": lambda store: out_of_reach(Segment(store)), "repaired": True,
                          "changes": {name: [value(name, "old"), value(name, "anew"), None] for name in ("k0", "k1")}}  # fmt: skip
raced("repair, and a name out of reach is put anew meanwhile", repairs, put_anew, **NEARER)
raced("repair, and a name out of reach is put anew meanwhile, with sleepers", repairs, put_anew_and_sleep, **NEARER)


# ---- check beside others
case("check readonly", lambda key, _: shmstore.Store(key, readonly=True).check(), opens=True, sampled=False)
case("check beside a held bucket", lambda s, _: s.check(), stops=False, behind=("put over", "bucket"), timeout=patience,
     changes={"k2": [value("k2", "new")]}, sampled=False, thin=97)  # fmt: skip
case("check beside one that opens a span", lambda s, _: s.check(), stops=False, behind=("put over, a class without a span", "opening"),
     timeout=patience, changes={"k2": [value("k2", "new", UNUSED)]}, sampled=False, thin=97)  # fmt: skip
case("check with views", lambda s, _: s.check(), setup=two_zombies, kept=1, sampled=False, stops=False)
