"""Cases of one operation each: put, delete, numbers, conditions, time; full stores, names far from home, codecs."""

from __future__ import annotations

import time
from typing import Any

from cases import case, quiet, raises, tried
from raw_segment import far, names_of_home, sleepers
from seccomp_faults import FULL
from store_setup import (
    FILLERS,
    LARGE,
    MIDDLE,
    POSIX,
    SIZE,
    UNUSED,
    another,
    crowd,
    due,
    fill,
    fill_table,
    fill_with_due,
    let_expire,
    new,
    new_class,
    nothing,
    populate,
    populate_own_codec,
    populate_without_expiry,
    put_own,
    value,
)

import shmstore
from shmstore._core import lib

# ---- put
case("put a new name", lambda s, _: s.put("new", value("new", "new")), changes=new)
case("put a new name, several pages", lambda s, _: s.put("new", value("new", "new", LARGE)),
     changes={"new": [value("new", "new", LARGE)]})  # fmt: skip
case(
    "put a new name, a class without a span", lambda s, _: s.put("new", value("new", "new", UNUSED)), changes=new_class
)
case("put over, a class without a span", lambda s, _: s.put("k2", value("k2", "new", UNUSED)),
     changes={"k2": [value("k2", "new", UNUSED)]})  # fmt: skip
case("put over", lambda s, _: s.put("k2", value("k2", "new")), changes={"k2": [value("k2", "new")]})
case("put over, several pages", lambda s, _: s.put("large", value("large", "new", LARGE + 500)),
     changes={"large": [value("large", "new", LARGE + 500)]})  # fmt: skip
case("put over a large one by a small one", lambda s, _: s.put("large", value("large", "new")),
     changes={"large": [value("large", "new")]})  # fmt: skip
case("put bytes", lambda s, _: s.put("raw", b"n" * 301), changes={"raw": [b"n" * 301]})
case("put with a ttl", lambda s, _: s.put("new", value("new", "new"), ttl=1000), changes=new)
case("put many", lambda s, _: s.put_many({"k1": value("k1", "new"), "new": value("new", "new")}),
     changes={"k1": [value("k1", "new")], **new}, sampled=False)  # fmt: skip


# ---- spans: one that is open already, one of a single block, the last block of one
OWN_SPAN = 9000


def populate_own_span(store: Any) -> None:
    populate(store)
    store.put("own span", value("own span", "old", OWN_SPAN))


def one_in_a_span(store: Any) -> None:
    """The only block of its class; the process that opened the span keeps none of it to itself."""
    with another(store) as other:
        other.put("alone", value("alone", "old", 1500))


def open_spans(store: Any) -> None:
    """The victim has a span of this class already."""
    store.put("k3", value("k3", "old"))


case("put over, from an open span", lambda s, _: s.put("k2", value("k2", "new")), prepare=open_spans,
     changes={"k2": [value("k2", "new")]})  # fmt: skip
case(
    "put a new name, from an open span", lambda s, _: s.put("new", value("new", "new")), prepare=open_spans, changes=new
)
case("put, put over and delete in turn",
     lambda s, _: (s.put("new", value("new", "new")), s.put("new", value("new", "newer")), s.delete("new")),
     prepare=open_spans, changes={"new": [value("new", "new"), value("new", "newer")]}, sampled=False)  # fmt: skip
case("put a new name, a span of its own", lambda s, _: s.put("new", value("new", "new", OWN_SPAN)),
     changes={"new": [value("new", "new", OWN_SPAN)]})  # fmt: skip
case("put over, a span of its own", lambda s, _: s.put("own span", value("own span", "new", OWN_SPAN + 5000)), populate=populate_own_span,
     changes={"own span": [value("own span", "new", OWN_SPAN + 5000)]})  # fmt: skip
case("put over a span of its own by a small one", lambda s, _: s.put("own span", value("own span", "new")), populate=populate_own_span,
     changes={"own span": [value("own span", "new")]})  # fmt: skip
