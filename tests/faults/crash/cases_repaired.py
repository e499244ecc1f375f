"""What check() finds, what check(repair=True) mends, and deaths in the midst of both.

What is broken here stays broken (mended=False): survivors repair it once more, after the one who died repairing it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cases import case, fails, quiet, tried
from cases_processes import patience
from cases_raced import asleep, emptied, holds, raced
from cases_scribbled import at_block, scribbled, tag
from raw_segment import (
    FL_MAP,
    HEADS,
    SL_MAP,
    TOP,
    USED,
    ZOMBIE_COUNT,
    ZOMBIES,
    Segment,
    arena_of_nobody,
    far,
    get,
    home_of,
    put,
    suspect,
)
from store_setup import WIDE, crowd, due, populate_two_arenas, two_zombies, value

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


def at_run(at: int, number: int, size: int = 8) -> Callable[[Segment], None]:
    return lambda g: put(g.memory, g.run()[1] + at, number, size)


def end_of_run(g: Segment) -> None:
    run = g.run()[1]
    put(g.memory, run + get(g.memory, run + 24) - 8, 16)


def lose_run(g: Segment) -> None:
    """A list and its bits are gone."""
    at, _ = g.run()
    fl, sl = divmod(g.free_list(), 16)
    put(g.memory, at, 0)
    maps = get(g.memory, g.arenas + SL_MAP + 2 * fl, 2) & ~(1 << sl)
    put(g.memory, g.arenas + SL_MAP + 2 * fl, maps, 2)
    if not maps:
        g.set_arena(FL_MAP, g.arena(FL_MAP) & ~(1 << fl))


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
found("a top outside", lambda g: g.set_arena(TOP, 1 << 40))
found("a top in the midst", lambda g: g.set_arena(TOP, g.arena(TOP) - 16))
found("a block that is wrong about its neighbour", tag("k1", lambda t: t ^ 0x40000000), lost=K1)
found("a run that touches another", at_run(24, 16))
found("a run that ends otherwise", end_of_run)
found("what is neither block nor run", tag("k1", lambda t: t & 0x40000000), lost=K1)
found("a miscount of bytes", lambda g: g.set_arena(USED, g.arena(USED) + 16))
found("maps that disagree", lambda g: g.set_arena(FL_MAP, g.arena(FL_MAP) ^ 1 << 33))
found("a list that is not in its map", lambda g: put(g.memory, g.arenas + HEADS + 8 * (33 * 16 + 15), g.run()[1]))
found("a list of what is no run", lambda g: put(g.memory, g.run()[0], g.block("k1")), lost=K1)
found("a list that goes back elsewhere", at_run(16, 4096))
found("a run in no list", lose_run)
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
found("a block without a sequence", at_block("k1", 0, 0), lost=K1)
found("the same name twice", twice, lost={**K1, "k2": [value("k1", "old")]})
found("an entry that is due too late", no_due)
found("a block that nobody has", lambda g: put(g.memory, g.slot("k1"), 0), lost=K1)
found("a zombie that is no block", lambda g: g.set_arena(ZOMBIES, 16 + g.block("k1")))
found("a miscount of zombies", lambda g: g.set_arena(ZOMBIE_COUNT, 5))
found("a lock of nobody", lambda g: put(g.memory, g.slots + 64 * home_of(g.store, "k2"), 9, 2))
found("a page that is not in the summary", lambda g: put(g.memory, g.summary, 0))
found(
    "a reach that is too short",
    lambda g: [put(g.memory, g.slots + 64 * i + 2, 0, 1) for i in range(g.buckets)],
    setup=crowd,
)


def first_of_heap(g: Segment) -> None:
    """The first block begins a granule later, with all that it says: before it is a gap too small for a run."""
    name = min(g.blocks, key=lambda name: int(g.blocks[name])).decode()
    block, slot = g.block(name), g.slot(name)
    end = block + (get(g.memory, block + 36, 4) & 0x1FFFFFFF) * 16
    g.memory[block + 16 : end] = bytes(g.memory[block : end - 16])
    put(g.memory, block + 16 + 36, get(g.memory, block + 16 + 36, 4) - 1, 4)
    put(g.memory, slot, get(g.memory, slot) + 1)


found("a block that ends too early", tag("k1", lambda t: t - 1))
found("a gap too small for a run at the heap's beginning", first_of_heap, lost={"k0": [None]})
BOTH: dict[str, Any] = {"populate": populate_two_arenas, "size": WIDE, "never": due}
found("another hash, two arenas", at_block("k1", 8, 12345), lost=K1, **BOTH)
found("the same name twice, two arenas", twice, lost={**K1, "k2": [value("k1", "old")]}, **BOTH)
found(
    "a reach that is too short, two arenas",
    lambda g: [put(g.memory, g.slots + 64 * i + 2, 0, 1) for i in range(g.buckets)],
    setup=crowd,
    **BOTH,
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
case(
    "repair what is sound, two arenas",
    lambda s, _: s.check(repair=True),
    populate=populate_two_arenas,
    size=WIDE,
    never=due,
    **REPAIR,
)
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
case("repair behind a held arena", lambda s, _: fails(lambda: s.check(repair=True)), behind=("put over", "freeing"), timeout=patience,
     changes={"k2": [value("k2", "new")]}, thin=17, **REPAIR)  # fmt: skip
case("repair where the arena's lock is nobody's", lambda s, _: s.check(repair=True), scribble=arena_of_nobody, **REPAIR)
scribbled("repair a name that was put anew", former, lambda s, _: s.check(repair=True), mended=False, repaired=True, setup=crowd,
          changes={"far#0": [None]})  # fmt: skip


# ---- others go on while it is repaired
THIN: dict[str, Any] = {"thin": 5}


def repairs(store: Any, _: Any) -> str:
    return tried(lambda: store.check(repair=True))


def with_no_arena_held(meanwhile: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What nobody does, or can do, while somebody holds an arena."""

    def do(store: Any) -> None:
        segment = Segment(store)
        held = any(get(segment.memory, segment.arenas + 4736 * a, 2) for a in range(get(segment.memory, 252, 4)))
        segment.memory.release()
        if not held:
            meanwhile(store)

    return do


