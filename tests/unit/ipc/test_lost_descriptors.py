"""Processes that lost sight of the store's memory, or of their descriptor, harm nobody but at most themselves."""

import ctypes
import gc
import os
import resource
import sys
import threading
import time

import pytest

import shmstore
from shmstore import Store

ROOT = os.geteuid() == 0
NOBODY = 65534


def in_child(function):
    """The exit code of a forked process: 0 if the function returned true."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if function() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def emfile():
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def other_user():
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def jail(folder="/proc/self/fdinfo"):
    os.chroot(folder)
    os.chdir("/")


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("loss", [emfile, other_user, jail])
def test_a_descriptor_that_cannot_be_had_again(key, loss):
    """A program that daemonizes closes what it did not open, and then cannot open the file any more."""
    if loss is not emfile and not ROOT:
        pytest.skip("only root becomes somebody else")
    with Store(key, backend="posix", size="4M") as store:
        store["k"] = 1

        def lose():
            mine = Store(key, backend="posix", create=False)
            os.closerange(3, 200)
            loss()
            time.sleep(1.2)  # to its next second of use
            return mine.get("k") == 1 and mine.put("k", 2)

        try:
            assert in_child(lose) == 0
            assert store["k"] == 2
            with Store(key, backend="posix", create=False) as other:
                assert other["k"] == 2
        finally:
            store.destroy()


@pytest.mark.skipif(not ROOT, reason="only root leaves its IPC namespace")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_in_another_ipc_namespace(key):
    with Store(key, size="4M") as store:
        store["k"] = 1

        def leave():
            if ctypes.CDLL(None).unshare(0x08000000):  # CLONE_NEWIPC
                return True
            time.sleep(1.2)
            return store.get("k") == 1

        assert in_child(leave) == 0
        time.sleep(1.1)
        assert store["k"] == 1 and Store(key, create=False)["k"] == 1


@pytest.mark.usefixtures("separate_clients")
def test_a_descriptors_number_that_comes_again(key, becomes_attached):
    """Closed by others, and given to the next attachment: the first one finds out, and gets another."""
    first = Store(key, backend="posix", size="4M")
    try:
        os.close(first._raw_info().descriptor)
        with Store(key, backend="posix") as second:
            time.sleep(1.2)
            first["k"], second["l"] = 1, 2
            assert first._raw_info().descriptor != second._raw_info().descriptor
            becomes_attached(first, 2)
            assert {client.alive for client in second.clients()} == {True}
            first.close()
            os.fstat(second._raw_info().descriptor)
    finally:
        shmstore.destroy(key, backend="posix")


@pytest.mark.skipif(not ROOT, reason="only root becomes another user")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_check_by_another_user_takes_no_page(key):
    """Without the right to write to a file, mincore reports all of it as in memory."""
    with Store(key, backend="posix", size="64M", mode=0o644) as store:
        store["k"] = 1
        before = os.stat(f"/dev/shm/shmstore-{key}").st_blocks

        def look():
            other_user()
            return Store(key, backend="posix", readonly=True, owner="any").check() == 0

        try:
            assert in_child(look) == 0
            assert os.stat(f"/dev/shm/shmstore-{key}").st_blocks == before
        finally:
            store.destroy()


def test_a_bytearray_that_another_thread_resizes(make):
    """What is stored can be read: the length in the head is that of the bytes."""
    store = make(size="16M")
    body, stop = bytearray(100_000), threading.Event()

    def resize():
        while not stop.is_set():
            try:
                body.append(1)
                if len(body) > 110_000:
                    del body[100_000:]
            except BufferError:
                pass

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=resize)
    thread.start()
    try:
        for _ in range(3000):
            store["k"] = body
            assert len(store["k"]) >= 100_000
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_opened_and_closed_by_threads_at_once(make):
    """The list of attachments, which a fork walks, stays whole while others are opening; tests/engine/native/handles.c is harder."""
    name = make()._key.name.decode()

    def open_and_close():
        for _ in range(300):
            Store(name, create=False).close()

    threads = [threading.Thread(target=open_and_close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert in_child(lambda: Store(name, create=False).put("k", 1)) == 0
    for thread in threads:
        thread.join()


def test_a_closed_handle_gives_its_place_to_the_next(make):
    """However long a program lives that opens one store and closes the other: a place is half a kilobyte, for good."""
    name = make()._key.name.decode()
    gc.collect()  # a handle that an earlier test left would give its place up in the midst of this one
    places = set()
    former = Store(name, create=False)
    for _ in range(200):
        newer = Store(name, create=False)
        former.close()
        places.add(newer._handle & 0xFFFF)
        former = newer
    former.close()
    assert len(places) == 2
