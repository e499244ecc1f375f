"""A signal's exception reaches the caller unchanged, wherever it strikes; values stay whole and nothing leaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from calls import CALLS, REFUSED, fill, held, whole
from strikes import CLASSES, Strike, every_place, is_struck
from unharmed import numbered, pytestmark, store_unharmed  # noqa: F401

from shmstore import Store

CASES = numbered(CALLS)
COUNTS: dict[str, int] = {}


@pytest.fixture(scope="module", autouse=True)
def told() -> Iterator[None]:
    """How much was tried, for -s."""
    yield
    print(f"\n{sum(COUNTS.values())} places in {len(COUNTS)} calls")


def strike(
    store: Store[Any], name: str, call: Callable[[Store[Any]], Any], most: int | None, expected: Any = ()
) -> None:
    call_warm = _expecting(call, expected)
    call_warm(store)  # imports what it needs
    wrong: list[Strike] = []
    with store_unharmed(store):
        for strike in every_place(lambda: call_warm(store), CLASSES, lambda: fill(store), most):
            COUNTS[name] = COUNTS.get(name, 0) + 1
            if not strike.right:
                wrong.append(strike)
            assert whole(store) and held(store) == [], strike.told
        assert [strike.told for strike in wrong] == []


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
