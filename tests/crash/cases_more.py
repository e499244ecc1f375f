"""Cases of waiting, walking, liveness, forks, numbers and rebuilding that need more than one operation to come about."""

from __future__ import annotations

import errno
import os
import pickle
import time
from typing import Any

import cases
from account import number_of
from cases import (
    LARGE,
    WIDE,
    case,
    home_of,
    let_expire,
    memory_of,
    nothing,
    raises,
    value,
)
from cases_open import creates, fails, initialising, left_behind, magic, make
from cases_posix import FULL, POSIX, on_posix
from cases_posix import make as make_posix
from cases_scribbled import HEADS, Segment, get, mends, put, scribbled, tried
from refuse import Refusal

import shmstore
from shmstore import sysv
from shmstore._core import lib

new = {"new": [value("new", "new")]}


def quiet(name: str, act: Any, **changes: Any) -> None:
    case(name, act, **{"sampled": False, "stops": False, **changes})


# ---- waiting
def times_out(call: Any) -> str:
    return raises(TimeoutError, call)


quiet("wait for what is there", lambda s, _: s.wait("k1", timeout=1))
quiet("wait for what does not come", lambda s, _: times_out(lambda: s.wait("absent", timeout=0.002)), sampled=True)
quiet("wait for what does not change", lambda s, v: times_out(lambda: s.wait("k1", after=v, timeout=0.002)),
      prepare=lambda s: s.get_versioned("k1")[1])  # fmt: skip
quiet("wait for what does not change, beside sleepers", lambda s, v: times_out(lambda: s.wait("k1", after=v, timeout=0.002)),
      prepare=lambda s: s.get_versioned("k1")[1], setup=cases.sleepers)  # fmt: skip
quiet("wait for what expires", lambda s, v: times_out(lambda: s.wait("mortal", after=v, timeout=0.002)),
      prepare=lambda s: s.get_versioned("mortal")[1])  # fmt: skip
quiet("wait and look", lambda s, _: times_out(lambda: s.wait("absent", timeout=0.0003, spin=0.0001)))
quiet("wait and look, readonly", lambda key, _: times_out(lambda: shmstore.Store(key, readonly=True).wait("absent", timeout=0.002, spin=0.001)), opens=True)
quiet("wait and look for what expires", lambda s, v: tried(lambda: s.wait("brief", after=v, timeout=0.05, spin=0.05)),
      prepare=lambda s: s.put("brief", 1, ttl=0.001), changes={"brief": [1, None]})  # fmt: skip
quiet("wait in a page that nobody used", lambda s, names: [times_out(lambda n=n: s.wait(n, timeout=0.001)) for n in names], furnish=cases.furnish_for_ever,
      entries=1200, size=1 << 20, prepare=lambda s: [names_of_home(s, home, 1)[0] for home in (70, 130)])  # fmt: skip
quiet("wait readonly", lambda s, _: times_out(lambda: s.wait("absent", timeout=0.005)),
      prepare=lambda s: s, furnish=cases.furnish)  # fmt: skip
quiet("open readonly and wait", lambda key, _: times_out(lambda: shmstore.Store(key, readonly=True).wait("absent", timeout=0.005)), opens=True)
quiet("open an empty store readonly and wait", lambda key, _: times_out(lambda: shmstore.Store(key, readonly=True).wait("absent", timeout=0.005)),
      opens=True, furnish=nothing)  # fmt: skip
quiet("wait in a full /dev/shm", lambda s, _: times_out(lambda: s.wait("absent", timeout=0.005)), furnish=nothing, refused=FULL, backend=POSIX)

# ---- walking
# Each short: a second of stepping, and the operation looks around, which a victim that runs to its instruction does not.
for _what, _prefix in (("list by prefix", "k"), ("list by a prefix that none has", "absent"), ("list by a prefix of bytes", b"k")):
    quiet(_what, lambda s, _, prefix=_prefix: list(s.keys(prefix)))
