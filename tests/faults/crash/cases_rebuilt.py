"""Cases of rebuilding: pins, records and slots that name the same; runs that lack pages, and pages given back."""

from __future__ import annotations

import os
from typing import Any

from cases import quiet, tried
from cases_basic import eight_puts
from cases_posix import on_posix
from cases_registry import place_of
from cases_scribbled import mends, scribbled
from raw_segment import HEADS, Segment, break_lists, get, put, suspect
from seccomp_faults import FULL
from store_setup import POSIX, ROOMY, due, hold, let_expire, new, nothing, populate, populate_huge, value

import shmstore
from shmstore._core import lib


# ---- rebuilding: pins, records and slots that name the same, or what overlaps
def suspected(store: Any) -> Any:
    held = hold(store)
    suspect(store)
    return held


def only_a_zombie(store: Any) -> Any:
    store.put("raw", b"r" * 300)
    held = store.view("raw")
    store.delete("raw")
    suspect(store)
    return held


quiet(
    "rebuild beside a view",
    lambda s, _: s.put("k2", value("k2", "new")),
    setup=suspected,
    kept=1,
    changes={"k2": [value("k2", "new")]},
)
quiet(
    "rebuild of nothing but a zombie",
    lambda s, _: s.put("new", value("new", "new")),
    populate=nothing,
    setup=only_a_zombie,
    kept=1,
    changes=new,
)
quiet(
    "rebuild of nothing", lambda s, _: s.put("new", value("new", "new")), populate=nothing, setup=suspect, changes=new
)


def pin_into_the_midst(g: Segment) -> None:
    """A pin of the checking process names memory that was given to somebody else since."""
    at = g.block("raw") + 272
    segment_put_pins(g, at)


def segment_put_pins(g: Segment, at: int) -> None:
    number = next(
        i + 1 for i in range(get(g.memory, 192, 4)) if get(g.memory, place_of(g, i + 1)) & 0x3FFFFF == os.getpid()
    )
    put(g.memory, place_of(g, number) + 448, at)


def populate_pins(store: Any) -> None:
    populate(store)
    store.put("raw", b"\x06\0\0\0" * 75)  # wherever one looks, a boundary tag of 96 bytes
    store.put("behind", value("behind", "old"))


def deleted_under_a_pin(g: Segment) -> None:
    segment_put_pins(g, g.block("raw") + 272)
    put(g.memory, g.slot("raw"), 0)
    g.set_arena(72, 1)


