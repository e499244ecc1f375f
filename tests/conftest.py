"""What all tests share: a key of their own, and stores that do not outlive them."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmstore


@pytest.fixture(autouse=True)
def outside_the_checkout(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that tests start must find the installed package, not the checkout."""
    monkeypatch.chdir(tmp_path_factory.getbasetemp())


NAMES = "SHMSTORE_TEST_NAMES"  # in the environment: a file with the name of every store that a test may have made


def pytest_configure(config: pytest.Config) -> None:
    if NAMES not in os.environ:  # workers inherit it
        handle, os.environ[NAMES] = tempfile.mkstemp(prefix="shmstore-test-names-")
        os.close(handle)
        config.stash[OURS] = os.environ[NAMES]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Workers that were interrupted could not tidy up: what they left is removed here."""
    path = config.stash.get(OURS, None)
    if path is None:
        return
    with open(path) as names:
        for name in names.read().split():
            try:
                shmstore.destroy(name)
            except (shmstore.ShmStoreError, OSError):
                pass  # it went in order
    os.unlink(path)
    del os.environ[NAMES]


OURS = pytest.StashKey[str]()


@pytest.fixture
def key() -> Iterator[str]:
    """A name that no other test has; what is left under it is removed."""
    name = f"shmstore-test-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    with open(os.environ[NAMES], "a") as names:
        names.write(name + "\n")
    yield name
    try:
        shmstore.destroy(name)
    except shmstore.ShmStoreError:
        pass


@pytest.fixture
def make(key: str) -> Iterator[Callable[..., shmstore.Store[Any]]]:
    """Open handles on the test's store; all are closed at its end."""
    opened: list[shmstore.Store[Any]] = []

    def make(**options: Any) -> shmstore.Store[Any]:
        if not options.get("readonly") and options.get("create") is not False and not opened:
            options.setdefault("size", "1M")
        store: shmstore.Store[Any] = shmstore.Store(key, **options)
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(make: Callable[..., shmstore.Store[Any]]) -> Iterator[shmstore.Store[Any]]:
    """A store of one megabyte, checked at the end of the test."""
    store = make()
    yield store
    try:
        store.check()
    except (shmstore.StoreClosed, shmstore.StoreDestroyed):
        pass
