"""A process killed, or stopped, at every instruction of each operation. `pytest -n auto -m crash tests/faults/crash`

REPORT.md says what the modes are and has the figures; cases_*.py have the operations; survivors.py what must hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cases
import creators
import pytest
import store_setup
import sweep

pytestmark = pytest.mark.crash

ALL = [name for name, case in cases.CASES.items() if not case.second and case.meanwhile is store_setup.nothing]
STOPPED = [name for name in ALL if cases.CASES[name].stops]
# Fifth mode: W1 of docs/design.md
OTHERS = [
    "put over", "put over, from an open span", "put a new name", "put a new name, from an open span", "add", "add to what is there",
    "replace", "cas", "incr", "incr a new name", "incr a mortal number", "delete", "delete of its version", "pop", "touch", "touch for ever", "put with a ttl",
    "put over what has expired", "delete what has expired", "sweep what has expired", "expire all that is due", "put over far from home",
    "delete far from home", "put over where every hint is wrong", "delete the last of a span", "put and delete many of a span",
    "put over what is being read", "delete what was read before", "end a view of what was deleted", "put, put over and delete in turn",
    "put into a full store", "put where only what has expired makes room", "put over, a span of its own", "delete, a span of its own",
    "put over, several pages",
]  # fmt: skip
RACED = ["put over", "put a new name", "put over, several pages", "put with a ttl", "delete", "incr", "cas", "touch", "add",
         "put over far from home", "put over what has expired", "delete far from home", "get", "view", "sweep what has expired",
         "put where a block is no longer read", "delete what has expired", "touch what has expired",
         "wait for what does not come", "wait for what does not change", "replace what has expired",
         "modify what is mortal", "incr a mortal number", "incr a new name", "cas of what is absent", "add to what is there", "replace", "pop",
         "delete what is mortal", "touch for ever", "put many", "contains", "list by prefix", "wait and look", "wait until it expires",
         "put over, with sleepers", "delete many", "check", "incr a new name with a ttl", "delete of its version", "get and touch",
         "expire all that is due", "modify and set a ttl"]  # fmt: skip
RACED += [name for name, case in cases.CASES.items() if case.meanwhile is not store_setup.nothing]
PAIRS = [
    (first, second)
    for first in (
        "put a new name", "put over", "put over, several pages", "put with a ttl", "delete beside free blocks", "incr",
        "touch", "put where a block is no longer read", "put over far from home", "put over what has expired",
    )
    for second in ("then recover", "then put", "then open", "then delete")
    if second == "then recover" or first == "put over"
]  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_killed(processes: Any, choose: Callable[..., Any], conclude: Callable[..., None], name: str) -> None:
    choice = choose(1)
    conclude(sweep.sweep(processes, name, "kill", choice), choice)


@pytest.mark.parametrize("name", STOPPED)
def test_stopped(processes: Any, choose: Callable[..., Any], conclude: Callable[..., None], name: str) -> None:
    choice = choose(1)
    conclude(sweep.sweep(processes, name, "stop", choice), choice)


@pytest.mark.parametrize("name", OTHERS)
def test_others_write(processes: Any, choose: Callable[..., Any], conclude: Callable[..., None], name: str) -> None:
    choice = choose(1)
    conclude(sweep.sweep(processes, name, "others", choice), choice)


@pytest.mark.parametrize("name", RACED)
def test_raced(processes: Any, choose: Callable[..., Any], conclude: Callable[..., None], name: str) -> None:
    choice = choose(5, 1)
    conclude(sweep.race(processes, name, choice), choice)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_killed(
    processes: Any, choose: Callable[..., Any], conclude: Callable[..., None], first: str, second: str
) -> None:
    choice = choose(1)
    conclude(sweep.sweep_two(processes, first, second, choice), choice)


def test_two_creators_killed(processes: Any, choose: Callable[..., Any], conclude: Callable[..., None]) -> None:
    choice = choose(1)
    conclude(creators.sweep_creators(processes, choice, pairs=61), choice)  # every pair would be 19 million
