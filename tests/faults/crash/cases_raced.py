"""Cases of the fourth mode in which others do one particular thing between two instructions of the victim."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from audit import number_of
from cases import CASES, case, tried
from cases_basic import eight_puts
from cases_open import by_the_dead, left_behind, make
from cases_posix import make as make_posix
from raw_segment import Segment, get, home_of, put, sleepers
from store_setup import POSIX, due, let_expire, nothing, value

import shmstore


def raced(name: str, act: Any, meanwhile: Callable[[Any], Any], **changes: Any) -> None:
    case(name, act, meanwhile=meanwhile, **{"sampled": False, "stops": False, **changes})


def emptied(name: str) -> Callable[[Any], None]:
    """What a repair does that finds an entry with a wrong hash, unless its bucket is held."""

    def empty(store: Any) -> None:
        segment = Segment(store)
        if name.encode() in segment.blocks:
            at = segment.block(name) + 8
            was = get(segment.memory, at)
            put(segment.memory, at, ~was)
            with shmstore.Store(store.info().name, create=False, timeout=0.002, backend=store.info().backend) as other:
                tried(lambda: other.check(repair=True))
            if Segment(store).blocks.get(name.encode(), -8) + 8 == at:
                put(segment.memory, at, was)
        segment.memory.release()

    return empty


OPERATIONS = {
    "put over": (lambda s, _: s.put("k2", value("k2", "new")), [value("k2", "new"), None]), "delete": (lambda s, _: s.delete("k2"), [None]),
    "touch": (lambda s, _: s.touch("k2", 500), [None]), "get": (lambda s, _: s.get("k2"), [None]),
    "view": (lambda s, _: tried(lambda: s.view("k2")), [None]), "replace": (lambda s, _: tried(lambda: s.replace("k2", value("k2", "new"))), [value("k2", "new"), None]),
    "incr": (lambda s, _: s.incr("count"), [128, 1, None]), "contains": (lambda s, _: "k2" in s, [None]),
    "list": (lambda s, _: list(s), [None]), "check": (lambda s, _: tried(s.check), [None]),
    "wait": (lambda s, _: tried(lambda: s.wait("k2", after=s.get_versioned("k2")[1], timeout=0.002)), [None]),
}  # fmt: skip
for _what, (_act, _may) in OPERATIONS.items():
    _name = "count" if _what == "incr" else "k2"
    raced(f"{_what}, and the slot is emptied meanwhile", _act, emptied(_name), changes={_name: _may})


def asleep(store: Any) -> None:
    sleepers(store)


for _what in ("put over", "delete", "touch", "incr", "replace"):
    _act, _may = OPERATIONS[_what]
    raced(
        f"{_what}, and others fall asleep meanwhile", _act, asleep, changes={"count" if _what == "incr" else "k2": _may}
    )
raced(
    "sweep, and others fall asleep meanwhile",
    eight_puts,
    asleep,
    setup=let_expire,
    never=due,
    changes={"k2": [value("k2", "new")]},
)


def recovered(store: Any) -> None:
    store.recover()


def dies_again(name: str, **changes: Any) -> None:
    """Another finder is faster, or others fall asleep on what is being taken over."""
    for what, meanwhile in (("and another finder is faster", recovered), ("and others fall asleep meanwhile", asleep)):
        base = CASES[name]
        raced(
            f"{name}, {what}",
            base.act,
            meanwhile,
            after=base.after,
            changes=base.changes,
            populate=base.populate,
            setup=base.setup,
            kept=base.kept,
        )


for _name in (
    "recover",
    "takeover of a bucket",
    "recover one that owned a block",
    "recover one that opened a span",
    "recover one that closed a span",
    "recover one that left a zombie",
    "recover a claimant",
):
    dies_again(_name)


def beside_what_is_waited_for(store: Any) -> None:
    """Another name under the same lock."""
    i = next(i for i in range(10**6) if home_of(store, f"beside{i}") == home_of(store, "absent"))
    store.put(f"beside{i}", i)
    store.delete(f"beside{i}")


raced("wait, and others fall asleep meanwhile", lambda s, _: tried(lambda: s.wait("absent", timeout=0.02)), asleep)
raced(
    "sweep, and the slot is emptied meanwhile",
    eight_puts,
    emptied("due0"),
    setup=let_expire,
    never=due,
    changes={"k2": [value("k2", "new")]},
)
for _spin in (0, 0.02):
    raced(f"wait{' and look' * bool(_spin)}, and others write beside it", lambda s, _, spin=_spin: tried(lambda: s.wait("absent", timeout=0.03, spin=spin)),
          beside_what_is_waited_for)  # fmt: skip


# ---- somebody takes a lock, and stands still with it
def holds() -> Callable[[Any], Any]:
    """The lock of the home of k2."""

    def hold(store: Any) -> Any:
        segment = Segment(store)
        at = segment.slots + 64 * home_of(store, "k2")
        if get(segment.memory, at, 2):
            return None
        put(segment.memory, at, number_of_me(segment), 2)

        def let_go() -> None:
            if get(segment.memory, at, 2) == number_of_me(segment):
                put(segment.memory, at, 0, 2)

        return let_go

    return hold


def number_of_me(segment: Segment) -> int:
    return number_of(segment.memory, os.getpid())


for _what in ("put over", "delete", "touch", "incr", "check"):
    _act, _may = OPERATIONS[_what]
    raced(f"{_what}, and a bucket is held meanwhile", lambda s, c, a=_act: tried(lambda: a(s, c)), holds(),
          changes={"count" if _what == "incr" else "k2": _may}, timeout=0.001)  # fmt: skip


# ---- opening, creating and removing at once
def at_once(name: str, act: Any, meanwhile: Callable[[str], Any], **changes: Any) -> None:
    raced(name, act, meanwhile, opens=True, creates=True, populate=nothing, mended=True, **changes)


def destroyed(backend: str) -> Callable[[str], None]:
    def destroy(key: str) -> None:
        with contextlib.suppress(shmstore.ShmStoreError):
            shmstore.Store(key, create=False, timeout=0.001, backend=backend).destroy()

    return destroy


def created(maker: Any) -> Callable[[str], None]:
    def create(key: str) -> None:
        tried(lambda: maker(key, timeout=0.001).close())

    return create


def made(maker: Any) -> Callable[[str], None]:
    return lambda key: maker(key).close()


def made_again(maker: Any, backend: str) -> Callable[[str], None]:
    def again(key: str) -> None:
        destroyed(backend)(key)
        created(maker)(key)

    return again


for _maker, _backend, _changes in ((make, "sysv", {}), (make_posix, POSIX, {"backend": POSIX})):
    _said = ", POSIX" if _backend == POSIX else ""
    at_once(f"open, and it is destroyed meanwhile{_said}", lambda key, _, m=_maker: tried(lambda: m(key, create=False, timeout=0.001)),
            destroyed(_backend), beginning=made(_maker), **_changes)  # fmt: skip
    at_once(f"open, and it is made again meanwhile{_said}", lambda key, _, m=_maker: tried(lambda: m(key, timeout=0.001)),
            made_again(_maker, _backend), beginning=made(_maker), **_changes)  # fmt: skip
    at_once(
        f"create, and another is faster{_said}",
        lambda key, _, m=_maker: tried(lambda: m(key, timeout=0.001)),
        created(_maker),
        **_changes,
    )
    at_once(f"create, and it is destroyed meanwhile{_said}", lambda key, _, m=_maker: tried(lambda: m(key, timeout=0.001)),
            destroyed(_backend), **_changes)  # fmt: skip
    at_once(f"wait, and it is destroyed meanwhile{_said}", lambda key, _, m=_maker: tried(lambda: m(key).wait("absent", timeout=0.005)),
            destroyed(_backend), **_changes)  # fmt: skip
    at_once(f"destroy, and another is faster{_said}", lambda key, _, m=_maker: tried(lambda: m(key).destroy()), destroyed(_backend),
            beginning=made(_maker), **_changes)  # fmt: skip
at_once("create where one was left half made, and another is faster", lambda key, _: tried(lambda: make(key, timeout=0.001)), created(make),
        beginning=left_behind(by_the_dead))  # fmt: skip