for _what, _act in (("list", lambda s, _: list(s)), ("count", lambda s, _: len(s))):
    quiet(f"{_what} in a nearly empty table", _act, furnish=cases.furnish_for_ever, entries=1200, size=1 << 20)
quiet("list what has expired", lambda s, _: (list(s), len(s), bool(s), s.stats()), setup=let_expire, never=cases.due)


def long_names(store: Any) -> None:
    for i in range(5):
        store.put(f"{i}" * 9000, 1)


quiet("list long names", lambda s, _: len(list(s)), furnish=long_names, size=1 << 18)
quiet("list, and close in the midst", lambda s, names: tried(lambda: (next(names), s.close(), list(names))), furnish=long_names, size=1 << 18,
      prepare=lambda s: iter(s))  # fmt: skip
quiet("say what it is", lambda s, _: (s.info(), s.stats(), s.clients(), s.closed))
quiet("open names of every length", lambda key, _: [fails(lambda n=n: shmstore.Store("~" * n, create=False)) for n in range(1, 18)], opens=True)


def use_what_is_closed(store: Any, _: Any) -> None:
    store.close()
    for call in (store.info, store.stats, store.clients, store.check, lambda: store.check(repair=True), store.recover, store.destroy, lambda: len(store), lambda: list(store),
                 lambda: store.wait("k1", timeout=0.001), lambda: store.get("k1"), lambda: store.view("raw"), lambda: store.put("k1", 1)):  # fmt: skip
        fails(call)
    handle = ffi_handles(store)
    lib.shms_close(handle)
    lib.shms_configure(handle, 0, 0, 0)


def ffi_handles(store: Any) -> int:
    return 1 << 40


quiet("use what is closed", use_what_is_closed)

# ---- conditions and numbers
quiet("replace what is absent", lambda s, _: tried(lambda: s.replace("absent", 1)))
quiet("replace what has expired", lambda s, _: tried(lambda: s.replace("due0", 1)), setup=lambda s: let_expire(s, 1), never=("due0",),
      changes={"due0": [1, None]})  # fmt: skip
quiet("replace what is absent, with sleepers", lambda s, _: tried(lambda: s.replace("absent", 1)), setup=cases.sleepers)
quiet("incr what is no number, with sleepers", lambda s, _: raises(TypeError, s.incr, "k1"), setup=cases.sleepers)
quiet("delete of a former version, with sleepers", lambda s, version: s._delete_if("k1", version), setup=cases.sleepers,
      prepare=lambda s: s.get_versioned("k2")[1])  # fmt: skip
quiet("delete what is mortal", lambda s, _: s.delete("mortal"), changes={"mortal": [None]})
quiet("modify what is mortal", lambda s, _: s.modify("mortal", lambda old: value("mortal", "new")), changes={"mortal": [value("mortal", "new")]})
for _by in (1, 2**7, 2**15, 2**31, 2**40, 2**62, -300, -(2**20), -(2**40)):
    quiet(f"incr by {_by}", lambda s, _, by=_by: s.incr("count", by), adds=_by, changes={"count": [127 + _by]})
quiet("incr a mortal number", lambda s, _: s.incr("count"), setup=lambda s: s.put("count", 127, ttl=1000), adds=1, changes={"count": [128]})
quiet("put a large raw value", lambda s, _: s.put("raw", b"n" * 9000), changes={"raw": [b"n" * 9000]})
quiet("put with a large extension", lambda s, _: cases.put_own(s, "own", value("own", "new", LARGE)), changes={"own": [value("own", "new", LARGE)]},
      furnish=cases.furnish_own)  # fmt: skip
quiet("put raw bytes, aligned", lambda s, _: s._put_if_("raw", b"n" * 9000, shmstore.DEFAULT, 0, 0, False, lib.SHMS_CODEC_RAW),
      changes={"raw": [b"n" * 9000]})  # fmt: skip


# ---- a page of the table that nobody used yet
def names_of_home(store: Any, home: int, count: int) -> list[str]:
    found, i = [], 0
    while len(found) < count:
        if home_of(store, f"far{i}") == home:
            found.append(f"far{i}")
        i += 1
    return found


