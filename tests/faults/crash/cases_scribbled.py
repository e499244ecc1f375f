"""Cases on bytes that no engine wrote: the branches that doubt what the segment says are taken, and killed in.

Where the operation itself puts things in order, survivors find them so. Else (mended) the scribbled words are put back
before the survivors are looked at, so that what they find is the operation's doing alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cases import case, tried
from cases_basic import eight_puts
from raw_segment import Segment, get, home_of, put
from store_setup import due, let_expire, value


def scribbled(name: str, scribble: Callable[[Segment], None], act: Callable[[Any, Any], Any], **changes: Any) -> None:
    def apply(store: Any) -> None:
        segment = Segment(store)
        scribble(segment)
        segment.memory.release()

    case(name, act, scribble=apply, **{"mended": True, "sampled": False, "stops": False, **changes})


def at_block(name: str, at: int, number: int, size: int = 8) -> Callable[[Segment], None]:
    return lambda g: put(g.memory, g.block(name) + at, number, size)


# ---- reading what is scribbled
def extend(g: Segment, length: int) -> None:
    """k1 has an extension of that length, it says."""
    at_block("k1", 24, 30 << 24 | 2 << 8 | 0x11)(g)
    at_block("k1", 40, length, 4)(g)


READS = {
    "get": lambda s, _: tried(lambda: s.get("k1")), "contains": lambda s, _: tried(lambda: "k1" in s),
    "iterate": lambda s, _: (tried(lambda: list(s)), tried(lambda: len(s))), "view": lambda s, _: tried(lambda: s.view("k1")),
    "put": lambda s, _: tried(lambda: s.put("k1", value("k1", "new"))), "delete": lambda s, _: tried(lambda: s.delete("k1")),
    "touch": lambda s, _: tried(lambda: s.touch("k1", 500)), "wait for": lambda s, _: tried(lambda: s.wait("k1", timeout=0.001)),
}  # fmt: skip
WRONG = {
    "whose block is out of the heap": lambda g: put(g.memory, g.slot("k1"), get(g.memory, g.slot("k1")) | (2**40 - 1)),
    "whose block has no word": at_block("k1", 0, 0),
    "whose block is a zombie": lambda g: put(g.memory, g.block("k1"), get(g.memory, g.block("k1")) | 2),
    "whose span is closed": lambda g: put(g.memory, g.page_of("k1"), 0),
    "whose lengths are impossible": at_block("k1", 24, (1 << 63) | 2 << 8),
    "whose extension is impossible": at_block("k1", 24, 30 << 24 | 2 << 8 | 0x11),
    "whose extension is odd": lambda g: extend(g, 12),
    "whose extension leads out of the heap": lambda g: extend(g, 1 << 20),
    "whose name is too long": at_block("k1", 24, 1 << 24 | 0xFFFF << 8 | 1),
}


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
scribbled(
    "add where another has the same tag", collide, lambda s, _: s.add("k1", value("k1", "new")), changes={"k1": [None]}
)

# ---- what is derived of expiry
scribbled("sweep where the entry says another slot", lambda g: [put(g.memory, g.block(f"due{i}") + 32, 1, 4) for i in range(4)], eight_puts,
          setup=let_expire, never=due, changes={"k2": [value("k2", "new")]})  # fmt: skip
