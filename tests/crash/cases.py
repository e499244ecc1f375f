"""What victims do when they are killed or stopped: each case is one operation on a store that is set up for it.

Values prove themselves: each is a tuple of its name, who wrote it, and a body as long as it should be.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from account import blocks_by_name
from refuse import Refusal

import shmstore
from shmstore._core import lib

SIZE = 64 * 1024
MAX_ENTRIES = 56  # a small table: a sweep goes through every instruction of every walk through it
SMALL, MIDDLE, LARGE = 20, 700, 6000  # a large one touches three pages


def value(name: str, who: str, size: int = SMALL) -> tuple[str, str, bytes]:
    return (name, who, who[:1].encode() * size)


def whole(name: str, found: Any) -> bool:
    """Is it one of the values that somebody wrote, with nothing torn?"""
    return found is None or isinstance(found, (int, bytes)) or found == value(name, found[1], len(found[2]))


def other_value(name: str, who: str, number: int) -> Any:
    """What others write meanwhile and afterwards: of the kind that the operation expects there."""
    if name in ("count", "new number") or name[:3] == "far":
        return 1000 + number
    return who.encode() if name == "raw" else value(name, who)


def furnish(store: Any) -> None:
    """Entries and gaps of several sizes between them, so that blocks have neighbours of every kind."""
    for i in range(4):
        store.put(f"k{i}", value(f"k{i}", "old"))
    for i, size in enumerate((SMALL, 60, MIDDLE, 60)):
        store.put(f"gap{i}", value(f"gap{i}", "gap", size))
        store.put(f"between{i}", value(f"between{i}", "old"))
    store.put("large", value("large", "old", LARGE))
    store.put("count", 127)
    store.put("raw", b"r" * 300)
    store.put("mortal", value("mortal", "old"), ttl=1000)
    store.put("last", value("last", "old"))
    for i in range(4):
        store.delete(f"gap{i}")


def another(store: Any) -> Any:
    """A handle of the same store."""
    return shmstore.Store(store.info().name, create=False, backend=store.info().backend)


def nothing(store: Any) -> None:
    return None


@dataclass
class Case:
    name: str
    act: Callable[[Any, Any], Any]
    changes: dict[str, list[Any]] = field(default_factory=dict)  # what names may have instead of their old value
    setup: Callable[[Any], Any] = nothing        # in the checking process, after furnish(); what it returns is kept
    prepare: Callable[[Any], Any] = nothing      # in the victim, before the operation
    furnish: Callable[[Any], None] = furnish
    opens: bool = False                          # the operation opens the store itself
    creates: bool = False                        # and there is none before
    room: tuple[str, ...] = ()                   # entries to delete before others can be written: the store is full
    never: tuple[str, ...] = ()                  # names that must be absent afterwards: they have expired
    follow: int = 0                              # 1: the forked child is the victim
    after: tuple[str, str] | None = None         # another victim dies first: its case, and in which state
    behind: tuple[str, str] | None = None        # another victim stands still meanwhile: likewise
    timeout: float = 2.0
    reads_only: bool = False
    adds: int = 0                                # it adds so much to whatever number is there
    stops: bool = True                           # fit for the second mode
    size: int = SIZE
    entries: int = MAX_ENTRIES
    kept: int = 0                                # zombies that others still read
    scribble: Callable[[Any], Any] = nothing     # in the checking process, last of all: bytes that no engine wrote
    unread: tuple[str, ...] = ()                 # too large to be read thousands of times
    sampled: bool = True                         # also by the quick tier
    thin: int = 1                                # takes seconds each time: only every so-many-th instruction
    second: bool = False                         # only for the third mode: it meets a dead one whoever that was
    backend: str = ""                            # of the store; "": whatever is the default
    refused: tuple[Refusal, ...] = ()            # system calls that fail in the victim
    mended: bool = False                         # what scribble() did is undone before all else is verified
    repaired: bool = False                       # what scribble() did is for survivors to repair, too
    beginning: Callable[[str], Any] = nothing    # of one that creates: what stands there before
    meanwhile: Callable[[Any], Any] = nothing    # only for the fourth mode: what others do instead of writing everything;
                                                 # what it returns undoes what would keep survivors from their work

    def where(self) -> dict[str, str]:
        return {"backend": self.backend} if self.backend else {}


CASES: dict[str, Case] = {}


def case(name: str, act: Callable[[Any, Any], Any], **changes: Any) -> None:
    CASES[name] = Case(name, act, **changes)


new = {"new": [value("new", "new")]}

# ---- put
case("put a new name", lambda s, _: s.put("new", value("new", "new")), changes=new)
case("put a new name, several pages", lambda s, _: s.put("new", value("new", "new", LARGE)),
     changes={"new": [value("new", "new", LARGE)]})  # fmt: skip
case("put a new name, into a gap", lambda s, _: s.put("new", value("new", "new", 400)),
     changes={"new": [value("new", "new", 400)]}, sampled=False)  # fmt: skip
case("put over", lambda s, _: s.put("k2", value("k2", "new")), changes={"k2": [value("k2", "new")]})
case("put over, several pages", lambda s, _: s.put("large", value("large", "new", LARGE + 500)),
     changes={"large": [value("large", "new", LARGE + 500)]})  # fmt: skip
case("put over a large one by a small one", lambda s, _: s.put("large", value("large", "new")),
     changes={"large": [value("large", "new")]})  # fmt: skip
case("put bytes", lambda s, _: s.put("raw", b"n" * 301), changes={"raw": [b"n" * 301]})
case("put with a ttl", lambda s, _: s.put("new", value("new", "new"), ttl=1000), changes=new)
case("put many", lambda s, _: s.put_many({"k1": value("k1", "new"), "new": value("new", "new")}),
     changes={"k1": [value("k1", "new")], **new}, sampled=False)  # fmt: skip

# ---- delete: with no free neighbour, one on either side, both, and the last of the heap
case("delete", lambda s, _: s.delete("k2"), changes={"k2": [None]})
case("delete before a gap", lambda s, _: s.delete("k3"), changes={"k3": [None]}, sampled=False)
case("delete between gaps", lambda s, _: s.delete("between1"), changes={"between1": [None]})
case("delete behind a gap", lambda s, _: s.delete("between3"), changes={"between3": [None]}, sampled=False)
case("delete the last of the heap", lambda s, _: s.delete("last"), changes={"last": [None]})
case("delete, several pages", lambda s, _: s.delete("large"), changes={"large": [None]})
case("delete what is absent", lambda s, _: s.delete("absent"))
case("delete many", lambda s, _: s.delete_many(["k0", "k1"]), changes={"k0": [None], "k1": [None]}, sampled=False)
case("pop", lambda s, _: s.pop("k1"), changes={"k1": [None]}, sampled=False)

# ---- numbers
case("incr", lambda s, _: s.incr("count"), changes={"count": [128]}, adds=1)
case("incr a new name", lambda s, _: s.incr("new number", 5, initial=-70000),
     changes={"new number": [-69995]}, adds=5)  # fmt: skip
case("incr to eight bytes", lambda s, _: s.incr("count", 2**40), changes={"count": [127 + 2**40]},
     adds=2**40, sampled=False)  # fmt: skip


def raises(kind: type[Exception], call: Callable[..., Any], *arguments: Any) -> str:
    try:
        call(*arguments)
    except kind as error:
        return type(error).__name__
    raise AssertionError(f"expected {kind.__name__}")


case("incr what is no number", lambda s, _: raises(TypeError, s.incr, "k1"), sampled=False)
case("incr beyond 64 bits", lambda s, _: raises(OverflowError, s.incr, "count", 2**63 - 1), sampled=False)

# ---- conditions
case("add", lambda s, _: s.add("new", value("new", "new")), changes=new)
case("add to what is there", lambda s, _: s.add("k1", value("k1", "new")))
case("replace", lambda s, _: s.replace("k1", value("k1", "new")), changes={"k1": [value("k1", "new")]})
case("cas", lambda s, version: s.cas("k1", value("k1", "new"), version), changes={"k1": [value("k1", "new")]},
     prepare=lambda s: s.get_versioned("k1")[1])  # fmt: skip
case("cas of a former version", lambda s, version: s.cas("k1", value("k1", "new"), version),
     prepare=lambda s: s.get_versioned("k2")[1], sampled=False)  # fmt: skip
case("modify", lambda s, _: s.modify("k1", lambda old: value("k1", "new")), changes={"k1": [value("k1", "new")]}, sampled=False)

# ---- time
case("touch", lambda s, _: s.touch("k1", 500))
case("touch for ever", lambda s, _: s.touch("mortal", None), sampled=False)
case("touch what is absent", lambda s, _: s.touch("absent", 500), sampled=False)


def let_expire(store: Any, count: int = 4, size: int = SMALL) -> None:
    for i in range(count):
        store.put(f"due{i}", value(f"due{i}", "old", size), ttl=0.001)
    time.sleep(0.01)


def eight_puts(store: Any, _: Any) -> None:
    """Each looks at one page's due words, beginning anywhere."""
    for _ in range(8):
        store.put("k2", value("k2", "new"))