def fill_last_of_page(store: Any) -> None:
    for name in names_of_home(store, 63, 7):
        store.put(name, 0)


for _backend, _refused in (("", ()), (POSIX, ()), (POSIX, FULL)):
    quiet(f"put into the next page of the table{', POSIX' * bool(_backend)}{', full' * bool(_refused)}",
          lambda s, name: tried(lambda: s.put(name, 1)), furnish=fill_last_of_page, entries=1200, size=1 << 20, backend=_backend,
          refused=_refused, prepare=lambda s: names_of_home(s, 63, 8)[7], reads_only=True)  # fmt: skip


# ---- registry: robbed, other namespaces, program executed
def rob(store: Any) -> Any:
    """Somebody held this process for dead, and emptied its place. That takes more than two seconds in which it did not
    call, so with its next call it looks."""
    memory = memory_of(store)
    at = get(memory, 184) + (number_of(memory, os.getpid()) - 1) * get(memory, 196, 4)
    put(memory, at, get(memory, at) & ~(0xF << 44))
    time.sleep(1.1)


quiet("put after being robbed", lambda s, _: s.put("new", value("new", "new")), prepare=rob, changes=new, thin=97)
quiet("put after being robbed, POSIX", lambda s, _: s.put("new", value("new", "new")), prepare=rob, changes=new, backend=POSIX, thin=97)


def own_a_block(store: Any) -> Any:
    """A former operation could not give its block back: it stands in the record."""
    store.put("lost", value("lost", "old"))
    segment = Segment(store)
    at = segment.clients + (number_of(segment.memory, os.getpid()) - 1) * get(segment.memory, 196, 4) + 192
    put(segment.memory, at + 16, segment.block("lost"))
    put(segment.memory, segment.slot("lost"), 0)


def own_a_broken_block(store: Any) -> Any:
    own_a_block(store)
    segment = Segment(store)
    for at in range(segment.arenas + HEADS, segment.arenas + HEADS + 8 * 34 * 16, 8):
        if get(segment.memory, at):
            put(segment.memory, get(segment.memory, at) + 16, 8)


quiet("put with a block of a former operation", lambda s, _: s.put("new", value("new", "new")), prepare=own_a_block, changes=new)
quiet("put with a block of a former operation, broken lists", lambda s, _: s.put("new", value("new", "new")), prepare=own_a_broken_block, changes=new)
quiet("close with a block of a former operation", lambda s, _: s.close(), prepare=own_a_block)


def place_of(segment: Segment, number: int) -> int:
    return segment.clients + (number - 1) * get(segment.memory, 196, 4)


def start_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[19])


def in_another_namespace(beacon: int = 1, net: bool = True) -> Any:
    """The dead and the living are said to be of another pid namespace."""

    def scribble(g: Segment) -> None:
        size = get(g.memory, 196, 4)
        for i in range(get(g.memory, 192, 4)):
            at = g.clients + i * size
            if get(g.memory, at) >> 44 & 0xF:
                put(g.memory, at + 16, 4711)
                if not net:
                    put(g.memory, at + 24, 4711)
                if not beacon:
                    put(g.memory, at + 32, 0)

    return scribble


DIED = {"after": ("put over", "freeing"), "changes": {"k2": [value("k2", "new")]}}
for _what, _scribble in (("", in_another_namespace()), (" without beacons", in_another_namespace(0)), (" and network", in_another_namespace(1, False))):
    scribbled(f"recover those of another namespace{_what}", _scribble, lambda s, _: (s.recover(), s.recover(), s.clients()), **DIED)
scribbled("recover those of another namespace, POSIX", in_another_namespace(), lambda s, _: (s.recover(), s.recover(), s.clients()), backend=POSIX, **DIED)
scribbled("recover those of another namespace after a while", in_another_namespace(), lambda s, _: (s.recover(), time.sleep(2.6), s.recover()), thin=97, **DIED)


