"""Cases of reading and pins, of processes that open, close and fork, and of those that find a dead or a stopped lock holder."""

from __future__ import annotations

import os
from typing import Any

from cases import case, raises
from cases_basic import OWN_SPAN, one_in_a_span, populate_own_span
from store_setup import (
    MAX_ENTRIES,
    SIZE,
    UNUSED,
    attach_twice_more,
    crowd_registry,
    hold,
    leave_a_zombie,
    new,
    new_class,
    nothing,
    read_before,
    ten_zombies,
    two_zombies,
    value,
)

import shmstore

# ---- reading, and pins
case("get", lambda s, _: [s.get("k1"), s.get("large"), s.get("mortal"), s.get("absent")])
case("get many", lambda s, _: s.get_many(["k1", "large", "mortal", "absent"]), sampled=False)
case("contains", lambda s, _: ["k1" in s, "mortal" in s, "absent" in s], sampled=False)
case("iterate", lambda s, _: (list(s), len(s)), sampled=False)
case("view", lambda s, _: s.view("raw").release())
case("put where many blocks are still read", lambda s, _: s.put("new", value("new", "new")), setup=ten_zombies,
     changes=new, kept=10, sampled=False)  # fmt: skip
case("delete what is being read", lambda s, _: s.delete("raw"), prepare=hold, changes={"raw": [None]})
case("put over what is being read", lambda s, _: s.put("raw", b"n"), prepare=hold, changes={"raw": [b"n"]})
case("put where a block is no longer read", lambda s, _: s.put("new", value("new", "new")), setup=leave_a_zombie,
     changes=new)  # fmt: skip
case("put where a block is still read", lambda s, _: s.put("new", value("new", "new")), setup=two_zombies, changes=new,
     kept=1)  # fmt: skip
case("view what was read before", lambda s, _: s.view("raw").release(), setup=read_before, sampled=False)
case("delete what was read before", lambda s, _: s.delete("raw"), setup=read_before, changes={"raw": [None]})
case("put over what was read before", lambda s, _: s.put("raw", b"n"), setup=read_before, changes={"raw": [b"n"]})
case("delete what the other reads", lambda s, _: s.delete("raw"), setup=hold, kept=1, changes={"raw": [None]})


def release(store: Any, held: Any) -> None:
    held.release()


def hold_and_delete(store: Any) -> Any:
    held = store.view("raw")
    store.delete("raw")
    return held


case("end a view of what was deleted", release, prepare=hold_and_delete, changes={"raw": [None]})
case("view beside another", lambda s, _: s.view("raw").release(), prepare=hold, sampled=False)
case("view what is not bytes", lambda s, _: raises(TypeError, s.view, "k1"), sampled=False)


def close_and_release(store: Any, held: Any) -> None:
    store.close()
    held.release()


case("close with a view, and end it", close_and_release, prepare=hold, sampled=False)

# ---- a process comes, goes and divides
case("open", lambda key, _: shmstore.Store(key, create=False), opens=True)
case("open readonly", lambda key, _: shmstore.Store(key, readonly=True), opens=True)
case("close", lambda s, _: s.close())
case(
    "create",
    lambda key, _: shmstore.Store(key, size=SIZE, max_entries=MAX_ENTRIES),
    opens=True,
    creates=True,
    populate=nothing,
)


def divide(store: Any, _: Any) -> None:
    if os.fork() == 0:
        store.put("k1", value("k1", "new"))
        store.close()
        os._exit(0)


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
K2 = {"k2": [value("k2", "new")]}
K2_UNUSED = {"k2": [value("k2", "new", UNUSED)]}
case("recover", lambda s, _: s.recover(), after=("put over", "ending"), changes=K2)
case("recover one that owned a block", lambda s, _: s.recover(), after=("put a new name", "owning"), changes=new)
case("recover one that opened a span", lambda s, _: s.recover(), after=("put a new name, a class without a span", "opening"),
     changes=new_class)  # fmt: skip
case("recover one that had opened a span", lambda s, _: s.recover(), after=("put a new name, a class without a span", "opened"),
     changes=new_class)  # fmt: skip
case("recover one that opened a span of several pages", lambda s, _: s.recover(),
     after=("put a new name, a span of its own", "opening"), changes={"new": [value("new", "new", OWN_SPAN)]})  # fmt: skip
