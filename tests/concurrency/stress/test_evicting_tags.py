"""Evictions of a tag, and clearings of a namespace, while other processes put: what was made before one that is over is never
found."""

from __future__ import annotations

import itertools
import mmap
import os
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import shmstore

EVICTIONS = 300
BEGUN, OVER = 0, 1  # words: how many evictions have begun, and are over


class Numbered:
    """A codec whose values are the number of evictions that had begun when it encoded."""

    name = "numbered"

    def __init__(self, shared: memoryview) -> None:
        self.shared = shared

    def encode(self, value: Any) -> bytes:
        return b"%d" % self.shared[BEGUN]

    def decode(self, data: Any) -> int:
        return int(bytes(data))


def forked(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)
    return pid


@pytest.mark.parametrize("by", ["tag", "namespace"])
def test_nothing_old_is_found(key: str, by: str) -> None:
    shared = memoryview(mmap.mmap(-1, 4096)).cast("Q")  # whose words are written and read as a whole
    shmstore.Store(key, size="1M").close()

    def open_one(**options: Any) -> Any:
        store = shmstore.Store(key, create=False, codec=Numbered(shared), decoders=["msgpack"], **options)
        return store.namespace("users") if by == "namespace" else store

    def is_over() -> bool:
        return shared[OVER] >= EVICTIONS

    def evict() -> None:
        store = open_one()
        for count in range(1, EVICTIONS + 1):
            while "k" not in store:
                os.sched_yield()
            shared[BEGUN] = count
            store.clear() if by == "namespace" else store.evict_tag("t")
            shared[OVER] = count

    def put() -> None:
        store = open_one()
        while not is_over():
            store.put("k", None, tags=["t"])

    def compute() -> None:
        store = open_one()
        while not is_over():
            store.get_or_set("k", int, tags=["t"])
            store.put_many({"k": None, "l": None}, tags=["t"])

    def count() -> None:
        """Of numbers: a counter is never older than the last eviction, for each begins with what had begun."""
        store = shmstore.Store(key, create=False)
        store = store.namespace("users") if by == "namespace" else store
        while not is_over():
            begun = shared[OVER]
            found = store.modify("n", lambda old: max(old, shared[BEGUN]), 0, tags=["t"])
            assert found >= begun

    def read(readonly: bool) -> Callable[[], None]:
        def read() -> None:
            store = open_one(readonly=readonly)
            seen = 0
            for turn in itertools.count():
                over = shared[OVER]
                found = store.get("k") if turn % 3 else store.get_many(["k"]).get("k")
                assert found is None or found >= over, f"{found} is found, and {over} evictions are over"
                assert (found := store.get("n")) is None or found >= over, f"n is {found}, after {over} evictions"
                seen += found is not None
                if over >= EVICTIONS:
                    break

        return read

    open_one().put("k", None, tags=["t"])
    children = [forked(work) for work in (put, compute, count, read(False), read(True), evict)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)
    with shmstore.Store(key, create=False) as store:
        store.check()
        store.clear()
        store.expire_due()
        assert store.stats().entries == (by == "namespace")  # the one that says which namespace there is
        store.check()
        store.destroy()
