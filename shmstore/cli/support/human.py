"""Sizes, times, durations and users, as people write and read them."""

from __future__ import annotations

import math
import re
import time

from shmstore._system.limits import amount
from shmstore.cli.support.failures import WRONG, Failure

__all__ = [
    "ago",
    "amount",
    "clock",
    "duration",
    "mode",
    "moment",
    "parse_duration",
    "parse_interval",
    "parse_mode",
    "parse_user",
    "positive",
    "user",
]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SYMBOLIC = re.compile(r"([ugoa]*)([-+=])([rwx]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}


def duration(seconds: float) -> str:
    """A time span with its two largest units: 1.5 s, 4 m 10 s, 3 d 2 h."""
    if seconds < 60:
        return f"{seconds:.1f}".removesuffix(".0") + " s" if seconds < 9.95 else f"{seconds:.0f} s"
    left = int(seconds + 0.5)
    parts: list[tuple[int, str]] = []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, int(_UNITS[unit]))
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)


def moment(when: float) -> str:
    """A time of the epoch in local time; "never" for 0, as the kernel says."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when)) if when else "never"


def ago(when: float) -> str:
    """How long ago a time of the epoch is; "never" for 0."""
    return f"{duration(max(0.0, time.time() - when))} ago" if when else "never"


def clock(when: float) -> str:
    """The time of day to a millisecond."""
    return time.strftime("%H:%M:%S", time.localtime(when)) + f".{int(when * 1000) % 1000:03}"


def mode(bits: int) -> str:
    """Permission bits as chmod takes them."""
    return f"{bits & 0o777:04o}"


def parse_mode(text: str, now: int) -> int:
    """Permission bits, octal or as a change of those of *now*."""
    if re.fullmatch(r"0?o?[0-7]{1,4}", text) and (bits := int(text.replace("o", ""), 8)) <= 0o777:
        return bits
    for clause in text.split(","):
        match = _SYMBOLIC.fullmatch(clause)
        if match is None:
            raise Failure(WRONG, f"{text!r} is not a mode; write 0640, or u=rw,g+r,o-rwx")
        who = match[1].replace("a", "ugo") or "ugo"
        bits = sum({"r": 4, "w": 2, "x": 1}[letter] for letter in set(match[3]))
        for letter in set(who):
            part = bits << _SHIFTS[letter]
            if match[2] == "=":
                now &= ~(7 << _SHIFTS[letter])
            now = now & ~part if match[2] == "-" else now | part
    return now


def user(uid: int) -> str:
    """A uid's name, or the number where it has none."""
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return str(uid)


def parse_user(text: str, what: str = "user") -> int:
    """A uid, from its number or its user's name."""
    try:
        if text.isascii() and text.isdigit():
            return int(text)
        import pwd

        return pwd.getpwnam(text).pw_uid
    except (ImportError, KeyError, ValueError):
        raise Failure(WRONG, f"there is no {what} {text!r}; give a name or a number") from None


def positive(text: str) -> int:
    """A number of things from 1, as argparse wants it."""
    from argparse import ArgumentTypeError

    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def parse_interval(text: str, least: float) -> float:
    """The seconds between two looks."""
    seconds = parse_duration(text)
    if seconds < least:
        raise Failure(WRONG, f"--interval must be at least {least * 1000:g}ms, not {text}")
    return seconds


def parse_duration(text: str) -> float:
    """Seconds, from 90, 1.5s, 250ms, 10m, 12h or 7d."""
    number = text.rstrip("smhd")
    unit = text[len(number) :] or "s"
    try:
        seconds = float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise Failure(WRONG, f"{text!r} is not a time; write seconds, or 250ms, 10m, 12h, 7d")
    return seconds
