"""Cases of a resize: by the victim, and by another process while the victim has the store open."""

from __future__ import annotations

import os
from typing import Any

from cases import case, quiet
from store_setup import POSIX, let_expire, new, value, wait_for

import shmstore


def resize(size: str) -> Any:
    return lambda s, _: s.resize(size)


def resized(store: Any) -> None:
    """Another process resizes it; the victim has not followed yet."""
    pid = os.fork()
    if pid == 0:
        with shmstore.Store(store.info().name, create=False, backend=store.info().backend) as other:
            other.resize("192K")
        os._exit(0)
    wait_for(pid)


case("resize to a larger one", resize("192K"), replaces=True, thin=31)
case("resize, POSIX", resize("192K"), replaces=True, backend=POSIX, thin=31)
quiet("resize to a smaller one", resize("96K"), replaces=True, stops=True, thin=31)
quiet("resize a cache", resize("192K"), replaces=True, evicts=True, thin=31)
quiet("resize where some expire", resize("192K"), replaces=True, setup=let_expire, thin=37)
quiet("resize twice", lambda s, _: (s.resize("192K"), s.resize("160K")), replaces=True, thin=61)
quiet("resize twice, POSIX", lambda s, _: (s.resize("192K"), s.resize("160K")), replaces=True, backend=POSIX, thin=61)
quiet("follow and get", lambda s, _: s.get("k1"), replaces=True, prepare=resized, stops=True, thin=3)
quiet(
    "follow and put",
    lambda s, _: s.put("new", value("new", "new")),
    replaces=True,
    prepare=resized,
    changes=new,
    thin=3,
)
quiet("follow and put, POSIX", lambda s, _: s.put("new", value("new", "new")), replaces=True, prepare=resized, changes=new, backend=POSIX, thin=3)  # fmt: skip
quiet("follow and close", lambda s, _: s.close(), replaces=True, prepare=resized, thin=3)
