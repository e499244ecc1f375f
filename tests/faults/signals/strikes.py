"""Strike a call with a signal whose handler raises: at every place where the interpreter looks at signals, or at random.

CPython looks at signals when a function begins, after each call, and when it jumps back. Striking at the first of these
places, the second, ... until the call ends tries every one in Python code of this package. A storm at random times tries
the rest: libraries, C calls that look at signals themselves, and the interpreter's own ways.
"""

from __future__ import annotations

import dis
import gc
import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import shmstore
from shmstore import CodecError, KeyCollision, StoreClosed

PACKAGE = str(Path(shmstore.__file__).parent)
SIGNAL = signal.SIGUSR1

_BASES = (
    Exception, ValueError, BaseException, TypeError, KeyError, OSError, MemoryError, StopIteration, IndexError, CodecError,
    AttributeError, RuntimeError, BufferError, FileExistsError, FileNotFoundError, PermissionError, UnicodeDecodeError,
    UnicodeEncodeError, ImportError, OverflowError, KeyboardInterrupt, RecursionError, KeyCollision, StoreClosed,
    TimeoutError, SystemExit, ArithmeticError, AssertionError, StopAsyncIteration, GeneratorExit, NotImplementedError,
)  # fmt: skip


def _struck(base: type[BaseException]) -> type[BaseException]:
    return type(f"Struck{base.__name__}", (base,), {"__init__": lambda self: None, "__str__": lambda self: "struck"})


CLASSES = [_struck(base) for base in _BASES]
"""What handlers raise: a class of their own for each that some code here or in Python catches."""


def is_struck(error: BaseException) -> bool:
    """Whether a handler raised it."""
    return type(error) in CLASSES


class Strike:
    """Where a signal struck, and what came of it."""

    def __init__(self, number: int, kind: type[BaseException], where: str, caught: BaseException | None) -> None:
        self.number, self.kind, self.where = number, kind, where
        self.right = caught is not None and _is(caught, kind)
        self.told = f"at place {number}, in {where}: a {kind.__name__} became {caught!r}"


def _is(caught: BaseException, kind: type[BaseException]) -> bool:
    """Python makes RuntimeError of a StopIteration that is raised in a generator, such as users' iterators are."""
    generated = type(caught) is RuntimeError and issubclass(kind, (StopIteration, StopAsyncIteration))
    return type(caught) is kind or (generated and type(caught.__cause__) is kind)


BEGINS, RAISED = (
    -1,
    -2,
)  # instead of an instruction: the function, or a clause in Python 3.10, begins; the last one raised
OLD = sys.version_info < (3, 11)  # looks when it enters a clause, too
# Not CALL_INTRINSIC, SEND or JUMP_BACKWARD_NO_INTERRUPT: an exception behind those would be one that no signal can make.
LOOKING = (
    {"CALL_METHOD", "CALL_FUNCTION", "CALL_FUNCTION_KW", "CALL_FUNCTION_EX", "JUMP_ABSOLUTE", "POP_JUMP_IF_FALSE", "POP_JUMP_IF_TRUE"}
    if OLD else {"RESUME", "CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD"}
)  # fmt: skip


_places: dict[CodeType, list[int]] = {}


def _looking(code: CodeType) -> list[int]:
    """Offsets of the instructions after which the interpreter looks at signals; before the first one it does, too."""
    found = _places.get(code)
    if found is None:
        found = _places[code] = [step.offset for step in dis.get_instructions(code) if step.opname in LOOKING]
    return found


