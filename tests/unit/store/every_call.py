"""Every public call, each with a look at what it gives: for tests that make them where that is hard, in another import
or interpreter and at shutdown. Imported by the tests, and by programs and sub-interpreters that they start."""

from __future__ import annotations

import array
import asyncio
import datetime
import decimal
import fractions
import importlib
import os
import pathlib
import pickle
import time
import uuid

VALUES = {
    "None": None, "bool": True, "int": -5, "big int": 2**70, "float": 1.5, "complex": 1 + 2j, "str": "ä", "bytes": b"b",
    "large bytes": bytes(100_000), "list": [1, [2]], "dict": {"a": {1: "b"}}, "tuple": (1, (2,)), "set": {1, 2},
    "frozenset": frozenset((1,)), "slice": slice(1, None, 2), "range": range(3), "bytearray": bytearray(b"x"),
    "memoryview": memoryview(b"xy"), "array": array.array("d", [1.0]), "datetime": datetime.datetime(2024, 5, 6, 7, 8),
    "aware": datetime.datetime(2024, 5, 6, tzinfo=datetime.timezone.utc), "date": datetime.date(2024, 5, 6),
    "time": datetime.time(1, 2), "timedelta": datetime.timedelta(3), "decimal": decimal.Decimal("1.50"),
    "fraction": fractions.Fraction(1, 3), "uuid": uuid.UUID(int=5), "large bytearray": bytearray(100_000),
    "mixed": {"a": [(1, {2, 3}), 2**64, {"b": (None,)}]},
}  # fmt: skip


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None

    def to_bytes(self):
        return b"%d" % self.x

    @classmethod
    def from_bytes(cls, data):
        return cls(int(data))


def raises(kinds, call):
    """Does the call raise one of these? What it raises beside them passes."""
    try:
        call()
    except kinds:
        return True
    return False


def calls(package, name):
    """By name: functions without arguments that return whether all is right. Closures: they need no globals, which
    shutdown may have emptied. *name* is that of a store and of other memory, all of which `remove` removes."""
    return {**of_the_package(package, name), **of_a_store(package), **of_shared_memory(package, name), **of_sysv(package),
            **of_posix(package, name)}  # fmt: skip


def of_the_package(package, name):
    keep = package.open(name, size="1M")

    kind = Point

    def registered():
        package.register(101, kind, kind.to_bytes, kind.from_bytes)
        keep["point"] = kind(3)
        return keep["point"] == kind(3)

    def pickled():
        with pickle.loads(pickle.dumps(keep)) as other:
            there, here = other.info(), keep.info()
            return (there.uuid, there.name) == (here.uuid, here.name) and type(other).__name__ == "Store"

    def destroyed():
        package.open(name + "-gone", size="1M").close()
        package.destroy(name + "-gone")
        return raises(package.StoreNotFound, lambda: package.open(name + "-gone", create=False))

    class Codec:
        name = "upside down"

        def encode(self, value):
            return value[::-1]

        decode = encode

    return {
        "open with a codec": lambda: package.open(name, codec=Codec()).put("c", b"abc") > 0,
        "open": lambda: package.open(name, create=False).incr("opened") > 0,
        "open posix": lambda: package.open(package.PRIVATE, size="1M", backend="posix").put("a", (1,)) > 0,
        "open read-only": lambda: raises(package.ReadOnlyStore, lambda: package.open(name, readonly=True).put("a", 1)),
        "open pickle": lambda: package.open(name, codec="pickle", decoders=("msgpack",)).put("p", {1}) > 0,
        "open raw": lambda: package.open(name, codec="raw").put("r", b"x") > 0,
        "open nothing": lambda: raises(package.StoreNotFound, lambda: package.open(name + "-absent", create=False)),
        "stores": lambda: name in [found.name for found in package.stores()],
        "destroy": destroyed,
        "register": registered,
        "key": lambda: package.key("a", 1, b=(None, 1.5)) == "('a',1,b=(None,1.5))",
        "key of dates": lambda: (
            len({package.key(VALUES["date"]), package.key(VALUES["aware"]), package.key(VALUES["uuid"])}) == 3
        ),
        "key of nothing that can be known": lambda: raises(TypeError, lambda: package.key(object())),
        "typed_key": lambda: package.typed_key(1) != package.typed_key(True) != package.typed_key(1.0),
        "Store pickled": pickled,
    }


