"""Cases on bytes that no engine wrote: the branches that doubt what the segment says are taken, and killed in.

Where the operation itself puts things in order, survivors find them so. Else (mended) the scribbled words are put back
before the survivors are looked at, so that what they find is the operation's doing alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import cases
from cases import (
    blocks_of,
    case,
    home_of,
    let_expire,
    memory_of,
    value,
)
from cases_open import fails

import shmstore


def get(memory: memoryview, at: int, size: int = 8) -> int:
    return int.from_bytes(memory[at : at + size], "little")


def put(memory: memoryview, at: int, number: int, size: int = 8) -> None:
    memory[at : at + size] = (number % 2 ** (8 * size)).to_bytes(size, "little")


ARENA_SIZE, TOP, HIGH, USED, BLOCKS, SUSPECT, ZOMBIES, ZOMBIE_COUNT, DOOMED = 4736, 32, 40, 56, 64, 72, 80, 88, 104
FL_MAP, SL_MAP, HEADS = 256, 264, 384


class Segment:
    """The words of a store by docs/format.md."""

    def __init__(self, store: Any) -> None:
        self.memory = memory_of(store)
        self.store = store
        self.clients, self.summary, self.due, self.slots, self.buckets, self.arenas, self.heap = (
            get(self.memory, at) for at in (184, 200, 208, 216, 224, 256, 264)
        )
        self.blocks = dict(blocks_of(store))

    def arena(self, field: int) -> int:
        return get(self.memory, self.arenas + field)

    def set_arena(self, field: int, number: int) -> None:
        put(self.memory, self.arenas + field, number)

    def block(self, name: str) -> int:
        return int(self.blocks[name.encode()])

    def slot(self, name: str) -> int:
        """Where its slot is."""
        number = get(self.memory, self.block(name) + 32, 4)
        return self.slots + number // 7 * 64 + 8 + number % 7 * 8

    def run(self) -> tuple[int, int]:
        """A list that is not empty: where its head is, and its first run."""
        for at in range(self.arenas + HEADS, self.arenas + HEADS + 8 * 34 * 16, 8):
            if get(self.memory, at):
                return at, get(self.memory, at)
        raise AssertionError("there is no free run")

    def free_list(self) -> int:
        return (self.run()[0] - self.arenas - HEADS) // 8


def scribbled(name: str, scribble: Callable[[Segment], None], act: Callable[[Any, Any], Any], **changes: Any) -> None:
    def apply(store: Any) -> None:
        segment = Segment(store)
        scribble(segment)
        segment.memory.release()

    case(name, act, scribble=apply, **{"mended": True, "sampled": False, "stops": False, **changes})


# ---- check() finds each broken invariant, and repairs it
def found(name: str, scribble: Callable[[Segment], None], lost: dict[str, list[Any]] | None = None, **changes: Any) -> None:
    """lost: what the names that cannot be kept may be, beside what they were."""
    scribbled(f"check finds {name}", scribble, lambda s, _: fails(s.check), **changes)
    scribbled(f"repair {name}", scribble, lambda s, _: s.check(repair=True), mended=False, repaired=True, changes=lost or {}, **changes)


def tag(name: str, change: Callable[[int], int]) -> Callable[[Segment], None]:
    def scribble(g: Segment) -> None:
        at = g.block(name) + 36
        put(g.memory, at, change(get(g.memory, at, 4)), 4)

    return scribble


def at_block(name: str, at: int, number: int, size: int = 8) -> Callable[[Segment], None]:
    return lambda g: put(g.memory, g.block(name) + at, number, size)


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
found("a slot that points out of the heap", lambda g: put(g.memory, g.slot("k1"), get(g.memory, g.slot("k1")) | (2**40 - 1)), lost=K1)
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
found("a reach that is too short", lambda g: [put(g.memory, g.slots + 64 * i + 2, 0, 1) for i in range(g.buckets)], setup=cases.crowd)


# ---- repair where nothing is broken, where somebody stands in the way, and where a name was put anew meanwhile
def former(g: Segment) -> None:
    """The farthest of a crowd is out of reach, and its name was put again, nearer to home."""
    name, near = cases.far(g.store, 9), cases.far(g.store, 0)
    g.store.delete(near)
    put(g.memory, g.slots + 64 * home_of(g.store, name) + 2, 0, 1)
    g.store.put(name, 0)


REPAIR: dict[str, Any] = {"sampled": False, "stops": False}
case("repair what is sound", lambda s, _: s.check(repair=True), **REPAIR)
case("repair what is sound, two arenas", lambda s, _: s.check(repair=True), furnish=cases.furnish_both, size=cases.WIDE, never=cases.due, **REPAIR)
case("repair what is sound, POSIX", lambda s, _: s.check(repair=True), backend="posix", **REPAIR)
case("repair with views", lambda s, _: s.check(repair=True), setup=cases.two_zombies, kept=1, **REPAIR)
case("repair readonly", lambda key, _: fails(lambda: shmstore.Store(key, readonly=True).check(repair=True)), opens=True, **REPAIR)
case("repair behind a held bucket", lambda s, _: s.check(repair=True), behind=("put over", "bucket"), timeout=cases.patience,
     changes={"k2": [value("k2", "new")]}, thin=17, **REPAIR)  # fmt: skip
case("repair behind a held arena", lambda s, _: fails(lambda: s.check(repair=True)), behind=("put over", "freeing"), timeout=cases.patience,
     changes={"k2": [value("k2", "new")]}, thin=17, **REPAIR)  # fmt: skip
case("repair where the arena's lock is nobody's", lambda s, _: s.check(repair=True), scribble=cases.arena_of_nobody, **REPAIR)
scribbled("repair a name that was put anew", former, lambda s, _: s.check(repair=True), mended=False, repaired=True, setup=cases.crowd,
          changes={"far#0": [None]})  # fmt: skip


def many(store: Any) -> None:
    for i in range(1100):
        store.put(f"n{i}", i)


case("rebuild of many", lambda s, _: s.put("new", 1), size=1 << 20, entries=1200, furnish=many, setup=cases.suspect, changes={"new": [1]},
     sampled=False, stops=False, reads_only=True)  # fmt: skip
case("check, two arenas", lambda s, _: s.check(), furnish=cases.furnish_both, size=cases.WIDE, never=cases.due, sampled=False)
case("check readonly", lambda key, _: shmstore.Store(key, readonly=True).check(), opens=True, sampled=False)
case("check behind a held arena", lambda s, _: fails(s.check), stops=False, behind=("put over", "freeing"), timeout=cases.patience,
     changes={"k2": [value("k2", "new")]}, sampled=False, thin=97)  # fmt: skip
case("check where the arena's lock is nobody's", lambda s, _: s.check(), scribble=cases.arena_of_nobody, sampled=False, stops=False)
case("check with views", lambda s, _: s.check(), setup=cases.two_zombies, kept=1, sampled=False, stops=False)


# ---- writing where the lists and tags are wrong: the arena is made anew
def mends(name: str, scribble: Callable[[Segment], None], act: Any = lambda s, _: s.put("k2", value("k2", "new")), **changes: Any) -> None:
    scribbled(name, scribble, act, **{"mended": False, "changes": {"k2": [value("k2", "new")]}, **changes})


mends("put where the top is outside", lambda g: (lose_all(g), g.set_arena(TOP, 1 << 40))[0])
mends("put where the top is no granule", lambda g: (lose_all(g), g.set_arena(TOP, g.arena(TOP) - 8))[0])
mends("put where a list begins with a block", lambda g: every_list(g, lambda at, run: put(g.memory, at, g.block("k1"))))
mends("put where a run goes on in a block", lambda g: every_list(g, lambda at, run: put(g.memory, run + 8, g.block("k1"))))
mends("put where a list says it is not empty", lambda g: [put(g.memory, g.arenas + SL_MAP + 2 * fl, 0xFFFF, 2) for fl in range(34)])
mends("put where the bits lead nowhere", lambda g: g.set_arena(FL_MAP, 1 << 60))
mends("delete where the tag in front is wrong", lambda g: put(g.memory, g.block("between1") - 8, 1 << 50),
      lambda s, _: s.delete("between1"), changes={"between1": [None]})  # fmt: skip
mends("put where the old block has no size", tag("k2", lambda t: t & 0x40000000), changes={"k2": [value("k2", "new"), None], }, mended=True)


def lose_all(g: Segment) -> None:
    """No lists: what is wanted comes from the top."""
    g.memory[g.arenas + FL_MAP : g.arenas + HEADS + 8 * 34 * 16] = bytes(HEADS + 8 * 34 * 16 - FL_MAP)


def every_list(g: Segment, change: Callable[[int, int], None]) -> None:
    for at in range(g.arenas + HEADS, g.arenas + HEADS + 8 * 34 * 16, 8):
        run = get(g.memory, at)
        if run:
            change(at, run)


# ---- zombies that are none
def end_of_zombies(number: int) -> Callable[[Segment], None]:
    def scribble(g: Segment) -> None:
        g.set_arena(ZOMBIES, number)

    return scribble


mends("put where a zombie is no block", lambda g: g.set_arena(ZOMBIES, g.arena(TOP) + 4096), lambda s, _: s.put("new", value("new", "new")),
      changes={"new": [value("new", "new")]})  # fmt: skip
mends("put where the zombies go round", lambda g: round_and_round(g), lambda s, _: s.put("new", value("new", "new")),
      setup=cases.ten_zombies, kept=10, changes={"new": [value("new", "new")]})  # fmt: skip


def round_and_round(g: Segment) -> None:
    """The last of them names the ninth."""
    zombies, at = [], g.arena(ZOMBIES)
    while at:
        zombies.append(at)
        at = get(g.memory, at + 8)
    put(g.memory, zombies[-1] + 8, zombies[8])


# ---- reading what is scribbled
READS = {
    "get": lambda s, _: tried(lambda: s.get("k1")), "contains": lambda s, _: tried(lambda: "k1" in s),
    "iterate": lambda s, _: (tried(lambda: list(s)), tried(lambda: len(s))), "view": lambda s, _: tried(lambda: s.view("k1")),
    "put": lambda s, _: tried(lambda: s.put("k1", value("k1", "new"))), "delete": lambda s, _: tried(lambda: s.delete("k1")),
    "touch": lambda s, _: tried(lambda: s.touch("k1", 500)), "wait for": lambda s, _: tried(lambda: s.wait("k1", timeout=0.001)),
}  # fmt: skip
WRONG = {
    "whose block is out of the heap": lambda g: put(g.memory, g.slot("k1"), get(g.memory, g.slot("k1")) | (2**40 - 1)),
    "whose block has no sequence": at_block("k1", 0, 0),
    "whose lengths are impossible": at_block("k1", 24, (1 << 63) | 2 << 8),
    "whose extension is impossible": at_block("k1", 24, 30 << 24 | 2 << 8 | 0x11),
    "whose name is too long": at_block("k1", 24, 1 << 24 | 0xFFFF << 8 | 1),
}


def tried(call: Callable[[], Any]) -> str:
    with contextlib.suppress(shmstore.ShmStoreError, KeyError, TypeError, TimeoutError, MemoryError):
        call()
    return ""


for _read, _act in READS.items():
    for _wrong, _scribble in WRONG.items():
        scribbled(f"{_read} what is there, {_wrong}", _scribble, _act,
                  changes={"put": {"k1": [value("k1", "new"), None]}, "delete": {"k1": [None]}}.get(_read, {"k1": [None]}))  # fmt: skip


def collide(g: Segment) -> None:
    """Another name with the tag of k1 stands before it: the block is looked at, and is another's."""
    home = g.slots + 64 * home_of(g.store, "k1")
    empty = next((home + 8 * i for i in range(1, 8) if not get(g.memory, home + 8 * i)), None)
    if empty:
        put(g.memory, empty, get(g.memory, g.slot("k1")))
        put(g.memory, g.slot("k1"), get(g.memory, g.slot("k1")) & ~(2**40 - 1) | g.block("k3") // 16)


scribbled("get where another has the same tag", collide, lambda s, _: s.get("k1"), changes={"k1": [None]})
scribbled("add where another has the same tag", collide, lambda s, _: s.add("k1", value("k1", "new")), changes={"k1": [None]})

# ---- what is derived of expiry
scribbled("sweep where the entry says another slot", lambda g: [put(g.memory, g.block(f"due{i}") + 32, 1, 4) for i in range(4)], cases.eight_puts,
          setup=let_expire, never=cases.due, changes={"k2": [value("k2", "new")]})  # fmt: skip
