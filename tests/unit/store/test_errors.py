"""Every error, made to happen for real: its class, and a message with the store, the cause and the remedy.

Stores are broken by writing into their segment; where the words stand is said in layout.h.
"""

import asyncio
import functools
import itertools
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import time

import pytest

import shmstore
from shmstore import Store, errors, sysv
from shmstore._core import lib
from shmstore._store.failures import failure

HEADER = {
    "state": 8, "format": 16, "incompatible": 24, "read_compatible": 32, "compatible": 40, "segment_size": 48,
    "hash_key": 72, "name_kind": 160, "clients": 184, "client_size": 196, "due": 208, "slots": 216, "buckets": 224,
    "arenas": 256, "heap": 264,
}  # fmt: skip
NAME = 4096
ARENA = {"lock": 0, "counter": 8, "base": 16, "end": 24, "top": 32, "used": 56, "blocks": 64, "fl_map": 256}
ROOT = os.geteuid() == 0


class Memory:
    """The words of a store's segment."""

    def __init__(self, store):
        self.attached = sysv.shmat(store.info().id)
        self.bytes = self.attached.memory

    def word(self, offset):
        return int.from_bytes(self.bytes[offset : offset + 8], "little")

    def set(self, offset, value):
        self.bytes[offset : offset + 8] = (value % 2**64).to_bytes(8, "little")

    def header(self, field):
        return self.word(HEADER[field])

    def arena(self, field):
        return self.header("arenas") + ARENA[field]

    def home(self, name):
        """The offset of the lock word of a str name's home bucket."""
        raw, at = name.encode(), HEADER["hash_key"]
        hash = lib.shms_hash(raw, len(raw), self.word(at), self.word(at + 8))
        return self.header("slots") + ((hash >> 32) * self.header("buckets") >> 32) * 64

    def slot(self, name):
        """The offset of the slot of a name that is alone in its bucket."""
        (slot,) = [at for at in range(self.home(name) + 8, self.home(name) + 64, 8) if self.word(at)]
        return slot

    def block(self, name):
        return (self.word(self.slot(name)) & 0xFFFFFFFFFF) * 16


@pytest.fixture(autouse=True)
def removed(request):
    """Stores too broken to be opened, or another user's, are removed by their key."""
    if "key" not in request.fixturenames:
        yield
        return
    key = request.getfixturevalue("key").encode()
    yield
    try:
        sysv.shmctl(sysv.shmget(lib.shms_key_of_name(key, len(key)), 0), sysv.IPC_RMID)
    except FileNotFoundError:
        pass


@pytest.fixture
def number():
    number = 0x40000000 | random.SystemRandom().getrandbits(28)
    yield number
    try:
        sysv.shmctl(sysv.shmget(number, 0), sysv.IPC_RMID)
    except FileNotFoundError:
        pass


def elsewhere(function, uid=None, seconds=60):
    """Call a function in a forked child, as another user if need be: what it returned, or the exception."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(seconds)
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            try:
                result = function()
            except Exception as error:
                result = type(error)(*error.args)
            os.write(into, pickle.dumps(result))
            os._exit(0)
        finally:
            os._exit(9)
    os.close(into)
    with open(out, "rb") as answer:
        data = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"the child ended with {status} ({-signal.SIGALRM} is a hang, {-signal.SIGSEGV} a crash)"
    return pickle.loads(data)


@pytest.fixture
def stopped_client(key, make):
    """A client of the test's store that was stopped: its number and process id."""
    make()
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            store = Store(key, create=False)
            os.write(into, b"%d" % [client.number for client in store.clients() if client.is_me][0])
            os.kill(os.getpid(), signal.SIGSTOP)
        finally:
            os._exit(0)
    os.waitpid(pid, os.WUNTRACED)
    os.close(into)
    yield int(os.read(out, 10)), pid
    os.close(out)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def says(error, *parts):
    text = str(getattr(error, "value", error))
    for part in parts:
        assert part in text, f"{part!r} is not in: {text}"


def drain(iterable):
    for _ in iterable:
        pass


READS = {
    "get": lambda s: s.get("k"),
    "__getitem__": lambda s: s["k"],
    "__contains__": lambda s: "k" in s,
    "get_versioned": lambda s: s.get_versioned("k"),
    "get_into": lambda s: s.get_into("k", bytearray(100)),
    "get_with_ttl": lambda s: s.get_with_ttl("k"),
    "describe": lambda s: s.describe("k"),
    "get_many": lambda s: s.get_many(["k", "x"]),
    "ttl": lambda s: s.ttl("k"),
    "wait": lambda s: s.wait("k", timeout=5),
    "wait_async": lambda s: asyncio.run(s.wait_async("k", timeout=5)),
    "__iter__": drain,
    "keys": lambda s: drain(s.keys("k")),
    "items": lambda s: drain(s.items()),
    "values": lambda s: drain(s.values()),
    "__len__": len,
    "__bool__": bool,
    "__eq__": lambda s: s == {},
    "stats": lambda s: s.stats(),
    "info": lambda s: s.info(),
    "clients": lambda s: s.clients(),
    "check": lambda s: s.check(),
}
WRITES = {
    "put": lambda s: s.put("k", 2),
    "__setitem__": lambda s: s.__setitem__("k", 2),
    "add": lambda s: s.add("x", 2),
    "replace": lambda s: s.replace("k", 2),
    "cas": lambda s: s.cas("x", 2, 0),
    "modify": lambda s: s.modify("k", lambda value: 2),
    "setdefault": lambda s: s.setdefault("x", 2),
    "delete": lambda s: s.delete("k"),
    "__delitem__": lambda s: s.__delitem__("k"),
    "pop": lambda s: s.pop("k"),
    "popitem": lambda s: s.popitem(),
    "incr": lambda s: s.incr("k"),
    "decr": lambda s: s.decr("x"),
    "touch": lambda s: s.touch("k", 60),
    "expire": lambda s: s.expire("k", 2**40),
    "expire_due": lambda s: s.expire_due(),
    "put_many": lambda s: s.put_many({"k": 2, "x": 2}),
    "add_many": lambda s: s.add_many([("x", 2)]),
    "delete_many": lambda s: s.delete_many(["k", "x"]),
    "update": lambda s: s.update(k=2),
    "clear": lambda s: s.clear(),
    "view": lambda s: s.view("k"),
    "recover": lambda s: s.recover(),
    "destroy": lambda s: s.destroy(),
}
NEITHER = {"close", "closed"}
ALL = [*READS, *WRITES]


