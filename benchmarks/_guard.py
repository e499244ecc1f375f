"""Nothing is left behind: neither at the end, nor after an error, nor after Ctrl-C or SIGTERM.

Segments of System V outlive their makers, as files in /dev/shm do. So whatever a benchmark makes is first
registered for removal, then made, and a signal ends the run by an exception, which unwinds to the removal.
Only SIGKILL is stronger; ``benchmarks/README.md`` says what to look for after that.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from uuid import uuid4

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked the run to end. No Exception, so that no handler for failures catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


def fresh_name() -> str:
    """A name for something shared: it tells the process that made it."""
    return f"shmstore-bench-{os.getpid()}-{uuid4().hex[:8]}"


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn the first signal into Stopped; later ones do not disturb the clean-up."""

    def stop(number: int, frame: FrameType | None) -> None:
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def unsignalled() -> Iterator[None]:
    """What is done in here no signal interrupts: one that arrives meanwhile acts after it."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextmanager
def resources() -> Iterator[ExitStack]:
    """A stack whose unwinding no signal interrupts."""
    stack = ExitStack()
    try:
        yield stack
    finally:
        with unsignalled():
            stack.close()