due = tuple(f"due{i}" for i in range(4))
case("sweep what has expired", eight_puts, changes={"k2": [value("k2", "new")]}, setup=let_expire, never=due)
case("put over what has expired", lambda s, _: s.put("due0", value("due0", "new")), setup=lambda s: let_expire(s, 1),
     changes={"due0": [value("due0", "new"), None]})  # fmt: skip
case("delete what has expired", lambda s, _: s.delete("due0"), setup=lambda s: let_expire(s, 1), never=("due0",),
     changes={"due0": [None]}, sampled=False)
case("touch what has expired", lambda s, _: s.touch("due0", 50), setup=lambda s: let_expire(s, 1), never=("due0",), sampled=False)

# ---- full
FILLERS = tuple(f"filler{i}" for i in range(40))


def fill(store: Any) -> None:
    """No room for a middling value."""
    for name in FILLERS:
        try:
            store.put(name, value(name, "old", MIDDLE))
        except shmstore.StoreFull:
            break


def fill_with_due(store: Any) -> None:
    fill(store)
    for i, name in enumerate([name for name in FILLERS if name in store][-4:]):
        store.delete(name)
        store.put(f"due{i}", value(f"due{i}", "old", MIDDLE), ttl=0.05)
    time.sleep(0.06)


case("put into a full store", lambda s, _: raises(shmstore.StoreFull, s.put, "k1", value("k1", "new", MIDDLE)),
     setup=fill, room=FILLERS[:2])  # fmt: skip
