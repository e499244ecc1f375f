"""Writers killed with SIGKILL in the middle of what they do: the others never see an error, a stall or a torn value.

A kill landed inside the engine if it left something in a record: a bucket locked or about to be, a block that is not
yet published or about to be freed, or pages of a span that is opened or closed. It is counted from the victim's place in the registry, before anybody recovers it.
"""

import hashlib
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time

import pytest

# Forks a writer for each line that it reads, and prints its process id; nobody waits for them, so they leave no zombies.
NURSERY = """
import hashlib, os, random, signal, sys
import shmstore
signal.signal(signal.SIGCHLD, signal.SIG_IGN)

BODIES = [(hashlib.md5(body).digest(), body) for size in (3, 50, 5000, 150_000) for body in (b"a" * size, b"b" * size)]

def write(key, seed):
    store = shmstore.Store(key, create=False)
    rng = random.Random(seed)
    generation = 0
    while True:
        generation += 1
        name = f"k{rng.randrange(40)}"
        choice = rng.randrange(8)
        if choice == 0:
            store.delete(name)
        elif choice == 1:
            store.incr("count")
        else:
            digest, body = rng.choice(BODIES)
            store.put(name, [name, generation, digest, body])

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        try:
            write(sys.argv[1], line)
        finally:
            os._exit(1)
    print(pid, flush=True)
"""
LANDED = 200


def landed_inside(memory, store, pid):
    """What the dead process's records say; layout.h has the offsets."""
    header = memory(store)
    clients = int.from_bytes(header[184:192], "little")
    count, size = int.from_bytes(header[192:196], "little"), int.from_bytes(header[196:200], "little")
    for number in range(count):
        entry = header[clients + number * size : clients + (number + 1) * size]
        word = int.from_bytes(entry[:8], "little")
        if word & 0x3FFFFF == pid and word >> 44 & 0xF == 2:
            records = [struct.unpack_from("<8Q", entry, 192 + 64 * i) for i in range(9)]
            return any(bucket or block or old or page for bucket, block, _, old, page, *_ in records)
    return False


def memory_of(store):
    from shmstore._core import ffi, lib

    size = ffi.new("uint64_t *")
    return ffi.buffer(lib.shms_memory(store._handle, size), 8 << 20)


@pytest.mark.sample  # kills at chosen instructions, and the soak, find the same and more
def test_writers_killed_inside(make):
    store = make(size="16M")
    reader = make(readonly=True)
    key = store.info().name
    stop, faults, worst = threading.Event(), [], [0.0]

    nursery = subprocess.Popen(
        [sys.executable, "-c", NURSERY, key], cwd="/", text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip

    def start(seed):
        nursery.stdin.write(f"{seed}\n")
        nursery.stdin.flush()
        return int(nursery.stdout.readline())

    def look():
        rng = random.Random(7)
        while not stop.is_set():
            began = time.monotonic()
            for handle in (store, reader):
                name = f"k{rng.randrange(40)}"
                value = handle.get(name)
                if value is not None and (value[0] != name or hashlib.md5(value[3]).digest() != value[2]):
                    faults.append(value[:3])
            store.put("mine", began)
            worst[0] = max(worst[0], time.monotonic() - began)

    thread = threading.Thread(target=look)
    thread.start()
    seed, inside, kills = 0, 0, 0
    writers, killed = [], []
    rng = random.Random(1)
    try:
        while inside < LANDED and kills < 50 * LANDED and not faults:
            while len(writers) < 2:
                seed += 1
                writers.append(start(seed))
            time.sleep(rng.random() * 0.01)
            victim = writers.pop(rng.randrange(len(writers)))
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)
            kills += 1
            inside += landed_inside(memory_of, store, victim)
    finally:
        stop.set()
        thread.join()
        for writer in writers:
            os.kill(writer, signal.SIGKILL)
        # A kill is not yet a death, and only the dead are recovered: not the loop's last victim either, whose block
        # counts as an entry as long as it lives.
        for writer in writers + killed:
            while os.path.exists(f"/proc/{writer}"):
                time.sleep(0.001)
        _, errors = nursery.communicate()
    faults += [line for line in errors.splitlines() if "died in the midst of" not in line]
    print(f"{kills} kills, {inside} inside the engine, longest pause of the survivor {worst[0]:.3f} s")
    assert not faults
    assert inside >= LANDED
    store.recover()
    store.check()
    names = list(store)
    assert store.stats().entries == len(names)
    store.delete_many(names)
    store.check()
    assert store.stats().bytes_used == 0
