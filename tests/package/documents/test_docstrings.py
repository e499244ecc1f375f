"""The examples in public docstrings, each with a new store. The names of stores and objects are those of the test alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import shmstore
from shmstore import posix, shared_memory, sysv

NAME = "example"  # as the examples write it
CLASSES = (shmstore.Store, shmstore.SharedMemory, shmstore.ShareableList, sysv.Attachment, posix.Mapping)

# In a process of its own: examples register types, and a class of the package may be open meanwhile.
PROGRAM = """
import doctest, sys
import shmstore
name, docstring = sys.argv[1:]
module = __import__(name, fromlist=["_"])
store = shmstore.Store(shmstore.PRIVATE, size="1M")
names = {**vars(module), "shmstore": shmstore, "store": store}
test = doctest.DocTestParser().get_doctest(docstring, names, name, name, 0)
failed, run = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL).run(test)
assert run
sys.exit(failed)
"""


def docstrings() -> Iterator[tuple[str, str, str]]:
    """The name of each public thing with examples, its module, and its docstring."""
    for module in (shmstore, sysv, posix, shared_memory):
        yield module.__name__, module.__name__, module.__doc__ or ""
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing):
                yield f"{module.__name__}.{name}", module.__name__, thing.__doc__ or ""
    for cls in CLASSES:
        for name in dir(cls):
            member = getattr(cls, name)
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                yield f"{cls.__name__}.{name}", cls.__module__, member.__doc__ or ""


EXAMPLES = {name: (module, text) for name, module, text in docstrings() if ">>> " in text}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str) -> None:
    module, text = EXAMPLES[name]
    mine = f"shmstore-docstring-{os.getpid()}"
    text = text.replace(f'"{NAME}"', f'"{mine}"').replace(f'"/{NAME}"', f'"/{mine}"')
    try:
        done = subprocess.run([sys.executable, "-c", PROGRAM, module, text], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        for remove in (lambda: shmstore.destroy(mine), lambda: posix.shm_unlink(f"/{mine}")):
            try:
                remove()
            except (shmstore.StoreNotFound, FileNotFoundError):
                pass


def test_every_call_of_a_store_has_an_example() -> None:
    """So that help() shows each call at work."""
    calls = {name for name in dir(shmstore.Store) if not name.startswith("_")}
    assert {f"Store.{name}" for name in calls} <= set(EXAMPLES)


def test_every_public_docstring_begins_with_a_whole_sentence() -> None:
    for name, _, text in docstrings():
        assert text.strip().partition("\n")[0].endswith((".", ":")), name


def test_a_wrong_example_is_found() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, "shmstore", ">>> 1 + 1\n3\n"], capture_output=True, text=True)
    assert done.returncode == 1 and "Expected:" in done.stdout
