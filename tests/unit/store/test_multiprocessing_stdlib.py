"""CPython's own tests of multiprocessing's Lock, RLock, Semaphore and Barrier, run on a store's, between processes and threads.

test_semaphore is left out: it releases a semaphore more often than it acquired it, so that it has more places than at first.
One of a store has as many places as it says, and release() belongs to a holder. A semaphore of 0 places, which another test asks for, is
one whose place is taken.
"""

from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.dummy
import unittest

import pytest

CASES = {
    "_TestLock": "test_lock test_lock_context test_rlock".split(),
    "_TestSemaphore": "test_bounded_semaphore test_timeout".split(),
    "_TestBarrier": """
        test_abort test_abort_and_reset test_action test_barrier test_barrier_10 test_default_timeout test_reset test_single_thread
        test_thousand test_timeout test_wait_return
    """.split(),
}
# A lock that knows which thread or process holds it; how one looks inside (3.14 and later).
NOT_OURS = {
    "_TestLock": {"test_lock_locked_2processes", "test_rlock_locked_2processes", "test_rlock_locked_semantics"},
    "_TestSemaphore": {"test_semaphore"},
    "_TestBarrier": set(),
}
ALL = [(case, name) for case, names in CASES.items() for name in names]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::BytesWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(params=["processes", "threads"])
def suite(request, store):
    """A function that makes the test class of this name, with the store's own classes."""
    theirs = pytest.importorskip("test._test_multiprocessing", reason="this Python comes without its tests")
    of_kind = multiprocessing.get_context("fork") if request.param == "processes" else multiprocessing.dummy
    numbers = itertools.count()

    class Classes:
        TYPE = request.param
        Process = of_kind.Process
        Event, Queue, Pipe = staticmethod(of_kind.Event), staticmethod(of_kind.Queue), staticmethod(of_kind.Pipe)

        def Lock(self):
            return store.lock(f"x{next(numbers)}")

        def RLock(self):
            return store.lock(f"x{next(numbers)}", reentrant=True)

        def Semaphore(self, places):
            semaphore = store.semaphore(f"x{next(numbers)}", max(places, 1))
            if places == 0:
                store.semaphore(semaphore.name, 1).acquire()
            return semaphore

        BoundedSemaphore = Semaphore

        def Barrier(self, parties, action=None, timeout=None):
            return store.barrier(f"x{next(numbers)}", parties, action=action, timeout=timeout)

    return lambda name: type(name, (Classes, getattr(theirs, name), unittest.TestCase), {})


@pytest.mark.parametrize("case, name", ALL, ids=[f"{case}-{name}" for case, name in ALL])
def test_of_cpython(suite, case, name):
    tests = suite(case)
    if not hasattr(tests, name):
        pytest.skip("this Python's tests have none of this name")
    result = unittest.TestResult()
    unittest.defaultTestLoader.suiteClass([tests(name)]).run(result)
    assert [text for _, text in result.errors + result.failures] == []
    inappropriate = (
        case == "_TestSemaphore" and name == "test_timeout" and tests.TYPE == "threads"
    )  # by its own account
    assert (result.testsRun, len(result.skipped)) == (1, int(inappropriate))


def test_no_test_is_forgotten(suite):
    for case, names in CASES.items():
        named = {name for name in dir(suite(case)) if name.startswith("test_")}
        assert named <= {*names, *NOT_OURS[case]}
