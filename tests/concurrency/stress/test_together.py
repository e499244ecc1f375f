"""Processes and threads on one store: barriers, exact counters, every start method, fork, waiting."""

import importlib
import multiprocessing
import os
import subprocess
import sys
import threading

import pytest

import shmstore

WORKER = """
import sys, shmstore
key, number, workers, rounds = sys.argv[1], *map(int, sys.argv[2:])
with shmstore.Store(key, size="4M") as store:
    store[f"value:{number}"] = {"worker": number}
    store.incr("arrived")
    while store.get("arrived", 0) < workers:
        store.wait("arrived", after=store.get_versioned("arrived")[1], timeout=300)
    for other in range(workers):
        assert store[f"value:{other}"] == {"worker": other}
    for _ in range(rounds):
        store.incr("count")
    store.incr("done")
    while store.get("done", 0) < workers:
        store.wait("done", after=store.get_versioned("done")[1], timeout=300)
    assert store["count"] == workers * rounds
"""
ROUNDS = 20_000


def test_three_processes_meet(key):
    """Barrier, each other's values, one exact counter; and a helper is killed on the way."""
    helper = "import sys, shmstore\ns = shmstore.Store(sys.argv[1], size='4M')\nwhile True: s.put('noise', [1] * 99)"
    victim = subprocess.Popen([sys.executable, "-c", helper, key], cwd="/")
    parts = [subprocess.Popen([sys.executable, "-c", WORKER, key, str(i), "3", str(ROUNDS)], cwd="/") for i in range(3)]
    with shmstore.Store(key, size="4M") as store:
        store.wait("noise", timeout=300)
        victim.kill()
        victim.wait()
        assert [part.wait(600) for part in parts] == [0, 0, 0]
        store.check()


COUNTING = """
import threading
import shmstore

def count(key, rounds):
    with shmstore.Store(key, create=False) as store:
        threads = [threading.Thread(target=lambda: [store.incr("n") for _ in range(rounds)]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_and_threads_count_exactly(make, method, tmp_path, monkeypatch):
    store = make()
    module = f"counting_{method}"  # what spawn starts must be importable there
    (tmp_path / f"{module}.py").write_text(COUNTING)
    monkeypatch.syspath_prepend(tmp_path)
    count = importlib.import_module(module).count
    context = multiprocessing.get_context(method)
    children = [context.Process(target=count, args=(store.info().name, 2000)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(600)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert store["n"] == 3 * 3 * 2000
    store.check()


def test_an_inherited_handle_is_a_client_of_its_own(make):
    store = make()
    store["a"] = 1
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            store.incr("a")
            os.write(write, str(len(store.clients())).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    assert os.read(read, 10) == b"2"
    os.close(read)
    assert store["a"] == 2
    assert store.recover() == 1


def test_wait_is_woken(make):
    store = make()
    woken = []
    version = store.put("k", 1)
    waiter = threading.Thread(target=lambda: woken.append(store.wait("k", after=version, timeout=300)))
    waiter.start()
    newer = store.put("k", 2)
    waiter.join(300)
    assert woken == [newer]
    gone = threading.Thread(target=lambda: woken.append(store.wait("k", after=newer, timeout=300)))
    gone.start()
    store.delete("k")
    gone.join(300)
    assert woken[1] == 0
    with pytest.raises(TimeoutError):
        store.wait("never", timeout=0.01)