def exec_instead(g: Segment) -> None:
    """The dead one's process id is that of one who lives and has no such memory: as if it had called exec."""
    size = get(g.memory, 196, 4)
    for i in range(get(g.memory, 192, 4)):
        at = g.clients + i * size
        word = get(g.memory, at)
        if word >> 44 & 0xF and not os.path.exists(f"/proc/{word & 0xFFFFFFFF}"):
            put(g.memory, at, word & ~0xFFFFFFFF | os.getppid())
            put(g.memory, at + 8, start_of(os.getppid()))


for _backend in ("", POSIX):
    scribbled(f"recover one who called exec{', POSIX' * bool(_backend)}", exec_instead, lambda s, _: s.recover(), mended=False, backend=_backend, **DIED)
quiet("recover with descriptors gone", lambda s, _: s.recover(), refused=(Refusal("socket", errno.EMFILE),), **DIED)
quiet("recover without a /proc", lambda s, _: tried(s.recover), refused=(Refusal("openat", errno.ENOENT, ((2, 0xFFFFFFFF, os.O_CLOEXEC),)),), **DIED)
quiet("recover in an empty store", lambda s, _: (s.recover(), s.check(), s.stats(), len(s), list(s)), furnish=nothing)
quiet("open readonly and recover", lambda key, _: fails(shmstore.Store(key, readonly=True).recover), opens=True)
quiet("recover one who owned a block, two arenas", lambda s, _: s.recover(), after=("put a new name", "owning"), changes=new, furnish=cases.furnish_both,
      size=WIDE, never=cases.due)  # fmt: skip
quiet("takeover, with sleepers on all arenas", lambda s, _: s.recover(), setup=cases.sleepers, after=("put over", "arena"),
      changes={"k2": [value("k2", "new")]})  # fmt: skip


# ---- rebuilding: pins, records and slots that name the same, or what overlaps
def suspected(store: Any) -> Any:
    held = cases.hold(store)
    cases.suspect(store)
    return held


def only_a_zombie(store: Any) -> Any:
    store.put("raw", b"r" * 300)
    held = store.view("raw")
    store.delete("raw")
    cases.suspect(store)
    return held


quiet("rebuild beside a view", lambda s, _: s.put("k2", value("k2", "new")), setup=suspected, kept=1, changes={"k2": [value("k2", "new")]})
quiet("rebuild of nothing but a zombie", lambda s, _: s.put("new", value("new", "new")), furnish=nothing, setup=only_a_zombie, kept=1, changes=new)
quiet("rebuild of nothing", lambda s, _: s.put("new", value("new", "new")), furnish=nothing, setup=cases.suspect, changes=new)


def pin_into_the_midst(g: Segment) -> None:
    """A pin of the checking process names memory that was given to somebody else since."""
    at = g.block("raw") + 272
    segment_put_pins(g, at)


def segment_put_pins(g: Segment, at: int) -> None:
    number = next(i + 1 for i in range(get(g.memory, 192, 4)) if get(g.memory, place_of(g, i + 1)) & 0xFFFFFFFF == os.getpid())
    put(g.memory, place_of(g, number) + 448, at)


def furnish_pins(store: Any) -> None:
    cases.furnish(store)
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
    number = next(i + 1 for i in range(get(g.memory, 192, 4)) if get(g.memory, place_of(g, i + 1)) & 0xFFFFFFFF == os.getpid())
    put(g.memory, place_of(g, number) + 192 + 16, g.block("k1"))
    put(g.memory, place_of(g, number) + 192 + 32 + 16, g.block("k1") + 16)
    g.set_arena(72, 1)


scribbled("rebuild where a pin lies before a block", deleted_under_a_pin, lambda s, _: s.put("k2", value("k2", "new")), furnish=furnish_pins,
          changes={"k2": [value("k2", "new")], "raw": [None]}, mended=False)  # fmt: skip
scribbled("rebuild where two slots name one block", two_slots_one_block, lambda s, _: s.put("k2", value("k2", "new")),
          changes={"k2": [value("k2", "new")]}, mended=False)  # fmt: skip
