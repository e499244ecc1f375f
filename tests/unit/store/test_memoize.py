"""memoize: which calls share a result, and what a memoized function has beside it."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import sys
import time
import types
from pathlib import Path

import pytest

import shmstore

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from crowd import Crowd  # noqa: E402
from forked_child import Child  # noqa: E402


def function_of(source, name="report", module="reports", **known):
    """A function of a module that may be another version of an earlier one."""
    made = types.ModuleType(module)
    vars(made).update(known)
    exec(compile(source, module + ".py", "exec"), vars(made))
    return vars(made)[name]


@pytest.fixture
def counted(store):
    """A memoized function of anything, and the calls that reached it."""
    calls = []

    def make(**options):
        @store.memoize(**options)
        def counted(*args, **kwargs):
            calls.append((args, kwargs))
            return len(calls)

        return counted

    make.calls = calls
    return make


def test_result_is_kept(store, counted):
    function = counted()
    assert function(1) == function(1) == 1 and function(2) == 2
    assert len(counted.calls) == 2 and len(store) == 2


def test_none_is_a_result(store):
    calls = []
    function = store.memoize(lambda x: calls.append(x))
    assert function(1) is function(1) is None and calls == [1]


def test_other_processes_share_it(store, counted):
    function = counted()
    assert function(1) == 1
    assert Child(lambda: (function(1), function.cache_info().hits)).answer() == (1, 1)


def test_calls_that_are_the_same(store):
    calls = []

    @store.memoize
    def function(a, /, b=2, *rest, c=3, **more):
        calls.append(1)
        return a, b, rest, c, more

    assert function(1) == function(1, 2) == function(1, b=2) == function(1, c=3) == (1, 2, (), 3, {})
    assert len(calls) == 1
    assert function(1, 2, 4, c=5, d=6) == (1, 2, (4,), 5, {"d": 6})
    assert function(1, a=7) == (1, 2, (), 3, {"a": 7})
    assert len(calls) == 3
    with pytest.raises(TypeError, match="function"):
        function()
    with pytest.raises(TypeError):
        function(1, 2, b=3)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "1"), ([1], (1,)), ([1, 2], [2, 1]), ([[1], 2], [1, [2]]), ({1: 2}, {2: 1}), ({"a": 1}, [("a", 1)]), ({1}, [1]),
        ([], ()), ({}, set()), (bytearray(b"a"), "a"), ([b"a"], ["a"]), ({"a": [1]}, {"a": [2]}), ("a" * 300, "a" * 301),
    ],
)  # fmt: skip
def test_different_arguments(counted, one, other):
    function = counted()
    assert function(one) == 1 and function(other) == 2 and function(one) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({1, 2, 3}, frozenset({3, 2, 1})), ([1], [1.0]), (bytearray(b"a"), b"a")],
)
def test_equal_arguments(counted, one, other):
    function = counted()
    assert function(one) == function(other) == 1


def test_typed(counted):
    function = counted(typed=True)
    assert [function(value) for value in (1, 1.0, True, [1], [1.0], 1)] == [1, 2, 3, 4, 5, 1]


def test_mutable_dataclass(counted):
    function = counted()
    assert function(Point(1, [2])) == function(Point(1, [2])) == 1 and function(Point(1, [3])) == 2


@dataclasses.dataclass
class Point:
    x: int
    y: list[int]


def test_arrays(counted):
    numpy = pytest.importorskip("numpy")
    function = counted()
    assert function(numpy.arange(4)) == function(numpy.arange(4)) == 1
    assert function(numpy.arange(4.0)) == 2 and function(numpy.arange(4).reshape(2, 2)) == 3


def test_argument_that_is_the_same_nowhere_else(counted):
    with pytest.raises(TypeError, match="nothing says what"):
        counted()(object())


def test_key_of_the_caller(counted):
    function = counted(key=lambda customer, **_: (customer["id"], "eur"))
    assert function({"id": 7}) == function({"id": 7, "name": "Ada"}, connection=object()) == 1
    assert function({"id": 8}) == 2


def test_ignored_parameters(store):
    calls = []

    @store.memoize(ignore=["connection", "options"])
    def function(connection, number, *, verbose=False, **options):
        calls.append(1)
        return number

    assert function(object(), 1) == function(object(), 1, color="red") == 1 and len(calls) == 1
    assert function(None, 1, verbose=True) == 1 and len(calls) == 2
    with pytest.raises(ValueError, match=r"\['other'\]"):
        store.memoize(ignore="other")(lambda x: x)


def test_methods(store):
    class Reports:
        def __init__(self, customer):
            self.customer = customer
            self.calls = 0

        @store.memoize(key=lambda self, number: (self.customer, number))
        def by_key(self, number):
            self.calls += 1
            return self.customer, number

        @store.memoize(ignore="self")
        def without_self(self, number):
            self.calls += 1
            return number

        @classmethod
        @store.memoize(ignore="cls")
        def of_class(cls, number):
            return cls.__name__, number

        @staticmethod
        @store.memoize
        def static(number):
            return number

    ada, bob = Reports("Ada"), Reports("Bob")
    assert ada.by_key(1) == ada.by_key(1) == ("Ada", 1) and bob.by_key(1) == ("Bob", 1)
    assert ada.without_self(1) == bob.without_self(1) == 1
    assert (ada.calls, bob.calls) == (2, 1)
    assert Reports.of_class(1) == ("Reports", 1) and ada.static(3) == 3
    with pytest.raises(TypeError, match="below @classmethod"):
        store.memoize(classmethod(len))


# ---- keys of functions


def test_functions_do_not_collide(store):
    source = "def report(x): return {!r}, x"
    one, other = function_of(source.format("one")), function_of(source.format("one"), module="other")
    nested = function_of("class report:\n def inner(x): return 'one', x").inner
    keys = {store.memoize(function).cache_key(1) for function in (one, other, nested)}
    assert len(keys) == 3


def test_versions_do_not_collide(store):
    sources = [
        "def report(x): return x + 1",
        "def report(x): return x + 2",
        "def report(x): return x - 1",
        "def report(x): return len(x)",
        "def report(x): return sum(x)",
        "def report(x): return {'a', 'b', x}",
        "def report(x): return x in {'a', 'b'}",
        "def report(x): return x in {'a', 'c'}",
        "def report(x): return [y + 1 for y in x]",
        "def report(x): return [y + 2 for y in x]",
        "async def report(x): return x + 1",
    ]
    keys = [store.memoize(function_of(source)).cache_key(1) for source in sources]
    assert len(set(keys)) == len(keys)
    assert store.memoize(function_of(sources[0])).cache_key(1) == keys[0]
    assert all(key.startswith("reports:report#") for key in keys)


def test_key_is_the_same_in_every_process(key, tmp_path):
    """Whatever the seed of Python's hashes is, and wherever the file lies."""
    fresh = pytest.importorskip("fresh_process")
    program = (
        "import shmstore, sys\n"
        'exec(compile(\'def report(x, y=2): return x in {"a", "b", "c"}\', sys.argv[2], \'exec\'))\n'
        "report.__module__ = 'reports'\n"
        "print(shmstore.Store(sys.argv[1], size='1M').memoize(report).cache_key({'b', 'a'}))"
    )
    keys = set()
    for name in ("a.py", "b.py", "c.py"):
        done = fresh.run(program, key, name)
        fresh.assert_quiet(done)
        keys.add(done.stdout)
    assert len(keys) == 1 and "({'a','b'},2)" in keys.pop()