def test_no_method_is_left_out():
    assert {name for name in dir(Store) if not name.startswith("_")} <= READS.keys() | WRITES.keys() | NEITHER


def test_the_tree():
    for name in errors.__all__:
        assert getattr(shmstore, name) is getattr(errors, name)
        assert issubclass(getattr(errors, name), errors.ShmStoreError)
    assert issubclass(errors.StoreFull, MemoryError) and issubclass(errors.ValueTooLarge, errors.StoreFull)
    assert issubclass(errors.LockTimeout, TimeoutError) and issubclass(errors.StoreSystemError, OSError)


def test_every_status_of_an_open_store_has_an_error(make):
    """By number, since some cannot be made to happen from here."""
    store = make()
    only_opening = {"NOT_A_STORE", "FORMAT", "COLLISION", "FOREIGN", "NOT_FOUND", "EXISTS", "MISMATCH", "TOO_SMALL"}
    elsewhere_dealt_with = {"FORKED", "NO_MEMORY", "SYSTEM"}
    statuses = {name[5:]: getattr(lib, name) for name in dir(lib) if re.fullmatch("SHMS_[A-Z_]+", name)}
    failures = {name: number for name, number in statuses.items() if type(number) is int and number < 0}
    assert len(failures) > 20
    for name, number in failures.items():
        if name not in only_opening | elsewhere_dealt_with:
            error = failure(number, "store 'x'", store._handle, 5.0)
            assert str(error).startswith("store 'x': ") and "failed with status" not in str(error), name


# ---- there is none, there is one already, it is not yours ----


def test_not_found(key):
    with pytest.raises(shmstore.StoreNotFound) as caught:
        Store(key, create=False)
    says(caught, repr(key), f"key {lib.shms_key_of_name(key.encode(), len(key)) & 0xFFFFFFFF:#010x}", "create=False")
    with pytest.raises(shmstore.StoreNotFound) as caught:
        Store(key, readonly=True)
    says(caught, repr(key), "readonly=True does not make one")
    with pytest.raises(shmstore.StoreNotFound):
        shmstore.destroy(key)


def test_exists(key, store):
    with pytest.raises(shmstore.StoreExists) as caught:
        Store(key, create=True)
    says(caught, repr(key), "exists already", "leave create=True out")


@pytest.mark.skipif(not ROOT, reason="becoming other users takes root")
def test_foreign(key):
    made = elsewhere(lambda: Store(key, create=True, size="1M", mode=0o666).put("k", 1) > 0, uid=65534)
    assert made is True
    for uid in (None, 4321):  # root trusts nobody else, either
        error = elsewhere(lambda: Store(key), uid)
        assert type(error) is shmstore.StoreForeign
        says(error, repr(key), "created by uid 65534", f"runs as uid {uid or 0}", "owner=65534", 'owner="any"')
        for owner in (65534, "any"):
            assert elsewhere(lambda owner=owner: Store(key, owner=owner)["k"], uid) == 1
            assert elsewhere(lambda owner=owner: Store(key, owner=owner, readonly=True)["k"], uid) == 1
        assert type(elsewhere(lambda: Store(key, owner=4322), uid)) is shmstore.StoreForeign
        assert type(elsewhere(lambda: shmstore.destroy(key), uid)) is shmstore.StoreForeign
    assert elsewhere(lambda: Store(key)["k"], uid=65534) == 1


@pytest.mark.skipif(not ROOT, reason="becoming other users takes root")
def test_what_the_kernel_refuses(key):
    with Store(key, size="1M", mode=0o600) as store:
        store["k"] = 1
    for options in ({}, {"readonly": True}):
        error = elsewhere(lambda options=options: Store(key, **options), uid=65534)
        assert type(error) is shmstore.StoreSystemError and error.errno == 13
        says(error, repr(key), "Permission denied", "mode")
    shmstore.destroy(key)
    with Store(key, size="1M", mode=0o644) as store:
        store["k"] = 1
        assert elsewhere(lambda: Store(key, readonly=True)["k"], uid=65534) == 1
        error = elsewhere(lambda: Store(key), uid=65534)
        assert type(error) is shmstore.StoreSystemError and error.errno == 13
        says(error, repr(key), "readonly=True")
        store.destroy()
    with Store(key, size="1M", mode=0o666) as store:
        error = elsewhere(lambda: Store(key).destroy(), uid=65534)
        assert type(error) is shmstore.StoreSystemError and error.errno == 1
        says(error, repr(key), "created by uid 0 (root)", "runs as uid 65534", f"ipcrm -m {store.info().id}")
        store["k"] = 1  # and nothing was destroyed


def contents(number):
    with sysv.shmat(sysv.shmget(number, 0), None, sysv.SHM_RDONLY) as memory:
        return bytes(memory)


@pytest.mark.parametrize("options", [{}, {"size": "1M"}, {"create": True}, {"create": False}, {"readonly": True}])
@pytest.mark.parametrize("size", [1, 100, 4096, 8191, 8192, 1 << 20])
def test_not_a_store(number, size, options):
    id = sysv.shmget(number, size, sysv.IPC_CREAT | sysv.IPC_EXCL | 0o600)
    with sysv.shmat(id) as memory:
        memory[:] = random.Random(size).randbytes(size)
    before = contents(number)
    with pytest.raises(shmstore.NotAStore) as caught:
        Store(number, timeout=20, **options)
    says(caught, hex(number), f"segment {id}", f"{size} bytes", "left untouched", "another key", f"ipcrm -m {id}")
    assert contents(number) == before
    with pytest.raises(shmstore.NotAStore):
        shmstore.destroy(number)
    assert contents(number) == before


@pytest.mark.parametrize("magic", [0x45524F54534D4853, 0x54494E49534D4853])
@pytest.mark.parametrize("state", [4, 15])
def test_not_quite_a_store(number, magic, state):
    """The right first word and an impossible second one."""
    with sysv.shmat(sysv.shmget(number, 1 << 20, sysv.IPC_CREAT | sysv.IPC_EXCL | 0o600)) as memory:
        memory[:8] = magic.to_bytes(8, "little")
        memory[8:16] = (state << 44 | 1).to_bytes(8, "little")
    before = contents(number)
    with pytest.raises(shmstore.NotAStore):
        Store(number, size="1M", timeout=1)
    assert contents(number) == before