def of_a_store(package):
    store = package.open(package.PRIVATE, size="4M", max_entries=500)
    other = package.open(package.PRIVATE, size="1M")
    store.put_many({f"fill{i}": i for i in range(20)})
    StoreClosed, StoreDestroyed, CodecError, DEFAULT = (
        package.StoreClosed, package.StoreDestroyed, package.CodecError, package.DEFAULT
    )  # fmt: skip

    def comes_back(value):
        store["value"] = value
        found = store["value"]
        return type(found) is type(value) and (found == value or bytes(found) == bytes(value))

    def cas():
        store["c"] = (1,)
        value, version = store.get_versioned("c")
        return value == (1,) and store.cas("c", (2,), version) and not store.cas("c", (3,), version)

    def view():
        store["v"] = b"bytes"
        with store.view("v") as memory:
            return bytes(memory) == b"bytes"

    def into():
        buffer = bytearray(4)
        store["i"] = b"abc"
        return store.get_into("i", buffer) == 3 and buffer == b"abc\0"

    def removed():
        store.put_many({"d1": 1, "d2": (2,), "d3": {3}})
        return (store.delete("d1") and not store.delete("d1") and store.pop("d2") == (2,) and store.delete_many(["d3"]) == 1
                and raises(KeyError, lambda: store.pop("d2")))  # fmt: skip

    def emptied():
        with package.open(package.PRIVATE, size="1M") as emptied:
            emptied.update(a=1, b=(2,))
            item = emptied.popitem()
            emptied.put_many({"c": 1, "d": 2})
            count = emptied.clear()
            return count == 3 and item in [("a", 1), ("b", (2,))] and len(emptied) == 0 and not emptied

    def ended():
        with package.open(package.PRIVATE, size="1M") as ending:
            ending.destroy()
            gone = raises(StoreDestroyed, lambda: ending.get("a"))
        return gone and ending.closed and raises(StoreClosed, lambda: ending.put("a", (1,)))

    def modified():
        store.delete("m")
        store.modify("m", lambda value: (*value, 1), (), ttl=60)
        return 50 < store.ttl("m") <= 60 and store.modify("m", lambda value: (*value, 2)) == (1, 2)

    def batches():
        put = store.put_many({"b1": (1,), "b2": 2**70}, ttl=DEFAULT)
        added = store.add_many({"b1": 1})
        return (put, added, store.get_many(["b1", "b2", "absent"])) == (2, 0, {"b1": (1,), "b2": 2**70})

    def passed_over():
        put = store.put_many({"p1": 1, "p2": object(), "p3": (3,)}, on_error="skip")
        found = store.get_many(["p1", "p3"], on_error="skip")
        return (put, list(put.failed), found, found.failed) == (2, ["p2"], {"p1": 1, "p3": (3,)}, {})

    def deleted_by_version():
        version = store.put("dv", 1)
        return not store.delete("dv", version + 1) and store.delete("dv", version=version) and "dv" not in store

    def expired():
        store.put("e1", 1)
        right = store.expire("e1", time.time() + 60) and 50 < store.ttl("e1") <= 60 and store.expire("e1", None)
        store.put("e2", 1, ttl=0.0001)
        time.sleep(0.001)
        return right and store.expire_due() == 1 and store.get_with_ttl("e1") == (1, None)

    def expired_long_ago():
        store.put("e3", (2,))
        return store.expire("e3", VALUES["aware"]) and "e3" not in store

    async def slept():
        return await store.wait_async("fill1", timeout=5)

    found = {
        "put and [] " + kind: lambda value=value: comes_back(value) for kind, value in VALUES.items()
    }  # fmt: skip
    found |= {
        "get": lambda: (store.get("fill1"), store.get("absent", 5)) == (1, 5),
        "[] of nothing": lambda: raises(KeyError, lambda: store["absent"]),
        "in": lambda: "fill1" in store and "absent" not in store,
        "add": lambda: not store.add("fill1", (1,)) and store.add("added", (1,)) and store.delete("added"),
        "replace": lambda: store.replace("fill2", (2,)) and not store.replace("absent", 1),
        "get_versioned and cas": cas,
        "get_into": into,
        "view": view,
        "delete, pop, delete_many": removed,
        "popitem and clear": emptied,
        "setdefault": lambda: store.setdefault("fill3", 9) == 3 and store.setdefault("fill3", 9) == 3,
        "modify": modified,
        "incr": lambda: store.incr("n", 5) - store.decr("n", 2) == 2,
        "incr with a ttl": lambda: store.incr("nt", ttl=60) and 50 < store.ttl("nt") <= 60 and store.delete("nt"),
        "incr of nothing": lambda: raises(KeyError, lambda: store.incr("absent", create=False)),
        "get and touch": lambda: store.get("fill6", touch=60) == 6 and 50 < store.ttl("fill6") <= 60,
        "keep the ttl": lambda: (
            store.put("kt", 1, ttl=60) and store.put("kt", (6,), ttl=package.KEEP) and store.ttl("kt")
        ),
        "expire, expire_due, get_with_ttl": expired,
        "expire at a datetime": expired_long_ago,
        "delete of a version": deleted_by_version,
        "describe": lambda: (store.describe("fill1").size, store.describe("fill1").codec) == (1, "msgpack"),
        "put_many and get_many that skip": passed_over,
        "touch and ttl": lambda: (
            store.touch("fill4", 60) and 50 < store.ttl("fill4") <= 60 and store.touch("fill4", None)
        ),
        "ttl of nothing": lambda: raises(KeyError, lambda: store.ttl("absent")),
        "put_many, add_many, get_many": batches,
        "update": lambda: store.update({"u": (1,)}) is None and store["u"] == (1,),
        "keys": lambda: "fill5" in store.keys() and sorted(store.keys("fill1"))[0] == "fill1",
        "items": lambda: ("fill5", 5) in store.items() and dict(store.items())["fill5"] == 5,
        "values": lambda: 5 in store.values(),
        "iter": lambda: "fill5" in list(store) and len(store) > 5 and bool(store),
        "==": lambda: store == store and other != store,
        "wait": lambda: store.wait("fill1", timeout=5) > 0 and store.wait("fill1", timeout=5, spin=1) > 0,
        "wait for nothing": lambda: raises(TimeoutError, lambda: store.wait("absent", timeout=0.05)),
        "wait_async": lambda: asyncio.run(slept()) > 0,
        "stats": lambda: store.stats().entries > 5 and store.stats().as_dict()["clients"] == 1,
        "info": lambda: store.info().max_entries >= 500 and store.info().uuid == store.info().uuid,
        "clients": lambda: [client.pid for client in store.clients() if client.is_me] == [os.getpid()],
        "check and recover": lambda: store.check() == 0 == store.recover(),
        "closed and close and destroy": ended,
        "repr": lambda: "PRIVATE open" in repr(store) and "keys of" in repr(store.keys()),
        "refused": lambda: raises(CodecError, lambda: store.put("a", object())),
        "refused deep inside": lambda: raises(CodecError, lambda: store.put("a", {"a": [1, (2, object())]})),
        "type=": lambda: raises(TypeError, lambda: store.get("fill1", type=int)),
        "full": lambda: raises(package.StoreFull, lambda: store.put("a", bytes(5 << 20))),
        "wrong ttl": lambda: raises(TypeError, lambda: store.put("a", 1, ttl="1")),
    }
    return found


