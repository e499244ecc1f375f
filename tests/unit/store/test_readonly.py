"""A read-only handle writes nothing at all: not one byte of the segment is another afterwards, whatever it does."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback

import pytest

import shmstore
from shmstore import Store, sysv
from shmstore._core import ffi, lib
from shmstore._store import names

NOBODY = 65534


@pytest.fixture
def digest(make):
    """Of every byte of the segment, attached anew and unwritable."""

    def digest(store):
        if store.info().backend == "posix":
            with open(names.parse_key(store.info().name, "posix").place, "rb") as file:
                return hashlib.blake2b(file.read()).hexdigest()
        attachment = sysv.shmat(store.info().id, None, sysv.SHM_RDONLY)
        with attachment as memory:
            assert memory.readonly and len(memory) > store.info().size
            return hashlib.blake2b(memory).hexdigest()

    return digest


@pytest.fixture
def store(make):
    """With everything in it that an eager reader could tidy up."""
    store = make(size="512K", ttl=None)
    store.update({f"k{i}": list(range(i)) for i in range(100)})
    store.delete_many([f"k{i}" for i in range(0, 100, 3)])
    store["large"] = os.urandom(60_000)
    store[b"bytes"] = b"value"
    store["n"] = 1
    with make(create=False, codec="pickle") as other:
        other["pickled"] = {1, 2}
    for i in range(20):
        store.put(f"expired{i}", i, ttl=0.01)
    pid = os.fork()  # a dead client, which nobody has found yet
    if pid == 0:
        try:
            store["dead"] = 1
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    time.sleep(0.02)
    return store


def read_all(reader):
    """Everything that a reader may do; returns what it learnt."""
    learnt = [
        dict.fromkeys(reader), len(reader), bool(reader), reader.get("n"), reader.get("absent", 5), reader["large"],
        reader[b"bytes"], reader.get_into(b"bytes", bytearray(100)), "n" in reader, "absent" in reader, "expired1" in reader, reader.get("expired1"),
        reader.get_versioned("n"), reader.ttl("n"), reader.get_many(["n", "k1", "absent", "expired2"]),
        sorted(reader.keys("k")), reader.info().mode, reader.info().uuid, reader.stats().entries,
        [(client.pid, client.alive) for client in reader.clients()], reader.wait("n"),
        reader.wait("absent", after=1, timeout=1),
    ]  # fmt: skip
    reader.check()
    for options in ({}, {"spin": 0.005}, {"after": 0}):
        with pytest.raises(TimeoutError):
            reader.wait("never", timeout=0.01, **options)
    for name in ("absent", "expired3", "k0"):
        with pytest.raises(KeyError):
            reader[name]
        with pytest.raises(KeyError):
            reader.ttl(name)
    with pytest.raises(shmstore.CodecError):
        reader["pickled"]
    assert len(list(reader.keys())) == len(reader) and "k1" in reader.keys("k")
    repr(reader), reader.closed, pickle.dumps(reader)
    return learnt


WRITES = {
    "put": lambda store: store.put("n", 2),
    "put of something new": lambda store: store.put("new", 2),
    "put with ttl": lambda store: store.put("n", 2, ttl=5),
    "add": lambda store: store.add("new", 2),
    "replace": lambda store: store.replace("n", 2),
    "cas": lambda store: store.cas("n", 2, store.get_versioned("n")[1]),
    "modify": lambda store: store.modify("n", lambda n: n + 1),
    "setdefault": lambda store: store.setdefault("new", 2),
    "incr": lambda store: store.incr("n"),
    "decr": lambda store: store.decr("n"),
    "touch": lambda store: store.touch("n", 5),
    "get and touch": lambda store: store.get("n", touch=5),
    "get and touch what is absent": lambda store: store.get("absent", touch=5),
    "expire": lambda store: store.expire("n", 2**40),
    "expire at once": lambda store: store.expire("n", 0),
    "expire never": lambda store: store.expire("n", None),
    "expire_due": lambda store: store.expire_due(),
    "incr of what is absent": lambda store: store.incr("absent", create=False),
    "delete": lambda store: store.delete("n"),
    "delete of a version": lambda store: store.delete("n", 1),
    "delete of the version 0": lambda store: store.delete("n", 0),
    "delete of what is absent": lambda store: store.delete("absent"),
    "pop": lambda store: store.pop("n"),
    "popitem": lambda store: store.popitem(),
    "put_many": lambda store: store.put_many({"n": 2}),
    "put_many that skips": lambda store: store.put_many({"n": object()}, on_error="skip"),
    "put_many of nothing that skips": lambda store: store.put_many({}, on_error="skip"),
    "add_many": lambda store: store.add_many({"new": 2}),
    "delete_many": lambda store: store.delete_many(["n"]),
    "update": lambda store: store.update(n=2),
    "clear": lambda store: store.clear(),
    "recover": lambda store: store.recover(),
    "destroy": lambda store: store.destroy(),
}


def test_reading_leaves_every_byte_as_it_was(store, make, digest):
    before = digest(store)
    reader = make(readonly=True)
    assert digest(store) == before  # nor does attaching
    learnt = read_all(reader)
    assert digest(store) == before
    assert read_all(reader) == learnt
    reader.close()
    assert digest(store) == before
    assert learnt[0].keys() == dict.fromkeys(store).keys() and learnt[5] == store["large"]


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_refused_write_leaves_every_byte_as_it_was(store, make, digest, write):
    reader = make(readonly=True)
    before = digest(store)
    with pytest.raises(shmstore.ReadOnlyStore, match="readonly=True"):
        write(reader)
    assert digest(store) == before
    assert reader["n"] == 1


def test_readers_in_many_threads_and_processes(store, make, digest):
    before = digest(store)
    reader, faults = make(readonly=True), []

    def guarded():
        try:
            for _ in range(3):
                read_all(reader)
        except BaseException:
            faults.append(traceback.format_exc())

    program = (
        "import sys, shmstore\n"
        "store = shmstore.Store(sys.argv[1], readonly=True)\n"
        "for _ in range(20):\n"
        "    dict.fromkeys(store), store.get_many([f'k{i}' for i in range(100)]), store.stats(), store.clients()\n"
        "    store.check()\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, store.info().name], cwd="/") for _ in range(2)]
    threads = [threading.Thread(target=guarded) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(60) for process in processes] == [0, 0]
    assert faults == []
    assert digest(store) == before


def test_a_killed_reader_leaves_every_byte_as_it_was(store, digest):
    before = digest(store)
    program = (
        "import sys, shmstore\n"
        "store = shmstore.Store(sys.argv[1], readonly=True)\n"
        "print('ready', flush=True)\n"
        "while True: dict.fromkeys(store), store.get('large'), store.check(), 'k1' in store\n"
    )
    for delay in (0.0, 0.003, 0.007):
        process = subprocess.Popen(
            [sys.executable, "-c", program, store.info().name], cwd="/", stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(delay)
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert digest(store) == before


def test_a_forked_reader_leaves_every_byte_as_it_was(store, make, digest):
    reader = make(readonly=True)
    before = digest(store)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            read_all(reader)
            reader.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert digest(store) == before


def test_reading_what_is_being_written(store, make):
    """And the reader's statistics are its own."""
    reader, stop, faults = make(readonly=True), threading.Event(), []

    def write():
        n = 0
        while not stop.is_set():
            n += 1
            store.put("changing", [n] * (n % 500))
            store.put(f"k{n % 50}", n, ttl=0.001 if n % 2 else None)
            store.delete(f"k{n % 31}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            value = reader.get("changing", [])
            if len(set(value)) > 1:
                faults.append(value)
            dict(reader.get_many([f"k{i}" for i in range(50)])), len(reader), list(reader)
    finally:
        stop.set()
        writer.join()
    assert faults == []
    hits = store.stats().hits
    assert reader["n"] == 1 and reader.stats().hits > hits == store.stats().hits


def test_check_beside_writers(store, make):
    """Without the lock, check() cannot see the heap stand still. It verifies the entries, and does not time out."""
    reader, stop = make(readonly=True, timeout=0.2), threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            n += 1
            store.put(f"k{n % 50}", [n] * (n % 500), ttl=0.001 if n % 3 else None)
            store.delete(f"k{n % 31}")

    store.put_many({f"still{n}": n for n in range(2000)})
    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert [reader.check() for _ in range(20)] == [0] * 20
    finally:
        stop.set()
        writer.join()
    assert reader.check() == 0


def as_user(uid, gid, function):
    """Run *function* in a forked process of another user; return what it returns."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            try:
                answer = (True, function())
            except BaseException:
                answer = (False, traceback.format_exc())
            os.write(write, pickle.dumps(answer))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        good, answer = pickle.loads(file.read())
    os.waitpid(pid, 0)
    assert good, answer
    return answer


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


@needs_root
@pytest.mark.parametrize("mode, gid", [(0o444, NOBODY), (0o404, NOBODY), (0o644, NOBODY), (0o440, 0), (0o640, 0)])
def test_another_user_reads(key, digest, mode, gid):
    with Store(key, size="512K", mode=mode) as store:
        store.update({f"k{i}": i for i in range(50)})
        store.put("expired", 1, ttl=0.001)
        time.sleep(0.002)
        before = digest(store)

        def read():
            with Store(key, readonly=True) as reader:
                assert reader["k7"] == 7 and len(reader) == 50 and "expired" not in reader
                assert set(reader) == {f"k{i}" for i in range(50)}
                with pytest.raises(TimeoutError):
                    reader.wait("never", timeout=0.01)
                reader.check()
                with pytest.raises(shmstore.ReadOnlyStore):
                    reader["k7"] = 8
                with pytest.raises(shmstore.ReadOnlyStore):
                    reader.destroy()
                clients = [(client.pid, client.alive) for client in reader.clients()]
                info = reader.info()
            with pytest.raises(shmstore.StoreSystemError) as refused:
                Store(key, create=False)
            listed = key in {store.name for store in shmstore.stores()}
            return clients, info.mode, info.readonly, info.uid, refused.value.errno, listed

        clients, *rest = as_user(NOBODY, gid, read)
        assert clients == [(os.getpid(), True)]
        assert rest == [mode, True, 0, 13, True]
        assert digest(store) == before


@needs_root
@pytest.mark.parametrize("mode, gid", [(0o400, NOBODY), (0o600, 0), (0o440, NOBODY), (0o222, NOBODY)])
def test_another_user_does_not_get_in(key, digest, mode, gid):
    with Store(key, size="512K", mode=mode) as store:
        store["a"] = 1
        before = digest(store)

        def look():
            errors = []
            for options in ({"readonly": True}, {"create": False}, {}):
                with pytest.raises(shmstore.StoreSystemError) as refused:
                    Store(key, **options)
                errors.append(refused.value.errno)
            return errors, key in {info.name for info in shmstore.stores()}

        assert as_user(NOBODY, gid, look) == ([13, 13, 13], False)
        assert digest(store) == before


@pytest.fixture
def foreign(key):
    """A key under which another user leaves something: removed in any case."""
    yield key
    try:
        sysv.shmctl(sysv.shmget(names.parse_key(key).number, 0), sysv.IPC_RMID)
    except FileNotFoundError:
        pass


@pytest.mark.sysv
@needs_root
def test_root_reads_what_another_user_made_only_if_told_to(foreign, digest):
    def create():
        with Store(foreign, size="512K") as store:
            store["a"] = 1
            return store.info().uid

    assert as_user(NOBODY, NOBODY, create) == NOBODY
    with pytest.raises(shmstore.StoreForeign, match=f"owner={NOBODY}"):
        Store(foreign, readonly=True)
    with Store(foreign, readonly=True, owner=NOBODY) as reader, Store(foreign, readonly=True, owner="any") as other:
        before = digest(reader)
        assert reader["a"] == other["a"] == 1
        reader.check()
        assert digest(reader) == before


@pytest.mark.sysv
@needs_root
@pytest.mark.parametrize("mode", [0o400, 0o200, 0o066])
def test_a_mode_that_keeps_the_creator_out_leaves_nothing_behind(foreign, mode):
    def create():
        with pytest.raises((ValueError, shmstore.StoreSystemError)):
            Store(foreign, size="512K", mode=mode)

    as_user(NOBODY, NOBODY, create)
    with pytest.raises(FileNotFoundError):
        sysv.shmget(names.parse_key(foreign).number, 0)


def test_check_beside_a_writer(make):
    """Nobody waits for a lock: not beside a busy writer, and not while a stopped one holds the locks of many buckets."""
    store = make(size="4M")
    store.update({f"k{n}": b"v" * n for n in range(1000)})
    reader = make(create=False, readonly=True, timeout=0)
    writer = os.fork()
    if writer == 0:
        try:
            for n in range(10**9):
                store[f"k{n % 1000}"] = b"w" * (n * 37 % 2000)
                store.delete(f"k{(n * 7) % 1000}")
        finally:
            os._exit(1)
    try:
        began = store.stats().puts
        while store.stats().puts == began:
            assert os.waitpid(writer, os.WNOHANG) == (0, 0)
        began, checks = store.stats().puts, 0
        while checks < 30 or store.stats().puts == began:  # it is to write meanwhile
            assert reader.check() == 0
            checks += 1
        assert os.waitpid(writer, os.WNOHANG) == (0, 0)
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    store.recover()
    (me,) = [client.number for client in store.clients() if client.is_me]
    size = ffi.new("uint64_t *")
    memory = ffi.buffer(lib.shms_memory(store._handle, size), size[0])
    slots, buckets = struct.unpack_from("<QQ", memory, 216)
    held = [slots + 64 * bucket for bucket in range(buckets)]
    words = [struct.unpack_from("<Q", memory, at)[0] for at in held[::100]]
    for at, word in zip(held[::100], words):
        struct.pack_into("<Q", memory, at, word | me)
    assert reader.check() == 0
    for at, word in zip(held[::100], words):
        struct.pack_into("<Q", memory, at, word)
    assert store.check() == 0
