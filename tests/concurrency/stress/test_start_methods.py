"""Processes times threads on one store, however the processes came about; handles that travel to them."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pathlib
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest

import shmstore

METHODS = ["fork", "spawn", "forkserver"]
PROCESSES = 3
THREADS = 3


@pytest.fixture
def work(monkeypatch):
    """The module that the children import; only its directory is put on the path, not the checkout."""
    monkeypatch.syspath_prepend(pathlib.Path(__file__).parent)
    return importlib.import_module("start_methods_work")


@pytest.fixture(params=METHODS)
def context(request):
    return multiprocessing.get_context(request.param)


@pytest.fixture
def big(make):
    store = make(size="8M")
    yield store
    store.recover()
    assert [client.is_me for client in store.clients()] == [True]
    store.check()


def stop(children):
    for child in children:
        if child.is_alive():
            child.kill()
        child.join()


def test_processes_and_threads_find_whole_values_and_exact_counts(big, work, context):
    children = [context.Process(target=work.report, args=(big,)) for _ in range(PROCESSES - 1)]
    try:
        for child in children:
            child.start()
        assert work.work(big, THREADS) == []
        for child in children:
            child.join(600)
        assert [child.exitcode for child in children] == [0] * len(children)
    finally:
        stop(children)
    assert {name: big[name] for name in big.keys("faults:")} == {f"faults:{child.pid}": [] for child in children}
    assert big["count"] == PROCESSES * THREADS * work.ROUNDS
    assert big["modified"] == big["expected"]


def test_pool_whose_processes_hold_a_handle(big, work, context):
    with context.Pool(2, initializer=work.keep, initargs=(big,)) as pool:
        answers = pool.map(work.task, range(60), chunksize=3)
        pool.close()
        pool.join()
    assert [faults for _, faults in answers if faults] == []
    assert os.getpid() not in {pid for pid, _ in answers}
    assert big["tasks"] == 60 and len(big.keys("task:")) == 60


def test_pool_whose_tasks_bring_a_handle(big, work, context):
    with context.Pool(2) as pool:
        answers = pool.starmap(work.task_with, [(big, number) for number in range(40)], chunksize=1)
        pool.close()
        pool.join()
    assert {uuid for _, uuid in answers} == {big.info().uuid}
    assert big["tasks"] == 40


def test_executor(big, work, context):
    with ProcessPoolExecutor(2, mp_context=context, initializer=work.keep, initargs=(big,)) as executor:
        answers = list(executor.map(work.task, range(40), chunksize=2))
        brought = [executor.submit(work.task_with, big, number) for number in range(10)]
        assert {future.result(600)[1] for future in brought} == {big.info().uuid}
    assert [faults for _, faults in answers if faults] == []
    assert big["tasks"] == 50 and len(big.keys("task:")) == 40


def test_a_pool_started_while_threads_work(big, work, context):
    """With fork the children come into being while the parent's threads are inside the store."""
    import threading

    faults = []
    thread = threading.Thread(target=lambda: faults.extend(work.work(big, THREADS)))
    thread.start()
    with context.Pool(2, initializer=work.keep, initargs=(big,)) as pool:
        answers = pool.map(work.task, range(20), chunksize=1)
        pool.close()
        pool.join()
    thread.join(600)
    assert faults == [] and [faults for _, faults in answers if faults] == []
    assert big["tasks"] == 20 and big["count"] == THREADS * work.ROUNDS


def test_a_pickled_handle_attaches_to_that_very_store(make, work, context, key):
    store = make()
    store["word"] = "the first"
    text = pickle.dumps(store)
    with context.Pool(1) as pool:

        def attach():
            return pool.apply_async(work.attach, (text,)).get(600)

        assert attach() == "the first"
        store.destroy()
        assert attach() == "StoreNotFound"
        with pytest.raises(shmstore.StoreNotFound):  # nor was one created
            shmstore.Store(key, create=False)
        with shmstore.Store(key, size="1M") as second:
            second["word"] = "the second"
            assert attach() == "StoreNotFound"
            assert second["word"] == "the second"
            second.recover()
            assert [client.is_me for client in second.clients()] == [True]
            second.destroy()
        pool.close()
        pool.join()


def test_a_pickled_handle_keeps_what_it_was_opened_with(make):
    store = make()
    store["a"] = 1
    with pickle.loads(pickle.dumps(make(readonly=True))) as reader:
        assert reader["a"] == 1 and reader.info().readonly
        with pytest.raises(shmstore.ReadOnlyStore):
            reader["a"] = 2
    with pickle.loads(pickle.dumps(make(create=False, ttl=30, codec="pickle", timeout=0.1))) as mortal:
        mortal["b"] = {"a": frozenset([1j])}
        assert 29 < mortal.ttl("b") <= 30 and mortal["b"] == {"a": frozenset([1j])}
        with pytest.raises(shmstore.CodecError):
            store["b"]
    store.close()
    with pickle.loads(pickle.dumps(store)) as again:  # a closed handle still says which store it was
        assert again["a"] == 1


def test_a_pickled_handle_is_a_client_of_its_own(make):
    store = make()
    with pickle.loads(pickle.dumps(store)) as again:
        assert len(store.clients()) == 2 and again.info().uuid == store.info().uuid
        store.close()
        assert again.incr("n") == 1