raced(
    "repair, and the slot is emptied meanwhile",
    repairs,
    with_no_arena_held(emptied("k2")),
    changes={"k2": [None]},
    **THIN,
)
raced("repair, and others fall asleep meanwhile", repairs, asleep, **THIN)
raced("repair, and others fall asleep meanwhile, two arenas", repairs, asleep, **BOTH, **THIN)
for _arena in (True, False):
    raced(
        f"repair, and {'the arena' if _arena else 'a bucket'} is held meanwhile",
        repairs,
        holds(_arena),
        timeout=0.001,
        **THIN,
    )


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
raced("repair, and a name out of reach is put anew meanwhile", repairs, with_no_arena_held(put_anew), **NEARER)
raced(
    "repair, and a name out of reach is put anew meanwhile, two arenas",
    repairs,
    with_no_arena_held(put_anew),
    **{**BOTH, **NEARER},
)
raced(
    "repair, and a name out of reach is put anew meanwhile, with sleepers",
    repairs,
    with_no_arena_held(put_anew_and_sleep),
    **NEARER,
)


# ---- check beside others, and rebuilding much
def many(store: Any) -> None:
    for i in range(1100):
        store.put(f"n{i}", i)


case("rebuild of many", lambda s, _: s.put("new", 1), size=1 << 20, entries=1200, populate=many, setup=suspect, changes={"new": [1]},
     sampled=False, stops=False, reads_only=True)  # fmt: skip
case("check, two arenas", lambda s, _: s.check(), populate=populate_two_arenas, size=WIDE, never=due, sampled=False)
case("check readonly", lambda key, _: shmstore.Store(key, readonly=True).check(), opens=True, sampled=False)
case("check behind a held arena", lambda s, _: fails(s.check), stops=False, behind=("put over", "freeing"), timeout=patience,
     changes={"k2": [value("k2", "new")]}, sampled=False, thin=97)  # fmt: skip
case(
    "check where the arena's lock is nobody's",
    lambda s, _: s.check(),
    scribble=arena_of_nobody,
    sampled=False,
    stops=False,
)
case("check with views", lambda s, _: s.check(), setup=two_zombies, kept=1, sampled=False, stops=False)
quiet("check readonly behind a held arena", lambda key, _: fails(shmstore.Store(key, readonly=True, timeout=0.001).check), opens=True,
      behind=("put over", "freeing"), changes={"k2": [value("k2", "new")]})  # fmt: skip