case("recover one that closed a span", lambda s, _: s.recover(), after=("delete, a span of its own", "closing"),
     populate=populate_own_span, changes={"own span": [None]})  # fmt: skip
case("recover one that closed a span of many blocks", lambda s, _: s.recover(), after=("delete the last of a span", "closing"),
     prepare=nothing, setup=one_in_a_span, changes={"alone": [None]})  # fmt: skip
case("recover one that left a zombie", lambda s, _: s.recover(), setup=read_before, after=("delete what was read before", "zombie"),
     changes={"raw": [None]})  # fmt: skip
case("recover beside zombies", lambda s, _: s.recover(), setup=two_zombies, kept=1, after=("put over", "ending"),
     changes=K2, sampled=False)  # fmt: skip
case("recover beside one that owns a block", lambda s, _: s.recover(), behind=("put a new name", "owning"), stops=False,
     after=("put over", "ending"), changes={**K2, **new}, sampled=False)  # fmt: skip
case("recover one that read in place", lambda s, _: s.recover(), setup=hold, after=("delete what is being read", "zombie"),
     kept=1, changes={"raw": [None]}, sampled=False)  # fmt: skip
case("takeover of a bucket", lambda s, _: s.put("k2", value("k2", "next")), after=("put over", "bucket"),
     changes={"k2": [value("k2", "new"), value("k2", "next")]}, sampled=False)  # fmt: skip
case("takeover of a bucket after the exchange", lambda s, _: s.put("k2", value("k2", "next")), after=("put over", "ending"),
     changes={"k2": [value("k2", "new"), value("k2", "next")]})  # fmt: skip
case("put beside what a dead one owns", lambda s, _: s.put("k1", value("k1", "next")), after=("put over", "owning"),
     changes={"k1": [value("k1", "next")], **K2})  # fmt: skip
case("check", lambda s, _: s.check())
case("check after a death", lambda s, _: s.check(), after=("put over", "ending"), changes=K2, sampled=False)
case(
    "check after a death that opened a span",
    lambda s, _: s.check(),
    after=("put a new name, a class without a span", "opening"),
    changes=new_class,
    sampled=False,
)
case("open where only the dead leave a place", lambda key, _: shmstore.Store(key, create=False), opens=True,
     setup=crowd_registry, stops=False, after=("put over", "ending"), changes=K2, sampled=False, thin=5)  # fmt: skip

# ---- behind one that stands still with a lock: the operation gives up, and gives back what it has
patience = 0.001
HELD = {"stops": False, "behind": ("put over", "bucket"), "timeout": patience}
case("put behind a held bucket", lambda s, _: raises(shmstore.LockTimeout, s.put, "k2", value("k2", "mine")),
     changes={"k2": [value("k2", "new"), value("k2", "mine")]}, **HELD)  # fmt: skip
case("delete behind a held bucket", lambda s, _: raises(shmstore.LockTimeout, s.delete, "k2"),
     changes={"k2": [value("k2", "new"), None]}, sampled=False, **HELD)  # fmt: skip
case("touch behind a held bucket", lambda s, _: raises(shmstore.LockTimeout, s.touch, "k2", 50), sampled=False,
     changes=K2, **HELD)  # fmt: skip
OPENING = {
    "stops": False,
    "behind": ("put over, a class without a span", "opening"),
    "timeout": patience,
    "sampled": False,
}
case("put beside one that opens a span", lambda s, _: s.put("k1", value("k1", "mine")),
     changes={**K2_UNUSED, "k1": [value("k1", "mine")]}, **OPENING)  # fmt: skip
case("delete beside one that opens a span", lambda s, _: s.delete("k1"), changes={**K2_UNUSED, "k1": [None]}, **OPENING)

# ---- third mode: other processes meet what the dead left, and then die, too
case("then recover", lambda s, _: s.recover(), second=True)
case("then put", lambda s, _: s.put("k2", value("k2", "next")), changes={"k2": [value("k2", "next")]}, second=True)
case("then delete", lambda s, _: s.delete("k2"), changes={"k2": [None]}, second=True)
case("then open", lambda key, _: shmstore.Store(key, create=False), opens=True, second=True)
