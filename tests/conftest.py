"""What all tests share: a key of their own, and stores that do not outlive them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmstore


@pytest.fixture(autouse=True)
def outside_the_checkout(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that tests start must find the installed package, not the checkout."""
    monkeypatch.chdir(tmp_path_factory.getbasetemp())


@pytest.fixture
def key() -> Iterator[str]:
    """A name that no other test has; what is left under it is removed."""
    name = f"shmstore-test-{os.getpid()}-{uuid.uuid4().hex[:12]}"
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
