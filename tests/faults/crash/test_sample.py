"""A process killed, or stopped, at every 17th instruction of each operation: a sample of test_sweep.py.

Which ones depends on the commit, and is said with the result. Of loops only the first turn is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cases
import creators
import pytest
import sweep
import test_sweep

pytestmark = pytest.mark.sample
STRIDE = 17
KILLED = [name for name, case in cases.CASES.items() if case.sampled and name in test_sweep.ALL]
STOPPED = [name for name in KILLED if cases.CASES[name].stops]


@pytest.mark.parametrize("name", KILLED)
def test_killed(processes: Any, choose: Callable[..., Any], conclude: Callable[..., None], name: str) -> None:
    choice = choose(STRIDE, 1)
    conclude(sweep.sweep(processes, name, "kill", choice), choice)


@pytest.mark.parametrize("name", STOPPED)
def test_stopped(processes: Any, choose: Callable[..., Any], conclude: Callable[..., None], name: str) -> None:
    choice = choose(17 * STRIDE, 1)  # those who are kept from writing wait for their timeouts
    conclude(sweep.sweep(processes, name, "stop", choice), choice)


@pytest.mark.parametrize("name", test_sweep.OTHERS)
def test_others_write(processes: Any, choose: Callable[..., Any], conclude: Callable[..., None], name: str) -> None:
    choice = choose(5 * STRIDE, 1)
    conclude(sweep.sweep(processes, name, "others", choice), choice)


def test_two_killed(processes: Any, choose: Callable[..., Any], conclude: Callable[..., None]) -> None:
    choice = choose(STRIDE)
    conclude(sweep.sweep_two(processes, "put over", "then recover", choice, of_first=choose(6)), choice)


def test_two_creators_killed(processes: Any, choose: Callable[..., Any], conclude: Callable[..., None]) -> None:
    choice = choose(17 * STRIDE, 1)
    conclude(creators.sweep_creators(processes, choice, pairs=997), choice)
