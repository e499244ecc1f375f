"""Entries that move: compact(), and a put that finds memory free in pieces only. Whatever happens, no value and no version changes."""

from __future__ import annotations

from typing import Any

from cases import case, quiet, tried
from cases_posix import on_posix
from raw_segment import sleepers
from store_setup import FILLERS, LARGE, hold, populate, populate_own_codec, read_before, value

HOLE = 2500  # bytes: a block of each has a page of its own in part


def populate_holes(store: Any) -> None:
    """Entries of some pages each, and as many gaps between them."""
    populate(store)
    for i in range(4):
        store.put(f"hole{i}", value(f"hole{i}", "gap", LARGE))
        store.put(f"wall{i}", value(f"wall{i}", "old", LARGE))
    for i in range(4):
        store.delete(f"hole{i}")


def populate_sparse(store: Any) -> None:
    """One entry in each of three spans of a class."""
    populate(store)
    for i in range(6):
        store.put(f"sparse{i}", value(f"sparse{i}", "old", HOLE))
    for i in range(0, 6, 2):
        store.delete(f"sparse{i}")


def fill_around(store: Any) -> None:
    """What is free lies between the walls: four runs, each too short for what comes."""
    store.put(FILLERS[0], value(FILLERS[0], "old", store.stats().largest_free - 4096 - 100))


def compact_(store: Any, _: Any) -> None:
    store.compact()


# A death leaves hints wrong. So others may take blocks of larger classes than they need (spare).
wide = {"new": [value("new", "new", 2 * LARGE)]}

case("compact", compact_, populate=populate_holes, spare=True, thin=5)
quiet("compact small entries", compact_, populate=populate_sparse, spare=True, stops=True, thin=5)
quiet("compact where nothing is to be moved", compact_, stops=True, spare=True, thin=3)
quiet("compact where a value is being read", compact_, populate=populate_holes, spare=True, setup=hold, kept=1, thin=5)
quiet("compact what was read before", compact_, populate=populate_holes, spare=True, setup=read_before, thin=5)
quiet("compact with sleepers", compact_, populate=populate_holes, spare=True, setup=sleepers, thin=5)
quiet(
    "compact what has a codec of its own",
    compact_,
    populate=lambda s: (populate_own_codec(s), s.delete("large")),
    spare=True,
    thin=5,
)
quiet("compact twice", lambda s, _: (s.compact(), s.put("new", value("new", "new", LARGE)), s.compact()), populate=populate_holes, spare=True,
      changes={"new": [value("new", "new", LARGE)]}, thin=9)  # fmt: skip
case("put where only moving makes room", lambda s, _: tried(lambda: s.put("new", value("new", "new", 2 * LARGE))), populate=populate_holes, spare=True,
     setup=fill_around, room=(FILLERS[0],), changes=wide, thin=5)  # fmt: skip
on_posix("compact, POSIX", compact_, populate=populate_holes, spare=True, thin=5)


# ---- what was moved is read and written as before
def moved(store: Any) -> None:
    populate_holes(store)
    store.compact()


for _name, _act, _changes in (
    ("put over", lambda s, _: s.put("wall3", value("wall3", "new")), {"wall3": [value("wall3", "new")]}),
    ("delete", lambda s, _: s.delete("wall3"), {"wall3": [None]}),
    ("touch", lambda s, _: s.touch("wall3", 500), {}),
    ("incr", lambda s, _: s.incr("count"), {"count": [128]}),
    ("cas", lambda s, version: s.cas("wall3", value("wall3", "new"), version), {"wall3": [value("wall3", "new")]}),
):
    quiet(f"{_name} of what was moved", _act, populate=moved, changes=_changes, adds=int(_name == "incr"),
          prepare=lambda s: s.get_versioned("wall3")[1])  # fmt: skip
