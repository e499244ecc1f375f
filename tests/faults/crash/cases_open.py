"""Cases of creation, opening and the end of a store: what is refused, what is found half made, calls that fail."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pickle
import struct
from collections.abc import Callable
from typing import Any

from cases import case, fails
from raw_segment import memory_of
from seccomp_faults import Refusal
from store_setup import MAX_ENTRIES, SIZE, empty_store, make, make_as_another_user, nothing, wait_for

import shmstore
from shmstore import sysv
from shmstore._core import lib

MAGIC, MAGIC_INIT = 0x45524F54534D4853, 0x54494E49534D4853
INITIALISING, READY, DESTROYED = 1, 2, 3


def word(at: int, number: int, size: int = 8) -> Callable[[Any], None]:
    def scribble(store: Any) -> None:
        memory_of(store)[at : at + size] = number.to_bytes(size, "little")

    return scribble


# ---- opening what is there and is not what was expected: the header is scribbled on, the opener is refused and killed
def refused_open(name: str, scribble: Any = nothing, **options: Any) -> None:
    arguments = {"create": False, "timeout": 0.001, **options}
    case(f"refuse to open {name}", lambda key, _: fails(lambda: shmstore.Store(key, **arguments)), opens=True,
         scribble=scribble, mended=True, sampled=False, stops=False)  # fmt: skip


refused_open("what has another magic", word(0, 1))
refused_open("what was destroyed", word(8, DESTROYED << 44))
refused_open("what is in no known state", word(8, 7 << 44))
refused_open("another format", word(16, 2, 4))
refused_open("an incompatible feature", word(24, 1))
refused_open("another kind of name", word(160, 3, 4))
refused_open("another name", word(4096, 0x5A, 1))
refused_open("a longer name", word(164, 4095, 4))
refused_open("a name without end", word(164, 1 << 31, 4))
refused_open("what says that it is larger", word(48, 1 << 40))
refused_open("no clients", word(192, 0, 4))
refused_open("a heap elsewhere", word(264, 1 << 50))
refused_open("a table elsewhere", word(216, 7))
refused_open("another mode", mode=0o640, create=None)
for _name, _options in {"size": {"size": 2 * SIZE}, "number of entries": {"max_entries": MAX_ENTRIES + 1}}.items():
    case(f"open with another {_name}", lambda key, _, options=_options: shmstore.Store(key, timeout=0.001, **options).close(),
         opens=True, sampled=False, stops=False)  # fmt: skip
refused_open("what is to be new", create=True, size=SIZE)
case("open a store that newer ones may write to", lambda key, _: shmstore.Store(key, create=False).close(), opens=True,
     scribble=word(32, 1), mended=True, sampled=False, stops=False)  # fmt: skip
for _call, _error in (
    ("shmget", errno.EACCES),
    ("shmctl", errno.EACCES),
    ("shmctl", errno.EIDRM),
    ("shmat", errno.ENOMEM),
    ("shmat", errno.EIDRM),
):
    case(f"open, {_call} fails with {errno.errorcode[_error]}", lambda key, _: fails(lambda: shmstore.Store(key, create=False, timeout=0.001)),
         opens=True, refused=(Refusal(_call, _error),), sampled=False, stops=False)  # fmt: skip
case("open without a beacon", lambda key, _: shmstore.Store(key, create=False).close(), opens=True, sampled=False, stops=False,
     refused=(Refusal("socket", errno.EMFILE),))  # fmt: skip
case("open when the beacon's name is taken", lambda key, _: shmstore.Store(key, create=False).close(), opens=True,
     refused=(Refusal("bind", errno.EADDRINUSE),), sampled=False, stops=False)  # fmt: skip
case("open where /proc hides what is in it", lambda key, _: shmstore.Store(key, create=False).close(), opens=True, sampled=False, stops=False,
     refused=(Refusal("openat", errno.ENOENT, ((2, 0xFFFFFFFF, os.O_CLOEXEC),)), Refusal("readlink", errno.ENOENT)))  # fmt: skip
case(
    "open and prefault",
    lambda key, _: shmstore.Store(key, create=False, prefault=True).close(),
    opens=True,
    sampled=False,
    stops=False,
)
case("open and lock in memory", lambda key, _: shmstore.Store(key, create=False, lock_memory=True).close(), opens=True,
     sampled=False, stops=False)  # fmt: skip
case("open, and it cannot be locked", lambda key, _: fails(lambda: shmstore.Store(key, create=False, lock_memory=True)),
     opens=True, refused=(Refusal("shmctl", errno.EPERM, ((1, 0xFF, 11),)),), sampled=False, stops=False)  # fmt: skip
case("open and prefault on an older kernel", lambda key, _: shmstore.Store(key, create=False, prefault=True).close(), opens=True,
     refused=(Refusal("madvise", errno.EINVAL),), sampled=False, stops=False)  # fmt: skip
case("open, and it cannot be prefaulted", lambda key, _: fails(lambda: shmstore.Store(key, create=False, prefault=True)), opens=True,
     refused=(Refusal("madvise", errno.EFAULT),), sampled=False, stops=False)  # fmt: skip


def pickled(store: Any) -> bytes:
    return pickle.dumps(store)


def pickled_of_another(store: Any) -> bytes:
    return pickle.dumps(store).replace(store._uuid, bytes(16))


case(
    "open by its identity",
    lambda s, pickle_: pickle.loads(pickle_).close(),
    prepare=pickled,
    sampled=False,
    stops=False,
)
case("refuse to open another of that name", lambda s, pickle_: fails(lambda: pickle.loads(pickle_)), prepare=pickled_of_another,
     sampled=False, stops=False)  # fmt: skip
case("close a handle twice, and use it", lambda s, _: (s.close(), s.close(), fails(lambda: s.get("k1")), fails(s.check), fails(s.recover)),
     sampled=False, stops=False)  # fmt: skip

# ---- creation: where there is nothing, or what another creator left


def creates(name: str, act: Callable[[Any, Any], Any], **changes: Any) -> None:
    case(name, act, opens=True, creates=True, populate=nothing, **{"sampled": False, "stops": False, **changes})


def whole() -> int:
    """The bytes of the segment of a store."""
    with make(shmstore.PRIVATE) as store:
        return sysv.shmctl(store.info().id, sysv.IPC_STAT).size


def left_behind(
    content: Callable[[], bytes], size: int | Callable[[], int] = SIZE, mode: int = 0o600
) -> Callable[[str], None]:
    """A segment whose creator is dead, with these bytes at its beginning."""

    def leave(key: str) -> None:
        number = lib.shms_key_of_name(key.encode(), len(key))
        length = size if isinstance(size, int) else size()
        pid = os.fork()
        if pid == 0:
            segment = sysv.shmget(number, length, sysv.IPC_CREAT | sysv.IPC_EXCL | mode)
            begins = content()
            if begins:
                with sysv.shmat(segment) as memory:
                    memory[: len(begins)] = begins
            os._exit(0)
        wait_for(pid)

    return leave


def namespace_tag() -> int:
    return os.stat("/proc/self/ns/pid").st_ino & 0x3FFFFF


def initialising(pid: int, start: int = 0) -> bytes:
    """As far as a creator comes that has written its process id and nothing else."""
    state = 1 << 48 | INITIALISING << 44 | namespace_tag() << 22 | pid
    return struct.pack("<QQ96xQQ", MAGIC_INIT, state, start, state if start else 0)


def somebody_gone() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    wait_for(pid)
    return pid


def blank() -> bytes:
    return b""


def magic(state: int = 0) -> Callable[[], bytes]:
    return lambda: struct.pack("<QQ", MAGIC_INIT, state)


def by_the_dead() -> bytes:
    return initialising(somebody_gone())


def by_the_living() -> bytes:
    return initialising(os.getppid())


def by_one_of_another_namespace() -> bytes:
    return struct.pack("<QQ", MAGIC_INIT, 1 << 48 | INITIALISING << 44 | (namespace_tag() ^ 1) << 22 | 1)


creates("create where a blank one was left", lambda key, _: make(key), beginning=left_behind(blank, whole))
creates("create where one with a magic was left", lambda key, _: make(key), beginning=left_behind(magic()))
creates("create where one was left half made", lambda key, _: make(key), beginning=left_behind(by_the_dead))
creates("create where one was removed half made", lambda key, _: fails(lambda: make(key, timeout=0.001)), mended=True,
        beginning=left_behind(magic(DESTROYED << 44)))  # fmt: skip
creates("open where one was left half made", lambda key, _: fails(lambda: make(key, create=False, timeout=0.001)), mended=True,
        beginning=left_behind(by_the_dead))  # fmt: skip
creates("create another size where one was left half made", lambda key, _: make(key, size=2 * SIZE), mended=True,
        beginning=left_behind(by_the_dead))  # fmt: skip
creates("refuse what is half made by the living", lambda key, _: fails(lambda: make(key, timeout=0.001)), mended=True,
        beginning=left_behind(by_the_living))  # fmt: skip
creates("refuse what is half made by one who cannot be seen", lambda key, _: fails(lambda: make(key, timeout=0.001)), mended=True,
        beginning=left_behind(by_one_of_another_namespace))  # fmt: skip
creates(
    "refuse what is in no known state",
    lambda key, _: fails(lambda: make(key)),
    mended=True,
    beginning=left_behind(magic(7 << 44)),
)
creates("refuse a blank one with a state", lambda key, _: fails(lambda: make(key)), mended=True,
        beginning=left_behind(lambda: struct.pack("<QQ", 0, READY << 44)))  # fmt: skip
creates(
    "refuse a blank one of another size",
    lambda key, _: fails(lambda: make(key)),
    mended=True,
    beginning=left_behind(blank, lambda: 2 * whole()),
)
creates(
    "refuse what is no store",
    lambda key, _: fails(lambda: make(key)),
    mended=True,
    beginning=left_behind(lambda: b"something"),
)
creates(
    "refuse what is too small", lambda key, _: fails(lambda: make(key)), mended=True, beginning=left_behind(blank, 4096)
)
creates("finish what was left before its magic", lambda key, _: make(key), beginning=lambda key: unfinished(key))
creates("refuse to finish it without the right", lambda key, _: fails(lambda: make(key, readonly=True, timeout=0.001)), mended=True,
        beginning=lambda key: unfinished(key))  # fmt: skip
creates("refuse a size that is too small", lambda key, _: fails(lambda: make(key, size=100)))
creates("refuse a size that is too small where something is left", lambda key, _: fails(lambda: make(key, size=100)), mended=True,
        beginning=left_behind(by_the_dead))  # fmt: skip
creates("refuse entries that do not fit", lambda key, _: fails(lambda: make(key, max_entries=10**6, create=True)))
creates("open what is absent", lambda key, _: fails(lambda: make(key, create=False)))
creates("open readonly what is absent", lambda key, _: fails(lambda: make(key, readonly=True)))
creates("create prefaulted and locked", lambda key, _: make(key, prefault=True, lock_memory=True))
creates("create, and it cannot be locked", lambda key, _: fails(lambda: make(key, lock_memory=True)),
        refused=(Refusal("shmctl", errno.EPERM, ((1, 0xFF, 11),)),))  # fmt: skip
creates("create in huge pages that are not there", lambda key, _: fails(lambda: make(key, hugepages=True)),
        refused=(Refusal("shmget", errno.ENOMEM, ((2, 0o4000, 0o4000),)),))  # fmt: skip
creates(
    "create without randomness", lambda key, _: fails(lambda: make(key)), refused=(Refusal("getrandom", errno.ENOSYS),)
)
for _call, _error in (("shmget", errno.ENOSPC), ("shmctl", errno.EACCES), ("shmat", errno.ENOMEM)):
    creates(
        f"create, {_call} fails",
        lambda key, _: fails(lambda: make(key, timeout=0.001)),
        mended=True,
        refused=(Refusal(_call, _error),),
    )
creates("create, and somebody always is faster", lambda key, _: fails(lambda: make(key, timeout=0.001)), mended=True,
        refused=(Refusal("shmget", errno.EEXIST, ((2, 0o1000, 0o1000),)), Refusal("shmget", errno.ENOENT, ((2, 0o1000, 0),))))  # fmt: skip
creates(
    "open what somebody else made",
    lambda key, _: fails(lambda: make(key)),
    mended=True,
    beginning=make_as_another_user,
)
creates("open what another user made, trusting it", lambda key, _: make(key, owner="any"), mended=True,
        beginning=make_as_another_user)  # fmt: skip
creates(
    "create with a number for a name", lambda key, _: numbered(), beginning=lambda key: remove_number(), mended=True
)
creates(
    "open with a number for a name", lambda key, _: numbered(), beginning=lambda key: numbered().close(), mended=True
)
creates("destroy", lambda key, _: make(key).destroy(), beginning=empty_store)
creates("refuse to destroy", lambda key, _: fails(lambda: make(key).destroy()), beginning=empty_store,
        refused=(Refusal("shmctl", errno.EPERM, ((1, 0xFF, 0),)),))  # fmt: skip
creates("destroy readonly", lambda key, _: fails(lambda: make(key, readonly=True).destroy()), beginning=empty_store)
creates("private", lambda key, _: shmstore.Store(shmstore.PRIVATE, size=SIZE).close())


def unfinished(key: str) -> None:
    """Everything is written but the magic."""
    with make(key) as store:
        memory = memory_of(store)
        memory[:8] = struct.pack("<Q", MAGIC_INIT)
        memory.release()


NUMBER = 0x5A000000 | os.getuid() & 0xFFFF


def numbered() -> Any:
    return make(NUMBER, owner="any")


def remove_number() -> None:
    with contextlib.suppress(shmstore.ShmStoreError):
        shmstore.destroy(NUMBER)


# ---- names of every length
for _length in (0, 1, 2, 3, 5, 8):
    refused_open(f"what has a name of {_length} bytes", word(164, _length, 4))


# ---- from a time namespace: the clock there is another, and what is told to others is not
CLONE_NEWTIME = 0x80


def in_a_time_namespace(_: Any) -> None:
    """The victim goes there; where that is not allowed it stays."""
    libc = ctypes.CDLL(None)
    if libc.unshare(CLONE_NEWTIME) != 0:
        return
    with open("/proc/self/timens_offsets", "w") as offsets:
        offsets.write("boottime 86400 500000000\n")
    namespace = os.open("/proc/self/ns/time_for_children", os.O_RDONLY)
    libc.setns(namespace, CLONE_NEWTIME)
    os.close(namespace)


def on_the_way_to_a_time_namespace(_: Any) -> None:
    """... and its children would be in yet another one."""
    in_a_time_namespace(None)
    ctypes.CDLL(None).unshare(CLONE_NEWTIME)


for _what, _prepare in (
    ("in a time namespace", in_a_time_namespace),
    ("in one time namespace, with children in another", on_the_way_to_a_time_namespace),
):
    case(
        f"open {_what}",
        lambda key, _: shmstore.Store(key, create=False).close(),
        opens=True,
        prepare=_prepare,
        sampled=False,
        stops=False,
    )
