"""The modules beside the tests, and the store that signals strike."""

import pathlib
import sys

import pytest

import shmstore

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from calls import CODE, Point, decode_point, encode_point, fill


@pytest.fixture
def store(key):
    shmstore.register(CODE, Point, encode_point, decode_point)
    with shmstore.Store(key, size="1M") as store:
        fill(store)
        yield store
        store.destroy()
