"""All of pytest-xdist's workers on one store, found by a key made of the run's id.

Each worker takes part once, before it runs tests (conftest.py says why there). All wait until all are present; so from
then until the last one says that it is done, they overlap in time. What any of them found wrong, all get to know,
and the test, wherever it runs, reports it. Without xdist three processes do the same. The last to leave removes
the store: whoever marks himself as gone and finds all others gone or dead. If two find that, one is told that it is
done already.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
import traceback
import uuid
from typing import Any

import pytest

import shmstore

ROUNDS = 300
PATIENCE = 300.0
LEAST = 3  # processes; with fewer workers, the first one starts others
CRASH = "SHMSTORE_TEST_CRASH"  # the number of one who dies in the middle, to see that nothing is left
RESULT = pytest.StashKey[list[str]]()
NOISE = """
import os, sys, shmstore
store, parent = shmstore.Store(sys.argv[1], create=False), int(sys.argv[2])
while os.getppid() == parent:
    store.put("noise", [store.incr("n")] * 99)
"""


def value_of(name: str, generation: int) -> list[Any]:
    """A value that names its writer and shows whether it is whole."""
    body = bytes([generation % 256]) * random.Random(generation).choice((3, 60, 4000, 30_000))
    return [name, generation, hashlib.md5(body).digest(), body]


def is_sound(value: list[Any], name: str, at_least: int) -> bool:
    return value[0] == name and value[1] >= at_least and hashlib.md5(value[3]).digest() == value[2]


def living(store: shmstore.Store[Any]) -> set[int]:
    return {client.pid for client in store.clients() if client.alive is not False}


def meet(store: shmstore.Store[Any], what: str, number: int, of: int, word: Any, deadline: float) -> list[Any]:
    """The barrier: says *word*, and returns what everybody said. Raises if somebody died, or is late."""
    store.put(f"{what}:{number}", word)
    said = []
    for other in range(of):
        while f"{what}:{other}" not in store:
            try:
                store.wait(f"{what}:{other}", timeout=0.5)
            except TimeoutError:
                pid = store.get(f"present:{other}")
                if f"{what}:{other}" not in store and (
                    time.monotonic() > deadline or (pid is not None and pid not in living(store))
                ):
                    raise RuntimeError(f"process {other} (pid {pid}) is dead or late: no {what!r}") from None
        said.append(store[f"{what}:{other}"])
    return said


def work(store: shmstore.Store[Any], number: int, of: int, victim: subprocess.Popen[bytes] | None) -> list[str]:
    """All values of all others, again and again, while one counter goes up; what was wrong."""
    faults = []
    seen = [0] * of
    for generation in range(1, ROUNDS + 1):
        store.put(f"value:{number}", value_of(f"value:{number}", generation))
        store.incr("count")
        for other in range(of):
            value = store.get(f"value:{other}")
            if value is None:
                continue  # has not begun
            if not is_sound(value, f"value:{other}", seen[other]):
                faults.append(f"{number} found {value[:3]} of {other} after generation {seen[other]}")
            seen[other] = value[1]
        store.incr("count")
        if victim is not None and generation == ROUNDS // 3:
            victim.kill()
            victim.wait()
        if os.environ.get(CRASH) == str(number) and generation == ROUNDS // 2:
            os.kill(os.getpid(), signal.SIGKILL)
    return faults


def leave(store: shmstore.Store[Any], number: int) -> None:
    """The worker that marks itself last finds all others marked, or dead, and removes the store."""
    store.put(f"left:{number}", True)
    alive = living(store)
    for name in store.keys("present:"):
        if f"left:{name.partition(':')[2]}" not in store and store.get(name, 0) in alive:
            return
    store.destroy()


def take_part(key: str, number: int, of: int) -> list[str]:
    """One process's part; what was wrong, as far as anybody found out."""
    deadline = time.monotonic() + PATIENCE
    victim = None
    with shmstore.Store(key, size="4M") as store:
        try:
            if number == 0:
                victim = subprocess.Popen([sys.executable, "-c", NOISE, key, str(os.getpid())], cwd="/")
                store.wait("noise", timeout=PATIENCE)
            present = meet(store, "present", number, of, os.getpid(), deadline)
            clients = living(store)
            faults = work(store, number, of, victim)
            if len(set(present)) != of or not clients.issuperset(present):
                faults.append(f"{number}: the clients {clients} are not the present {present}")
            found = meet(store, "done", number, of, faults, deadline)
            if store["count"] != 2 * ROUNDS * of:
                found.append([f"{number}: the counter is at {store['count']}, not {2 * ROUNDS * of}"])
            for other in range(of):
                if not is_sound(store[f"value:{other}"], f"value:{other}", ROUNDS):
                    found.append([f"{number}: the last value of {other} is not what it put"])
            store.check()
            meet(store, "checked", number, of, True, deadline)
            return [fault for faults in found for fault in faults]
        finally:
            if victim is not None and victim.poll() is None:
                victim.kill()
                victim.wait()
            try:
                leave(store, number)
            except shmstore.StoreDestroyed:
                pass


def start(key: str, number: int, of: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, key, str(number), str(of)], cwd="/", text=True, stdout=subprocess.PIPE
    )


def finish(parts: list[subprocess.Popen[str]]) -> list[str]:
    """What they found wrong; none of them is left alive."""
    faults = []
    try:
        for part in parts:
            output, _ = part.communicate(timeout=2 * PATIENCE)
            faults += output.splitlines()
            if part.returncode:
                faults.append(f"process {part.pid} ended with {part.returncode}")
    finally:
        for part in parts:
            part.kill()
            part.wait()
    return faults


def before_all_tests(config: pytest.Config) -> None:
    """Called by conftest.py in every worker."""
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return  # not a worker: the test starts processes of its own
    number, workers = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    if number >= workers:
        return  # takes the place of one that crashed; the others did not wait for it
    key = f"shmstore-test-{worker['testrunuid']}"
    of = max(workers, LEAST)
    more = [start(key, n, of) for n in range(workers, of)] if number == 0 else []
    try:
        faults = take_part(key, number, of)
    except Exception:
        faults = [traceback.format_exc()]
    config.stash[RESULT] = faults + finish(more)


def test_every_worker_meets_all_others_on_one_store(request):
    if hasattr(request.config, "workerinput"):
        faults = request.config.stash.get(RESULT, None)
        if faults is None:
            pytest.skip("this worker was started after the others had met")
    else:
        key = f"shmstore-test-{uuid.uuid4().hex}"
        faults = finish([start(key, number, LEAST) for number in range(LEAST)])
        with pytest.raises(shmstore.StoreNotFound):  # the last one removed it
            shmstore.destroy(key)
    assert faults == []


def test_a_dead_worker_is_not_waited_for_and_the_last_one_removes_the_store(monkeypatch):
    key = f"shmstore-test-{uuid.uuid4().hex}"
    monkeypatch.setenv(CRASH, "1")
    faults = finish([start(key, number, LEAST) for number in range(LEAST)])
    assert any(f"ended with {-signal.SIGKILL}" in fault for fault in faults)
    assert sum("is dead or late: no 'done'" in fault for fault in faults) == LEAST - 1
    with pytest.raises(shmstore.StoreNotFound):
        shmstore.destroy(key)


if __name__ == "__main__":
    try:
        for fault in take_part(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])):
            print(fault)
    except Exception as error:
        print(f"{sys.argv[2]}: {type(error).__name__}: {error}")
