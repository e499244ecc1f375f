"""Cases of a full cache: one that has as many entries as it may have, and one without memory."""

from __future__ import annotations

from typing import Any

from cases import case, quiet
from store_setup import LARGE, MIDDLE, let_expire, new, populate, value

NAMES = [*(f"k{i}" for i in range(4)), *(f"between{i}" for i in range(4)), "large", "count", "raw", "mortal", "last"]
ENTRIES = len(NAMES)  # populate() leaves so many
ANY: dict[str, list[Any]] = {name: [None] for name in NAMES}  # which is evicted depends on the hashes


def used_again(store: Any) -> None:
    """Some entries are used twice, so they move to the main share, or stay in it."""
    populate(store)
    for name in NAMES[::2] * 2:
        store.get(name)


def full_of(size: int) -> Any:
    def setup(store: Any) -> None:
        number = 0
        while not store.stats().evictions:
            store.put(f"filler{number}", value(f"filler{number}", "old", size))
            number += 1

    return setup


FILLERS = tuple(f"filler{i}" for i in range(200))  # not all of them exist

case("evict for one more entry", lambda s, _: s.put("new", value("new", "new")), populate=used_again, evicts=True,
     entries=ENTRIES, changes={**ANY, **new}, room=("k0", "k1"))  # fmt: skip
case("evict for a number", lambda s, _: s.incr("new number"), evicts=True, entries=ENTRIES,
     changes={**ANY, "new number": [1]}, room=("k0", "k1"))  # fmt: skip
case("put over in a cache that has all its entries", lambda s, _: s.put("k2", value("k2", "new")), evicts=True,
     entries=ENTRIES, changes={"k2": [value("k2", "new")]})  # fmt: skip
case("delete in a cache", lambda s, _: s.delete("k2"), evicts=True, changes={"k2": [None]})
case("evict for memory", lambda s, _: s.put("new", value("new", "new", MIDDLE)), setup=full_of(MIDDLE), evicts=True,
     changes={**ANY, **dict.fromkeys(FILLERS, [None]), "new": [value("new", "new", MIDDLE)]}, room=FILLERS, spare=True)  # fmt: skip
quiet("evict what has expired first", lambda s, _: s.put("new", value("new", "new")), evicts=True, entries=ENTRIES + 4,
      setup=let_expire, changes=new, room=("k0", "k1"))  # fmt: skip
quiet("evict several for a larger one", lambda s, _: s.put("new", value("new", "new", LARGE)), setup=full_of(MIDDLE), evicts=True,
      changes={**ANY, **dict.fromkeys(FILLERS, [None]), "new": [value("new", "new", LARGE)]}, room=FILLERS, spare=True, thin=3)  # fmt: skip
quiet("empty a window for a large one", lambda s, _: s.put("new", value("new", "new", 40_000)), setup=full_of(60), evicts=True,
      changes={**ANY, **dict.fromkeys(FILLERS, [None]), "new": [value("new", "new", 40_000)]}, room=FILLERS, spare=True, thin=9)  # fmt: skip
quiet("evict for memory, POSIX", lambda s, _: s.put("new", value("new", "new", MIDDLE)), setup=full_of(MIDDLE), evicts=True, backend="posix",
      changes={**ANY, **dict.fromkeys(FILLERS, [None]), "new": [value("new", "new", MIDDLE)]}, room=FILLERS, spare=True, thin=3)  # fmt: skip
