"""Processes that enter another namespace, or lose their slot, while they use a store."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
import threading
import time

import pytest

import shmstore
from shmstore import Store
from shmstore._core import ffi, lib

CLAIMING, LIVE, DEAD = 1, 2, 3


class Places:
    """The registry's words, by docs/format.md."""

    def __init__(self, store):
        size = ffi.new("uint64_t *")
        memory = lib.shms_memory(store._handle, size)
        self.memory = ffi.buffer(memory, size[0])
        (self.first,), (self.size,) = (
            struct.unpack_from("<Q", self.memory, 184),
            struct.unpack_from("<I", self.memory, 196),
        )

    def take_away(self, index):
        """Free a slot as a process does that takes its owner for dead: the generation stays, the owner goes."""
        at = self.first + index * self.size
        (word,) = struct.unpack_from("<Q", self.memory, at)
        struct.pack_into("<Q", self.memory, at, word & ~(0xF << 44))

    def write(self, index, generation, state, pid):
        """A tenant of another pid namespace, which is gone."""
        mine = os.stat("/proc/self/ns/pid").st_ino
        word = generation << 48 | state << 44 | ((mine + 1) & 0x3FFFFF) << 22 | pid
        struct.pack_into("<Q", self.memory, self.first + index * self.size, word)
        struct.pack_into("<Q", self.memory, 1032, index + 1)

    def buckets_in_use(self):
        slots, buckets = struct.unpack_from("<QQ", self.memory, 216)
        return {
            bucket for bucket in range(buckets) if any(self.memory[slots + 64 * bucket + 8 : slots + 64 * bucket + 64])
        }

    def table(self):
        slots, buckets = struct.unpack_from("<QQ", self.memory, 216)
        return bytes(self.memory[slots : slots + 64 * buckets])

    def hold(self, number, bucket):
        """The lock of a bucket for a client, which says so in its first record."""
        (slots,) = struct.unpack_from("<Q", self.memory, 216)
        struct.pack_into("<Q", self.memory, self.first + (number - 1) * self.size + 192, bucket + 1)
        struct.pack_into("<H", self.memory, slots + 64 * bucket, number)


@pytest.mark.usefixtures("separate_clients")
@pytest.mark.parametrize("waiting", [False, True])
def test_a_client_that_lost_its_slot_takes_another(key, waiting):
    with Store(key, size="4M") as store:
        store["k"] = 1
        places, stop = Places(store), threading.Event()

        def wait():
            while not stop.is_set():
                with pytest.raises(TimeoutError):
                    store.wait("never", timeout=0.5)

        waiter = threading.Thread(target=wait)
        if waiting:
            waiter.start()
        time.sleep(0.1)
        places.take_away(0)
        with Store(key, create=False) as newcomer:
            end = time.monotonic() + 60.0
            while len(newcomer.clients()) < 2 and time.monotonic() < end:
                store["k"] = 2
                time.sleep(0.01)
            assert [client.number for client in newcomer.clients()] == [1, 2]
        stop.set()
        if waiting:
            waiter.join()
        store.destroy()


@pytest.mark.usefixtures("separate_clients")
def test_closing_without_a_slot_waits_for_threads_inside(key):
    """The place went to a newcomer and the registry is full; the thread that sleeps in the memory is still there."""
    store = Store(key, size="512K")
    store["k"] = 1
    others = [Store(key, create=False) for _ in range(store.info().max_clients - 1)]
    places = Places(store)
    places.take_away(0)
    others.append(Store(key, create=False))
    time.sleep(1.2)
    store_handle, answers = store._handle, []
    waiter = threading.Thread(target=lambda: answers.append(
        lib.shms_w_wait(store_handle, b"never", 5, 0, 0, 0, 2 * 10**9, 0, ffi.new("uint64_t *"))))  # fmt: skip
    before = places.table()
    waiter.start()
    while places.table() == before:  # until it has announced itself in its bucket
        time.sleep(0.001)
    with pytest.raises(shmstore.TooManyClients, match="every slot"):
        store["k"]
    store.close()
    waiter.join()
    assert answers == [lib.SHMS_CLOSED]
    others[0].destroy()
    for other in others:
        other.close()


