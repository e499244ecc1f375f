"""The registry of attached processes: one full of the dead, lives that cannot be judged, a place that was lost, and
creations that nobody finished."""

import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time

import pytest

import shmstore
from shmstore import sysv
from shmstore._core import ffi, lib

SECONDS = 300  # nothing here takes ten of them on an idle machine

# docs/format.md has these offsets: of header fields, then within a client slot, a block.
CLIENTS, CLIENT_COUNT, CLIENT_SIZE, SLOTS = 184, 192, 196, 216
RECORDS = 192
SLOT = 32
LIVE = 2


def u64(memory, at):
    return struct.unpack_from("<Q", memory, at)[0]


def u32(memory, at):
    return struct.unpack_from("<I", memory, at)[0]


def memory_of(store):
    size = ffi.new("uint64_t *")
    start = lib.shms_memory(store._handle, size)
    return ffi.buffer(start, size[0])


def number_of(store):
    return next(client.number for client in store.clients() if client.is_me)


def entry_at(memory, number):
    return u64(memory, CLIENTS) + (number - 1) * u32(memory, CLIENT_SIZE)


# Fills the registry with its children. When its input ends each dies as if in the middle of a delete: its entry is out of
# its slot and still counted, the record states block and life, and the home bucket, one of its own, is locked.
VICTIMS = """
import os, signal, struct, sys
import shmstore
from shmstore._core import ffi, lib

CLIENTS, CLIENT_SIZE, SLOTS, RECORDS, SLOT = (int(a) for a in sys.argv[3:])

def memory_of(store):
    size = ffi.new("uint64_t *")
    start = lib.shms_memory(store._handle, size)
    return ffi.buffer(start, size[0])

def block_of(store, memory, name):
    heap = struct.unpack_from("<Q", memory, 264)[0]
    return heap + bytes(memory[heap:]).index(struct.pack("<Q", store.get_versioned(name)[1]))

def attach(i, places):
    store = shmstore.Store(sys.argv[1])
    memory = memory_of(store)
    for n in range(10_000):
        name = f"victim{i}.{n}"
        store.put(name, "x" * 5000)
        if struct.unpack_from("<I", memory, block_of(store, memory, name) + SLOT)[0] // 7 % places == i:
            return store, name
        store.delete(name)

def die_deleting(store, name):
    memory = memory_of(store)
    number = next(client.number for client in store.clients() if client.is_me)
    block = block_of(store, memory, name)
    bucket, index = divmod(struct.unpack_from("<I", memory, block + SLOT)[0], 7)
    line = struct.unpack_from("<Q", memory, SLOTS)[0] + bucket * 64
    entries, entry_size = struct.unpack_from("<Q", memory, CLIENTS)[0], struct.unpack_from("<I", memory, CLIENT_SIZE)[0]
    record = entries + (number - 1) * entry_size + RECORDS
    blocks, used = struct.unpack_from("<QQ", memory, record - 64)
    life = struct.unpack_from("<Q", memory, block)[0]
    struct.pack_into("<QQQQQ", memory, record + 24, block, 0, life, blocks - 1, used - 5120)
    struct.pack_into("<Q", memory, line + 8 + index * 8, 0)
    struct.pack_into("<Q", memory, record, bucket + 1)
    struct.pack_into("<H", memory, line, number)
    os.kill(os.getpid(), signal.SIGKILL)

children = []
for i in range(int(sys.argv[2])):
    ready, attached = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            store, name = attach(i, int(sys.argv[2]))
            os.write(attached, b"x")
            sys.stdin.buffer.read()
            die_deleting(store, name)
        finally:
            os._exit(1)
    assert os.read(ready, 1) == b"x"
    children.append(pid)
print("full", flush=True)
statuses = {os.waitpid(pid, 0)[1] for pid in children}
assert statuses == {signal.SIGKILL}, statuses
"""


