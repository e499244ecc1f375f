"""Cases of tags and namespaces: whoever dies where, all entries of a tag or namespace are there, or none of them."""

from __future__ import annotations

from typing import Any

from cases import case, quiet, raises
from store_setup import new, nothing, populate, value

from shmstore._core import ffi, lib
from shmstore._store.keys import KEPT_KEYS, KeptKey

OF_THE_TAG = ("k0", "k1", "between1")
evicted = {name: [None] for name in OF_THE_TAG}
IN_IT = {f"user{i}": value(f"user{i}", "old") for i in range(3)}


def tagged(store: Any) -> None:
    populate(store)
    for name in OF_THE_TAG:
        store.put(name, value(name, "old"), tags=["t", "another"])
    store.put("count", 127, tags=["t"])


def evict(store: Any) -> None:
    store.evict_tag("t")


def several_evicted(store: Any) -> None:
    for i in range(6):
        store.put(f"gone{i}", value(f"gone{i}", "old"), tags=["t"])
    evict(store)


def awaits_evictions(store: Any) -> None:
    """Somebody sleeps on the word of evictions, and listens to the bell."""
    raw, kind = store._raw_key("k0")
    answer = ffi.new("struct shms_announced *")
    version = store.get_versioned("k0")[1]
    assert lib.shms_announce(store._handle, raw, len(raw), kind, True, version, answer) == lib.SHMS_AGAIN
    assert answer.tagged


def tidy(store: Any) -> None:
    """What deleting all keys leaves: evicted entries, namespaces, and the entries that say which there are."""
    store._clear_inside()
    store.expire_due()
    for raw in store._walk(b"", KEPT_KEYS):
        store.delete(KeptKey(raw))


def tag(name: str, act: Any, **changes: Any) -> None:
    case(name, act, **{"populate": tagged, "tidy": tidy, **changes})


tag("evict a tag", lambda s, _: s.evict_tag("t"), changes={**evicted, "count": [None]})
tag("put with tags", lambda s, _: s.put("new", value("new", "new"), tags=["t", "u"]), changes=new)
tag("put over what has tags", lambda s, _: s.put("k0", value("k0", "new"), tags=["t", "u"]),
    changes={"k0": [value("k0", "new")]})  # fmt: skip
tag("put over what was evicted", lambda s, _: s.put("k0", value("k0", "new")), setup=evict,
    changes={"k0": [value("k0", "new")]})  # fmt: skip
tag("add where an entry was evicted", lambda s, _: s.add("k0", value("k0", "new"), tags=["u"]), setup=evict,
    changes={"k0": [value("k0", "new")]})  # fmt: skip
tag("incr what has tags", lambda s, _: s.incr("count"), changes={"count": [128]}, adds=1)
tag("incr a new name with tags", lambda s, _: s.incr("new number", 5, tags=["t"]), changes={"new number": [5]}, adds=5)
tag("touch what has tags", lambda s, _: s.touch("k0", 500), touches=("k0",), sampled=False)
tag("delete what was evicted", lambda s, _: s.delete("k0"), setup=evict, changes={"k0": [None]})
tag("get what was evicted", lambda s, _: s.get("k0"), setup=evict, never=("k0",), sampled=False)
tag("sweep what was evicted", lambda s, _: [s.put("new", value("new", "new")) for _ in range(2)], setup=several_evicted,
    changes=new, never=tuple(f"gone{i}" for i in range(6)))  # fmt: skip
tag(
    "evict a tag, with sleepers",
    lambda s, _: s.evict_tag("t"),
    setup=awaits_evictions,
    changes={**evicted, "count": [None]},
)
tag("wait for what has tags", lambda s, v: raises(TimeoutError, lambda: s.wait("k0", after=v, timeout=0.002)),
    prepare=lambda s: s.get_versioned("k0")[1], sampled=False)  # fmt: skip
tag("remove all that was evicted", lambda s, _: s.expire_due(), setup=several_evicted, sampled=False)
quiet("move what has tags", lambda s, _: s.compact(), populate=tagged, tidy=tidy, setup=lambda s: s.delete("k2"),
      spare=True, stops=True, thin=3)  # fmt: skip


# ---- namespaces
def users(store: Any) -> Any:
    return store.namespace("users")


def filled(store: Any) -> None:
    users(store).update(IN_IT)


def all_or_none(*more: str) -> Any:
    """After a death: the namespace has all its entries or none, and can be used."""

    def check(store: Any) -> None:
        there = users(store)
        found = dict(there)
        if set(found) - set(more) not in (set(), set(IN_IT)):
            raise AssertionError(f"of the namespace {sorted(found)} is left")
        wrong = [name for name, what in found.items() if what not in (value(name, "old"), value(name, "new"))]
        if wrong:
            raise AssertionError(f"{wrong} are neither old nor new")
        there["after"] = 1
        if users(store)["after"] != 1 or there.clear() or len(users(store)):
            raise AssertionError("the namespace cannot be used")
        there.close()

    return check


def not_yet_known(store: Any) -> Any:
    """A handle that has not looked for its namespace, which nobody has made."""
    handle = store.namespace("another")
    handle._confine((b"susers",))
    return handle


def inside(name: str, act: Any, **changes: Any) -> None:
    case(name, act, **{"setup": filled, "prepare": users, "then": all_or_none("new"), "tidy": tidy, **changes})


inside("clear a namespace", lambda s, there: there.clear())
inside("put in a namespace", lambda s, there: there.put("new", value("new", "new")))
inside("put over in a namespace", lambda s, there: there.put("user1", value("user1", "new")), sampled=False)
inside("delete in a namespace", lambda s, there: there.delete("new"), sampled=False)
inside("make a namespace", lambda s, there: there._inside(), setup=nothing, prepare=not_yet_known)
inside("clear all with the store", lambda s, _: s._clear_inside(), sampled=False)
