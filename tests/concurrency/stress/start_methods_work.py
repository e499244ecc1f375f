"""What test_start_methods.py lets other processes do: a module, since spawn and forkserver import what they call."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from typing import Any

import shmstore

ROUNDS = 150
_handle: shmstore.Store[Any] | None = None


def value_of(name: str, generation: int) -> tuple[Any, ...]:
    body = bytes([generation % 256]) * random.Random(generation).choice((0, 50, 900, 5000, 20_000))
    return name, generation, hashlib.md5(body).digest(), body


def fault_of(value: tuple[Any, ...], name: str) -> str | None:
    good = value[0] == name and hashlib.md5(value[3]).digest() == value[2]
    return None if good else f"{name}: {value[:3]} with {len(value[3])} bytes"


def labour(store: shmstore.Store[Any], who: str, names: list[str], faults: list[str]) -> None:
    """One thread: its own name goes up a generation at a time, shared names belong to whoever is last, and all that
    it finds must be whole. The counters are exact in the end."""
    own, rng = f"own:{who}", random.Random(who)
    for generation in range(1, ROUNDS + 1):
        store.put(own, value_of(own, generation))
        shared = rng.choice(names)
        choice = rng.randrange(4)
        if choice == 0:
            store.delete(shared)
        elif choice == 1:
            store.put(shared, value_of(shared, generation))
        elif choice == 2:
            store.modify(shared, lambda old, shared=shared: value_of(shared, old[1] + 1), value_of(shared, 0))
        else:
            store.modify("modified", lambda n: n + 1, 0)
            store.incr("expected")
        for name, value in store.get_many([shared, own]).items():
            if fault := fault_of(value, name):
                faults.append(fault)
        store.incr("count")
    if store[own][1] != ROUNDS:
        faults.append(f"{own}: generation {store[own][1]} is not the last one put")


def work(store: shmstore.Store[Any], threads: int = 3) -> list[str]:
    """A process with threads on one handle; what was wrong."""
    faults: list[str] = []
    names = [f"shared:{i}" for i in range(8)]

    def guarded(i: int) -> None:
        try:
            labour(store, f"{os.getpid()}.{i}", names, faults)
        except BaseException as error:
            faults.append(f"{type(error).__name__}: {error}")

    parts = [threading.Thread(target=guarded, args=(i,)) for i in range(threads)]
    for part in parts:
        part.start()
    for part in parts:
        part.join()
    mine = [client for client in store.clients() if client.pid == os.getpid()]
    if [client.is_me for client in mine] != [True]:
        faults.append(f"process {os.getpid()} is the clients {mine}")
    return faults


def report(store: shmstore.Store[Any]) -> None:
    """For a Process, which returns nothing: the answer goes into the store."""
    store.put(f"faults:{os.getpid()}", work(store))


def keep(store: shmstore.Store[Any]) -> None:
    """The initializer of a pool."""
    global _handle
    _handle = store


def task(number: int) -> tuple[int, list[str]]:
    """One task of a pool, on the handle that its process was given at the start."""
    assert _handle is not None
    name = f"task:{number}"
    _handle.put(name, value_of(name, number))
    _handle.incr("tasks")
    return os.getpid(), [fault for n in _handle.keys("task:") if (fault := fault_of(_handle.get(n, value_of(n, 0)), n))]


def task_with(store: shmstore.Store[Any], number: int) -> tuple[int, str]:
    """One task that brings the handle along: each is pickled and attaches anew (those of one chunk share a handle)."""
    with store:
        store.incr("tasks")
        return os.getpid(), store.info().uuid


def attach(text: bytes) -> str:
    """What unpickling says."""
    import pickle

    try:
        with pickle.loads(text) as store:
            return str(store.get("word"))
    except shmstore.ShmStoreError as error:
        return type(error).__name__