def test_a_registry_full_of_the_dead(key):
    """Every client slot belongs to a process that died in a delete: the next process takes over one of them with all that it
    had, and frees the others."""
    creator = shmstore.Store(key, size="1M", max_clients=16)
    places = u32(memory_of(creator), CLIENT_COUNT)
    for i in range(5):
        creator[f"keep{i}"] = "k" * 300
    needed = creator.stats().bytes_used
    creator.close()

    offsets = (CLIENTS, CLIENT_SIZE, SLOTS, RECORDS, SLOT)
    victims = subprocess.Popen(
        [sys.executable, "-c", VICTIMS, key, *(str(n) for n in (places, *offsets))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/",
    )  # fmt: skip
    try:
        assert victims.stdout.readline() == "full\n"
        with pytest.raises(shmstore.TooManyClients, match="every slot"):
            shmstore.Store(key)
    finally:
        _, errors = victims.communicate(timeout=SECONDS)
    assert victims.returncode == 0, errors

    with shmstore.Store(key) as store:
        store.recover()
        assert [client.pid for client in store.clients()] == [os.getpid()]
        store.check()
        assert store.stats().bytes_used == needed
        assert sorted(store) == [f"keep{i}" for i in range(5)]
        for i in range(places):
            store[f"victim{i}"] = "y" * 3000
        store.check()


NAMESPACED = """
import os, sys
import shmstore

key = sys.argv[1]
store = shmstore.Store(key, size="1M")
assert os.getpid() == 1
print("own" if os.readlink("/proc/self") == "1" else "another's")
ready, attached = os.pipe()
rest, go = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(go)
    other = shmstore.Store(key)
    other["b"] = 2
    os.write(attached, b"x")
    os.read(rest, 1)
    os._exit(0 if other.put("b", 3) else 1)
os.read(ready, 1)
print(len(store.clients()), store.recover(), store.recover(), len(store.clients()))
print({client.alive for client in store.clients() if not client.is_me} <= {True, None})
os.close(go)
print(os.waitpid(pid, 0)[1], store["b"])
print(store.recover() <= 1, len(store.clients()))
"""


def test_a_proc_of_another_namespace_proves_nothing(key):
    """In a new namespace of process ids that still sees the /proc of the old one, every id there means somebody else."""
    unshare = shutil.which("unshare")
    if not unshare:
        pytest.skip("there is no unshare here")
    for how in (["-pf"], ["-Upfr"]):
        command = [unshare, *how, "--kill-child"]
        if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            break
    else:
        pytest.skip("a new namespace of process ids is not allowed here")
    done = subprocess.run(
        [*command, sys.executable, "-c", NAMESPACED, key], capture_output=True, text=True, cwd="/", timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "another's"
    assert lines[1:] == ["2 0 0 2", "True", "0 3", "True 1"]


def test_a_client_that_lost_its_place(make):
    """Somebody held it for dead and another one took its place. It notices within a second of use, and takes another;
    what it puts from then on is its own."""
    store = make()
    store["a"] = 1
    memory, number = memory_of(store), number_of(store)
    at = entry_at(memory, number)
    mine = u64(memory, at)
    assert mine >> 44 & 0xF == LIVE and mine & 0x3FFFFF == os.getpid()
    struct.pack_into("<Q", memory, at, mine & ~(0xF << 44))  # free
    thief = make()
    assert number_of(thief) == number
    time.sleep(1.2)
    store["a"] = 2
    assert number_of(store) != number == number_of(thief)
    assert thief["a"] == 2
    thief["a"] = 3
    assert store["a"] == 3
    assert store.recover() == 0
    store.check()
    assert {client.number for client in store.clients()} == {number_of(store), number}


def half_created(number, segment_size):
    """A segment whose creator died after it had written its process id."""
    creator = subprocess.Popen([sys.executable, "-c", ""])
    creator.wait()
    shmid = sysv.shmget(number, segment_size, sysv.IPC_CREAT | sysv.IPC_EXCL | 0o600)
    tag = os.stat("/proc/self/ns/pid").st_ino & 0x3FFFFF
    with sysv.shmat(shmid) as memory:
        struct.pack_into("<8sQ", memory, 0, b"SHMSINIT", 1 << 48 | 1 << 44 | tag << 22 | creator.pid)
    return shmid


OPENERS = """
import sys
import shmstore

for size in sys.argv[2:]:
    try:
        with shmstore.Store(int(sys.argv[1]), size=size, timeout=1) as store:
            store["a"] = 1
            store.check()
            print(store.info().size)
    except (ValueError, shmstore.ShmStoreError) as error:
        print(type(error).__name__)
"""


@pytest.mark.sysv  # a POSIX store has no name until it is finished
@pytest.mark.parametrize("segment_size", [8192, 1 << 20])
def test_an_opener_with_impossible_options_finishes_no_creation(segment_size):
    """Its size holds no store, so it is told that, and leaves the segment as it is; the next one replaces it."""
    number = random.SystemRandom().randrange(1 << 20, 1 << 31)
    shmid = half_created(number, segment_size)

    def openers(*sizes):
        done = subprocess.run(
            [sys.executable, "-c", OPENERS, str(number), *sizes],
            capture_output=True, text=True, cwd="/", timeout=SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    try:
        with sysv.shmat(shmid) as memory:
            before = bytes(memory)
            assert openers("8K", "12K") == ["ValueError", "ValueError"]
            assert bytes(memory) == before
        assert openers("1M") == [str(1 << 20)]
    finally:
        sysv.shmctl(sysv.shmget(number, 0), sysv.IPC_RMID)


@pytest.mark.sysv  # POSIX memory has a lock on the file
def test_names_of_liveness_sockets_cannot_be_taken_before(store, make):
    """The right to read the store does not tell the name of the next client's socket, so no process can bind it before."""
    uuid = store.info().uuid

    def names():
        with open("/proc/net/unix") as rows:
            return {row.split("@")[1].strip() for row in rows if f"@shmstore/{uuid}/" in row}

    first = names()
    assert len(first) == 1
    taken = []
    for number in range(1, 6):
        for guess in range(6):
            for text in (f"{guess}", f"{guess:016x}"):
                taken.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                taken[-1].bind(f"\0shmstore/{uuid}/{number}/{text}")
    occupied = names()
    others = [make() for _ in range(3)]
    for other in others:
        other["a"] = 1
    assert len(names() - occupied) == 3
    others[0].close()
    again = make()
    again["a"] = 2
    assert len(names() - occupied) == 3 and names() != occupied  # a new name for the same number
    for held in taken:
        held.close()