case("put where only what has expired makes room", lambda s, _: s.put("k1", value("k1", "new", MIDDLE)),
     setup=fill_with_due, room=FILLERS[:2], never=due, changes={"k1": [value("k1", "new", MIDDLE)]})  # fmt: skip
case("put what could never fit", lambda s, _: raises(shmstore.ValueTooLarge, s.put, "k1", b"x" * SIZE), sampled=False)

# ---- entries far from home


def hash_of(store: Any, name: str) -> int:
    header = memory_of(store)
    k0, k1 = (int.from_bytes(header[at : at + 8], "little") for at in (72, 80))
    raw = name.encode()
    return int(lib.shms_hash(raw, len(raw), k0, k1))


def memory_of(store: Any) -> memoryview:
    from shmstore._core import ffi

    size = ffi.new("uint64_t *")
    memory = lib.shms_memory(store._handle, size)
    return memoryview(ffi.buffer(memory, size[0]))


def home_of(store: Any, name: str) -> int:
    buckets = int.from_bytes(memory_of(store)[224:232], "little")
    return (hash_of(store, name) >> 32) * buckets >> 32


def neighbours(store: Any, count: int) -> list[str]:
    """Names that have the home of the last bucket, so that the search goes round the table's end."""
    buckets = int.from_bytes(memory_of(store)[224:232], "little")
    found, i = [], 0
    while len(found) < count:
        if home_of(store, f"far{i}") == buckets - 1:
            found.append(f"far{i}")
        i += 1
    return found


def crowd(store: Any) -> None:
    """More entries of one home than its bucket holds. Which names these are differs from store to store."""
    for name in neighbours(store, 10):
        store.put(name, 0)


def far(store: Any, i: int) -> str:
    return neighbours(store, 11)[i]


FAR = {f"far#{i}": i for i in range(11)}  # "far#9" in changes stands for the tenth neighbour
case("put a new name far from home", lambda s, name: s.put(name, 1), setup=crowd, prepare=lambda s: far(s, 10),
     changes={"far#10": [1]})  # fmt: skip
