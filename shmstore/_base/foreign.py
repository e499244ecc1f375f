"""Distinguish an exception that came from outside from one that a call raised about its own arguments or data.

Celery, RQ, pytest-timeout and others enforce time limits by a signal handler that raises. Python runs the handler
between any two instructions of the main thread. So its exception can arrive anywhere, for example inside a decode, as a
ValueError, which a damaged value would raise as well. It belongs to the caller. So each ``except``
clause of this package that would turn an exception into another one, or into a result, asks ``is_foreign`` first, and
raises it again unchanged if so (tests/unit/store/test_foreign.py checks that).

The traceback distinguishes the two. The interpreter passes the frame that it interrupts to the function that it calls: a
signal handler gets ``(signum, frame)``, a trace or profile function ``(frame, event, arg)``. No other function gets its
caller's frame as an argument. So an exception is foreign if a frame in its traceback has its own ``f_back`` among its
arguments. A handler may have deleted the argument, so a frame with the code of an installed handler counts as well.
Both rules hold for any class of exception, in this package, in libraries, and in codecs and functions of the user.

``__context__`` would not do: it is also what the caller was handling before the call. Nor would the names of
modules: a handler and a user's codec may be in one file. Blocking signals would not do: those of other threads
are handled in the main thread, too.

MemoryError, RecursionError and classes that do not derive from Exception say nothing about the data, and always pass. One
kind cannot be recognised, because it leaves no frame: an exception that another thread sets by
``PyThreadState_SetAsyncExc``. It passes unless an ``except`` clause catches its class.

The command line and the demo do not ask, because each is a separate program. The only handler in it that raises is the one
that Python installs for SIGINT, and it raises KeyboardInterrupt. The handlers of the demo only note the signal.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself imports enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType
    from typing import Any

__all__ = ["is_foreign"]

_VARARGS = 4  # inspect.CO_VARARGS


def is_foreign(error: BaseException, *, caught_in_c: bool = False) -> bool:
    """Return whether *error*, which the caller has just caught, must be raised again unchanged."""
    if not isinstance(error, Exception) or isinstance(error, (MemoryError, RecursionError)):
        return True
    trace = error.__traceback__
    if not caught_in_c:
        trace = trace and trace.tb_next  # the first entry is the frame that caught it
    if trace is None:
        return False
    handlers = _handlers()
    while trace is not None:
        frame = trace.tb_frame
        if _has_its_caller(frame) or any([frame.f_code is code for code in handlers]):
            return True
        trace = trace.tb_next
    return False


def _has_its_caller(frame: FrameType) -> bool:
    """Return whether the frame that called this one, or was interrupted for it, is among its arguments."""
    caller, code = frame.f_back, frame.f_code
    if caller is None:
        return False
    count = code.co_argcount + code.co_kwonlyargcount + (code.co_flags & _VARARGS != 0)
    found = frame.f_locals
    for name in code.co_varnames[:count]:
        value = found.get(name)
        if value is caller or (type(value) is tuple and any([part is caller for part in value])):
            return True
    return False


def _handlers() -> list[CodeType]:
    """Return the code of the signal handlers that are installed."""
    found = []
    for number in range(1, _signal.NSIG):
        handler: Any = _signal.getsignal(number)
        if callable(handler):
            handler = getattr(handler, "func", handler)  # of a partial
            called = getattr(type(handler), "__call__", None)  # noqa: B004
            code = getattr(handler, "__code__", None) or getattr(called, "__code__", None)
            if code is not None:
                found.append(code)
    return found
