"""Cases on POSIX memory: the same operations where each page must be had first, and creation by name.

For the rest of a run: "a full /dev/shm" is one in which fallocate is refused to the victim.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import os
import time
from typing import Any

import store_setup
from cases import CASES, case, fails, raises, tried
from cases_processes import divide
from raw_segment import wrong_hints
from seccomp_faults import FULL, Refusal
from store_setup import POSIX, ROOMY, SIZE, new, nothing, populate_given_back, two_zombies, value

import shmstore
from shmstore._store.names import parse_key

ON_BOTH = (
    "put a new name", "put a new name, several pages", "put over", "put over, several pages", "put with a ttl", "delete",
    "delete beside free blocks", "put over, a span of its own", "delete, a span of its own", "delete the last of a span", "delete what was read before", "incr", "touch", "sweep what has expired", "put into a full store",
    "put where only what has expired makes room", "put into an empty store", "put with a ttl into an empty store",
    "put over where every hint is wrong", "put where slots name no blocks", "delete what gives pages back",
    "delete what gives pages back, within", "put where pages were given back", "get", "view", "put where a block is no longer read",
    "close", "close one of three", "fork, in the child", "fork with three, in the child", "takeover of a bucket", "recover",
    "recover beside zombies", "recover one that opened a span", "recover one that closed a span", "check", "put behind a held bucket",
    "recover one that owned a block",
)  # fmt: skip
for _name in ON_BOTH:
    CASES[f"{_name}, POSIX"] = dataclasses.replace(CASES[_name], name=f"{_name}, POSIX", backend=POSIX,
                                                   sampled=_name in ("put over", "put a new name"))  # fmt: skip
for _name, _k in (("recover, POSIX", None), ("recover one that owned a block, POSIX", None)):
    CASES[_name].sampled = True


make, empty_store, by_another_user = (
    functools.partial(function, backend=POSIX)
    for function in (store_setup.make, store_setup.empty_store, store_setup.make_as_another_user)
)


def on_posix(name: str, act: Any, **changes: Any) -> None:
    case(name, act, **{"backend": POSIX, "sampled": False, "stops": False, **changes})


INTERRUPTED = (Refusal("fallocate", errno.EINTR, ((3, 0xFFFFE000, 0x4000),)),)


# ---- no page is left
on_posix("put a new name in a full /dev/shm", lambda s, _: s.put("new", value("new", "new")), refused=FULL, changes=new)
on_posix("put what does not fit into a full /dev/shm", lambda s, _: raises(shmstore.StoreFull, s.put, "new", b"n" * 30000),
         refused=FULL)  # fmt: skip
on_posix(
    "put over in a full /dev/shm",
    lambda s, _: s.put("k2", value("k2", "new")),
    refused=FULL,
    changes={"k2": [value("k2", "new")]},
)
on_posix("put into a full /dev/shm with wrong hints", lambda s, _: fails(lambda: s.put("new", b"n" * 30000)), refused=FULL,
         setup=wrong_hints, spare=True, changes={"new": [b"n" * 30000]})  # fmt: skip
on_posix(
    "put into an empty store in a full /dev/shm",
    lambda s, _: fails(lambda: s.put("new", value("new", "new"))),
    refused=FULL,
    populate=nothing,
)
on_posix("put into a full /dev/shm where blocks are read", lambda s, _: fails(lambda: s.put("new", b"n" * 30000)), refused=FULL,
         setup=two_zombies, kept=1)  # fmt: skip
on_posix("put where pages were given back, in a full /dev/shm", lambda s, _: tried(lambda: s.put("huge", b"g" * (1 << 20))),
         populate=populate_given_back, size=ROOMY, unread=("huge",), refused=FULL)  # fmt: skip
on_posix(
    "recover in a full /dev/shm",
    lambda s, _: s.recover(),
    refused=FULL,
    after=("put over", "ending"),
    changes={"k2": [value("k2", "new")]},
)
on_posix(
    "put, interrupted by signals",
    lambda s, _: s.put("new", b"n" * 20000),
    refused=INTERRUPTED,
    changes={"new": [b"n" * 20000]},
)
on_posix("open when there is no page for another client", lambda key, _: fails(lambda: shmstore.Store(key, create=False, backend=POSIX)),
         opens=True, refused=FULL)  # fmt: skip

# ---- opening
for _what, _options in (
    ("open, POSIX", {}), ("open readonly, POSIX", {"readonly": True, "create": None}), ("open and prefault, POSIX", {"prefault": True}),
    ("open and lock in memory, POSIX", {"lock_memory": True}),
):  # fmt: skip
    on_posix(
        _what, lambda key, _, o=_options: shmstore.Store(key, **{"create": False, "backend": POSIX, **o}), opens=True
    )
on_posix("open and prefault in a full /dev/shm", lambda key, _: fails(lambda: shmstore.Store(key, create=False, prefault=True, backend=POSIX)),
         opens=True, refused=FULL)  # fmt: skip
on_posix("open, and it cannot be locked, POSIX", lambda key, _: fails(lambda: shmstore.Store(key, create=False, lock_memory=True, backend=POSIX)),
         opens=True, refused=(Refusal("mlock2", errno.EPERM),))  # fmt: skip
for _call, _error in (
    ("openat", errno.EACCES),
    ("mmap", errno.ENOMEM),
    ("fcntl", errno.ENOLCK),
    ("fstatfs", errno.EIO),
    ("pread64", errno.EIO),
    ("dup3", errno.EMFILE),
):
    _arguments = ((2, 0o3, 0o2),) if _call == "openat" else ((3, 0x1, 0x1),) if _call == "mmap" else ()
    on_posix(f"open, {_call} fails, POSIX", lambda key, _: tried(lambda: shmstore.Store(key, create=False, backend=POSIX).close()),
             opens=True, refused=(Refusal(_call, _error, _arguments),))  # fmt: skip


# ---- creation and the end
def creates(name: str, act: Any, **changes: Any) -> None:
    on_posix(name, act, **{"opens": True, "creates": True, "populate": nothing, **changes})


def path_of(key: str) -> str:
    return f"/dev/shm/{os.fsdecode(parse_key(key, POSIX).object or b'')}"


def file_instead(content: bytes, kind: str = "file") -> Any:
    """Something else of that name."""

    def leave(key: str) -> None:
        path = path_of(key)
        if kind == "file":
            with open(path, "wb") as file:
                file.write(content)
        elif kind == "link":
            os.symlink("/dev/null", path)
        else:
            os.mkfifo(path)

    return leave


creates("create, POSIX", lambda key, _: make(key), sampled=True)
creates("create prefaulted and locked, POSIX", lambda key, _: make(key, prefault=True, lock_memory=True))
creates("create in a full /dev/shm", lambda key, _: fails(lambda: make(key)), refused=FULL)
creates("refuse what is to be new, POSIX", lambda key, _: fails(lambda: make(key, create=True)), beginning=empty_store)
creates("open what is absent, POSIX", lambda key, _: fails(lambda: make(key, create=False)))
creates("refuse a size that is too small, POSIX", lambda key, _: fails(lambda: make(key, size=100)))
creates(
    "refuse a size that is too small where a store is, POSIX",
    lambda key, _: tried(lambda: make(key, size=100)),
    beginning=empty_store,
)
creates("destroy, POSIX", lambda key, _: make(key).destroy(), beginning=empty_store, sampled=True)
creates("destroy what was removed, POSIX", lambda key, _: removed_under(key, False), beginning=empty_store)
creates(
    "destroy what was removed and made again, POSIX", lambda key, _: removed_under(key, True), beginning=empty_store
)
creates("refuse to destroy, POSIX", lambda key, _: fails(lambda: make(key).destroy()), beginning=empty_store,
        refused=(Refusal("unlink", errno.EPERM),))  # fmt: skip
creates("destroy where locks fail, POSIX", lambda key, _: fails(lambda: make(key).destroy()), beginning=empty_store,
        refused=(Refusal("fcntl", errno.ENOLCK),))  # fmt: skip
creates("private, POSIX", lambda key, _: shmstore.Store(shmstore.PRIVATE, size=SIZE, backend=POSIX).close())
creates("private in huge pages, POSIX", lambda key, _: fails(lambda: shmstore.Store(shmstore.PRIVATE, size=SIZE, backend=POSIX, hugepages=True)),
        refused=(Refusal("memfd_create", errno.ENOMEM),))  # fmt: skip
creates(
    "open what somebody else made, POSIX",
    lambda key, _: tried(lambda: make(key)),
    beginning=by_another_user,
    mended=True,
)
for _what, _leave in (("a file of zeros", file_instead(bytes(SIZE))), ("a small file", file_instead(b"something")),
                      ("a link", file_instead(b"", "link")), ("a pipe", file_instead(b"", "pipe"))):  # fmt: skip
    creates(f"refuse {_what}, POSIX", lambda key, _: fails(lambda: make(key)), beginning=_leave, mended=True)
for _call, _error, _arguments in (
    ("openat", errno.EOPNOTSUPP, ((2, 0o20000000, 0o20000000),)), ("fchmod", errno.EPERM, ()), ("ftruncate", errno.EFBIG, ()),
    ("linkat", errno.EEXIST, ()), ("linkat", errno.ENOENT, ()), ("linkat", errno.EACCES, ()), ("mmap", errno.ENOMEM, ((3, 1, 1),)), ("getrandom", errno.ENOSYS, ()),
):  # fmt: skip
    creates(f"create, {_call} fails with {errno.errorcode[_error]}, POSIX", lambda key, _: fails(lambda: make(key, timeout=0.001)),
            refused=(Refusal(_call, _error, _arguments),))  # fmt: skip


def removed_under(key: str, again: bool) -> str:
    store = make(key)
    os.unlink(path_of(key))
    if again:
        make(key).close()
    return tried(store.destroy)


# ---- descriptors that others closed
def close_under(store: Any) -> Any:
    """The program closes a descriptor that it did not open."""
    os.close(store._raw_info().descriptor)


def close_and_wait(store: Any) -> Any:
    close_under(store)
    time.sleep(1.1)  # a second of use: it is found again


on_posix(
    "put when the descriptor was closed",
    lambda s, _: s.put("new", value("new", "new")),
    prepare=close_under,
    changes=new,
)
on_posix(
    "put a large one when the descriptor was closed",
    lambda s, _: s.put("new", b"n" * 20000),
    prepare=close_under,
    changes={"new": [b"n" * 20000]},
)
on_posix(
    "put when the descriptor was closed a second ago",
    lambda s, _: s.put("new", value("new", "new")),
    prepare=close_and_wait,
    changes=new,
    thin=97,
)
on_posix("close when the descriptor was closed", lambda s, _: s.close(), prepare=close_under)
on_posix(
    "fork when the descriptor was closed", divide, prepare=close_under, follow=1, changes={"k1": [value("k1", "new")]}
)
on_posix("recover when the descriptor was closed", lambda s, _: s.recover(), prepare=close_under)
on_posix(
    "say what it is when the descriptor was closed",
    lambda s, _: (s.info(), s.stats(), s.clients()),
    prepare=close_under,
)
creates(
    "use what was made again when the descriptor was closed, POSIX",
    lambda key, _: made_again_under(key),
    beginning=empty_store,
)
on_posix(
    "say what a private store is when its descriptor was closed",
    lambda _, own: (own.info(), own.stats()),
    prepare=lambda _: private_and_closed(),
)


def made_again_under(key: str) -> str:
    store = make(key)
    os.close(store._raw_info().descriptor)
    os.unlink(path_of(key))
    make(key).close()
    return tried(lambda: (store.get("k1"), store.info(), store.check()))


def private_and_closed() -> Any:
    own = shmstore.Store(shmstore.PRIVATE, size=SIZE, backend=POSIX)
    close_under(own)
    return own