scribbled("rebuild where a record names what is published", record_of_a_published, lambda s, _: s.put("k2", value("k2", "new")),
          changes={"k2": [value("k2", "new")]})  # fmt: skip
for _at, _what in ((0, "nothing"), (8, "no granule"), (1 << 50, "nowhere")):
    mends(f"rebuild where the doomed is {_what}", lambda g, at=_at: (g.set_arena(104, at), g.set_arena(72, 1))[0])
mends("sweep where the lists are broken", lambda g: cases_broken(g), cases.eight_puts, setup=let_expire, never=cases.due)
mends("delete where the zombies are broken", lambda g: cases_broken(g), lambda s, _: s.delete("between1"), changes={"between1": [None]})


def cases_broken(g: Segment) -> None:
    cases.break_lists(g.store)


# ---- POSIX: runs that lack pages, beside runs that have them
def cold_and_warm(store: Any) -> None:
    """After a rebuild every larger gap is taken for one without pages; what is freed after it is not."""
    for name, size in (("k0", 20), ("k1", 20), ("a", 6000), ("b", 20), ("c", 9000), ("d", 20), ("e", 6050), ("f", 20)):
        store.put(name, value(name, "old", size))
    store.delete("a")
    store.delete("e")
    store.delete("k1")
    cases.suspect(store)
    store.put("k1", value("k1", "old"))
    store.delete("c")


for _size in (5000, 5900, 8000, 9500, 100):
    on_posix(f"put {_size} bytes where runs lack pages, in a full /dev/shm", lambda s, _, n=_size: tried(lambda: s.put("new", b"n" * n)), refused=FULL,
             furnish=cold_and_warm, changes={"new": [b"n" * _size]})  # fmt: skip
    on_posix(f"put {_size} bytes where runs lack pages", lambda s, _, n=_size: s.put("new", b"n" * n), furnish=cold_and_warm,
             changes={"new": [b"n" * _size]})  # fmt: skip
on_posix("delete beside runs that lack pages", lambda s, _: (s.delete("b"), s.delete("d"), s.delete("f")), furnish=cold_and_warm,
         changes={"b": [None], "d": [None], "f": [None]})  # fmt: skip


def given_back(name: str, after: bool, again: int = 0) -> None:
    """A store of one's own, whose pages go back since nobody else is attached. It ends with its process."""

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
    os.close(store._info().descriptor)


on_posix("delete what gives pages back beside one without a descriptor", lambda s, _: s.delete("huge"), furnish=cases.furnish_huge,
         size=cases.ROOMY, unread=("huge",), setup=close_of)  # fmt: skip


# ---- private stores are handed on
def private_handle(backend: str) -> Any:
    def prepare(_: Any) -> Any:
        store = shmstore.Store(shmstore.PRIVATE, size=cases.SIZE, backend=backend)
        return store, pickle.dumps(store)

    return prepare


for _backend in ("sysv", POSIX):
    quiet(f"say what a private store is, {_backend}", lambda _, both: (both[0].info(), both[0].stats(), both[0].clients()), prepare=private_handle(_backend))
    quiet(f"open a private store of one's own, {_backend}", lambda _, both: pickle.loads(both[1]).close(), prepare=private_handle(_backend))
    quiet(f"destroy a private store, {_backend}", lambda _, both: both[0].destroy(), prepare=private_handle(_backend))
    quiet(f"open a private store that is gone, {_backend}", lambda _, both: (both[0].close(), fails(lambda: pickle.loads(both[1]))),
          prepare=private_handle(_backend))  # fmt: skip
quiet("open a private store, shmctl fails", lambda _, both: fails(lambda: pickle.loads(both[1])), prepare=private_handle("sysv"),
      refused=(Refusal("shmctl", errno.EACCES),))  # fmt: skip
on_posix("fork when no descriptor is left", cases.divide, follow=1, changes={"k1": [value("k1", "new")]},
         refused=(Refusal("openat", errno.EMFILE, ((2, 0x80003, 0x80002),)),))  # fmt: skip