case(
    "delete, a span of its own",
    lambda s, _: s.delete("own span"),
    populate=populate_own_span,
    changes={"own span": [None]},
)
case("delete the last of a span", lambda s, _: (s.delete("alone"), s.put("k2", value("k2", "new")), s.close()), setup=one_in_a_span,
     changes={"alone": [None], "k2": [value("k2", "new")]})  # fmt: skip
case("put and delete many of a span", lambda s, _: [f(f"many{i}") for f in (lambda n: s.put(n, n), s.delete) for i in range(3)],
     changes={f"many{i}": [f"many{i}"] for i in range(3)}, sampled=False)  # fmt: skip

# ---- delete
case("delete", lambda s, _: s.delete("k2"), changes={"k2": [None]})
case("delete beside free blocks", lambda s, _: s.delete("between1"), changes={"between1": [None]})
case("delete, several pages", lambda s, _: s.delete("large"), changes={"large": [None]})
case("delete what is absent", lambda s, _: s.delete("absent"))
case("delete many", lambda s, _: s.delete_many(["k0", "k1"]), changes={"k0": [None], "k1": [None]}, sampled=False)
case("pop", lambda s, _: s.pop("k1"), changes={"k1": [None]}, sampled=False)

# ---- numbers
case("incr", lambda s, _: s.incr("count"), changes={"count": [128]}, adds=1)
case("incr a new name", lambda s, _: s.incr("new number", 5, initial=-70000),
     changes={"new number": [-69995]}, adds=5)  # fmt: skip
case("incr a new name with a ttl", lambda s, _: s.incr("new number", 5, initial=-70000, ttl=1000),
     changes={"new number": [-69995]}, adds=5)  # fmt: skip
case(
    "incr without creating", lambda s, _: s.incr("count", create=False), changes={"count": [128]}, adds=1, sampled=False
)
case(
    "incr what is absent, without creating",
    lambda s, _: raises(KeyError, lambda: s.incr("absent", create=False)),
    sampled=False,
)
case("incr to eight bytes", lambda s, _: s.incr("count", 2**40), changes={"count": [127 + 2**40]},
     adds=2**40, sampled=False)  # fmt: skip


case("incr what is no number", lambda s, _: raises(TypeError, s.incr, "k1"), sampled=False)
case("incr beyond 64 bits", lambda s, _: raises(OverflowError, s.incr, "count", 2**63 - 1), sampled=False)

# ---- conditions
case("add", lambda s, _: s.add("new", value("new", "new")), changes=new)
case("add to what is there", lambda s, _: s.add("k1", value("k1", "new")), touches=("k1",))
case("replace", lambda s, _: s.replace("k1", value("k1", "new")), changes={"k1": [value("k1", "new")]})
case("cas", lambda s, version: s.cas("k1", value("k1", "new"), version), changes={"k1": [value("k1", "new")]},
     prepare=lambda s: s.get_versioned("k1")[1])  # fmt: skip
case("cas of a former version", lambda s, version: s.cas("k1", value("k1", "new"), version),
     prepare=lambda s: s.get_versioned("k2")[1], sampled=False)  # fmt: skip
case(
    "modify",
    lambda s, _: s.modify("k1", lambda old: value("k1", "new")),
    changes={"k1": [value("k1", "new")]},
    sampled=False,
)

# ---- time
case("touch", lambda s, _: s.touch("k1", 500), touches=("k1",))
case("get and touch", lambda s, _: s.get("k1", touch=500))
case("expire at a point in time", lambda s, _: s.expire("k1", time.time() + 500), sampled=False)
case("expire at once", lambda s, _: s.expire("k1", 0), changes={"k1": [None]}, sampled=False)
case("touch for ever", lambda s, _: s.touch("mortal", None), touches=("mortal",), sampled=False)
case("touch what is absent", lambda s, _: s.touch("absent", 500), sampled=False)


def eight_puts(store: Any, _: Any) -> None:
    """Each looks at one page's due words, beginning anywhere."""
    for _ in range(8):
        store.put("k2", value("k2", "new"))