def of_shared_memory(package, name):
    module = importlib.import_module(f"{package.__name__}.shared_memory")
    SharedMemory, ShareableList = module.SharedMemory, module.ShareableList
    block, shared = SharedMemory(name, True, 100), ShareableList([1, "a", None, b"b", 1.5, True], name=name + "-list")

    def made():
        new = SharedMemory(create=True, size=10)
        new.buf[:2] = b"ab"
        with SharedMemory(new.name) as again:
            right = bytes(again.buf[:3]) == b"ab\0" and again.size == 10 and new.name in repr(new)
        new.unlink()
        new.close()
        return right and raises(FileNotFoundError, lambda: SharedMemory(new.name))

    def listed():
        shared[0] = 2
        return (list(shared) == [2, "a", None, b"b", 1.5, True] and len(shared) == 6 and shared.count("a") == 1
                and shared.index(None) == 2 and "a" in shared and shared.format and raises(IndexError, lambda: shared[9])
                and "ShareableList" in repr(shared))  # fmt: skip

    return {
        "SharedMemory": lambda: made() and bytes(block.buf[:1]) == b"\0",
        "SharedMemory pickled": lambda: pickle.loads(pickle.dumps(block)).size == 100,
        "SharedMemory twice": lambda: raises(FileExistsError, lambda: SharedMemory(name, True, 100)),
        "ShareableList pickled": lambda: pickle.loads(pickle.dumps(shared)).shm.size == shared.shm.size,
        "ShareableList": listed,
        "ShareableList without": lambda: raises(FileNotFoundError, lambda: ShareableList(name=name + "-absent")),
    }