def test_what_a_container_that_is_gone_left_half_claimed_is_taken_over(free_key):
    """Nothing tells of its processes, but nobody else is attached: System V counts that."""
    with Store(free_key, size="1M", backend="sysv", timeout=1.0) as store:
        places = Places(store)
        store["k"] = 1
        (bucket,) = places.buckets_in_use()
        for generation, state in ((2, DEAD), (4, LIVE)):
            places.write(1, generation, state, 77)
            places.hold(2, bucket)
            store["k"] = state
            assert store.recover() == 0 and len(store.clients()) == 1
            store.check()
        places.write(1, 6, CLAIMING, 77)
        assert store.recover() == 1
        store.check()
        store.destroy()


def test_what_such_a_container_left_half_created_is_created_again(free_key):
    segment = shmstore.sysv.shmget(free_key, 1 << 20, shmstore.sysv.IPC_CREAT | 0o600)
    mine = os.stat("/proc/self/ns/pid").st_ino
    with shmstore.sysv.shmat(segment) as memory:
        memory[:16] = struct.pack("<QQ", 0x54494E49534D4853, 1 << 48 | 1 << 44 | ((mine + 1) & 0x3FFFFF) << 22 | 77)
    with Store(free_key, size="1M", backend="sysv", timeout=2.0) as store:
        store["k"] = 1
        store.destroy()


IPC = """
import ctypes, os, sys, time, shmstore
store = shmstore.Store("moved", backend="sysv", size="1M")  # this IPC namespace is new: its number is 0
store["k"] = 1
child = os.fork()
if child == 0:
    store["k"]
    assert ctypes.CDLL(None).unshare(0x08000000) == 0
    with shmstore.Store("innocent", backend="sysv", size="1M") as innocent:  # number 0 in yet another one
        assert (store.info().id, innocent.info().id) == (0, 0)
        try:
            store.destroy()
        except shmstore.StoreSystemError:
            pass
        else:
            os._exit(1)
        innocent.destroy()
        time.sleep(1.2)
        store["from the child"] = 1
        store.recover()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert store["from the child"] == 1
store.destroy()
"""


def in_a_new_namespace(kind, script, *arguments):
    done = subprocess.run(
        ["unshare", kind, sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd="/"
    )
    if done.returncode and "unshare" in done.stderr.splitlines()[-1]:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_in_another_ipc_namespace_the_id_is_another_segment():
    in_a_new_namespace("--ipc", IPC)


def test_from_another_network_namespace_no_client_is_declared_dead(free_key):
    """A beacon cannot be seen from there, and the other one's process ids say nothing here."""
    libc = ctypes.CDLL(None)
    script = "import sys, shmstore\nstore = shmstore.Store(int(sys.argv[1]), backend='sysv', create=False)\nstore['q'] = 1\nprint('up', flush=True)\nsys.stdin.read()\nstore['q'] = 2\n"
    with Store(free_key, size="1M", backend="sysv") as store:
        store["k"] = 1
        other = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", script, str(free_key)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd="/")  # fmt: skip
        if other.stdout.readline() != "up\n":
            other.communicate()
            pytest.skip("unshare --pid is not allowed")
        looker = os.fork()
        if looker == 0:
            code = 3
            try:
                store["k"]
                if libc.unshare(0x40000000) == 0:
                    code = 0
                    for _ in range(3):
                        code |= store.recover() != 0
                        time.sleep(1.3)
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(looker, 0)[1])
        other.communicate("")
        assert store["q"] == 2
        store.destroy()
    if code == 3:
        pytest.skip("unshare of the network namespace is not allowed")
    assert code == 0


CLOSES = """
import os, sys, shmstore
store = shmstore.Store(int(sys.argv[1]), backend="sysv", create=False)
store["q"] = 1
print("up", flush=True)
for line in sys.stdin:
    if line == "close\\n":
        os.closerange(3, 200)  # descriptors that it did not open
    else:
        store["q"] = 2
    print("done", flush=True)
"""


def test_two_short_absences_of_a_liveness_socket_are_not_a_long_one(free_key):
    """Nobody saw that the beacon was lit between them."""
    with Store(free_key, size="1M", backend="sysv") as store:
        store["k"] = 1
        other = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", CLOSES, str(free_key)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd="/")  # fmt: skip
        if other.stdout.readline() != "up\n":
            other.communicate()
            pytest.skip("unshare --pid is not allowed")

        def tell(what):
            other.stdin.write(what + "\n")
            other.stdin.flush()
            assert other.stdout.readline() == "done\n"

        tell("close")
        assert store.recover() == 0
        time.sleep(1.2)
        tell("use")  # a second has gone by: it is lit again
        time.sleep(1.6)
        tell("close")
        assert store.recover() == 0
        time.sleep(1.2)
        tell("use")
        assert len(store.clients()) == 2
        other.communicate("")
        store.destroy()