@pytest.mark.parametrize("size", [100, 8192, 1 << 20])
def test_zero_bytes_of_somebody_alive_are_no_store(number, size):
    sysv.shmget(number, size, sysv.IPC_CREAT | sysv.IPC_EXCL | 0o600)
    with pytest.raises(shmstore.NotAStore):
        Store(number, create=False)
    with pytest.raises(shmstore.NotAStore):
        Store(number, size="2M", timeout=20)
    assert not any(contents(number))


def test_two_names_with_one_key():
    """Of 2**32 keys; among some hundred thousand names two have the same."""
    seen = {}
    for i in itertools.count():
        name = f"collision-{os.getpid()}-{i}"
        other = seen.setdefault(lib.shms_key_of_name(name.encode(), len(name)), name)
        if other != name:
            break
    with Store(name, create=True, size="1M") as store:
        try:
            for options in ({}, {"create": True}, {"create": False}, {"readonly": True}):
                with pytest.raises(shmstore.KeyCollision) as caught:
                    Store(other, **options)
                number = f"{store.info().key & 0xFFFFFFFF:#010x}"
                says(caught, repr(other), f"the name {name!r}", number, "use another name")
            with pytest.raises(shmstore.KeyCollision):
                shmstore.destroy(other)
            store["k"] = 1
        finally:
            store.destroy()


def test_a_name_and_a_path_with_one_key(key, tmp_path):
    with Store(key, size="1M") as store:
        memory = Memory(store)
        memory.set(HEADER["name_kind"], 3 | 9 << 32)
        memory.bytes[NAME : NAME + 9] = b"/tmp/file"
        with pytest.raises(shmstore.KeyCollision) as caught:
            Store(key)
        says(caught, repr(key), "the path '/tmp/file'")
        with Store(store.info().key) as same:  # who gives the number means the segment
            assert same.info().uuid == store.info().uuid


# ---- what cannot be written ----


def test_full(store, key):
    with pytest.raises(MemoryError) as caught:
        for i in range(1000):
            store[f"k{i}"] = bytes(9000)
    assert type(caught.value) is shmstore.StoreFull
    stats = store.stats()
    says(caught, repr(key), "bytes asked for", f"{stats.bytes_free} bytes free", "delete something")
    says(caught, f"the largest run {stats.largest_free}")
    try:
        store["more"] = bytes(9000)
    except MemoryError:
        pass


def test_full_table(make, key):
    store = make(size="1M", max_entries=10)
    with pytest.raises(shmstore.StoreFull) as caught:
        for i in range(1000):
            store[f"k{i}"] = i
    says(caught, repr(key), f"{len(store)} entries", "max_entries")


@pytest.mark.parametrize("write", ["put", "add", "replace", "setdefault", "modify", "put_many"])
def test_too_large(store, key, write):
    store["k"] = "old"
    large = bytes(2 << 20)
    call = {
        "put": lambda: store.put("k", large), "add": lambda: store.add("x", large),
        "replace": lambda: store.replace("k", large), "setdefault": lambda: store.setdefault("x", large),
        "modify": lambda: store.modify("k", lambda value: large), "put_many": lambda: store.put_many({"k": large}),
    }[write]  # fmt: skip
    with pytest.raises(shmstore.ValueTooLarge) as caught:
        call()
    says(caught, repr(key), "more than the empty store could take", "bytes of heap", "larger size")
    assert dict(store) == {"k": "old"}


@pytest.mark.parametrize("method", WRITES)
def test_read_only(make, key, method):
    store = make()
    store["k"] = 1
    reader = make(readonly=True)
    with pytest.raises(shmstore.ReadOnlyStore) as caught:
        WRITES[method](reader)
    says(caught, repr(key), "readonly=True")
    assert dict(store) == {"k": 1} and store.ttl("k") is None


def test_the_client_table_is_full(key, make):
    store = make(size="64K")
    places = store.info().max_clients
    for _ in range(places - 1):
        make(create=False)
    with pytest.raises(shmstore.TooManyClients) as caught:
        make(create=False)
    says(caught, repr(key), "every slot", "close handles", "readonly=True", "max_clients")
    make(readonly=True).get("k")
    error = elsewhere(lambda: store.put("k", 1))  # a fork would be one more
    assert type(error) is shmstore.TooManyClients
    says(error, repr(key), "every slot", "can read")
    assert store.get("k") is None
    store.close()
    make(create=False)["k"] = 1


# ---- no more store ----


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("readonly", [False, True])
def test_closed(make, key, method, readonly):
    make()["k"] = 1
    store = make(create=False, readonly=readonly)
    store.close()
    store.close()
    assert store.closed
    with pytest.raises(shmstore.StoreClosed) as caught:
        (READS | WRITES)[method](store)
    says(caught, repr(key), "closed", "open the store again")


@pytest.mark.parametrize("method", ALL)
def test_destroyed(make, key, method):
    other = make()
    other["k"] = 1
    store = make()
    other.destroy()
    with pytest.raises(shmstore.StoreDestroyed) as caught:
        (READS | WRITES)[method](store)
    says(caught, repr(key), "removed", "open it anew")
    store.close()
    assert store.closed


@pytest.mark.parametrize("readonly", [False, True])
def test_removed_by_the_administrator(make, key, readonly):
    writer = make()
    writer["k"] = 1
    store = make(readonly=readonly, create=False)
    sysv.shmctl(store.info().id, sysv.IPC_RMID)
    with pytest.raises(shmstore.StoreDestroyed):
        for _ in range(600):  # about a second of use
            store.get("k")
            time.sleep(0.05)
    for method in READS:
        with pytest.raises(shmstore.StoreDestroyed):
            READS[method](store)
    with pytest.raises((shmstore.StoreDestroyed, shmstore.ReadOnlyStore)):
        store.put("k", 2)
    with pytest.raises(shmstore.StoreDestroyed):
        writer.check()
    with Store(key, create=True, size="1M") as new:
        assert "k" not in new


def test_a_spinning_waiter_sees_the_end(make):
    make()["k"] = 1
    store = make()
    make().destroy()
    with pytest.raises(shmstore.StoreDestroyed):
        store.wait("k", spin=0.01, timeout=5)