def of_sysv(package):
    sysv = importlib.import_module(f"{package.__name__}.sysv")
    path = pathlib.Path(os.__file__)

    def segment():
        shmid = sysv.shmget(sysv.IPC_PRIVATE, 100, sysv.IPC_CREAT | 0o600)
        with sysv.shmat(shmid) as memory:
            memory[:1] = b"a"
            reading = sysv.shmat(shmid, None, sysv.SHM_RDONLY)
            right = bytes(reading.memory[:1]) == b"a" and "shmid" in repr(reading)
            sysv.shmdt(reading)
        stat = sysv.shmctl(shmid, sysv.IPC_STAT)
        sysv.shmctl(shmid, sysv.IPC_SET, stat)
        right &= stat.size == 100 and shmid in [row.stat.id for row in sysv.segments() if row.stat]
        sysv.shmctl(shmid, sysv.IPC_RMID)
        return right and raises(OSError, lambda: sysv.shmat(shmid)) and raises(OSError, lambda: sysv.shmdt(reading))

    def limits():
        return sysv.shmctl(0, sysv.IPC_INFO).shmmax > 0 and sysv.shmctl(0, sysv.SHM_INFO).used_ids >= 0

    return {
        "ftok": lambda: sysv.ftok(path, 1) != 0 and raises(OSError, lambda: sysv.ftok("/absent", 1)),
        "shmget, shmat, shmdt, shmctl, segments": segment,
        "shmget of nothing": lambda: raises(FileNotFoundError, lambda: sysv.shmget(0x7E57AB5E, 0)),
        "IPC_INFO and SHM_INFO": limits,
    }


def of_posix(package, name):
    posix = importlib.import_module(f"{package.__name__}.posix")
    path = f"/{name}-object"

    def mapped():
        fd = posix.shm_open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            posix.ftruncate(fd, 4096)
            posix.posix_fallocate(fd, 0, 8192)
            with posix.mmap(None, 8192, fd=fd) as memory:
                memory[:1] = b"a"
            mapping = posix.mmap(None, 4096, posix.PROT_READ, fd=fd)
            right = bytes(mapping.memory[:1]) == b"a" and "Mapping" in repr(mapping)
            posix.munmap(mapping)
            return right and raises(OSError, lambda: posix.munmap(mapping))
        finally:
            os.close(fd)
            posix.shm_unlink(path)

    return {
        "shm_open, ftruncate, posix_fallocate, mmap, munmap, shm_unlink": mapped,
        "shm_unlink of nothing": lambda: raises(FileNotFoundError, lambda: posix.shm_unlink(path + "-absent")),
        "ftruncate of nothing": lambda: raises(OSError, lambda: posix.ftruncate(10**6, 1)),
        "mmap of nothing": lambda: raises(OSError, lambda: posix.mmap(None, 4096, fd=10**6)),
    }


def remove(package, name):
    module = importlib.import_module(f"{package.__name__}.shared_memory")
    for remove in (
        lambda: package.destroy(name),
        lambda: module.SharedMemory(name).unlink(),
        lambda: module.ShareableList(name=name + "-list").shm.unlink(),
    ):
        try:
            remove()
        except (package.StoreNotFound, FileNotFoundError):
            pass


def failures(functions):
    """What went wrong, as lines: "call: TypeError: ..."."""
    found = []
    for call, function in functions.items():
        try:
            if not function():
                found.append(f"{call}: wrong")
        except BaseException as error:
            found.append(f"{call}: {type(error).__name__}: {error}")
    return found
