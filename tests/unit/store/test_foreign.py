"""What a signal handler raises passes through every ``except`` clause of the package; what a call raises does not."""

from __future__ import annotations

import ast
import functools
import signal
import sys
import time
import uuid
from pathlib import Path
from unittest import mock

import pytest

import shmstore
from shmstore import CodecError, Store
from shmstore._base.foreign import is_foreign

PACKAGE = Path(shmstore.__file__).parent


class TimeLimit(ValueError):
    """A class that damaged data could well raise."""


def raises(signum, frame):
    raise TimeLimit


def forgets_its_arguments(signum, frame):
    del signum, frame
    raise TimeLimit


def takes_anything(*_):
    raise TimeLimit


def uninstalls_itself(signum, frame):
    signal.signal(signum, signal.SIG_DFL)
    raise TimeLimit


class Callable:
    def __call__(self, signum, frame):
        del frame
        raise TimeLimit

    def method(self, signum, frame):
        raise TimeLimit


HANDLERS = {
    "function": raises, "del": forgets_its_arguments, "varargs": takes_anything, "uninstalls": uninstalls_itself,
    "callable": Callable(), "method": Callable().method, "partial": functools.partial(forgets_its_arguments),
    "lambda": lambda *_: (_ for _ in ()).throw(TimeLimit()), "mock": mock.Mock(side_effect=TimeLimit),
}  # fmt: skip


@pytest.fixture
def install():
    """Install a handler."""
    before = signal.getsignal(signal.SIGALRM)
    yield lambda handler: signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def spins(_=None):
    signal.raise_signal(signal.SIGALRM)
    while True:
        int("1")


def generates():
    while True:
        spins()
        yield


def sleeps():
    signal.setitimer(signal.ITIMER_REAL, 0.005, 1)  # again, should the first come before the call
    while True:
        time.sleep(60)


PLACES = {
    "code": spins, "a system call": sleeps, "a generator": lambda: next(generates()),
    "beneath C": lambda: sorted([3, 2, 1], key=spins),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_is_recognised(install, handler, place):
    install(HANDLERS[handler])
    try:
        PLACES[place]()
    except TimeLimit as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert is_foreign(error)


def test_a_trace_function_is_recognised():
    def trace(frame, event, arg):
        if event == "line" and frame.f_lineno == work.__code__.co_firstlineno + 2:  # within the try
            raise TimeLimit
        return trace

    def work():
        try:
            return int("1")
        except TimeLimit as error:
            return is_foreign(error)

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = work()
    finally:
        sys.settrace(before)
    assert found is True


@pytest.mark.parametrize("error", [MemoryError, RecursionError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_not_about_data_is_foreign(error):
    try:
        raise error
    except BaseException as caught:
        assert is_foreign(caught)


def looks_at_its_caller():
    frame = sys._getframe(1)
    raise ValueError(frame.f_code.co_name)


@pytest.mark.parametrize(
    "call",
    [lambda: int("x"), looks_at_its_caller, lambda: uuid.UUID(bytes=b"1"), lambda: {}["k"], lambda: b"\xff".decode()],
)
def test_what_a_call_raises_is_not(call, install):
    install(raises)
    try:
        try:
            signal.raise_signal(signal.SIGALRM)
        except TimeLimit:
            call()  # __context__ of its error is foreign, and it is not
    except Exception as error:
        assert isinstance(error.__context__, TimeLimit) and not is_foreign(error)


def test_an_error_within_a_handler_is_converted_there_and_passes_outside(key, install):
    """A handler may use a store: its CodecError is made as ever, and what it interrupts lets it pass."""
    with Store(key, size="1M", codec="pickle") as store:
        store["damaged"] = 1
        with Store(key, codec="raw") as raw:
            raw["damaged"] = b"x"
        reader = Store(key)
        reader.put("entered", (1, 2))

        def handler(signum, frame):
            reader._decode(2, b"\xc1", "inner")

        def decode(data):
            signal.raise_signal(signal.SIGALRM)
            return spins()

        class Mine:
            name, encode = "mine", staticmethod(lambda value: value)

        Mine.decode = staticmethod(decode)
        install(handler)
        with Store(key, codec=Mine()) as mine:
            mine["outer"] = b"bytes"
            with pytest.raises(CodecError) as caught:
                mine["outer"]
            assert "'inner'" in str(caught.value) and "'outer'" not in str(caught.value)
        reader.close()
        store.destroy()


# ---- every except clause -----------------------------------------------------------------------------------

# Classes that nothing but the package's own code raises, so that no handler's is one of them.
OWN = {"Unsupported", "Refused", "Foreign"}
TO_A_WAITER = {"_look", "_heard"}  # of listening.py: what they catch is raised in a coroutine that waits
LIBRARY = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "cli" not in path.relative_to(PACKAGE).parts and "demo" not in path.name
]


def asks_first(clause):
    """Its first statement is ``raise``, or raises again what is foreign, or it cleans up and raises what it caught."""
    first, last = clause.body[0], clause.body[-1]
    if isinstance(first, ast.If):
        asks = [
            node
            for node in ast.walk(first.test)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "is_foreign"
        ]
        first = first.body[0] if asks and not isinstance(first.test, ast.UnaryOp) else None
    bare = [isinstance(node, ast.Raise) and node.exc is None for node in (first, last)]
    return bare[0] or (bare[1] and getattr(clause.type, "id", "") == "BaseException")


def clauses(path):
    tree = ast.parse(path.read_text())
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name not in TO_A_WAITER:
            yield from (node for node in ast.walk(function) if isinstance(node, ast.ExceptHandler))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_no_except_clause_keeps_or_converts_what_is_foreign(path):
    found = [
        f"{path.name}:{clause.lineno}" for clause in clauses(path)
        if not asks_first(clause) and {node.id for node in ast.walk(clause.type) if isinstance(node, ast.Name)} - OWN
        and ast.unparse(clause.type).split(".")[-1] not in OWN
    ]  # fmt: skip
    assert found == []


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_no_generator_takes_a_stop_iteration_for_its_own_end(path):
    """A handler's StopIteration becomes RuntimeError in a generator, and ends what consumes a map() or an __next__.

    The iterators that users ask for are generators all the same: there is no other way to raise out of one. So are the steps
    of those that wait (leases.py), whose drivers raise the StopIteration itself.
    """
    ours = {"_pairs", "__iter__", "batches", "list_keys", "_steps", "take", "_again", "_take_seat"}
    tree = ast.parse(path.read_text())
    found = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.GeneratorExp)]
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name not in ours:
            found += [node.lineno for node in ast.walk(function) if isinstance(node, (ast.Yield, ast.YieldFrom))]
    found += [
        node.lineno for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("map", "filter")
        and getattr(node.args[0], "id", "") not in ("repr", "str", "int", "type")
    ]  # fmt: skip
    assert found == []


def test_there_are_clauses_to_check():
    assert sum(len(list(clauses(path))) for path in LIBRARY) > 60
