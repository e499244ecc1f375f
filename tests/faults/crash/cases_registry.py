"""Cases of the registry: robbed of a place, other namespaces, programs executed; private stores handed on; the end of a store that is used."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pickle
import time
from typing import Any

from audit import number_of
from cases import fails, quiet, tried
from cases_open import creates, initialising, left_behind, magic, make
from cases_posix import make as make_posix
from cases_posix import on_posix
from cases_processes import divide
from cases_scribbled import scribbled
from raw_segment import Segment, get, memory_of, put, sleepers
from seccomp_faults import Refusal
from store_setup import POSIX, SIZE, attach_twice_more, hold, new, nothing, populate, value

import shmstore
from shmstore import sysv
from shmstore._core import lib


# ---- registry: robbed, other namespaces, program executed
def rob(store: Any) -> Any:
    """Somebody held this process for dead, and emptied its place. That takes more than two seconds in which it did not
    call, so with its next call it looks."""
    memory = memory_of(store)
    at = get(memory, 184) + (number_of(memory, os.getpid()) - 1) * get(memory, 196, 4)
    put(memory, at, get(memory, at) & ~(0xF << 44))
    time.sleep(1.1)


quiet("put after being robbed", lambda s, _: s.put("new", value("new", "new")), prepare=rob, changes=new, thin=97)
quiet(
    "put after being robbed, POSIX",
    lambda s, _: s.put("new", value("new", "new")),
    prepare=rob,
    changes=new,
    backend=POSIX,
    thin=97,
)


def put_out(store: Any) -> None:
    """The program closes a socket that it did not open: the liveness socket. It is lit again with the next second of use."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                os.close(int(name))
    time.sleep(1.1)


def to_another_ipc_namespace(store: Any) -> None:
    """Where that is not allowed it stays."""
    ctypes.CDLL(None).unshare(0x08000000)


quiet(
    "put when the beacon was put out a second ago",
    lambda s, _: s.put("new", value("new", "new")),
    prepare=put_out,
    changes=new,
    thin=97,
)
quiet("use from another IPC namespace", lambda s, _: (s.info(), s.recover(), s.put("new", value("new", "new")), tried(s.destroy)),
      prepare=to_another_ipc_namespace, changes=new)  # fmt: skip


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


DIED = {"after": ("put over", "ending"), "changes": {"k2": [value("k2", "new")]}}
for _what, _scribble in (
    ("", in_another_namespace()),
    (" without beacons", in_another_namespace(0)),
    (" and network", in_another_namespace(1, False)),
):
    scribbled(
        f"recover those of another namespace{_what}",
        _scribble,
        lambda s, _: (s.recover(), s.recover(), s.clients()),
        **DIED,
    )
scribbled(
    "recover those of another namespace, POSIX",
    in_another_namespace(),
    lambda s, _: (s.recover(), s.recover(), s.clients()),
    backend=POSIX,
    **DIED,
)
scribbled(
    "recover those of another namespace after a while",
    in_another_namespace(),
    lambda s, _: (s.recover(), time.sleep(2.6), s.recover()),
    thin=97,
    **DIED,
)


def exec_instead(g: Segment) -> None:
    """The dead client's process id belongs to a live process without that memory, as after a call of exec."""
    size = get(g.memory, 196, 4)
    for i in range(get(g.memory, 192, 4)):
        at = g.clients + i * size
        word = get(g.memory, at)
        if word >> 44 & 0xF and not os.path.exists(f"/proc/{word & 0x3FFFFF}"):
            put(g.memory, at, word & ~0x3FFFFF | os.getppid())
            put(g.memory, at + 8, start_of(os.getppid()))


for _backend in ("", POSIX):
    scribbled(
        f"recover one who called exec{', POSIX' * bool(_backend)}",
        exec_instead,
        lambda s, _: s.recover(),
        mended=False,
        backend=_backend,
        **DIED,
    )
quiet("recover with descriptors gone", lambda s, _: s.recover(), refused=(Refusal("socket", errno.EMFILE),), **DIED)
quiet(
    "recover without a /proc",
    lambda s, _: tried(s.recover),
    refused=(Refusal("openat", errno.ENOENT, ((2, 0xFFFFFFFF, os.O_CLOEXEC),)),),
    **DIED,
)
quiet("recover in an empty store", lambda s, _: (s.recover(), s.check(), s.stats(), len(s), list(s)), populate=nothing)
quiet("open readonly and recover", lambda key, _: fails(shmstore.Store(key, readonly=True).recover), opens=True)
quiet("takeover, with sleepers on all buckets", lambda s, _: s.recover(), setup=sleepers, after=("put over", "bucket"),
      changes={"k2": [value("k2", "new")]})  # fmt: skip


# ---- private stores are handed on
def private_handle(backend: str) -> Any:
    def prepare(_: Any) -> Any:
        store = shmstore.Store(shmstore.PRIVATE, size=SIZE, backend=backend)
        return store, pickle.dumps(store)

    return prepare


