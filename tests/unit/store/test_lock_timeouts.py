"""Locks that a stopped or dead process holds: the error names it, and what else goes on."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

import shmstore

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from messages import says  # noqa: E402
from segment_words import HEADER, Memory  # noqa: E402

pytestmark = pytest.mark.usefixtures("removed")


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


def fall_due(store, count):
    """So many entries that have expired. A touch sweeps none of them, as a put would do on a busy machine."""
    store.put_many({f"due{i}": i for i in range(count)}, ttl=600)
    for i in range(count):
        assert store.touch(f"due{i}", 0.001)
    time.sleep(0.002)


def test_expire_due_waits_for_a_stopped_holder(make, stopped_client):
    """What a stopped process holds is waited for, and the error says how many had been removed before."""
    number, _ = stopped_client
    store = make(timeout=0.1)
    fall_due(store, 100)
    memory = Memory(store)
    home = memory.home("due7")
    memory.set(home, memory.word(home) | number)
    with pytest.raises(shmstore.LockTimeout) as caught:
        store.expire_due()
    assert 0 < caught.value.stored < 100 and f"{caught.value.stored} entries were removed before" in str(caught.value)
    memory.set(home, (memory.word(home) & ~0xFFFF) + (1 << 32))
    assert store.expire_due() == 100 - caught.value.stored


def test_expire_due_takes_over_what_a_dead_process_held(make, stopped_client):
    number, pid = stopped_client
    store = make()
    fall_due(store, 100)
    memory = Memory(store)
    memory.hold("due7", number)
    os.kill(pid, signal.SIGKILL)  # a zombie until the fixture collects it
    assert store.expire_due() == 100 and store.check() == 0 and store.stats().takeovers > 0


def test_a_stopped_lock_holder_is_named_and_other_calls_do_not_wait(key, make, stopped_client):
    number, pid = stopped_client
    store = make(timeout=0.1)
    reader = make(readonly=True, timeout=0.1)
    store["k"] = 1
    memory = Memory(store)
    lock = memory.home("k")
    memory.set(lock, memory.word(lock) | number)
    for call in BLOCKED.values():
        began = time.monotonic()
        with pytest.raises(shmstore.LockTimeout) as caught:
            call(store)
        assert time.monotonic() - began >= 0.1
        assert isinstance(caught.value, TimeoutError)
        says(caught, repr(key), "0.1 s", f"process {pid} ({program(pid)})", "nothing was changed", "continue or kill")
        for handle in (store, reader):
            assert handle.get("k") == 1 and dict(handle) == {"k": 1} and "k" in handle and handle.ttl("k") is None
    assert store.check() == store.check(repair=True) == reader.check() == 0
    other = next(f"o{i}" for i in range(1000) if memory.home(f"o{i}") != lock)
    store[other] = 2
    assert store.delete(other)
    memory.set(lock, (memory.word(lock) & ~0xFFFF) + (1 << 32))
    for handle in (store, make()):
        handle["k"] = 3
        assert handle.incr("k") == 4 and handle.delete("k")
    store.check()


@pytest.mark.parametrize("recorded", [True, False])
def test_once_the_holder_is_dead_all_goes_on(make, stopped_client, recorded):
    number, pid = stopped_client
    store = make(timeout=60)
    store["k"] = 1
    memory = Memory(store)
    lock = memory.home("k")
    memory.set(lock, memory.word(lock) | number)
    if recorded:
        entry = memory.header("clients") + (number - 1) * int.from_bytes(
            memory.bytes[HEADER["client_size"] : HEADER["client_size"] + 4], "little"
        )
        memory.set(entry + 192, (lock - memory.header("slots")) // 64 + 1)  # its record, as it would be
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert store.incr("k") == 2 and store.put("other", 1)
    assert [client.is_me for client in store.clients()].count(False) <= 2  # the fixture's handles, not the victim's
    store.check()


def test_a_batch_has_the_timeout_for_each_lock(make, stopped_client):
    """Four locks, each released a good while after the one before was had: in all more than the timeout, each far less."""
    number, _ = stopped_client
    store = make(timeout=3.0)
    memory = Memory(store)
    by_home = {memory.home(name): name for name in (f"k{i}" for i in range(100))}
    names = list(by_home.values())[:4]
    store.put_many(dict.fromkeys(names, 0))
    for name in names:
        memory.set(memory.home(name), memory.word(memory.home(name)) | number)

    def release():
        for before, name in zip([None, *names], names):
            while before is not None and store.get(before) == 0:
                time.sleep(0.001)
            time.sleep(0.8)
            memory.set(memory.home(name), (memory.word(memory.home(name)) & ~0xFFFF) + (1 << 32))

    releaser = threading.Thread(target=release)
    releaser.start()
    try:
        assert store.put_many(dict.fromkeys(names, 1)) == 4
    finally:
        releaser.join()


# ---- a format of another time ----