on_posix("check when no pages can be looked at", lambda s, _: s.check(), refused=(Refusal("mincore", errno.ENOSYS),))
quiet("close in the child", lambda s, _: fork_and(s, lambda: s.close()), follow=1)
quiet("close in the child with a view", lambda s, held: fork_and(s, lambda: (held.release(), s.close())), prepare=cases.hold, follow=1)
quiet("list, check and repair in the child", lambda s, _: fork_and(s, lambda: (list(s), s.check(), s.check(repair=True))), follow=1)
quiet("use three in the child", lambda s, others: fork_and(s, lambda: [other.get("k1") for other in others]), prepare=cases.attach_twice_more, follow=1)
quiet("use readonly in the child", lambda s, other: fork_and(s, lambda: other.get("k1")), prepare=lambda s: shmstore.Store(s.info().name, readonly=True),
      follow=1)  # fmt: skip


def fork_and(store: Any, what: Any) -> None:
    if os.fork() == 0:
        what()
        os._exit(0)


# ---- the end of a store that is used
def furnished_with_sleepers(key: str) -> None:
    with make(key) as store:
        cases.furnish(store)
        cases.sleepers(store)


def furnished_posix(key: str) -> None:
    with make_posix(key) as store:
        cases.furnish(store)


def look_after_the_end(make_it: Any) -> Any:
    def act(key: str, _: Any) -> None:
        store, other = make_it(key), make_it(key)
        other.destroy()
        for call in (lambda: store.get("k1"), store.check, lambda: store.check(repair=True), store.recover, lambda: store.put("k1", 1), lambda: len(store), lambda: list(store), store.stats):
            fails(call)

    return act


creates("destroy, with sleepers", lambda key, _: make(key).destroy(), beginning=furnished_with_sleepers, mended=True)
creates("use what was destroyed", look_after_the_end(make), beginning=furnished_with_sleepers, mended=True)
creates("use what was destroyed, POSIX", look_after_the_end(make_posix), beginning=furnished_posix, mended=True, backend=POSIX)
for _call, _arguments in (("unlink", ()), ("newfstatat", ((3, 0x100, 0x100),))):
    creates(f"destroy, {_call} fails, POSIX", lambda key, _: fails(lambda: make_posix(key).destroy()), beginning=furnished_posix, mended=True, backend=POSIX,
            refused=(Refusal(_call, errno.EACCES, _arguments),))  # fmt: skip
creates("create where one was left half made and stays", lambda key, _: fails(lambda: make(key)), mended=True, beginning=left_behind(lambda: initialising(gone())),
        refused=(Refusal("shmctl", errno.EPERM, ((1, 0xFF, 0),)),))  # fmt: skip
creates("refuse what its living maker did not name himself in", lambda key, _: fails(lambda: make(key, timeout=0.001)), mended=True, beginning=lambda key: by_me(key, magic()()))
creates("refuse what its living maker left blank", lambda key, _: fails(lambda: make(key, timeout=0.001)), mended=True, beginning=lambda key: by_me(key, b""))
creates("create what is larger", lambda key, _: make(key, size=2 << 20), mended=True)
creates("create what is much larger", lambda key, _: make(key, size=32 << 20, max_entries=5000), mended=True)
creates("create what is huge", lambda key, _: make(key, size=WIDE, max_entries=None), mended=True)
creates("refuse what is too large", lambda key, _: fails(lambda: make(key, size=1 << 45)), mended=True)


def gone() -> int:
    from cases_open import somebody_gone

    return somebody_gone()


def by_me(key: str, content: bytes) -> None:
    segment = sysv.shmget(lib.shms_key_of_name(key.encode(), len(key)), cases.SIZE, sysv.IPC_CREAT | sysv.IPC_EXCL | 0o600)
    if content:
        with sysv.shmat(segment) as memory:
            memory[: len(content)] = content