def two_slots_one_block(g: Segment) -> None:
    name = min(g.blocks, key=lambda name: g.slot(name.decode())).decode()
    empty = [at for at in range(g.slot(name), g.slots + 64 * g.buckets, 8) if at % 64 and not get(g.memory, at)]
    for at in empty[:2]:
        put(g.memory, at, g.block(name) // 16 | 0xABCD << 48)
    g.set_arena(72, 1)


def record_of_a_published(g: Segment) -> None:
    number = next(
        i + 1 for i in range(get(g.memory, 192, 4)) if get(g.memory, place_of(g, i + 1)) & 0x3FFFFF == os.getpid()
    )
    put(g.memory, place_of(g, number) + 192 + 16, g.block("k1"))
    put(g.memory, place_of(g, number) + 192 + 32 + 16, g.block("k1") + 16)
    g.set_arena(72, 1)


scribbled("rebuild where a pin lies before a block", deleted_under_a_pin, lambda s, _: s.put("k2", value("k2", "new")), populate=populate_pins,
          changes={"k2": [value("k2", "new")], "raw": [None]}, mended=False)  # fmt: skip
scribbled("rebuild where two slots name one block", two_slots_one_block, lambda s, _: s.put("k2", value("k2", "new")),
          changes={"k2": [value("k2", "new")]}, mended=False)  # fmt: skip
scribbled("rebuild where a record names what is published", record_of_a_published, lambda s, _: s.put("k2", value("k2", "new")),
          changes={"k2": [value("k2", "new")]})  # fmt: skip
for _at, _what in ((0, "nothing"), (8, "no granule"), (1 << 50, "nowhere")):
    mends(
        f"rebuild where the retiring block is {_what}", lambda g, at=_at: (g.set_arena(104, at), g.set_arena(72, 1))[0]
    )
mends("sweep where the lists are broken", lambda g: cases_broken(g), eight_puts, setup=let_expire, never=due)
mends(
    "delete where the zombies are broken",
    lambda g: cases_broken(g),
    lambda s, _: s.delete("between1"),
    changes={"between1": [None]},
)


def cases_broken(g: Segment) -> None:
    break_lists(g.store)


# ---- POSIX: runs that lack pages, beside runs that have them
def cold_and_warm(store: Any) -> None:
    """After a rebuild every larger gap is taken for one without pages; what is freed after it is not."""
    for name, size in (("k0", 20), ("k1", 20), ("a", 6000), ("b", 20), ("c", 9000), ("d", 20), ("e", 6050), ("f", 20)):
        store.put(name, value(name, "old", size))
    store.delete("a")
    store.delete("e")
    store.delete("k1")
    suspect(store)
    store.put("k1", value("k1", "old"))
    store.delete("c")


for _size in (5000, 5900, 8000, 9500, 100):
    on_posix(f"put {_size} bytes where runs lack pages, in a full /dev/shm", lambda s, _, n=_size: tried(lambda: s.put("new", b"n" * n)), refused=FULL,
             populate=cold_and_warm, changes={"new": [b"n" * _size]})  # fmt: skip
    on_posix(f"put {_size} bytes where runs lack pages", lambda s, _, n=_size: s.put("new", b"n" * n), populate=cold_and_warm,
             changes={"new": [b"n" * _size]})  # fmt: skip
on_posix("delete beside runs that lack pages", lambda s, _: (s.delete("b"), s.delete("d"), s.delete("f")), populate=cold_and_warm,
         changes={"b": [None], "d": [None], "f": [None]})  # fmt: skip


def given_back(name: str, after: bool, again: int = 0) -> None:
    """A store that only one process has attached, so that its pages can be given back. It ends with its process."""

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


# ---- gaps, and lists of several runs
def gap_of_a_page(first: int) -> Any:
    def populate_page(store: Any) -> None:
        if first:
            store.put("k1", value("k1", "old", first))
        used = store.stats().bytes_used
        store._put_if_("a", b"a" * (4096 - used - 41), shmstore.DEFAULT, 0, 0, False, lib.SHMS_CODEC_RAW)
        store.put("b", value("b", "old"))
        store.delete("a")
        suspect(store)

    return populate_page


for _first in (0, 100):
    on_posix(f"rebuild a gap that ends with a page, after {_first}", lambda s, _: tried(lambda: s.put("b", value("b", "new"))),
             populate=gap_of_a_page(_first), changes={"b": [value("b", "new")]})  # fmt: skip
    on_posix(f"rebuild a gap that ends with a page, after {_first}, in a full /dev/shm", lambda s, _: tried(lambda: s.put("b", value("b", "new"))),
             populate=gap_of_a_page(_first), changes={"b": [value("b", "new")]}, refused=FULL)  # fmt: skip


def break_warm(g: Segment) -> None:
    """The end of the largest run says another size."""
    runs = []
    for at in range(g.arenas + HEADS, g.arenas + HEADS + 8 * 34 * 16, 8):
        if get(g.memory, at):
            runs.append(get(g.memory, at))
    run = max(runs, key=lambda r: get(g.memory, r + 24))
    put(g.memory, run + get(g.memory, run + 24) - 8, 16)


mends("put where runs lack pages and one is broken, in a full /dev/shm", break_warm, lambda s, _: tried(lambda: s.put("new", b"n" * 5000)), refused=FULL,
      populate=cold_and_warm, backend=POSIX, changes={"new": [b"n" * 5000]})  # fmt: skip


def populate_a_list(store: Any) -> None:
    """Three runs of one list, with blocks between them."""
    for i in range(4):
        store.put(f"gap{i}", value(f"gap{i}", "gap", 200))
        store.put(f"k{i}", value(f"k{i}", "old"))
    for i in range(3):
        store.delete(f"gap{i}")


quiet("delete beside the midst of a list", lambda s, _: (s.delete("k1"), s.delete("k0")), populate=populate_a_list,
      changes={"k0": [None], "k1": [None]})  # fmt: skip