class _Tracer:
    """Counts places down, and raises the signal at the last of them."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.where = ""
        self.before: dict[Any, int] = {}  # by frame: the instruction that was just carried out

    def __call__(self, frame: Any, event: str, arg: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return None
        if event == "exception":
            self.before[frame] = BEGINS if OLD else RAISED
        if event != "opcode":
            frame.f_trace_opcodes = True
            return self
        last = self.before.get(frame, BEGINS)
        self.before[frame] = frame.f_lasti
        if last == BEGINS or last in _looking(code):
            self.left -= 1
            if self.left == 0:
                self.where = f"{code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno} ({code.co_name})"
                signal.raise_signal(SIGNAL)
                for _ in (1, 2):  # Python 3.10 handles it here
                    pass
        return self


def _trace(call: Callable[[], Any], tracer: _Tracer, handler: Any) -> BaseException | None:
    handled, traced = signal.signal(SIGNAL, handler), sys.gettrace()
    sys.settrace(tracer)
    try:
        call()
    except BaseException as error:
        return error
    finally:
        sys.settrace(traced)
        signal.signal(SIGNAL, handled)
    return None


def places(call: Callable[[], Any]) -> int:
    """How many places a call has."""
    tracer = _Tracer(0)
    error = _trace(call, tracer, signal.SIG_IGN)
    if error is not None:
        raise error
    return -tracer.left


def at_place(call: Callable[[], Any], number: int, kind: type[BaseException]) -> Strike | None:
    """Make a call, and let a handler raise at so many places of the package's; None if there are fewer."""

    def handler(signum: int, frame: Any) -> None:
        raise kind

    tracer = _Tracer(number)
    caught = _trace(call, tracer, handler)
    tracer.before.clear()  # frames, and what they hold
    try:
        if tracer.left <= 0:
            return Strike(number, kind, tracer.where, caught)
        if caught is not None:
            raise caught
        return None
    finally:
        del caught  # its traceback leads to this frame: a cycle, that would keep what the call made


def every_place(
    call: Callable[[], Any], classes: list[type[BaseException]], prepare: Callable[[], Any], most: int | None = None
) -> Iterator[Strike]:
    """Strike at each place in turn, or at so many at most, evenly; with each class in turn. Check nothing."""
    prepare()
    step = 1 if most is None else max(1, -(-places(call) // most))
    for turn in itertools.count():
        prepare()
        strike = at_place(call, 1 + turn * step, classes[turn % len(classes)])
        if strike is None:
            return
        yield strike


class Storm:
    """Signals at random times, from a timer and from a thread, while a call is made again and again."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.delivered = self.struck = 0
        self.armed = False
        self.kind: type[BaseException] = Exception

    def handler(self, signum: int, frame: Any) -> None:
        self.delivered += 1
        if self.armed:
            self.armed = False  # one at a time: what one exception's way out does is not what is tested
            raise self.kind

    def __enter__(self) -> Storm:
        self.before = [(number, signal.signal(number, self.handler)) for number in (SIGNAL, signal.SIGALRM)]
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._fire, args=(threading.main_thread().ident, self.random.random()))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.armed = False
        self.ended.set()
        self.thread.join()
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self.before:
            signal.signal(number, handler)

    def _fire(self, main: int, seed: float) -> None:
        mine = random.Random(seed)
        while not self.ended.wait(mine.random() * 2e-3):
            signal.pthread_kill(main, SIGNAL)

    def strike(self, call: Callable[[], Any], kind: type[BaseException], within: float) -> BaseException | None:
        """Make a call, which a signal strikes within so many seconds, if it takes as long; return what came out of it."""
        self.kind = kind
        caught = None
        try:
            self.armed = True
            signal.setitimer(signal.ITIMER_REAL, self.random.random() * within + 1e-6)
            call()
            self.armed = False
        except BaseException as error:
            caught = error
        self.armed = False
        try:
            if caught is not None and _is(caught, kind):
                self.struck += 1
                return None
            return caught
        finally:
            del caught  # its traceback leads to this frame


def open_descriptors() -> dict[str, str]:
    descriptors = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            descriptors[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            pass  # that of the listing
    return descriptors


def footprint() -> dict[str, Any]:
    """What a process has of the kernel's that this package takes: descriptors, mappings, segments and files."""
    gc.collect()
    with open("/proc/self/maps") as maps:
        shared = sorted(
            line.split(maxsplit=5)[-1].strip()
            for line in maps
            if "/SYSV" in line or "/dev/shm" in line or "memfd" in line
        )
    with open("/proc/sysvipc/shm") as table:
        segments = sorted(row[1] for row in map(str.split, list(table)[1:]) if row[4] == str(os.getpid()))
    descriptors = open_descriptors()
    lingers = time.monotonic() + 1  # the thread that learns of deaths, and its event, for a moment after the last wait
    while any("eventfd" in link for link in descriptors.values()) and time.monotonic() < lingers:
        time.sleep(0.005)
        descriptors = open_descriptors()
    files = sorted(
        name for name in os.listdir("/dev/shm") if str(os.getpid()) in name
    )  # those of tests have it in their names
    return {"descriptors": descriptors, "mappings": shared, "segments": segments, "files": files}


__all__ = ["CLASSES", "Storm", "Strike", "at_place", "every_place", "footprint", "is_struck", "places"]