case("sweep what has expired", eight_puts, changes={"k2": [value("k2", "new")]}, setup=let_expire, never=due)
case("expire all that is due", lambda s, _: s.expire_due(), setup=let_expire, never=due)
case("put over what has expired", lambda s, _: s.put("due0", value("due0", "new")), setup=lambda s: let_expire(s, 1),
     changes={"due0": [value("due0", "new"), None]})  # fmt: skip
case(
    "delete what has expired",
    lambda s, _: s.delete("due0"),
    setup=lambda s: let_expire(s, 1),
    never=("due0",),
    changes={"due0": [None]},
    sampled=False,
)
case(
    "touch what has expired",
    lambda s, _: s.touch("due0", 50),
    setup=lambda s: let_expire(s, 1),
    never=("due0",),
    sampled=False,
)

# ---- full
case("put into a full store", lambda s, _: raises(shmstore.StoreFull, s.put, "k1", value("k1", "new", 2 * MIDDLE)), touches=("k1",),
     setup=fill, room=FILLERS[:2])  # fmt: skip
case("put where only what has expired makes room", lambda s, _: s.put("k1", value("k1", "new", MIDDLE)),
     setup=fill_with_due, room=FILLERS[:2], never=due, changes={"k1": [value("k1", "new", MIDDLE)]})  # fmt: skip
case("put what could never fit", lambda s, _: raises(shmstore.ValueTooLarge, s.put, "k1", b"x" * SIZE), sampled=False)

# ---- entries far from home
case("put a new name far from home", lambda s, name: s.put(name, 1), setup=crowd, prepare=lambda s: far(s, 10),
     changes={"far#10": [1]})  # fmt: skip
case("put over far from home", lambda s, name: s.put(name, 1), setup=crowd, prepare=lambda s: far(s, 9),
     changes={"far#9": [1]})  # fmt: skip
case("delete far from home", lambda s, name: s.delete(name), setup=crowd, prepare=lambda s: far(s, 9),
     changes={"far#9": [None]})  # fmt: skip
case("incr far from home", lambda s, name: s.incr(name), setup=crowd, prepare=lambda s: far(s, 10),
     changes={"far#10": [1]}, adds=1)  # fmt: skip
case("put into a full table", lambda s, _: raises(shmstore.StoreFull, s.put, "new", 1), setup=fill_table,
     populate=nothing, reads_only=True)  # fmt: skip

# ---- the first of all, and the first that is mortal
case("put into an empty store", lambda s, _: s.put("new", value("new", "new")), populate=nothing, changes=new)
case("put with a ttl into an empty store", lambda s, _: s.put("new", value("new", "new"), ttl=1000), populate=nothing,
     changes=new)  # fmt: skip
case("touch where nothing was mortal", lambda s, _: s.touch("k1", 500), populate=populate_without_expiry)

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
case("delete of its version", lambda s, version: s.delete("k1", version), changes={"k1": [None]},
     prepare=lambda s: s.get_versioned("k1")[1])  # fmt: skip
case("delete of a former version", lambda s, version: s.delete("k1", version), sampled=False,
     prepare=lambda s: s.get_versioned("k2")[1])  # fmt: skip

# ---- a codec of the user's own: an extension stands between header and name
case("put with a codec of one's own", lambda s, _: put_own(s, "own", value("own", "new")), populate=populate_own_codec,
     changes={"own": [value("own", "new")]})  # fmt: skip
case("delete what has a codec of its own", lambda s, _: s.delete("own large"), populate=populate_own_codec,
     changes={"own large": [None]}, sampled=False)  # fmt: skip

# ---- conditions and numbers
quiet("replace what is absent", lambda s, _: tried(lambda: s.replace("absent", 1)))
quiet("replace what has expired", lambda s, _: tried(lambda: s.replace("due0", 1)), setup=lambda s: let_expire(s, 1), never=("due0",),
      changes={"due0": [1, None]})  # fmt: skip