for _backend in ("sysv", POSIX):
    quiet(
        f"say what a private store is, {_backend}",
        lambda _, both: (both[0].info(), both[0].stats(), both[0].clients()),
        prepare=private_handle(_backend),
    )
    quiet(
        f"open a private store of one's own, {_backend}",
        lambda _, both: pickle.loads(both[1]).close(),
        prepare=private_handle(_backend),
    )
    quiet(f"destroy a private store, {_backend}", lambda _, both: both[0].destroy(), prepare=private_handle(_backend))
    quiet(f"open a private store that is gone, {_backend}", lambda _, both: (both[0].close(), fails(lambda: pickle.loads(both[1]))),
          prepare=private_handle(_backend))  # fmt: skip
quiet("open a private store, shmctl fails", lambda _, both: fails(lambda: pickle.loads(both[1])), prepare=private_handle("sysv"),
      refused=(Refusal("shmctl", errno.EACCES),))  # fmt: skip
on_posix("fork when no descriptor is left", divide, follow=1, changes={"k1": [value("k1", "new")]},
         refused=(Refusal("openat", errno.EMFILE, ((2, 0x80003, 0x80002),)),))  # fmt: skip
on_posix("check when no pages can be looked at", lambda s, _: s.check(), refused=(Refusal("mincore", errno.ENOSYS),))
quiet("close in the child", lambda s, _: fork_and(s, lambda: s.close()), follow=1)
quiet(
    "close in the child with a view",
    lambda s, held: fork_and(s, lambda: (held.release(), s.close())),
    prepare=hold,
    follow=1,
)
quiet(
    "list, check and repair in the child",
    lambda s, _: fork_and(s, lambda: (list(s), s.check(), s.check(repair=True))),
    follow=1,
)
quiet(
    "use three in the child",
    lambda s, others: fork_and(s, lambda: [other.get("k1") for other in others]),
    prepare=attach_twice_more,
    follow=1,
)
quiet("use readonly in the child", lambda s, other: fork_and(s, lambda: other.get("k1")), prepare=lambda s: shmstore.Store(s.info().name, readonly=True),
      follow=1)  # fmt: skip


def fork_and(store: Any, what: Any) -> None:
    if os.fork() == 0:
        what()
        os._exit(0)


# ---- the end of a store that is used
def populated_with_sleepers(key: str) -> None:
    with make(key) as store:
        populate(store)
        sleepers(store)


def populated_posix(key: str) -> None:
    with make_posix(key) as store:
        populate(store)


def look_after_the_end(make_it: Any) -> Any:
    def act(key: str, _: Any) -> None:
        store, other = make_it(key), make_it(key)
        other.destroy()
        for call in (
            lambda: store.get("k1"),
            store.check,
            lambda: store.check(repair=True),
            store.recover,
            lambda: store.put("k1", 1),
            lambda: len(store),
            lambda: list(store),
            store.stats,
        ):
            fails(call)

    return act


creates("destroy, with sleepers", lambda key, _: make(key).destroy(), beginning=populated_with_sleepers, mended=True)
creates("use what was destroyed", look_after_the_end(make), beginning=populated_with_sleepers, mended=True)
creates(
    "use what was destroyed, POSIX",
    look_after_the_end(make_posix),
    beginning=populated_posix,
    mended=True,
    backend=POSIX,
)
for _call, _arguments in (("unlink", ()), ("newfstatat", ((3, 0x100, 0x100),))):
    creates(f"destroy, {_call} fails, POSIX", lambda key, _: fails(lambda: make_posix(key).destroy()), beginning=populated_posix, mended=True, backend=POSIX,
            refused=(Refusal(_call, errno.EACCES, _arguments),))  # fmt: skip
creates("create where one was left half made and stays", lambda key, _: fails(lambda: make(key)), mended=True, beginning=left_behind(lambda: initialising(gone())),
        refused=(Refusal("shmctl", errno.EPERM, ((1, 0xFF, 0),)),))  # fmt: skip
creates(
    "refuse what its living maker did not name himself in",
    lambda key, _: fails(lambda: make(key, timeout=0.001)),
    mended=True,
    beginning=lambda key: by_me(key, magic()()),
)
creates(
    "refuse what its living maker left blank",
    lambda key, _: fails(lambda: make(key, timeout=0.001)),
    mended=True,
    beginning=lambda key: by_me(key, b""),
)
creates("create what is larger", lambda key, _: make(key, size=2 << 20), mended=True)
creates("create what is much larger", lambda key, _: make(key, size=32 << 20, max_entries=5000), mended=True)
creates("create what is huge", lambda key, _: make(key, size=256 << 20, max_entries=None), mended=True)
creates("refuse what is too large", lambda key, _: fails(lambda: make(key, size=1 << 45)), mended=True)


def gone() -> int:
    from cases_open import somebody_gone

    return somebody_gone()


def by_me(key: str, content: bytes) -> None:
    segment = sysv.shmget(lib.shms_key_of_name(key.encode(), len(key)), SIZE, sysv.IPC_CREAT | sysv.IPC_EXCL | 0o600)
    if content:
        with sysv.shmat(segment) as memory:
            memory[: len(content)] = content
