"""The modules beside the tests, and the store that signals strike."""

import pathlib
import sys
import threading

import pytest

import shmstore

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from calls import CODE, Point, decode_point, encode_point, fill


@pytest.fixture(autouse=True)
def no_thread_of_earlier_tests():
    """A waiter that was cancelled ends a moment later, and gives up what it had mapped."""
    for thread in threading.enumerate():
        if thread.name.startswith("shmstore-"):
            thread.join(60)


@pytest.fixture
def store(key):
    shmstore.register(CODE, Point, encode_point, decode_point)
    with shmstore.Store(key, size="1M") as store:
        fill(store)
        yield store
        store.destroy()