quiet("replace what is absent, with sleepers", lambda s, _: tried(lambda: s.replace("absent", 1)), setup=sleepers)
quiet("incr what is no number, with sleepers", lambda s, _: raises(TypeError, s.incr, "k1"), setup=sleepers)
quiet("delete of a former version, with sleepers", lambda s, version: s.delete("k1", version), setup=sleepers,
      prepare=lambda s: s.get_versioned("k2")[1])  # fmt: skip
quiet(
    "touch of a former version",
    lambda s, version: s._touch("k1", 50, version),
    prepare=lambda s: s.get_versioned("k2")[1],
)
quiet("modify and set a ttl", lambda s, _: s.modify("k1", lambda old: value("k1", "new"), ttl=50),
      changes={"k1": [value("k1", "new")]})  # fmt: skip
quiet("describe", lambda s, _: s.describe("k1"))
quiet("describe what has a codec of its own", lambda s, _: s.describe("own"), populate=populate_own_codec)
quiet("get with the ttl", lambda s, _: s.get_with_ttl("mortal"))
quiet("delete what is mortal", lambda s, _: s.delete("mortal"), changes={"mortal": [None]})
quiet(
    "modify what is mortal",
    lambda s, _: s.modify("mortal", lambda old: value("mortal", "new")),
    changes={"mortal": [value("mortal", "new")]},
)
for _by in (1, 2**7, 2**15, 2**31, 2**40, 2**62, -300, -(2**20), -(2**40)):
    quiet(f"incr by {_by}", lambda s, _, by=_by: s.incr("count", by), adds=_by, changes={"count": [127 + _by]})
quiet(
    "incr a mortal number",
    lambda s, _: s.incr("count"),
    setup=lambda s: s.put("count", 127, ttl=1000),
    adds=1,
    changes={"count": [128]},
)
quiet("put a large raw value", lambda s, _: s.put("raw", b"n" * 9000), changes={"raw": [b"n" * 9000]})
quiet("put with a large extension", lambda s, _: put_own(s, "own", value("own", "new", LARGE)), changes={"own": [value("own", "new", LARGE)]},
      populate=populate_own_codec)  # fmt: skip
quiet("put raw bytes, aligned", lambda s, _: s._put_if_("raw", b"n" * 9000, shmstore.DEFAULT, 0, 0, False, lib.SHMS_CODEC_RAW),
      changes={"raw": [b"n" * 9000]})  # fmt: skip


# ---- a page of the table that nobody used yet
def fill_last_of_page(store: Any) -> None:
    for name in names_of_home(store, 63, 7):
        store.put(name, 0)


for _backend, _refused in (("", ()), (POSIX, ()), (POSIX, FULL)):
    quiet(f"put into the next page of the table{', POSIX' * bool(_backend)}{', full' * bool(_refused)}",
          lambda s, name: tried(lambda: s.put(name, 1)), populate=fill_last_of_page, entries=1200, size=1 << 20, backend=_backend,
          refused=_refused, prepare=lambda s: names_of_home(s, 63, 8)[7], reads_only=True)  # fmt: skip


# ---- the rest, far from home
def far_text(store: Any) -> None:
    crowd(store)
    store.put(far(store, 9), "text")


for _name, _number in (("add to what is there", 9), ("replace what is absent", 10), ("delete of a former version", 9)):
    _act = {"add": lambda s, name: s.add(name, 1), "replace": lambda s, name: tried(lambda: s.replace(name, 1)),
            "delete": lambda s, name: s.delete(name, 12345)}[_name.split()[0]]  # fmt: skip
    quiet(f"{_name}, far from home", _act, setup=crowd, prepare=lambda s, n=_number: far(s, n), reads_only=True)
quiet(
    "incr what is no number, far from home",
    lambda s, name: raises(TypeError, s.incr, name),
    setup=far_text,
    prepare=lambda s: far(s, 9),
    reads_only=True,
)
