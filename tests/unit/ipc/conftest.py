"""Blocks of shared memory, and names and keys for them."""

from __future__ import annotations

import os

import pytest

from shmstore import SharedMemory
from shmstore.shared_memory import _header
from shmstore.sysv import IPC_RMID, shmctl, shmget


@pytest.fixture
def name():
    """A name of this test alone."""
    name = f"shmstore-test-{os.getpid()}-"
    yield name
    try:
        shmctl(shmget(_header.key_of(name.encode()), 0), IPC_RMID)
    except FileNotFoundError:
        pass


@pytest.fixture
def block(name):
    block = SharedMemory(name, create=True, size=512)
    yield block
    block.close()


@pytest.fixture
def one_key(monkeypatch, free_key):
    """Let every name have the same key."""
    monkeypatch.setattr(_header, "key_of", lambda name: free_key - 2**32)
    return free_key