def test_closures_do_not_collide(store):
    def adder(number):
        return store.memoize(lambda x: x + number)

    assert adder(1)(10) == 11 and adder(2)(10) == 12


def test_version_and_name(store):
    source = "def report(x): return x"
    plain = store.memoize(function_of(source)).cache_key(1)
    versions = [store.memoize(version=version)(function_of(source)).cache_key(1) for version in (1, 2, "2a")]
    assert len({plain, *versions}) == 4
    assert store.memoize(name="r", version=3)(function_of(source)).cache_key(1) == "r@3(1)"
    assert store.memoize(name="r")(function_of("def other(y): return -y", "other")).cache_key(1) == "r(1)"


def test_callable_that_has_no_name(store):
    class Callable:
        def __call__(self, x):
            return x

    for nameless in (functools.partial(pow, 2), Callable(), Callable().__call__):
        with pytest.raises(TypeError, match="needs its name="):
            store.memoize(nameless)
    assert store.memoize(name="powers")(functools.partial(pow, 2))(10) == 1024
    with pytest.raises(TypeError, match="not int"):
        store.memoize(5)


def test_generators_are_refused(store):
    def generator():
        yield 1

    async def asynchronous():
        yield 1

    for function in (generator, asynchronous):
        with pytest.raises(TypeError, match="a generator cannot be stored"):
            store.memoize(function)


