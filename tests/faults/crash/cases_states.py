"""Cases of stores in which somebody sleeps, hints are wrong, or pages were given back."""

from __future__ import annotations

from cases import case
from cases_basic import eight_puts
from raw_segment import bucket_of_nobody, impossible_slots, sleepers, wrong_hints
from store_setup import (
    ROOMY,
    due,
    due_and_sleepers,
    new,
    nothing,
    populate_given_back,
    populate_huge,
    populate_huge_within,
    value,
)

# ---- a process sleeps on every lock, or died asleep: the one that lets go wakes it
case("put over, with sleepers", lambda s, _: s.put("k2", value("k2", "new")), setup=sleepers,
     changes={"k2": [value("k2", "new")]})  # fmt: skip
case("delete, with sleepers", lambda s, _: s.delete("k2"), setup=sleepers, changes={"k2": [None]})
case("delete what is absent, with sleepers", lambda s, _: s.delete("absent"), setup=sleepers, sampled=False)
case("touch, with sleepers", lambda s, _: s.touch("k1", 500), setup=sleepers, sampled=False)
case("add to what is there, with sleepers", lambda s, _: s.add("k1", value("k1", "new")), setup=sleepers, sampled=False)
case("sweep, with sleepers", eight_puts, changes={"k2": [value("k2", "new")]}, setup=due_and_sleepers, never=due,
     sampled=False)  # fmt: skip
case("takeover, with sleepers", lambda s, _: s.recover(), setup=sleepers, after=("put over", "ending"),
     changes={"k2": [value("k2", "new")]}, sampled=False)  # fmt: skip

# ---- hints that are all wrong: what they say costs time, and no more
for _what, _act, _changes in (
    ("put over", lambda s, _: s.put("k2", value("k2", "new")), {"k2": [value("k2", "new")]}),
    ("put a new name", lambda s, _: s.put("new", value("new", "new")), new),
    ("delete", lambda s, _: s.delete("between1"), {"between1": [None]}),
):
    case(
        f"{_what} where every hint is wrong",
        _act,
        setup=wrong_hints,
        spare=True,
        changes=_changes,
        sampled=_what == "put over",
        thin=3,
    )
case("put where a bucket's lock is nobody's", lambda s, _: s.put("k2", value("k2", "new")), scribble=bucket_of_nobody,
     changes={"k2": [value("k2", "new")]}, sampled=False, stops=False)  # fmt: skip
case("put where slots name no blocks", lambda s, _: s.put("k2", value("k2", "new")), scribble=impossible_slots,
     changes={"k2": [value("k2", "new")]}, mended=True, sampled=False, stops=False)  # fmt: skip

# ---- what is absent, or is not what was expected
case("touch in an empty store", lambda s, _: s.touch("absent", 500), populate=nothing, sampled=False)
case("delete in an empty store", lambda s, _: s.delete("absent"), populate=nothing, sampled=False)
case("cas of what is absent", lambda s, _: s.cas("new", value("new", "new"), 0), changes=new, sampled=False)
case("cas of what should be absent", lambda s, _: s.cas("k1", value("k1", "new"), 0), sampled=False)

# ---- pages given back
case("delete what gives pages back", lambda s, _: s.delete("huge"), populate=populate_huge, size=ROOMY, unread=("huge",),
     sampled=False)  # fmt: skip
case("delete what gives pages back, within", lambda s, _: s.delete("huge"), populate=populate_huge_within, size=ROOMY,
     unread=("huge",), sampled=False)  # fmt: skip
case("put where pages were given back", lambda s, _: s.put("huge", b"g" * (1 << 20)), populate=populate_given_back,
     size=ROOMY, unread=("huge",), sampled=False)  # fmt: skip