@pytest.mark.parametrize("options", [{}, {"spin": 60.0}])
def test_sleepers_are_told(make, options):
    store = make()
    gone = make()
    import threading

    timer = threading.Timer(0.1, gone.destroy)
    timer.start()
    with pytest.raises(shmstore.StoreDestroyed):
        store.wait("never", timeout=60, **options)
    timer.join()


# ---- a lock that nobody lets go ----

BLOCKED = {
    "put": lambda s: s.put("k", 2), "delete": lambda s: s.delete("k"), "incr": lambda s: s.incr("k"),
    "touch": lambda s: s.touch("k", 60), "cas": lambda s: s.cas("k", 2, 0), "pop": lambda s: s.pop("k"),
    "put_many": lambda s: s.put_many({"k": 2}), "delete_many": lambda s: s.delete_many(["k"]),
    "clear": lambda s: s.clear(), "modify": lambda s: s.modify("k", lambda value: 2),
    "incr of what is there": lambda s: s.incr("k", create=False), "delete of a version": lambda s: s.delete("k", s._version("k")),
    "get and touch": lambda s: s.get("k", touch=60), "expire": lambda s: s.expire("k", 2**40),
    "expire at once": lambda s: s.expire("k", 0), "put_many that skips": lambda s: s.put_many({"k": 2}, on_error="skip"),
}  # fmt: skip


def program(pid):
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()


def test_expire_due_waits_for_a_stopped_holder(make, stopped_client):
    """What a stopped process holds is waited for, and the error says how many had been removed before."""
    number, _ = stopped_client
    store = make(timeout=0.1)
    store.put_many({f"due{i}": i for i in range(100)}, ttl=0.001)
    time.sleep(0.002)
    memory = Memory(store)
    lock = memory.arena("lock")
    memory.set(lock, memory.word(lock) | number)
    with pytest.raises(shmstore.LockTimeout) as caught:
        store.expire_due()
    assert caught.value.stored == 0
    memory.set(lock, (memory.word(lock) & ~0xFFFF) + (1 << 32))
    home = memory.home("due7")
    memory.set(home, memory.word(home) | number)
    with pytest.raises(shmstore.LockTimeout) as caught:
        store.expire_due()
    assert 0 < caught.value.stored < 100 and f"{caught.value.stored} entries were removed before" in str(caught.value)
    memory.set(home, (memory.word(home) & ~0xFFFF) + (1 << 32))
    assert store.expire_due() == 100 - caught.value.stored


@pytest.mark.parametrize("which", ["bucket", "arena"])
def test_a_stopped_holder_is_named_and_nobody_else_waits(key, make, stopped_client, which):
    number, pid = stopped_client
    store = make(timeout=0.1)
    reader = make(readonly=True, timeout=0.1)
    store["k"] = 1
    memory = Memory(store)
    lock = memory.home("k") if which == "bucket" else memory.arena("lock")
    memory.set(lock, memory.word(lock) | number)
    for name, call in BLOCKED.items():
        if which == "arena" and name in ("touch", "expire", "get and touch"):
            continue  # wait for it, too, but are the same code
        began = time.monotonic()
        with pytest.raises(shmstore.LockTimeout) as caught:
            call(store)
        assert time.monotonic() - began >= 0.1
        assert isinstance(caught.value, TimeoutError)
        says(caught, repr(key), "0.1 s", f"process {pid} ({program(pid)})", "nothing was changed", "continue or kill")
        for handle in (store, reader):
            assert handle.get("k") == 1 and dict(handle) == {"k": 1} and "k" in handle and handle.ttl("k") is None
    if which == "bucket":
        store.check()
        other = next(f"o{i}" for i in range(1000) if memory.home(f"o{i}") != lock)
        store[other] = 2
        assert store.delete(other)
    else:
        for call in (store.check, lambda: store.check(repair=True), reader.check):
            with pytest.raises(shmstore.LockTimeout) as caught:
                call()
            says(caught, repr(key), "0.1 s", f"process {pid} ({program(pid)})", "continue or kill")
    memory.set(lock, (memory.word(lock) & ~0xFFFF) + (1 << 32))
    for handle in (store, make()):
        handle["k"] = 3
        assert handle.incr("k") == 4 and handle.delete("k")
    store.check()


