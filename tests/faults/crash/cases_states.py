"""Cases of stores in which somebody sleeps, derived words are wrong, arenas are two or pages were given back."""

from __future__ import annotations

from cases import case
from cases_basic import eight_puts
from raw_segment import arena_of_nobody, break_lists, bucket_of_nobody, impossible_slots, sleepers, suspect
from store_setup import (
    ROOMY,
    WIDE,
    due,
    due_and_sleepers,
    new,
    nothing,
    populate_given_back,
    populate_huge,
    populate_huge_within,
    populate_like_blocks,
    populate_tightly,
    populate_two_arenas,
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
case("takeover, with sleepers", lambda s, _: s.recover(), setup=sleepers, after=("put over", "freeing"),
     changes={"k2": [value("k2", "new")]}, sampled=False)  # fmt: skip

# ---- derived state that somebody scribbled on: made anew on the way
case("put into a suspect arena", lambda s, _: s.put("k2", value("k2", "new")), setup=suspect, sampled=False,
     changes={"k2": [value("k2", "new")]})  # fmt: skip
case("put where the lists are broken", lambda s, _: s.put("k2", value("k2", "new")), setup=break_lists,
     changes={"k2": [value("k2", "new")]})  # fmt: skip
case("delete where the lists are broken", lambda s, _: s.delete("between1"), setup=break_lists, sampled=False,
     changes={"between1": [None]})  # fmt: skip
case("put where a bucket's lock is nobody's", lambda s, _: s.put("k2", value("k2", "new")), scribble=bucket_of_nobody,
     changes={"k2": [value("k2", "new")]}, sampled=False, stops=False)  # fmt: skip
case("put where the arena's lock is nobody's", lambda s, _: s.put("k2", value("k2", "new")), scribble=arena_of_nobody,
     changes={"k2": [value("k2", "new")]}, sampled=False, stops=False)  # fmt: skip
case("put where slots name no blocks", lambda s, _: s.put("k2", value("k2", "new")), scribble=impossible_slots,
     populate=populate_like_blocks, changes={"k2": [value("k2", "new")]}, sampled=False, stops=False)  # fmt: skip

# ---- what is absent, or is not what was expected
case("touch in an empty store", lambda s, _: s.touch("absent", 500), populate=nothing, sampled=False)
case("delete in an empty store", lambda s, _: s.delete("absent"), populate=nothing, sampled=False)
case("cas of what is absent", lambda s, _: s.cas("new", value("new", "new"), 0), changes=new, sampled=False)
case("cas of what should be absent", lambda s, _: s.cas("k1", value("k1", "new"), 0), sampled=False)

# ---- a list of free runs of which not every one is large enough
case("put into the second run of a list", lambda s, _: s.put("fit", b"z" * 674), populate=populate_tightly,
     changes={"fit": [b"z" * 674]}, room=("large",), sampled=False)  # fmt: skip

# ---- two arenas: blocks of both, in turn
for _k in ("k0", "k1"):
    for _what, _act, _new in (
        ("put over", lambda s, _, k=_k: s.put(k, value(k, "new")), value(_k, "new")),
        ("delete", lambda s, _, k=_k: s.delete(k), None),
        ("touch", lambda s, _, k=_k: s.touch(k, 500), value(_k, "old")),
        ("fail to add", lambda s, _, k=_k: s.add(k, 1), value(_k, "old")),
    ):
        case(f"{_what} {_k}, two arenas", _act, populate=populate_two_arenas, size=WIDE, changes={_k: [_new]}, sampled=False,
             never=due)  # fmt: skip
case("sweep, two arenas", lambda s, _: [s.put("k2", value("k2", "new")) for _ in range(8)], populate=populate_two_arenas,
     size=WIDE, never=due, changes={"k2": [value("k2", "new")]}, sampled=False)  # fmt: skip
case("rebuild, two arenas", lambda s, _: s.recover(), populate=populate_two_arenas, size=WIDE, never=due,
     after=("put over", "freeing"), changes={"k2": [value("k2", "new")]}, sampled=False)  # fmt: skip
case("put behind a held arena, two arenas", lambda s, _: s.put("new", value("new", "new")), populate=populate_two_arenas,
     size=WIDE, never=due, stops=False, behind=("put over", "arena"), sampled=False,
     changes={"k2": [value("k2", "new")], **new})  # fmt: skip

# ---- pages given back
case("delete what gives pages back", lambda s, _: s.delete("huge"), populate=populate_huge, size=ROOMY, unread=("huge",),
     sampled=False)  # fmt: skip
case("delete what gives pages back, within", lambda s, _: s.delete("huge"), populate=populate_huge_within, size=ROOMY,
     unread=("huge",), sampled=False)  # fmt: skip
case("put where pages were given back", lambda s, _: s.put("huge", b"g" * (1 << 20)), populate=populate_given_back,
     size=ROOMY, unread=("huge",), sampled=False)  # fmt: skip
