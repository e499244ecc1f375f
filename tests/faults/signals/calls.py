"""Every public call of a store, as the tests strike it. A test compares the list with what the classes have."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any
from uuid import UUID

from strikes import is_struck

import shmstore
from shmstore import Store

KEPT = 0x40  # layout.h: SHMS_FLAG_KEPT
BYTES = bytes(range(256)) * 8
OLD = [{"t": (1, ("x", {2, 3})), "u": UUID(int=5), "f": Fraction(1, 3), "s": slice(1, 2)}]
NEW = {"another": [(1, 2), frozenset({3})], "n": 2**70}


class Mine:
    """A codec of a user's, in Python."""

    name = "mine"

    def encode(self, value: Any) -> bytes:
        return repr(value).encode()

    def decode(self, data: bytes) -> Any:
        return eval(bytes(data).decode(), {"UUID": UUID, "Fraction": Fraction})


class Point:
    """A class that is registered."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    def __hash__(self) -> int:
        return hash(self.x)


def encode_point(point: Point) -> bytes:
    return str(point.x).encode()


def decode_point(data: bytes) -> Point:
    return Point(int(data))


CODE = 111  # no other test of one process registers it


def fill(store: Store[Any]) -> None:
    """What is there before each call."""
    store.clear()
    store.put_many({"v": OLD, "n": 5, "bytes": BYTES, "temporary": 1, "absent soon": 1})
    store.touch("temporary", 3600)
    del store["absent soon"]


ALLOWED: dict[str, list[Any]] = {
    "v": [OLD, NEW], "bytes": [BYTES, NEW], "n": [*range(4, 8), NEW], "temporary": [1, NEW], "absent": [OLD, NEW, 0, 1, -1],
    "other": [OLD, NEW, bytearray(70_000), 1],
}  # fmt: skip


def whole(store: Store[Any]) -> bool:
    """Every value is an old or a new one."""
    return all(value in ALLOWED[name.partition("(")[0]] for name, value in store.items())


def awaits(store: Store[Any], name: str, **options: Any) -> int:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(store.wait_async(name, **options))
    finally:
        loop.close()


def held(store: Store[Any]) -> list[bytes]:
    """The locks, leases and semaphores that are held. A barrier that a strike broke stays broken."""
    return [
        key
        for key in store._walk(b"", KEPT)
        if not key.startswith((b"barrier", b"tokens", b"generation", b"namespace"))
    ]


def runs(coroutine: Any) -> Any:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        coroutine.close()
        loop.close()


def acquired(guard: Any) -> None:
    """By hand, as safely as by hand is possible: what is acquired at the moment of a strike is not known to the caller."""
    try:
        guard.acquire()
    finally:
        quietly_released(guard)


def quietly_released(guard: Any) -> None:
    try:
        guard.release()
    except RuntimeError as error:
        if "is not held" not in str(error):
            raise


def entered_twice(store: Store[Any]) -> None:
    lock = store.lock("x", reentrant=True)
    with lock, store.lock("x", reentrant=True) as inner:
        assert inner
        acquired(lock)


def inside(guard: Any) -> None:
    with guard as held:
        assert held
        assert held.token > 0


async def inside_async(guard: Any) -> None:
    async with guard as held:
        assert held


async def acquired_async(guard: Any) -> None:
    try:
        await guard.aacquire()
    finally:
        quietly_released(guard)


def refused(guard: Any, other: Any) -> None:
    with guard, other as held:
        assert held is None


def too_late(guard: Any, other: Any) -> None:
    with guard:
        try:
            with other:
                raise AssertionError("it is held")
        except TimeoutError as error:
            if is_struck(error):
                raise


async def computes(value: Any) -> Any:
    return value


def broken(store: Store[Any]) -> None:
    barrier = store.barrier("b", 2)
    try:
        barrier.wait(0.001)
    except threading.BrokenBarrierError as error:
        if is_struck(error):
            raise
    barrier.abort()
    barrier.reset()


def of_two_threads(store: Store[Any]) -> None:
    """The other party is gone before the next call, whatever strikes this one."""
    other = threading.Thread(target=arrives, args=(store,))
    other.start()
    try:
        store.barrier("b", 2).wait(60)
    finally:
        if other.is_alive():
            store.barrier("b", 2).abort()
        other.join()
        store.barrier("b", 2).reset()


def arrives(store: Store[Any]) -> None:
    try:
        store.barrier("b", 2).wait(60)
    except threading.BrokenBarrierError:
        pass


def in_namespace(store: Store[Any]) -> None:
    users = store.namespace("users")
    users["v"] = OLD
    assert users["v"] == OLD and list(users) == ["v"]
    users.clear()
    assert "v" not in users


def tagged(store: Store[Any]) -> None:
    store.put("other", OLD, tags=("t", "u"))
    assert store["other"] == OLD
    store.evict_tag("t")
    assert "other" not in store


def within(store: Store[Any]) -> None:
    with Store(store.info().name, create=False, backend=store.info().backend) as other:
        other["v"]


def reopened(store: Store[Any], **options: Any) -> Store[Any]:
    return Store(store.info().name, create=False, backend=store.info().backend, **options)


def viewed(store: Store[Any]) -> None:
    views = [store.view("bytes") for _ in range(3)]
    assert bytes(views[1]) == BYTES
    with views.pop() as memory:
        memory[0]


def closed(store: Store[Any]) -> Store[Any]:
    other = reopened(store)
    other.close()
    return other


def twice(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: function(function(value))


# Name of the method, and what is called; more than one if its ways are different.
CALLS: dict[str, list[Callable[[Store[Any]], Any]]] = {
    "get": [lambda s: s.get("v"), lambda s: s.get("absent", 1), lambda s: s.get("bytes"), lambda s: s.get("v", touch=50)],
    "__getitem__": [lambda s: s["v"]],
    "__contains__": [lambda s: "v" in s],
    "get_into": [lambda s: s.get_into("bytes", bytearray(4096))],
    "get_versioned": [lambda s: s.get_versioned("v")],
    "get_with_ttl": [lambda s: s.get_with_ttl("temporary")],
    "describe": [lambda s: s.describe("v")],
    "get_many": [lambda s: s.get_many(["v", "absent", "bytes", "n"])],
    "put": [lambda s: s.put("v", NEW), lambda s: s.put("v", OLD, ttl=50), lambda s: s.put("other", bytearray(70_000))],
    "__setitem__": [lambda s: s.__setitem__("v", NEW)],
    "put_many": [lambda s: s.put_many({"v": NEW, "other": OLD}, ttl=9),
                 lambda s: s.put_many({"v": NEW, "other": OLD}, on_error="skip")],
    "add": [lambda s: s.add("absent", OLD), lambda s: s.add("v", NEW)],
    "add_many": [lambda s: s.add_many({"absent": OLD, "v": NEW})],
    "replace": [lambda s: s.replace("v", NEW)],
    "update": [lambda s: s.update({"v": NEW}, other=OLD)],
    "cas": [lambda s: s.cas("v", NEW, s.get_versioned("v")[1]), lambda s: s.cas("absent", NEW, 0)],
    "modify": [lambda s: s.modify("v", lambda v: NEW), lambda s: s.modify("absent", lambda v: v + 1, 0)],
    "setdefault": [lambda s: s.setdefault("absent", OLD), lambda s: s.setdefault("v", NEW)],
    "incr": [lambda s: s.incr("n", initial=0), lambda s: s.incr("absent", ttl=50), lambda s: s.incr("n", create=False)],
    "decr": [lambda s: s.decr("n")],
    "delete": [lambda s: s.delete("v"), lambda s: s.delete("v", s.get_versioned("v")[1])],
    "__delitem__": [lambda s: s.__delitem__("v")],
    "delete_many": [lambda s: s.delete_many(["v", "n", "absent"])],
    "pop": [lambda s: s.pop("v"), lambda s: s.pop("absent", None)],
    "popitem": [lambda s: s.popitem()],
    "clear": [lambda s: s.clear()],
    "touch": [lambda s: s.touch("v", 60)],
    "expire": [lambda s: s.expire("v", 2**40), lambda s: s.expire("v", 0)],
    "expire_due": [lambda s: s.expire_due()],
    "ttl": [lambda s: s.ttl("temporary"), lambda s: s.ttl("v")],
    "view": [viewed],
    "wait": [lambda s: s.wait("v"), lambda s: s.wait("v", after=1, timeout=1)],
    "wait_async": [lambda s: awaits(s, "v")],
    "get_or_set": [lambda s: s.get_or_set("v", list), lambda s: s.get_or_set("absent", lambda: OLD, ttl=60, stale=60),
                   lambda s: s.get_or_set("absent", lambda: s.get_or_set("absent", lambda: 1), ttl=60, early=1)],
    "aget_or_set": [lambda s: runs(s.aget_or_set("v", list)), lambda s: runs(s.aget_or_set("absent", lambda: computes(OLD)))],
    "memoize": [lambda s: s.memoize(name="other", key=lambda: "")(lambda: OLD)(),
                lambda s: runs(s.memoize(name="other")(computes)(1))],
    "lock": [lambda s: inside(s.lock("x")), lambda s: acquired(s.lock("x")), entered_twice, lambda s: runs(inside_async(s.lock("x"))),
             lambda s: refused(s.lock("x"), s.lock("x", timeout=0)), lambda s: too_late(s.lock("x"), s.lock("x", timeout=0.001)),
             lambda s: too_late(s.lock("x"), s.lock("x", timeout=0.01)),
             lambda s: runs(acquired_async(s.lock("x"))), lambda s: runs(inside_async(s.lock("x", reentrant=True)))],
    "lease": [lambda s: inside(s.lease("x")), lambda s: acquired(s.lease("x")), lambda s: runs(inside_async(s.lease("x")))],
    "semaphore": [lambda s: inside(s.semaphore("x", 2)), lambda s: acquired(s.semaphore("x", 1)),
                  lambda s: runs(inside_async(s.semaphore("x", 2))),
                  lambda s: refused(s.semaphore("x", 1), s.semaphore("x", 1, timeout=0))],
    "barrier": [lambda s: s.barrier("b", 1).wait(), broken, of_two_threads, lambda s: runs(s.barrier("b", 1).await_())],
    "namespace": [in_namespace],
    "evict_tag": [tagged, lambda s: s.evict_tag("t")],
    "keys": [lambda s: list(s.keys("v")), lambda s: len(s.keys("v")), lambda s: "v" in s.keys()],
    "items": [lambda s: list(s.items()), lambda s: ("n", 5) in s.items()],
    "values": [lambda s: list(s.values()), lambda s: OLD in s.values()],
    "__iter__": [list],
    "__len__": [len],
    "__bool__": [bool],
    "__eq__": [lambda s: s == {"v": OLD}, lambda s: s != {"v": OLD}],
    "__repr__": [repr],
    "__init__": [lambda s: reopened(s).close(), lambda s: reopened(s, readonly=True, codec="pickle", decoders=("raw", Mine()))["n"]],
    "__enter__": [within],
    "__exit__": [within],
    "close": [closed],
    "closed": [lambda s: s.closed],
    "__reduce__": [lambda s: pickle.loads(pickle.dumps(s)).close()],
    "stats": [lambda s: repr(s.stats())],
    "info": [lambda s: repr(s.info())],
    "clients": [lambda s: repr(s.clients())],
    "check": [lambda s: s.check(), lambda s: s.check(repair=True)],
    "recover": [lambda s: s.recover()],
    "compact": [lambda s: s.compact()],
    "resize": [lambda s: s.resize("2M")],
}  # fmt: skip

# What refuses: these make their error in Python, from what the system tells.
REFUSED: dict[str, tuple[type[Exception], Callable[[Store[Any]], Any]]] = {
    "absent": (KeyError, lambda s: s.get_versioned("absent")),
    "del": (KeyError, lambda s: s.__delitem__("absent")),
    "too large": (shmstore.ValueTooLarge, lambda s: s.put("v", b"x" * (2 << 20))),
    "no value": (shmstore.CodecError, lambda s: s.put("v", [{"a": (1, {"b": object()})}])),
    "surrogate": (shmstore.CodecError, lambda s: s.put("v", ["\ud800"])),
    "too deep": (shmstore.CodecError, lambda s: s.add("v", _deep())),
    "no bytes": (TypeError, lambda s: s.view("v")),
    "no int": (TypeError, lambda s: s.incr("bytes")),
    "too slow": (TimeoutError, lambda s: s.wait("absent", timeout=0.001)),
    "closed": (shmstore.StoreClosed, lambda s: closed(s)["v"]),
    "read-only": (shmstore.ReadOnlyStore, lambda s: reopened(s, readonly=True).put("v", 1)),
    "pickle": (shmstore.CodecError, lambda s: _by_pickle(s)),
    "typed": (TypeError, lambda s: s.get("v", type=int)),
    "other mode": (ValueError, lambda s: reopened(s, mode=0o644)),
    "no such store": (shmstore.StoreNotFound, lambda s: Store("shmstore-test-nobody", create=False)),
    "there already": (shmstore.StoreExists, lambda s: Store(s.info().name, create=True, backend=s.info().backend)),
    "copy": (TypeError, copy.copy),
    "deepcopy": (TypeError, copy.deepcopy),
    "no codec": (ValueError, lambda s: Store("x", codec="none")),
}  # fmt: skip


def _deep() -> Any:
    value: Any = ()
    for _ in range(300):
        value = (value,)
    return value


def _by_pickle(store: Store[Any]) -> None:
    with reopened(store, codec="pickle") as other:
        other["other"] = OLD
    try:
        store["other"]
    finally:
        del store["other"]


__all__ = ["ALLOWED", "CALLS", "REFUSED", "fill", "held", "whole"]