case("put over far from home", lambda s, name: s.put(name, 1), setup=crowd, prepare=lambda s: far(s, 9),
     changes={"far#9": [1]})  # fmt: skip
case("delete far from home", lambda s, name: s.delete(name), setup=crowd, prepare=lambda s: far(s, 9),
     changes={"far#9": [None]})  # fmt: skip
case("incr far from home", lambda s, name: s.incr(name), setup=crowd, prepare=lambda s: far(s, 10),
     changes={"far#10": [1]}, adds=1)  # fmt: skip


def fill_table(store: Any) -> None:
    i = 0
    while True:
        try:
            store.put(f"{i}", i)
        except shmstore.StoreFull:
            store.delete("0")
            store.put("0", 0)
            return
        i += 1


case("put into a full table", lambda s, _: raises(shmstore.StoreFull, s.put, "new", 1), setup=fill_table,
     furnish=nothing, reads_only=True)  # fmt: skip

# ---- the first of all, and the first that is mortal
case("put into an empty store", lambda s, _: s.put("new", value("new", "new")), furnish=nothing, changes=new)
case("put with a ttl into an empty store", lambda s, _: s.put("new", value("new", "new"), ttl=1000), furnish=nothing,
     changes=new)  # fmt: skip


def furnish_for_ever(store: Any) -> None:
    store.put("k1", value("k1", "old"))


case("touch where nothing was mortal", lambda s, _: s.touch("k1", 500), furnish=furnish_for_ever)

# ---- numbers of every length
for _number in (2**40, -70000, -(2**40), 2**63 + 5, 1.5):

    def _put_number(store: Any, number: Any = _number) -> None:
        store.put("count", number)

    def _incr(store: Any, _: Any, number: Any = _number) -> Any:
        if number == 1.5:
            return raises(TypeError, store.incr, "count")
        return raises(OverflowError, store.incr, "count") if number > 2**62 else store.incr("count")

    case(f"incr {_number}", _incr, setup=_put_number, adds=1, sampled=False,
         stops=_number != 1.5 and _number < 2**62,
         changes={} if _number == 1.5 or _number > 2**62 else {"count": [_number + 1]})  # fmt: skip

case("delete of a former version", lambda s, version: s._delete_if("k1", version), sampled=False,
     prepare=lambda s: s.get_versioned("k2")[1])  # fmt: skip

# ---- a codec of the user's own: an extension stands between header and name


class Own:
    name = "own"

    def encode(self, value: Any) -> bytes:
        return repr(value).encode()

    def decode(self, data: bytes) -> Any:
        import ast

        return ast.literal_eval(bytes(data).decode())


def put_own(store: Any, name: str, body: Any) -> Any:
    return store._put_if_(name, Own().encode(body), shmstore.DEFAULT, 0, 0, False, "own")


def furnish_own(store: Any) -> None:
    furnish(store)
    put_own(store, "own", value("own", "old"))
    put_own(store, "own large", value("own large", "old", LARGE))


case("put with a codec of one's own", lambda s, _: put_own(s, "own", value("own", "new")), furnish=furnish_own,
     changes={"own": [value("own", "new")]})  # fmt: skip
case("delete what has a codec of its own", lambda s, _: s.delete("own large"), furnish=furnish_own,
     changes={"own large": [None]}, sampled=False)  # fmt: skip

# ---- somebody sleeps on every lock, or died asleep: who lets go wakes him


def sleepers(store: Any) -> None:
    memory = memory_of(store)
    slots, buckets, arenas = (int.from_bytes(memory[at : at + 8], "little") for at in (216, 224, 256))
    for at in [*(slots + 64 * i for i in range(buckets)), arenas]:
        memory[at + 3] |= 1


def due_and_sleepers(store: Any) -> None:
    let_expire(store)
    sleepers(store)


case("put over, with sleepers", lambda s, _: s.put("k2", value("k2", "new")), setup=sleepers,
     changes={"k2": [value("k2", "new")]})  # fmt: skip
