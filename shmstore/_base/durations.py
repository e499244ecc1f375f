"""Durations and points in time as arguments: one rule for every ttl, timeout and spin.

A duration is an int, float, Decimal or Fraction of seconds, or a timedelta. A bool is none, nor is NaN, nor a number of
another type. Infinity and whatever exceeds ``LONGEST`` count as that. C reads exact floats and ints itself, by the same
rule (``shms_call_ttl``), and asks here about everything else.

A point in time is such a number of seconds since the epoch, or a datetime.
"""

from __future__ import annotations

from time import time

from shmstore._base.foreign import is_foreign
from shmstore._base.imports import imported
from shmstore._base.sentinels import DEFAULT, KEEP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from decimal import Decimal
    from fractions import Fraction
    from typing import Any, TypeAlias

    Duration: TypeAlias = int | float | Decimal | Fraction | timedelta
    Moment: TypeAlias = int | float | Decimal | Fraction | datetime

__all__ = ["FOREVER", "LONGEST", "LONGEST_SLICE", "check_ttl", "seconds", "seconds_until", "timeout_ns", "ttl_ns"]

LONGEST = 3_000_000_000  # seconds, 95 years: nanoseconds since boot stay within 63 bits
FOREVER = 2**62  # nanoseconds: a timeout of None
LONGEST_SLICE = 60 * 10**9  # nanoseconds of one sleep: after it, a waiter looks at what nobody has told it

_SECOND = 10**9
_FAR = 10**12  # seconds since the epoch, in 31,700 years


def ttl_ns(ttl: Any, what: str = "ttl") -> int:
    """Nanoseconds to live, at least 1; 0 for None, which is for ever.

    Raises: TypeError, ValueError.
    """
    if ttl is None:
        return 0
    number = _nanoseconds(ttl, what, ", or None for ever")
    if not number > 0:
        raise ValueError(f"{what} is more than 0 seconds, or None for ever, not {_shown(ttl)}")
    return int(number) + 1 if number < LONGEST * _SECOND else LONGEST * _SECOND


def check_ttl(ttl: Any, what: str = "ttl") -> None:
    """Raises: TypeError, ValueError, as the call that is to use it would."""
    if ttl is not DEFAULT and ttl is not KEEP:
        ttl_ns(ttl, what)


def timeout_ns(timeout: Any, what: str) -> int:
    """Nanoseconds to wait, at least 0; ``FOREVER`` for None.

    Raises: TypeError, ValueError.
    """
    if timeout is None:
        return FOREVER
    number = _nanoseconds(timeout, what, ", or None to wait for ever")
    if not number >= 0:
        raise ValueError(f"{what} is 0 or more seconds, or None to wait for ever, not {_shown(timeout)}")
    return int(number) if number < LONGEST * _SECOND else LONGEST * _SECOND


def _nanoseconds(duration: Any, what: str, or_none: str) -> int | float:
    """The duration in nanoseconds; out of range it may be infinite, and its sign is that of the duration."""
    if isinstance(duration, (int, float)) and not isinstance(duration, bool):
        seconds = duration
    elif isinstance(duration, _class("datetime", "timedelta")):  # exact, without a float
        exact: int = ((duration.days * 86_400 + duration.seconds) * 10**6 + duration.microseconds) * 1000
        return exact
    elif isinstance(duration, (_class("decimal", "Decimal"), _class("fractions", "Fraction"))):
        seconds = _as_float(duration, LONGEST)
    else:
        raise TypeError(
            f"{what} is a number of seconds (int, float, Decimal or Fraction) or a timedelta{or_none}, "
            f"not {type(duration).__name__}"
        )
    if seconds != seconds:
        raise ValueError(f"{what} is a number of seconds, not {duration!r}")
    return seconds * _SECOND if -LONGEST <= seconds <= LONGEST else _infinity(seconds)


def seconds_until(at: Any) -> float:
    """Seconds from now until a point in time, by the wall clock as it is now. 0 or less: it has passed.

    Raises: TypeError, ValueError.
    """
    if isinstance(at, _class("datetime", "datetime")):
        try:
            then: float = at.timestamp()
        except (OverflowError, ValueError) as error:  # the year 1 or 9999, in local time
            if is_foreign(error):
                raise
            then = _infinity(at.year - 1970)
    elif isinstance(at, (int, float)) and not isinstance(at, bool):
        then = at if -_FAR <= at <= _FAR or at != at else _infinity(at)
    elif isinstance(at, (_class("decimal", "Decimal"), _class("fractions", "Fraction"))):
        then = _as_float(at, _FAR)
    else:
        raise TypeError(
            "at is a number of seconds since the epoch (int, float, Decimal or Fraction) or a datetime, or None for "
            f"never, not {type(at).__name__}"
        )
    if then != then:
        raise ValueError(f"at is a number of seconds since the epoch, not {at!r}")
    return then - time()


def _as_float(number: Any, limit: int) -> float:
    """A Decimal or Fraction as a float of the same sign, infinite beyond the limit; a signalling NaN as a NaN."""
    if getattr(number, "is_nan", bool)():
        return float("nan")
    if not -limit <= number <= limit:
        return _infinity(number)
    return float(number) or (5e-324 if number > 0 else 0.0 if number == 0 else -5e-324)


def seconds(nanoseconds: int) -> str:
    """A duration in a message."""
    return f"{nanoseconds / 1e9:g} s"


def _shown(duration: Any) -> str:
    """Python writes no int of more than 4,300 digits."""
    return repr(duration) if not isinstance(duration, int) or -(10**18) < duration else "-10**18 or less"


def _infinity(number: Any) -> float:
    return float("inf") if number > 0 else float("-inf")


def _class(module: str, name: str) -> Any:
    """The class, if its module is imported. Otherwise no instance of it can exist."""
    found = getattr(imported(module), name, None)
    return found if isinstance(found, type) else _Nothing


class _Nothing:
    """A class without instances."""