# ---- the rest of some branches
def far_text(store: Any) -> None:
    cases.crowd(store)
    store.put(cases.far(store, 9), "text")


for _name, _number in (("add to what is there", 9), ("replace what is absent", 10), ("delete of a former version", 9)):
    _act = {"add": lambda s, name: s.add(name, 1), "replace": lambda s, name: tried(lambda: s.replace(name, 1)),
            "delete": lambda s, name: s._delete_if(name, 12345)}[_name.split()[0]]  # fmt: skip
    quiet(f"{_name}, far from home", _act, setup=cases.crowd, prepare=lambda s, n=_number: cases.far(s, n), reads_only=True)
quiet("incr what is no number, far from home", lambda s, name: raises(TypeError, s.incr, name), setup=far_text, prepare=lambda s: cases.far(s, 9), reads_only=True)
quiet("open readonly and wait in a page that nobody used", lambda key, _: readonly_waits(key), opens=True, furnish=cases.furnish_for_ever, entries=1200,
      size=1 << 20)  # fmt: skip


def readonly_waits(key: str) -> None:
    store = shmstore.Store(key, readonly=True)
    for i in range(4):
        times_out(lambda i=i: store.wait(f"absent{i}", timeout=0.003))


quiet("wait until it expires", lambda s, v: tried(lambda: s.wait("brief", after=v, timeout=0.05)), prepare=lambda s: s.put("brief", 1, ttl=0.02),
      changes={"brief": [1, None]})  # fmt: skip
quiet("check readonly behind a held arena", lambda key, _: fails(shmstore.Store(key, readonly=True, timeout=0.001).check), opens=True,
      behind=("put over", "freeing"), changes={"k2": [value("k2", "new")]})  # fmt: skip


def gap_of_a_page(first: int) -> Any:
    def furnish_page(store: Any) -> None:
        if first:
            store.put("k1", value("k1", "old", first))
        used = store.stats().bytes_used
        store._put_if_("a", b"a" * (4096 - used - 41), shmstore.DEFAULT, 0, 0, False, lib.SHMS_CODEC_RAW)
        store.put("b", value("b", "old"))
        store.delete("a")
        cases.suspect(store)

    return furnish_page


for _first in (0, 100):
    on_posix(f"rebuild a gap that ends with a page, after {_first}", lambda s, _: tried(lambda: s.put("b", value("b", "new"))),
             furnish=gap_of_a_page(_first), changes={"b": [value("b", "new")]})  # fmt: skip
    on_posix(f"rebuild a gap that ends with a page, after {_first}, in a full /dev/shm", lambda s, _: tried(lambda: s.put("b", value("b", "new"))),
             furnish=gap_of_a_page(_first), changes={"b": [value("b", "new")]}, refused=FULL)  # fmt: skip


def break_warm(g: Segment) -> None:
    """The end of the largest run says another size."""
    runs = []
    for at in range(g.arenas + HEADS, g.arenas + HEADS + 8 * 34 * 16, 8):
        if get(g.memory, at):
            runs.append(get(g.memory, at))
    run = max(runs, key=lambda r: get(g.memory, r + 24))
    put(g.memory, run + get(g.memory, run + 24) - 8, 16)


mends("put where runs lack pages and one is broken, in a full /dev/shm", break_warm, lambda s, _: tried(lambda: s.put("new", b"n" * 5000)), refused=FULL,
      furnish=cold_and_warm, backend=POSIX, changes={"new": [b"n" * 5000]})  # fmt: skip


def furnish_a_list(store: Any) -> None:
    """Three runs of one list, with blocks between them."""
    for i in range(4):
        store.put(f"gap{i}", value(f"gap{i}", "gap", 200))
        store.put(f"k{i}", value(f"k{i}", "old"))
    for i in range(3):
        store.delete(f"gap{i}")


quiet("delete beside the midst of a list", lambda s, _: (s.delete("k1"), s.delete("k0")), furnish=furnish_a_list,
      changes={"k0": [None], "k1": [None]})  # fmt: skip