case("delete, with sleepers", lambda s, _: s.delete("k2"), setup=sleepers, changes={"k2": [None]})
case("delete what is absent, with sleepers", lambda s, _: s.delete("absent"), setup=sleepers, sampled=False)
case("touch, with sleepers", lambda s, _: s.touch("k1", 500), setup=sleepers, sampled=False)
case("add to what is there, with sleepers", lambda s, _: s.add("k1", value("k1", "new")), setup=sleepers, sampled=False)
case("sweep, with sleepers", eight_puts, changes={"k2": [value("k2", "new")]}, setup=due_and_sleepers, never=due,
     sampled=False)  # fmt: skip
case("takeover, with sleepers", lambda s, _: s.recover(), setup=sleepers, after=("put over", "freeing"),
     changes={"k2": [value("k2", "new")]}, sampled=False)  # fmt: skip

# ---- derived state that somebody scribbled on: made anew on the way


def suspect(store: Any) -> None:
    memory = memory_of(store)
    memory[int.from_bytes(memory[256:264], "little") + 72] = 1


def break_lists(store: Any) -> None:
    """The first run of each list says that there is one before it."""
    memory = memory_of(store)
    heads = int.from_bytes(memory[256:264], "little") + 384
    for at in range(heads, heads + 8 * 34 * 16, 8):
        run = int.from_bytes(memory[at : at + 8], "little")
        if run:
            memory[run + 16] = 8


case("put into a suspect arena", lambda s, _: s.put("k2", value("k2", "new")), setup=suspect, sampled=False,
     changes={"k2": [value("k2", "new")]})  # fmt: skip
case("put where the lists are broken", lambda s, _: s.put("k2", value("k2", "new")), setup=break_lists,
     changes={"k2": [value("k2", "new")]})  # fmt: skip
case("delete where the lists are broken", lambda s, _: s.delete("between1"), setup=break_lists, sampled=False,
     changes={"between1": [None]})  # fmt: skip

def lock_of_nobody(store: Any, at: int) -> None:
    memory_of(store)[at] = 9  # a place that nobody has


def bucket_of_nobody(store: Any) -> None:
    memory = memory_of(store)
    lock_of_nobody(store, int.from_bytes(memory[216:224], "little") + 64 * home_of(store, "k2"))


def arena_of_nobody(store: Any) -> None:
    lock_of_nobody(store, int.from_bytes(memory_of(store)[256:264], "little"))


def furnish_like_blocks(store: Any) -> None:
    furnish(store)
    store.put("raw", b"\x03\0\0\0" * 75)  # wherever one looks, a boundary tag of 48 bytes