# ---- what it has beside it


def test_looks_like_the_function(store):
    def report(number: int) -> int:
        """Return a number."""
        return number

    memoized = store.memoize(report)
    assert memoized.__wrapped__ is report and memoized.__doc__ == report.__doc__ and memoized.__name__ == "report"
    assert inspect.signature(memoized) == inspect.signature(report)


def test_info(counted):
    function = counted()
    for n in (1, 2, 1, "x" * 500):
        function(n)
    info = function.cache_info()
    assert (info.hits, info.misses, info.currsize) == (1, 3, 3)


@pytest.mark.parametrize("kind", [shmstore.Store, shmstore.Cache])
def test_clear(key, kind):
    with kind(key, size="1M") as store:
        calls = []
        function, other = (store.memoize(name=name)(lambda n: calls.append(n) or len(calls)) for name in ("f", "g"))
        assert function(1) == 1 and function("x" * 500) == 2 and other(1) == 3
        function.cache_clear()
        assert function.cache_info().currsize == 0 and other.cache_info().currsize == 1
        assert function(1) == 4 and other(1) == 3
        assert Child(lambda: function(1)).answer() == 4
        function.cache_clear()
        assert function(1) == 5
        assert len(store) == (2 if kind is shmstore.Store else 5)


def test_clear_while_it_is_computed(store):
    """The result of a computation that began before is not seen after."""

    @store.memoize
    def function(n):
        if n:
            function.cache_clear()
        return n

    assert function(1) == 1 and function.cache_key(1) not in store


# ---- coroutines, and crowds


def test_coroutine_function(store):
    calls = []

    @store.memoize(ttl=60)
    async def function(x):
        calls.append(1)
        await asyncio.sleep(0)
        return x

    async def main():
        assert await asyncio.gather(*[function(1) for _ in range(100)]) == [1] * 100

    assert inspect.iscoroutinefunction(function)
    asyncio.run(main())
    assert calls == [1]
    with pytest.raises(StopIteration) as done:  # a hit: no event loop is needed
        function(1).send(None)
    assert done.value.value == 1


def test_stampede(store):
    @store.memoize(ttl=60)
    def function(crowd):
        crowd.note("computes")
        time.sleep(0.1)
        return 42

    memoized = store.memoize(ttl=60, ignore="crowd")(function.__wrapped__)
    assert Crowd(32, lambda crowd, _: memoized(crowd)).end() == ["computes"]


def test_stale(store):
    calls = []

    def compute():
        calls.append(1)
        return len(calls)

    fresh = store.memoize(name="fresh", ttl=60, stale=600)(compute)
    assert fresh() == fresh() == 1 and fresh.cache_info().misses == 1
    function = store.memoize(name="f", ttl=0.05, stale=600)(compute)
    assert function() == 2
    time.sleep(0.1)
    assert function() == 3 and function.cache_info().misses == 2
