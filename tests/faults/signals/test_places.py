"""A signal's exception reaches the caller unchanged, wherever it strikes; values stay whole and nothing leaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from calls import CALLS, CODE, REFUSED, Point, decode_point, encode_point, fill, whole
from strikes import CLASSES, Strike, every_place, footprint, is_struck

import shmstore
from shmstore import Store

CASES = [(f"{name} {at}" if at else name, call) for name, calls in CALLS.items() for at, call in enumerate(calls)]
COUNTS: dict[str, int] = {}


@pytest.fixture(scope="module", autouse=True)
def told() -> Iterator[None]:
    """How much was tried, for -s."""
    yield
    print(f"\n{sum(COUNTS.values())} places in {len(COUNTS)} calls")


@pytest.fixture
def store(key: str) -> Iterator[Store[Any]]:
    shmstore.register(CODE, Point, encode_point, decode_point)
    with Store(key, size="1M") as store:
        fill(store)
        yield store
        store.destroy()


def pins(store: Store[Any]) -> int:
    """How many views can be had."""
    views = []
    try:
        while True:
            views.append(store.view("bytes"))
    except shmstore.StoreFull:
        return len(views)


def strike(
    store: Store[Any], name: str, call: Callable[[Store[Any]], Any], most: int | None, expected: Any = ()
) -> None:
    call_warm = _expecting(call, expected)
    call_warm(store)  # imports what it needs
    fill(store)
    clients, before, views = store.stats().clients, footprint(), pins(store)
    wrong: list[Strike] = []
    for strike in every_place(lambda: call_warm(store), CLASSES, lambda: fill(store), most):
        COUNTS[name] = COUNTS.get(name, 0) + 1
        if not strike.right:
            wrong.append(strike)
        assert whole(store), strike.told
    assert [strike.told for strike in wrong] == []
    fill(store)
    assert pins(store) == views
    assert footprint() == before
    assert store.stats().clients == clients
    assert store.stats().zombies == 0
    assert store.check() == 0


def _expecting(call: Callable[[Store[Any]], Any], expected: Any) -> Callable[[Store[Any]], Any]:
    def made(store: Store[Any]) -> None:
        try:
            call(store)
        except expected as error:
            if is_struck(error):
                raise
        else:
            assert expected == ()

    return made


BOUNDED = 25  # places of each call in the quick tier


@pytest.mark.parametrize("name, call", CASES, ids=[name for name, _ in CASES])
def test_calls(store, name, call):
    strike(store, name, call, BOUNDED)


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "too deep"])  # that has thousands of places
def test_refusals(store, name):
    expected, call = REFUSED[name]
    strike(store, f"refused: {name}", call, BOUNDED, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name, call", CASES, ids=[name for name, _ in CASES])
def test_calls_at_every_place(store, name, call):
    strike(store, name, call, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_refusals_at_every_place(store, name):
    expected, call = REFUSED[name]
    strike(store, f"refused: {name}", call, 400, expected)