def impossible_slots(store: Any) -> None:
    """Words in empty slots: out of the heap, no block, a block inside another."""
    memory = memory_of(store)
    slots, arenas = (int.from_bytes(memory[at : at + 8], "little") for at in (216, 256))
    empty = (at for at in range(slots, slots + 64 * 20, 8) if at % 64 and not any(memory[at : at + 8]))
    blocks = {name: block for name, block in blocks_of(store)}
    for block in (16, blocks[b"large"] + 1024, blocks[b"raw"] + 64, blocks[b"raw"] + 128):
        at = next(empty)
        memory[at : at + 8] = (block // 16).to_bytes(8, "little")
    memory[arenas + 72] = 1


def blocks_of(store: Any) -> Any:
    return blocks_by_name(memory_of(store)).items()


case("put where a bucket's lock is nobody's", lambda s, _: s.put("k2", value("k2", "new")), scribble=bucket_of_nobody,
     changes={"k2": [value("k2", "new")]}, sampled=False, stops=False)  # fmt: skip
case("put where the arena's lock is nobody's", lambda s, _: s.put("k2", value("k2", "new")), scribble=arena_of_nobody,
     changes={"k2": [value("k2", "new")]}, sampled=False, stops=False)  # fmt: skip
case("put where slots name no blocks", lambda s, _: s.put("k2", value("k2", "new")), scribble=impossible_slots,
     furnish=furnish_like_blocks, changes={"k2": [value("k2", "new")]}, sampled=False, stops=False)  # fmt: skip

# ---- what is absent, or is not what was expected
case("touch in an empty store", lambda s, _: s.touch("absent", 500), furnish=nothing, sampled=False)
case("delete in an empty store", lambda s, _: s.delete("absent"), furnish=nothing, sampled=False)
case("cas of what is absent", lambda s, _: s.cas("new", value("new", "new"), 0), changes=new, sampled=False)
case("cas of what should be absent", lambda s, _: s.cas("k1", value("k1", "new"), 0), sampled=False)


# ---- a list of free runs of which not every one is large enough
def furnish_tightly(store: Any) -> None:
    for name, size in (("gapA", 673), ("k1", 20), ("gapB", 657), ("k2", 20), ("large", LARGE)):
        store.put(name, b"x" * size if name[:3] == "gap" else value(name, "old", size))
    i = 0
    for size in (1500, 300, 100, 30, 2):
        with contextlib.suppress(shmstore.StoreFull):
            while True:
                store.put(f"f{i}", b"y" * size)
                i += 1
    store.delete("gapA")
    store.delete("gapB")


case("put into the second run of a list", lambda s, _: s.put("fit", b"z" * 674), furnish=furnish_tightly,
     changes={"fit": [b"z" * 674]}, room=("large",), sampled=False)  # fmt: skip

# ---- two arenas: blocks of both, in turn
WIDE = 256 << 20


def furnish_both(store: Any) -> None:
    """Clients of even and odd numbers prefer different arenas."""
    others = [another(store) for _ in range(2)]
    for i, handle in enumerate((others[0], others[1], others[0], others[1])):
        handle.put(f"k{i}", value(f"k{i}", "old"))
        handle.put(f"due{i}", value(f"due{i}", "old"), ttl=0.001)
    others[0].put("count", 127)
    for handle in others:
        handle.close()
    time.sleep(0.01)


for _k in ("k0", "k1"):
    for _what, _act, _new in (
        ("put over", lambda s, _, k=_k: s.put(k, value(k, "new")), value(_k, "new")),
        ("delete", lambda s, _, k=_k: s.delete(k), None),
        ("touch", lambda s, _, k=_k: s.touch(k, 500), value(_k, "old")),
        ("fail to add", lambda s, _, k=_k: s.add(k, 1), value(_k, "old")),
    ):
        case(f"{_what} {_k}, two arenas", _act, furnish=furnish_both, size=WIDE, changes={_k: [_new]}, sampled=False,
             never=due)  # fmt: skip
case("sweep, two arenas", lambda s, _: [s.put("k2", value("k2", "new")) for _ in range(8)], furnish=furnish_both,
     size=WIDE, never=due, changes={"k2": [value("k2", "new")]}, sampled=False)  # fmt: skip
case("rebuild, two arenas", lambda s, _: s.recover(), furnish=furnish_both, size=WIDE, never=due,
     after=("put over", "freeing"), changes={"k2": [value("k2", "new")]}, sampled=False)  # fmt: skip
case("put behind a held arena, two arenas", lambda s, _: s.put("new", value("new", "new")), furnish=furnish_both,
     size=WIDE, never=due, stops=False, behind=("put over", "arena"), sampled=False,
     changes={"k2": [value("k2", "new")], **new})  # fmt: skip

# ---- pages given back
HUGE, ROOMY = 24 << 20, 64 << 20


def furnish_huge(store: Any) -> None:
    furnish(store)
    store.put("huge", b"h" * HUGE)


def furnish_huge_within(store: Any) -> None:
    furnish_huge(store)
    store.put("after", value("after", "old"))


def furnish_given_back(store: Any) -> None:
    furnish_huge_within(store)
    store.delete("huge")


case("delete what gives pages back", lambda s, _: s.delete("huge"), furnish=furnish_huge, size=ROOMY, unread=("huge",),
     sampled=False)  # fmt: skip
case("delete what gives pages back, within", lambda s, _: s.delete("huge"), furnish=furnish_huge_within, size=ROOMY,
     unread=("huge",), sampled=False)  # fmt: skip
case("put where pages were given back", lambda s, _: s.put("huge", b"g" * (1 << 20)), furnish=furnish_given_back,
     size=ROOMY, unread=("huge",), sampled=False)  # fmt: skip

# ---- reading, and pins
case("get", lambda s, _: [s.get("k1"), s.get("large"), s.get("mortal"), s.get("absent")])
case("get many", lambda s, _: s.get_many(["k1", "large", "mortal", "absent"]), sampled=False)
case("contains", lambda s, _: ["k1" in s, "mortal" in s, "absent" in s], sampled=False)
case("iterate", lambda s, _: (list(s), len(s)), sampled=False)
case("view", lambda s, _: s.view("raw").release())


def hold(store: Any) -> Any:
    return store.view("raw")


def leave_a_zombie(store: Any) -> None:
    with store.view("raw"):
        store.delete("raw")


def two_zombies(store: Any) -> Any:
    """One still read by the checking process, one that nobody reads."""
    store.put("raw2", b"s" * 300)
    held = store.view("raw")
    with store.view("raw2"):
        store.delete("raw")
        store.delete("raw2")
    return held


class Held:
    """Views of the checking process, of more handles than one."""

    def __init__(self, views: list[memoryview], other: Any) -> None:
        self.views, self.other = views, other

    def close(self) -> None:
        for view in self.views:
            view.release()
        self.other.close()


def ten_zombies(store: Any) -> Any:
    """More than one allocation looks through."""
    other = another(store)
    for i in range(10):
        store.put(f"read{i}", b"r" * 40)
    views = [(store, other)[i % 2].view(f"read{i}") for i in range(10)]
    for i in range(10):
        store.delete(f"read{i}")
    return [Held(views, other)]


case("put where many blocks are still read", lambda s, _: s.put("new", value("new", "new")), setup=ten_zombies,
     changes=new, kept=10, sampled=False)  # fmt: skip
case("delete what is being read", lambda s, _: s.delete("raw"), prepare=hold, changes={"raw": [None]})
case("put over what is being read", lambda s, _: s.put("raw", b"n"), prepare=hold, changes={"raw": [b"n"]})
case("put where a block is no longer read", lambda s, _: s.put("new", value("new", "new")), setup=leave_a_zombie,
     changes=new)  # fmt: skip
case("put where a block is still read", lambda s, _: s.put("new", value("new", "new")), setup=two_zombies, changes=new,
     kept=1)  # fmt: skip

def hold_eight(store: Any) -> Any:
    """As many as a process can hold in a store of this size."""
    return [store.view("raw") for _ in range(8)]


case("view beside another", lambda s, _: s.view("raw").release(), prepare=hold, sampled=False)
case("view when there are too many", lambda s, _: raises(shmstore.StoreFull, s.view, "raw"), prepare=hold_eight,
     sampled=False)  # fmt: skip
case("view what is not bytes", lambda s, _: raises(TypeError, s.view, "k1"), sampled=False)


def close_and_release(store: Any, held: Any) -> None:
    store.close()
    held.release()


case("close with a view, and end it", close_and_release, prepare=hold, sampled=False)

# ---- a process comes, goes and divides
case("open", lambda key, _: shmstore.Store(key, create=False), opens=True)
case("open readonly", lambda key, _: shmstore.Store(key, readonly=True), opens=True)
case("close", lambda s, _: s.close())
case("create", lambda key, _: shmstore.Store(key, size=SIZE, max_entries=MAX_ENTRIES), opens=True, creates=True, furnish=nothing)


def divide(store: Any, _: Any) -> None:
    if os.fork() == 0:
        store.put("k1", value("k1", "new"))
        store.close()
        os._exit(0)


def attach_twice_more(store: Any) -> Any:
    return [another(store) for _ in range(2)]


def close_the_middle(store: Any, others: Any) -> None:
    others[0].close()


case("close one of three", close_the_middle, prepare=attach_twice_more, sampled=False)
case("fork with three, in the child", divide, prepare=attach_twice_more, follow=1, sampled=False,
     changes={"k1": [value("k1", "new")]})  # fmt: skip
case("open where a claimant died", lambda key, _: shmstore.Store(key, create=False), opens=True, sampled=False,
     after=("open", "claiming"))  # fmt: skip
case("recover a claimant", lambda s, _: s.recover(), after=("open", "claiming"), sampled=False)
case("fork, in the parent", divide, changes={"k1": [value("k1", "new")]})
case("fork, in the child", divide, changes={"k1": [value("k1", "new")]}, follow=1)

# ---- after the dead
case("recover one who owned a block", lambda s, _: s.recover(), after=("put a new name", "owning"), changes=new)
case("rebuild beside one who owns a block", lambda s, _: s.recover(), behind=("put a new name", "owning"), stops=False,
     after=("put over", "freeing"), changes={"k2": [value("k2", "new")], **new}, sampled=False)  # fmt: skip
case("takeover of a bucket", lambda s, _: s.put("k2", value("k2", "next")), after=("put over", "bucket"),
     changes={"k2": [value("k2", "new"), value("k2", "next")]}, sampled=False)  # fmt: skip
case("takeover of an arena", lambda s, _: s.put("k1", value("k1", "next")), after=("put over", "arena"),
     changes={"k1": [value("k1", "next")], "k2": [value("k2", "new")]})  # fmt: skip
case("rebuild", lambda s, _: s.recover(), after=("put over", "freeing"), changes={"k2": [value("k2", "new")]})
case("rebuild with zombies", lambda s, _: s.recover(), setup=two_zombies, kept=1, after=("put over", "freeing"),
     changes={"k2": [value("k2", "new")]}, sampled=False)  # fmt: skip
case("check", lambda s, _: s.check())
case("check after a death", lambda s, _: s.check(), after=("put over", "freeing"), changes={"k2": [value("k2", "new")]}, sampled=False)


def crowd_registry(store: Any) -> Any:
    """All places but two are taken by the living: one is the next victim's, who leaves it to the one after."""
    clients = int.from_bytes(memory_of(store)[192:196], "little")
    return [another(store) for _ in range(clients - 1 - len(store.clients()))]


case("open where only the dead leave a place", lambda key, _: shmstore.Store(key, create=False), opens=True,
     setup=crowd_registry, stops=False, after=("put over", "freeing"), changes={"k2": [value("k2", "new")]})  # fmt: skip

# ---- behind one who stands still with a lock: the operation gives up, and gives back what it has
patience = 0.001
case("put behind a held bucket", lambda s, _: raises(shmstore.LockTimeout, s.put, "k2", value("k2", "mine")),
     stops=False, behind=("put over", "bucket"), timeout=patience, changes={"k2": [value("k2", "new"), value("k2", "mine")]})  # fmt: skip
case("put behind a held arena", lambda s, _: raises(shmstore.LockTimeout, s.put, "k1", value("k1", "mine")),
     stops=False, behind=("put over", "freeing"), timeout=patience, changes={"k2": [value("k2", "new")], "k1": [value("k1", "mine")]})  # fmt: skip
case("delete behind a held bucket", lambda s, _: raises(shmstore.LockTimeout, s.delete, "k2"),
     stops=False, behind=("put over", "bucket"), timeout=patience, changes={"k2": [value("k2", "new"), None]}, sampled=False)  # fmt: skip
case("delete behind a held arena", lambda s, _: raises(shmstore.LockTimeout, s.delete, "k1"),
     stops=False, behind=("put over", "freeing"), timeout=patience, changes={"k2": [value("k2", "new")], "k1": [None]}, sampled=False)  # fmt: skip
case("touch behind a held bucket", lambda s, _: raises(shmstore.LockTimeout, s.touch, "k2", 50), sampled=False,
     stops=False, behind=("put over", "bucket"), timeout=patience, changes={"k2": [value("k2", "new")]})  # fmt: skip
case("touch behind a held arena", lambda s, _: raises(shmstore.LockTimeout, s.touch, "k1", 50),
     stops=False, behind=("put over", "freeing"), timeout=patience, changes={"k2": [value("k2", "new")]}, sampled=False)  # fmt: skip

# ---- third mode: what others do who meet the dead, and then die themselves
case("then recover", lambda s, _: s.recover(), second=True)
case("then put", lambda s, _: s.put("k2", value("k2", "next")), changes={"k2": [value("k2", "next")]}, second=True)
case("then delete", lambda s, _: s.delete("k2"), changes={"k2": [None]}, second=True)
case("then open", lambda key, _: shmstore.Store(key, create=False), opens=True, second=True)

import cases_more  # noqa: F401
import cases_open  # noqa: F401
import cases_posix  # noqa: F401
import cases_raced  # noqa: F401
import cases_repaired  # noqa: F401
import cases_scribbled  # noqa: F401