@pytest.mark.parametrize("which", ["bucket", "arena"])
def test_once_the_holder_is_dead_all_goes_on(make, stopped_client, which):
    number, pid = stopped_client
    store = make(timeout=60)
    store["k"] = 1
    memory = Memory(store)
    lock = memory.home("k") if which == "bucket" else memory.arena("lock")
    memory.set(lock, memory.word(lock) | number)
    if which == "bucket":
        entry = memory.header("clients") + (number - 1) * int.from_bytes(
            memory.bytes[HEADER["client_size"] : HEADER["client_size"] + 4], "little"
        )
        memory.set(entry + 192, (lock - memory.header("slots")) // 64 + 1)  # its record, as it would be
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert store.incr("k") == 2 and store.put("other", 1)
    assert [client.is_me for client in store.clients()].count(False) <= 2  # the fixture's handles, not the victim's
    store.check()


def test_a_reader_says_that_the_holder_is_dead(make, stopped_client):
    """It takes nothing over, so it waits for the dead, too; the message does not say that the holder lives."""
    number, pid = stopped_client
    store, reader = make(), make(readonly=True, timeout=0.1)
    memory = Memory(store)
    memory.set(memory.arena("lock"), memory.word(memory.arena("lock")) | number)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(shmstore.LockTimeout) as caught:
        reader.check()
    says(caught, f"process {pid} died", "0.1 s", "recover()")
    assert "alive" not in str(caught.value)
    assert store.recover() == 1
    reader.check()


def test_a_batch_has_the_timeout_for_each_lock(make, stopped_client):
    import threading

    number, _ = stopped_client
    store = make(timeout=1.0)
    memory = Memory(store)
    store.put_many({"A": 0, "B": 0})
    assert memory.home("A") != memory.home("B")

    def release(name):
        memory.set(memory.home(name), (memory.word(memory.home(name)) & ~0xFFFF) + (1 << 32))

    timers = [threading.Timer(0.6, release, "A"), threading.Timer(1.2, release, "B")]
    for name, timer in zip("AB", timers, strict=True):
        memory.set(memory.home(name), memory.word(memory.home(name)) | number)
        timer.start()
    try:
        assert store.put_many({"A": 1, "B": 2}) == 2
    finally:
        for timer in timers:
            timer.join()


# ---- a format of another time ----


def mask(store, field, bit):
    memory = Memory(store)
    memory.set(HEADER[field], memory.header(field) | 1 << bit)


@pytest.mark.parametrize("bit", [0, 31, 63])
def test_an_incompatible_feature(store, key, bit):
    mask(store, "incompatible", bit)
    for options in ({}, {"create": False}, {"readonly": True}):
        with pytest.raises(shmstore.FormatMismatch) as caught:
            Store(key, **options)
        says(caught, repr(key), f"features {1 << bit:#x}", "upgrade shmstore")


@pytest.mark.parametrize("bit", [0, 31, 63])
def test_a_read_compatible_feature(store, key, bit):
    store["k"] = 1
    mask(store, "read_compatible", bit)
    for options in ({}, {"create": False}, {"readonly": True}):
        with Store(key, **options) as reader:
            assert dict(reader) == {"k": 1} and reader.info().readonly
            reader.check()
            with pytest.raises(shmstore.ReadOnlyStore) as caught:
                reader["k"] = 2
            if not options.get("readonly"):
                says(caught, repr(key), f"({1 << bit:#x})", "upgrade shmstore")


@pytest.mark.parametrize("bit", [0, 31, 63])
def test_a_compatible_feature(store, key, bit):
    mask(store, "compatible", bit)
    with Store(key) as other, Store(key, readonly=True) as reader:
        other["k"] = 1
        assert reader["k"] == 1


@pytest.mark.parametrize("version", [0, 2, 2**32 - 1])
def test_another_format(store, key, version):
    memory = Memory(store)
    memory.bytes[16:20] = version.to_bytes(4, "little")
    for options in ({}, {"readonly": True}):
        with pytest.raises(shmstore.FormatMismatch) as caught:
            Store(key, **options)
        says(caught, repr(key), f"format {version} ", "knows format 1", "upgrade shmstore")


# ---- scribbled upon ----


@pytest.mark.parametrize("field", [name for name in HEADER if name not in ("state", "format", "incompatible",
                                                                          "read_compatible", "compatible", "name_kind",
                                                                          "hash_key")])  # fmt: skip
@pytest.mark.parametrize("value", [0, 1, 2**63, 2**64 - 1, 2**40])
def test_an_impossible_header(store, key, field, value):
    memory = Memory(store)
    memory.set(HEADER[field], value)
    if field == "buckets" and value == 1:
        return  # a store of one bucket is possible
    for options in ({}, {"readonly": True}):
        error = elsewhere(lambda options=options: Store(key, **options), seconds=20)
        assert type(error) is shmstore.StoreCorrupt, error
        says(error, repr(key), "in the header", f"ipcrm -m {store.info().id}")


def after(word, change):
    return lambda memory: memory.set(word(memory), change(memory.word(word(memory)), memory))


SCRIBBLES = {
    "a slot points out of the heap": (after(lambda m: m.slot("k"), lambda w, m: w & ~0xFFFFFFFFFF | 1), "I2"),
    "a slot points behind the heap": (after(lambda m: m.slot("k"), lambda w, m: w | 0xFFFFFFFFFF), "I2"),
    "a slot points into a block": (after(lambda m: m.slot("k"), lambda w, m: w + 1), "I2"),
    "a slot has another tag": (after(lambda m: m.slot("k"), lambda w, m: w ^ 1 << 50), "I[23]"),
    "a slot is emptied": (after(lambda m: m.slot("k"), lambda w, m: 0), "I9"),
    "a slot has another's block": (after(lambda m: m.slot("k"), lambda w, m: m.word(m.slot("l"))), r"I\d"),
    "a block has another hash": (after(lambda m: m.block("k") + 8, lambda w, m: w ^ 1), "I3"),
    "a value is longer than the heap": (after(lambda m: m.block("k") + 24, lambda w, m: w | 1 << 60), "I2"),
    "a key is longer than any": (after(lambda m: m.block("k") + 24, lambda w, m: w | 0xFFFF00), "I2"),
    "a block has another slot": (after(lambda m: m.block("k") + 32, lambda w, m: w ^ 2), "I3"),
    "a block is larger": (after(lambda m: m.block("k") + 32, lambda w, m: w + (1 << 32)), "I[67]"),
    "a block is called free": (after(lambda m: m.block("k") + 32, lambda w, m: w | 1 << 63), "I[67]"),
    "a block has a free neighbour": (after(lambda m: m.block("k") + 32, lambda w, m: w | 1 << 62), "I6"),
    "the top is out of the arena": (after(lambda m: m.arena("top"), lambda w, m: 2**63), "I6"),
    "the top is in a block": (after(lambda m: m.arena("top"), lambda w, m: w - 16), "I6"),
    "bytes are miscounted": (after(lambda m: m.arena("used"), lambda w, m: w + 16), "I8"),
    "blocks are miscounted": (after(lambda m: m.arena("blocks"), lambda w, m: w + 1), "I8"),
    "a free run is in no list": (after(lambda m: m.arena("fl_map"), lambda w, m: 0), "I7"),
    "an entry expires before its time": (
        lambda m: [m.set(m.header("due") + 8 * i, 0) for i in range((m.header("buckets") + 7) // 8)], "I11"),
    "a bucket is held by nobody": (after(lambda m: m.home("k"), lambda w, m: w | 60), "I12"),
    "a bucket is held by an impossible client": (after(lambda m: m.home("k"), lambda w, m: w | 0xFFFF), "I12"),
}  # fmt: skip


def populate(store):
    for i in range(20):
        store[f"filler{i}"] = bytes(100)
    store["k"] = 1
    store["l"] = 2
    store.put("mortal", 3, ttl=600)
    store.delete("filler3")
    store.check()


def alone(store):
    """Whether the names that are scribbled at share no bucket with others (the hash's key is random)."""
    memory = Memory(store)
    homes = [memory.home(name) for name in store]
    return len(set(homes)) == len(homes)


@pytest.fixture
def populated(make):
    store = make(size="256K", timeout=0.2)
    while True:
        populate(store)
        if alone(store):
            return store
        store.destroy()
        store = make(create=True, size="256K", timeout=0.2)


def use(store, walk=True):
    """Every operation on every name: a value, a miss or an error of this package, or this raises."""
    names = [f"filler{i}" for i in range(20)] + ["k", "l", "mortal", "absent"]
    calls = [lambda: store.get_many(names), lambda: len(store), store.stats, store.info, store.clients, store.check]
    for name in names:
        calls += [lambda name=name: store.get(name), lambda name=name: name in store, lambda name=name: store.ttl(name)]
    if walk:
        calls += [lambda: list(store), lambda: dict(store)]
    if "read-only" not in repr(store):
        for name in names:
            calls += [
                lambda name=name: store.put(name, 1), lambda name=name: store.incr(name),
                lambda name=name: store.touch(name, 5), lambda name=name: store.delete(name),
                lambda name=name: store.put(name, bytes(300)),
            ]  # fmt: skip
        calls += [store.recover, store.clear if walk else store.recover, store.check]
    for call in calls:
        try:
            call()
        except (shmstore.ShmStoreError, KeyError):
            pass
        except TypeError as error:
            assert "incr and decr need an int" in str(error)
    return "survived"


NO_UTF8 = (
    "a str name whose bytes are no UTF-8 any more is a UnicodeDecodeError in every walk, in clear and in popitem, "
    "not a StoreCorrupt"
)
# Walks over these meet one of the two faults above; the tests of those faults say so, once.
NOT_WALKED = {"a slot has another's block", "a slot points into a block", "the top is in a block"}


@pytest.mark.parametrize("scribble", SCRIBBLES)
def test_scribbles(populated, key, scribble):
    break_it, invariant = SCRIBBLES[scribble]
    break_it(Memory(populated))
    for readonly in (True, False):
        with Store(key, readonly=readonly, timeout=0.2) as store:
            with pytest.raises(shmstore.StoreCorrupt, match=invariant) as caught:
                store.check()
            says(caught, repr(key))
            try:
                assert store.get("k") in (1, None)
            except (shmstore.StoreCorrupt, shmstore.LockTimeout) as error:
                says(error, repr(key))
            assert store["mortal"] == 3
        walk = scribble not in NOT_WALKED
        result = elsewhere(lambda readonly=readonly, walk=walk: use(Store(key, readonly=readonly, timeout=0.02), walk))
        assert result == "survived"


MENDED = {  # nothing is lost where something else says what was there
    "a block has another slot", "bytes are miscounted", "blocks are miscounted", "the top is out of the arena",
    "a free run is in no list", "an entry expires before its time", "a bucket is held by nobody",
    "a bucket is held by an impossible client", "the top is in a block", "a block has a free neighbour",
}  # fmt: skip


@pytest.mark.parametrize("scribble", SCRIBBLES)
def test_repair(populated, key, scribble):
    before = dict(populated)
    SCRIBBLES[scribble][0](Memory(populated))

    lost = populated.check(repair=True)

    after = dict(populated)
    gone = before.keys() - after.keys()
    assert after.items() <= before.items() and len(gone) <= 2
    assert gone <= {"k", "l"} or scribble == "a block is larger"  # and lies over its neighbour
    if scribble == "a slot is emptied":
        assert lost == 0 and gone == {"k"}  # nothing says that there was an entry
    else:
        assert lost == len(gone) and (lost == 0) == (scribble in MENDED)
    assert populated.check(repair=True) == 0
    populated["k"] = 5
    assert populated.pop("k") == 5 and populated.check() == 0


def test_repair_of_an_entry_beyond_the_reach(populated):
    memory = Memory(populated)
    table, buckets = memory.header("slots"), memory.header("buckets")
    slot, home = memory.slot("k"), (memory.home("k") - table) // 64
    away = table + (home + 3) % buckets * 64 + 8 * 7  # the last slot of the third bucket behind
    memory.set(away, memory.word(slot))
    memory.set(slot, 0)
    with pytest.raises(shmstore.StoreCorrupt, match=r"I[34]"):
        populated.check()
    assert "k" not in populated

    assert populated.check(repair=True) == 0

    assert populated["k"] == 1 and populated.check() == 0


def test_repair_of_a_page_that_the_summary_does_not_know(populated):
    before = dict(populated)
    memory = Memory(populated)
    memory.set(memory.word(200), 0)  # the header says where the summary is
    assert dict(populated) != before

    assert populated.check(repair=True) == 0

    assert dict(populated) == before and populated.check() == 0


def test_repair_needs_the_right_to_write(make):
    make()["k"] = 1
    with pytest.raises(shmstore.ReadOnlyStore):
        make(readonly=True).check(repair=True)


@pytest.mark.parametrize("walk", [False, True])
def test_a_slot_that_names_a_dead_block(populated, key, walk):
    memory = Memory(populated)
    memory.set(memory.block("k"), 0)
    for readonly in (True, False):
        result = elsewhere(lambda readonly=readonly: use(Store(key, readonly=readonly, timeout=0.02), walk), seconds=5)
        assert result == "survived"


def test_a_scribbled_name(populated, key):
    memory = Memory(populated)
    memory.bytes[memory.block("k") + 40] = 0xFF
    with pytest.raises(shmstore.StoreCorrupt, match="I3"):
        populated.check()
    assert populated.get("k") is None
    assert elsewhere(lambda: use(Store(key, timeout=0.2))) == "survived"


def test_a_chain_to_the_last_bytes(key):
    """In a process of its own, with a page that nobody may read behind the mapping."""
    program = """
import ctypes, sys
import shmstore
from shmstore._core import ffi, lib

with shmstore.Store(sys.argv[1], size="1M") as store:
    store["k"] = 1
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
holes, stores = [libc.mmap(None, (1 << 20) + 4096, 0, 0x22, -1, 0) for _ in range(50)], []
for hole in holes:
    libc.munmap(hole, 1 << 20)
for _ in range(40):
    stores.append(store := shmstore.Store(sys.argv[1], readonly=bool(stores)))
    size = ffi.new("uint64_t *")
    address = int(ffi.cast("uintptr_t", lib.shms_memory(store._handle, size)))
    if address in holes:
        break
else:
    sys.exit(8)
memory = ffi.buffer(lib.shms_memory(stores[0]._handle, size), 1 << 20)
word = lambda at: int.from_bytes(memory[at : at + 8], "little")
arena = word(256)
base, end = word(arena + 16), word(arena + 24)
memory[arena + 32 : arena + 40] = end.to_bytes(8, "little")
memory[base + 36 : base + 40] = ((end - 16 - base) // 16).to_bytes(4, "little")
try:
    store.check()
except shmstore.StoreCorrupt as error:
    sys.exit(7)
"""
    done = subprocess.run([sys.executable, "-c", program, key], cwd="/", timeout=60)
    if done.returncode == 8:
        pytest.skip("no mapping in front of a guard page was to be had")
    assert done.returncode == 7


@pytest.mark.parametrize("seed", range(20))
def test_random_scribbles(populated, key, seed):
    """Bits and words at random, in the slot table, the blocks, the arena, the clients."""
    memory = Memory(populated)
    rng = random.Random(seed)
    table = memory.header("slots")
    used = [at for at in range(table, table + 64 * memory.header("buckets"), 8) if memory.word(at)]
    blocks = [(memory.word(at) & 0xFFFFFFFFFF) * 16 for at in used if (at - table) % 64]
    for _ in range(rng.choice((1, 2, 5, 30))):
        at = rng.choice(
            (
                rng.choice(used),
                rng.choice(blocks) + 8 * rng.randrange(1, 5),
                memory.header("arenas") + 8 * rng.randrange(576),
                memory.header("clients") + 8 * rng.randrange(128),
                memory.header("due") + 8 * rng.randrange(32),
            )
        )
        word = memory.word(at)
        values = [word ^ 1 << rng.randrange(64), rng.getrandbits(64), memory.word(rng.choice(used)), rng.choice(blocks)]
        memory.set(at, rng.choice(values))
    for readonly in (True, False):
        result = elsewhere(
            lambda readonly=readonly: use(Store(key, readonly=readonly, timeout=0.02), walk=False), seconds=50
        )
        assert result == "survived"


# ---- codecs ----


def test_codec(make, key):
    store = make()
    make(create=False, codec="pickle")["p"] = {1, 2}
    with pytest.raises(shmstore.CodecError) as caught:
        store["p"]
    says(caught, repr(key), "'pickle'", "reads msgpack, raw", "decoders=('pickle',)")
    with pytest.raises(shmstore.CodecError) as caught:
        store["k"] = object()
    says(caught, "object")
    assert "k" not in store
    memory = Memory(store)
    store["m"] = [1, 2, 3]
    at = memory.block("m") + 40 + 1
    memory.bytes[at] = 0xC1  # the byte that msgpack never uses
    for read in (store.get, store.get_versioned, store.pop, lambda name: store.get_many([name])):
        with pytest.raises(shmstore.CodecError):
            read("m")
    assert "m" in store


# ---- wrong arguments ----

BAD_OPENING = [
    ({"create": "yes"}, TypeError, "'yes'"), ({"readonly": True, "create": True}, ValueError, "readonly=True"),
    ({"size": 1.5}, TypeError, "float"), ({"size": True}, TypeError, "bool"), ({"size": None}, TypeError, "NoneType"),
    ({"size": -1}, ValueError, "-1"), ({"size": "-1M"}, ValueError, "-1M"), ({"size": "64X"}, ValueError, "64X"),
    ({"size": ""}, ValueError, "''"), ({"size": "inf"}, ValueError, "inf"), ({"size": "nan"}, ValueError, "nan"),
    ({"size": "17T"}, ValueError, "16T"), ({"size": 2**63}, ValueError, "16T"),
    ({"max_entries": 1.5}, TypeError, "float"), ({"max_entries": True}, TypeError, "bool"),
    ({"max_entries": 0}, ValueError, "0"), ({"max_entries": -1}, ValueError, "-1"),
    ({"max_entries": 2**32}, ValueError, str(2**32)), ({"max_entries": 10**7, "size": "1M"}, ValueError, str(10**7)),
    ({"mode": "600"}, TypeError, "str"), ({"mode": True}, TypeError, "bool"), ({"mode": -1}, ValueError, "-0o1"),
    ({"mode": 0o1777}, ValueError, "0o1777"), ({"owner": "me"}, ValueError, "'me'"), ({"owner": -1}, ValueError, "-1"),
    ({"owner": 1.5}, TypeError, "float"), ({"ttl": "1"}, TypeError, "str"), ({"ttl": True}, TypeError, "bool"),
    ({"ttl": 0}, ValueError, "0"), ({"ttl": -1.5}, ValueError, "-1.5"), ({"ttl": float("nan")}, ValueError, "nan"),
    ({"timeout": "1"}, TypeError, "str"), ({"timeout": -1}, ValueError, "-1"),
    ({"timeout": float("nan")}, ValueError, "nan"), ({"codec": "json"}, ValueError, "'json'"),
    ({"codec": 5}, TypeError, "int"), ({"decoders": ["json"]}, ValueError, "'json'"),
    ({"decoders": 5}, TypeError, "int"),
    ({"compress": True}, TypeError, "compress"),
]  # fmt: skip
BAD_KEYS = [
    (True, TypeError, "bool"), (None, TypeError, "NoneType"), (1.5, TypeError, "float"), (b"k", TypeError, "bytes"),
    ("", ValueError, "0"), ("x" * 256, ValueError, "256"), ("ä" * 128, ValueError, "256"), ("a\0", ValueError, "a\\x00"),
    ("\ud800", ValueError, "\\ud800"), (0, ValueError, "0"), (2**32, ValueError, str(2**32)),
    (-(2**31) - 1, ValueError, str(2**31 + 1)),
]  # fmt: skip
BAD_CALLS = [
    *[(f"name of {method}", functools.partial(call, name=name), error, said) for method, call in {
        "put": lambda s, name: s.put(name, 1), "add": lambda s, name: s.add(name, 1),
        "replace": lambda s, name: s.replace(name, 1), "cas": lambda s, name: s.cas(name, 1, 0),
        "incr": lambda s, name: s.incr(name), "setdefault": lambda s, name: s.setdefault(name, 1),
        "modify": lambda s, name: s.modify(name, str, 1), "put_many": lambda s, name: s.put_many([(name, 1)]),
        "wait": lambda s, name: s.wait(name, timeout=0),
    }.items() for name, error, said in [
        (1, TypeError, "int"), (None, TypeError, "NoneType"), (("a",), TypeError, "tuple"),
        ("x" * 32769, ValueError, "32769"), (b"x" * 40000, ValueError, "40000"), ("\ud800", ValueError, "surrogate"),
    ]],
    *[(f"ttl of {method}", functools.partial(call, ttl=ttl), error, said) for method, call in {
        "put": lambda s, ttl: s.put("k", 2, ttl=ttl), "add": lambda s, ttl: s.add("x", 2, ttl=ttl),
        "replace": lambda s, ttl: s.replace("k", 2, ttl=ttl), "cas": lambda s, ttl: s.cas("x", 2, 0, ttl=ttl),
        "touch": lambda s, ttl: s.touch("k", ttl), "put_many": lambda s, ttl: s.put_many({"k": 2}, ttl=ttl),
        "add_many": lambda s, ttl: s.add_many({"x": 2}, ttl=ttl),
    }.items() for ttl, error, said in [
        ("1", TypeError, "str"), (0, ValueError, "0"), (-1, ValueError, "-1"), (float("nan"), ValueError, "nan"),
        (float("-inf"), ValueError, "-inf"), ([], TypeError, "list"),
    ]],
    ("version", lambda s: s.cas("k", 2, "1"), TypeError, "str"),
    ("version", lambda s: s.cas("k", 2, True), TypeError, "bool"),
    ("version", lambda s: s.cas("k", 2, -1), ValueError, "-1"),
    ("version", lambda s: s.cas("k", 2, 2**64), ValueError, str(2**64)),
    ("by", lambda s: s.incr("k", "1"), TypeError, "str"),
    ("by", lambda s: s.incr("k", 1.5), TypeError, "float"),
    ("by", lambda s: s.incr("k", 2**63), OverflowError, ""),
    ("initial", lambda s: s.incr("x", initial=None), TypeError, "NoneType"),
    ("sum", lambda s: s.incr("k", 2**63 - 1), OverflowError, "64"),
    ("kind", lambda s: s.incr("text"), TypeError, "need an int"),
    ("prefix", lambda s: s.keys(1), TypeError, "int"),
    ("prefix", lambda s: s.keys(None), TypeError, "NoneType"),
    ("timeout", lambda s: s.wait("k", timeout="1"), TypeError, "str"),
    ("timeout", lambda s: s.wait("k", timeout=-1), ValueError, "-1"),
    ("spin", lambda s: s.wait("k", spin=-1), ValueError, "-1"),
    ("spin", lambda s: s.wait("k", spin=None, timeout=[]), TypeError, "list"),
    ("names", lambda s: s.get_many(5), TypeError, "int"),
    ("names", lambda s: s.delete_many(None), TypeError, "NoneType"),
    ("items", lambda s: s.put_many(5), TypeError, "int"),
    ("items", lambda s: s.put_many([1]), TypeError, ""),
    ("items", lambda s: s.put_many(["abc"]), TypeError, "abc"),
]  # fmt: skip


@pytest.mark.parametrize("bad, error, said", BAD_KEYS, ids=lambda value: repr(value)[:20])
def test_wrong_keys(bad, error, said):
    with pytest.raises(error) as caught:
        Store(bad, create=False)
    says(caught, said)


@pytest.mark.parametrize("options, error, said", BAD_OPENING, ids=str)
def test_wrong_options(key, options, error, said):
    with pytest.raises(error) as caught:
        Store(key, **options)
    says(caught, said)
    with pytest.raises(shmstore.StoreNotFound):
        Store(key, create=False)


def test_decoders_that_are_one_name(key):
    with pytest.raises(TypeError) as caught:
        Store(key, decoders="pickle")
    says(caught, "decoders", "('pickle',)")


@pytest.mark.parametrize("what, call, error, said", BAD_CALLS, ids=lambda value: value if type(value) is str else "")
def test_wrong_arguments(store, what, call, error, said):
    store["k"] = 1
    store["text"] = "1"
    with pytest.raises(error) as caught:
        call(store)
    says(caught, said)
    assert dict(store) == {"k": 1, "text": "1"} and store.ttl("k") is None


@pytest.mark.parametrize(
    "options",
    [{"size": 2**64}, {"owner": 2**63}, {"timeout": float("inf")}, {"ttl": float("inf")}, {"ttl": 10**400}],
    ids=str,
)
def test_numbers_beyond_all_bounds(key, options):
    """Refused with a sentence, or taken for "for ever"; never half way."""
    try:
        Store(key, **options).close()
    except ValueError as error:
        says(error, str(next(iter(options))))
        with pytest.raises(shmstore.StoreNotFound):
            Store(key, create=False)


@pytest.mark.parametrize("call", [lambda s: s.put("k", 1, ttl=True), lambda s: s.touch("k", True),
                                  lambda s: s.put_many({"k": 1}, ttl=True)])  # fmt: skip
def test_true_is_no_time_to_live(store, call):
    store["k"] = 1
    with pytest.raises(TypeError):
        call(store)


@pytest.mark.parametrize("options, theirs, ours", [({"size": "2M"}, str(1 << 20), str(2 << 20)),
                                                   ({"max_entries": 5}, "100", "5"),
                                                   ({"mode": 0o666}, "0o600", "0o666")])  # fmt: skip
def test_not_what_the_creator_chose(make, key, options, theirs, ours):
    make(size="1M", max_entries=100)
    for create in (None, False):
        with pytest.raises(ValueError) as caught:
            Store(key, create=create, **options)
        what = next(iter(options))
        says(caught, repr(key), f"{what}={theirs}", f"asks for {ours}", f"leave {what} out")
    Store(key).close()


def test_a_batch_that_fails_says_how_far_it_came(make, key):
    store = make(max_entries=10)
    names = [f"k{i}" for i in range(50)]
    with pytest.raises(shmstore.StoreFull) as caught:
        store.put_many(dict.fromkeys(names, 1))
    says(caught, repr(key), f"{len(store)} of 50 items were stored before")
    assert sorted(store) == sorted(names[: len(store)])


# ---- a handle in any state can be shown ----


def test_repr(make, key):
    store, reader, gone = make(), make(readonly=True), make()
    assert repr(store) == f"<shmstore.Store {key!r} open>" and repr(reader) == f"<shmstore.Store {key!r} read-only>"
    gone.close()
    assert repr(gone) == f"<shmstore.Store {key!r} closed>"
    for view in (store.keys(), store.keys("a"), store.items(), store.values()):
        assert repr(key) in repr(view)
    store.destroy()
    for handle in (store, reader, gone):
        assert repr(key) in repr(handle) and str(handle)
    half = Store.__new__(Store)
    assert repr(half) == "<shmstore.Store>"
    del half
    with pytest.raises(ValueError):
        Store.__init__(half := Store.__new__(Store), key, codec="nope")
    assert key in repr(half)
