"""As test_places.py, for what is no method of a store; and that no public call is left out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from calls import CALLS
from more_calls import MEMORY, PACKAGE, REFUSED, Blocks, name, quietly
from strikes import CLASSES, Strike, every_place, footprint, is_struck
from unharmed import numbered, process_unharmed, pytestmark  # noqa: F401

import shmstore
from shmstore import ShareableList, SharedMemory, Store, posix, sysv

CASES, OF_PACKAGE = numbered(MEMORY), numbered(PACKAGE)
COUNTS: dict[str, int] = {}
BOUNDED = 25  # places of each call in the quick tier


@pytest.fixture(scope="module", autouse=True)
def told() -> Iterator[None]:
    """How much was tried, for -s."""
    yield
    print(f"\n{sum(COUNTS.values())} places in {len(COUNTS)} calls")


def strike_blocks(name: str, call: Callable[[Blocks], Any], most: int | None, expected: Any = ()) -> None:
    def made(blocks: Blocks) -> None:
        try:
            call(blocks)
        except expected as error:
            if is_struck(error):
                raise
        else:
            assert expected == ()

    wrong: list[Strike] = []
    with process_unharmed(made) as fresh:
        for strike in every_place(lambda: made(fresh.blocks), CLASSES, fresh.renew, most):
            COUNTS[name] = COUNTS.get(name, 0) + 1
            if not strike.right:
                wrong.append(strike)
        assert [strike.told for strike in wrong] == []


@pytest.mark.parametrize("name, call", CASES, ids=[name for name, _ in CASES])
def test_memory(name, call):
    strike_blocks(name, call, BOUNDED)


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    strike_blocks(name, REFUSED[name][1], BOUNDED, REFUSED[name][0])


@pytest.mark.slow
@pytest.mark.parametrize("name, call", CASES, ids=[name for name, _ in CASES])
def test_memory_at_every_place(name, call):
    strike_blocks(name, call, None)


def strike_package(label: str, call: Callable[[], Any], most: int | None) -> None:
    def tidy() -> None:
        """A store that has a name outlives the process that created it."""
        quietly(shmstore.ShmStoreError, shmstore.destroy, name(" store"))

    call()
    before = footprint()
    wrong = []
    for strike in every_place(call, CLASSES, tidy, most):
        COUNTS[label] = COUNTS.get(label, 0) + 1
        if not strike.right:
            wrong.append(strike.told)
    tidy()
    assert wrong == []
    assert footprint() == before


@pytest.mark.parametrize("label, call", OF_PACKAGE, ids=[label for label, _ in OF_PACKAGE])
def test_functions(key, label, call):
    with Store(key, size="1M"):  # for stores() to find
        strike_package(label, call, BOUNDED)


@pytest.mark.slow
@pytest.mark.parametrize("label, call", OF_PACKAGE, ids=[label for label, _ in OF_PACKAGE])
def test_functions_at_every_place(key, label, call):
    with Store(key, size="1M"):
        strike_package(label, call, None)


# ---- no call is left out -----------------------------------------------------------------------------------

NO_CALLS = {
    "__class_getitem__", "__init_subclass__", "__subclasshook__", "__hash__", "__new__", "__class__", "__dir__", "__doc__",
    "__getattribute__", "__setattr__", "__delattr__", "__getstate__", "__module__", "__sizeof__", "__slots__", "__str__",
    "__format__", "__reduce_ex__", "__abstractmethods__", "__orig_bases__", "__parameters__", "__reversed__", "__weakref__",
    "__dict__", "__annotations__", "__static_attributes__", "__firstlineno__", "__lt__", "__le__", "__gt__", "__ge__",
    "__match_args__",
}  # fmt: skip
ELSEWHERE = {"destroy", "__copy__", "__deepcopy__"}  # among the functions; among the refusals


def public(kind: type) -> set[str]:
    names = {name for base in kind.__mro__ for name in vars(base)}
    inherited = {name for name in names if getattr(kind, name, None) is getattr(object, name, None)}
    return {name for name in names - NO_CALLS - inherited if not name.startswith("_") or name.startswith("__")}


def test_every_call_of_a_store_is_struck():
    assert public(Store) - ELSEWHERE == set(CALLS)


@pytest.mark.parametrize("kind", [SharedMemory, ShareableList], ids=lambda kind: kind.__name__)
def test_every_call_of_a_block_is_struck(kind):
    called = {name.partition(".")[2] for name in MEMORY if name.startswith(kind.__name__)}
    assert public(kind) - {"__eq__", "__ne__"} == called


@pytest.mark.parametrize("module", [sysv, posix], ids=lambda module: module.__name__)
def test_every_system_call_is_struck(module):
    prefix = module.__name__.rpartition(".")[2] + "."
    records = {"IpcInfo", "Segment", "ShmInfo", "ShmidDs"}
    assert {name for name in module.__all__ if callable(getattr(module, name))} - records == {
        name.removeprefix(prefix) for name in MEMORY if name.startswith(prefix)
    }


def test_every_function_is_struck():
    functions = {name for name in shmstore.__all__ if inspect.isfunction(getattr(shmstore, name))}
    assert functions - {"register"} == set(PACKAGE)  # register: tests/unit/codecs/test_register.py
