"""One rule for every ttl, timeout and spin: what counts as a duration, and what it comes to."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import shmstore
from shmstore._base import durations
from shmstore._base.durations import LONGEST, timeout_ns, ttl_ns

SECOND = 10**9


class Half(float):
    """A subclass, as numpy.float64 is one."""


GIVEN = [
    (1, SECOND), (1.5, SECOND * 3 // 2), (Half(0.5), SECOND // 2), (Decimal("2.25"), SECOND * 9 // 4), (Fraction(1, 4), SECOND // 4),
    (timedelta(days=1, microseconds=3), 86_400 * SECOND + 3000), (timedelta(microseconds=1), 1000),
    (1e-300, 0), (Decimal("1e-999999"), 0), (Fraction(1, 10**400), 0), (5e-324, 0),
    (10**400, LONGEST * SECOND), (1e300, LONGEST * SECOND), (math.inf, LONGEST * SECOND), (Decimal("1e999999"), LONGEST * SECOND),
    (Decimal("Infinity"), LONGEST * SECOND), (Fraction(10**400), LONGEST * SECOND), (timedelta.max, LONGEST * SECOND),
    (34 * 365 * 86_400, 34 * 365 * 86_400 * SECOND),
]  # fmt: skip
NOT_POSITIVE = [0, 0.0, -0.0, Decimal(0), Decimal("-0"), Fraction(0), timedelta(0)]
NEGATIVE = [
    -1,
    -1e-300,
    -math.inf,
    -(10**5000),
    Decimal("-1e-999999"),
    Decimal("-Infinity"),
    Fraction(-1, 10**400),
    timedelta(microseconds=-1),
]
NAN = [math.nan, Half("nan"), Decimal("NaN"), Decimal("sNaN")]
OUT_OF_RANGE = [*NOT_POSITIVE, *NEGATIVE, *NAN]
NO_DURATION = [True, False, "1", b"1", 1j, [1], (), (5,), (None,), object()]


@pytest.mark.parametrize(("duration", "nanoseconds"), GIVEN, ids=map(str, range(len(GIVEN))))
def test_value(duration: Any, nanoseconds: int) -> None:
    assert timeout_ns(duration, "timeout") == nanoseconds
    assert ttl_ns(duration) == min(nanoseconds + 1, LONGEST * SECOND)  # never 0, which is for ever


def test_none_is_for_ever() -> None:
    assert ttl_ns(None) == 0
    assert timeout_ns(None, "timeout") == durations.FOREVER


@pytest.mark.parametrize("duration", OUT_OF_RANGE, ids=map(str, range(len(OUT_OF_RANGE))))
def test_out_of_range(duration: Any) -> None:
    with pytest.raises(ValueError, match="^ttl is "):
        ttl_ns(duration)
    if any(duration is known for known in NOT_POSITIVE):
        assert timeout_ns(duration, "spin") == 0
    else:
        with pytest.raises(ValueError, match="^spin is "):
            timeout_ns(duration, "spin")


@pytest.mark.parametrize("duration", NO_DURATION, ids=lambda value: type(value).__name__)
def test_no_duration(duration: Any) -> None:
    with pytest.raises(TypeError, match=f"^ttl is a number of seconds .* not {type(duration).__name__}$"):
        ttl_ns(duration)
    with pytest.raises(TypeError, match=f"^timeout is a number of seconds .* not {type(duration).__name__}$"):
        timeout_ns(duration, "timeout")


TTL: list[Callable[[Any, Any], Any]] = [
    lambda s, ttl: s.put("k", 1, ttl=ttl), lambda s, ttl: s.add("new", 1, ttl=ttl), lambda s, ttl: s.replace("k", 1, ttl=ttl),
    lambda s, ttl: s.cas("k", 1, s.get_versioned("k")[1], ttl=ttl), lambda s, ttl: s.touch("k", ttl),
    lambda s, ttl: s.put_many({"k": 1}, ttl=ttl), lambda s, ttl: s.add_many({"new": 1}, ttl=ttl),
    lambda s, ttl: shmstore.open(shmstore.PRIVATE, size="1M", ttl=ttl).close(),
]  # fmt: skip
TIMEOUT: list[Callable[[Any, Any], Any]] = [
    lambda s, timeout: s.wait("k", timeout=timeout), lambda s, timeout: s.wait("k", spin=timeout),
    lambda s, timeout: shmstore.open(shmstore.PRIVATE, size="1M", timeout=timeout).close(),
]  # fmt: skip


@pytest.mark.parametrize("call", range(len(TTL) + len(TIMEOUT)))
def test_every_call_has_the_rule(store: shmstore.Store[Any], call: int) -> None:
    give = (TTL + TIMEOUT)[call]
    store["k"] = 1
    for duration, _ in GIVEN:
        if duration not in (0,) and ttl_ns(duration) > SECOND // 5:  # the shorter ones expire under the test
            give(store, duration)
            store["k"] = 1
            store.delete("new")
    for duration in [*NEGATIVE, *NAN]:
        with pytest.raises(ValueError):
            give(store, duration)
    for duration in NO_DURATION:
        with pytest.raises(TypeError):
            give(store, duration)
    assert store["k"] == 1 and "new" not in store


@pytest.mark.parametrize(
    "ttl", [2, 2.0, Decimal(2), Fraction(2), timedelta(seconds=2)], ids=lambda ttl: type(ttl).__name__
)
def test_ttl_is_kept(store: shmstore.Store[Any], ttl: Any) -> None:
    store.put("k", 1, ttl=ttl)
    left = store.ttl("k")
    assert left is not None and 0 < left <= 2.00001


def test_a_ttl_of_decades_does_not_wrap(store: shmstore.Store[Any]) -> None:
    """A due word has 40 bits of milliseconds, 34 years: an entry that expires later stays, and so do its neighbours."""
    years = 365 * 86_400
    for n in range(50):
        store.put(f"k{n}", n, ttl=(33 + n / 10) * years)
    store.put("short", 1, ttl=0.001)
    while "short" in store:
        pass
    for n in range(2000):
        store["other"] = n  # each put sweeps a little
    assert [store[f"k{n}"] for n in range(50)] == list(range(50))
    for n in range(50):
        assert store.ttl(f"k{n}") == pytest.approx((33 + n / 10) * years, rel=1e-6)
    store.check()
