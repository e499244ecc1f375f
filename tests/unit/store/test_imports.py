"""The package imported several times in one process: again in one interpreter (autoreload), and in sub-interpreters, as
mod_wsgi and uWSGI make them. Every public call is made by each import while others live, and after they ended."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import shmstore

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import every_call  # noqa: E402

START = f"""
import gc, importlib, pickle, sys
sys.path.insert(0, {str(HERE)!r})
import every_call, interpreters
key = sys.argv[1]

def mappings(store):
    # In this process alone: others may attach to a store for a moment, to list it.
    with open("/proc/self/maps") as maps:
        return sum("/SYSV" in line and line.split()[4] == str(store.info().id) for line in maps)

def import_again():
    for name in [name for name in sys.modules if name.partition(".")[0] == "shmstore"]:
        del sys.modules[name]
    return importlib.import_module("shmstore")
"""

# Each handle a client of its own: what does not close shows.
SEPARATE = """
import shmstore
def separate(package):
    package.store.open_handle.__globals__["SHARES_SLOT"] = False
    return package
separate(shmstore)
"""


@pytest.fixture
def said(key):
    """Run a program with a key of its own; give what it printed. What it left is removed."""

    def run(program, *arguments, first="import shmstore\n"):
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", START + first + program, key, *arguments],
            capture_output=True, text=True, cwd="/", timeout=1200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        # Python's own decimal says this in each sub-interpreter, up to 3.11.
        assert [line for line in done.stderr.splitlines() if line and "MPD_MINALLOC" not in line] == []
        return done.stdout.splitlines()

    yield run
    for part in ("", "-first", "-second", "-third"):
        every_call.remove(shmstore, key + part)


# ---- again in one interpreter ------------------------------------------------------------------------------


def test_handles_of_an_earlier_import_go_on(said):
    assert said("""
first = shmstore
calls = every_call.calls(first, key)
second = import_again()
print(every_call.failures(every_call.calls(second, key + "-second")), every_call.failures(calls))
third = import_again()
print(every_call.failures(every_call.calls(third, key + "-third")), every_call.failures(calls))
assert first.Store is not second.Store is not third.Store
""") == ["[] []", "[] []"]


def test_a_takeover_after_the_package_was_imported_again(said):
    lines = said("""
first = shmstore
store = first.open(key, size="1M")
second = import_again()
print(*interpreters.takeover(second, store))
print(*interpreters.takeover(second, second.open(key)))
""")
    assert len(lines) == 2 and all(f"shmstore {line.split()[1]} process" in line for line in lines), lines
    assert all("died while it used the store" in line for line in lines)


def test_imports_share_what_is_compared_caught_and_passed(said):
    """So `except shmstore.StoreClosed` catches what a handle of an earlier import raises, and DEFAULT is DEFAULT."""
    assert said("""
first = shmstore
store, old = first.open(key, size="1M"), {name: getattr(first, name) for name in first.__all__}
segment, mapped = (importlib.import_module(f"shmstore.{name}") for name in ("sysv", "posix"))
attachment = segment.shmat(segment.shmget(0, 100, 0o600))
mapping = mapped.mmap(None, 4096, flags=mapped.MAP_SHARED | mapped.MAP_ANONYMOUS)
stat = segment.shmctl(attachment.shmid, segment.IPC_STAT)
second = import_again()
print(*sorted(name for name in second.__all__ if getattr(second, name) is not old[name]))
again = second.open(key)
again.put("a", 1, ttl=first.DEFAULT), store.put("a", 1, ttl=second.DEFAULT), store.touch("a", second.DEFAULT)
assert again.info().uuid == store.info().uuid
second.open(first.PRIVATE), first.open(second.PRIVATE)
store.close()
try:
    store.get("a")
except second.ShmStoreError as error:
    print(type(error) is first.StoreClosed)
segment, mapped = (importlib.import_module(f"shmstore.{name}") for name in ("sysv", "posix"))
segment.shmctl(attachment.shmid, segment.IPC_SET, stat)
segment.shmctl(attachment.shmid, segment.IPC_RMID), segment.shmdt(attachment), mapped.munmap(mapping)
""") == ["Cache ShareableList SharedMemory Store destroy key open register stores typed_key", "True"]


def test_handles_of_an_earlier_import_are_pickled(said):
    """As handles of the import that is in effect, wherever they are unpickled."""
    assert said("""
store, first, stats = shmstore.open(key, size="1M"), shmstore, shmstore.DEFAULT
block, shared = first.SharedMemory(key, True, 10), first.ShareableList([1], name=key + "-list")
class Mine(first.Store):
    pass
store["a"], records, mine = 1, [store.stats(), store.info(), store.clients()], Mine(key)
second = import_again()
for handle in (store, mine, block, shared):
    print(type(handle).__name__, type(pickle.loads(pickle.dumps(handle))) is getattr(second, type(handle).__name__, Mine))
print(pickle.loads(pickle.dumps(store))["a"], pickle.loads(pickle.dumps(records)) == records)
print(pickle.loads(pickle.dumps((first.DEFAULT, first.PRIVATE))) == (second.DEFAULT, second.PRIVATE))
""") == ["Store True", "Mine True", "SharedMemory True", "ShareableList True", "1 True", "True"]


def test_registered_types_belong_to_an_import(said):
    """A program that imports the package again registers again, perhaps a class that was made anew."""
    assert said("""
first, kind = shmstore, every_call.Point
first.register(101, kind, kind.to_bytes, kind.from_bytes)
store = first.open(key, size="1M")
store["a"] = kind(1)
second = import_again()
again = second.open(key)
print(every_call.raises(second.CodecError, lambda: again["a"]), every_call.raises(second.CodecError, lambda: again.put("b", kind(2))))
second.register(102, kind, kind.to_bytes, kind.from_bytes)
again["b"] = kind(2)
print(again["b"].x, store["a"].x, every_call.raises(first.CodecError, lambda: store["b"]))
""") == ["True True", "2 1 True"]


def test_dropped_handles_of_all_imports_close(said):
    assert said("""
store, first = shmstore.open(key, size="1M"), shmstore
handles = [first.open(key), first.open(key).keys(), import_again().open(key)]
handles.append(handles)
print(len(store.clients()), mappings(store))
del handles
gc.collect()
print(len(store.clients()), mappings(store))
""") == ["1 1", "1 1"]


def test_dropped_handles_of_all_imports_detach(said):
    assert said(
        SEPARATE
        + """
store, first, second = shmstore.open(key, size="1M"), shmstore, separate(import_again())
handles = [first.open(key), first.open(key).keys(), second.open(key)]
handles.append(handles)
print(len(store.clients()), mappings(store))
del handles
gc.collect()
print(len(store.clients()), mappings(store))
"""
    ) == ["4 4", "1 1"]


@pytest.mark.parametrize("end", ["", "import_again()", "sys.modules.clear()"])
def test_each_import_leaves_the_registry_at_exit(said, store, end):
    said(SEPARATE + """
import builtins
second = separate(import_again())
builtins.kept = [shmstore.open(sys.argv[2]), second.open(sys.argv[2])]
assert len(second.open(sys.argv[2]).clients()) == 4
""" + end, store.info().name)  # fmt: skip
    assert [client.is_me for client in store.clients()] == [True] and store.recover() == 0


MODULES = [module.name for module in pkgutil.walk_packages(shmstore.__path__, "shmstore.")]
# Programs; and what needs packages that may be missing.
NOT_RELOADED = re.compile(
    r"shmstore\.(__main__|cli|demo|_demo_parent|codecs\.(arrow|frames|msgspec)|integrations\.[a-z_]+)\b"
)


def test_every_module_can_be_reloaded(said):
    """Then its classes and functions are new ones, and objects of the old ones live. Both work, after each reload."""
    lines = said("""
calls = every_call.calls(shmstore, key)
assert every_call.failures(calls) == []
for name in [*sys.argv[2].split(), "shmstore"]:
    importlib.reload(importlib.import_module(name))
    print(name, *every_call.failures(calls), *every_call.failures(every_call.of_a_store(shmstore)))
print("", *every_call.failures(every_call.calls(shmstore, key + "-second")))
""", " ".join(name for name in MODULES if not NOT_RELOADED.match(name)))  # fmt: skip
    assert len(lines) > 40
    assert [line for line in lines if " " in line.strip()] == []


# ---- in sub-interpreters -----------------------------------------------------------------------------------

USE = "user = interpreters.User(key, name)"
ENDED = """
import gc
gc.collect()
assert [client.is_me for client in user.store.clients()] == [True] and mappings(user.store) == 1
"""


def test_interpreters_that_end_while_the_first_one_goes_on(said):
    """What was the first import's must not be needed by others, nor theirs by it once they have ended."""
    said(f"""
user = interpreters.User(key, key + '-first')
there, beside = interpreters.create(), interpreters.create()
interpreters.run(there, {USE!r}, key=key, name=key + "-second")
interpreters.run(beside, {USE!r}, key=key, name=key + "-third")
user.again()
interpreters.end(there)
interpreters.run(beside, "user.again()")
user.again()
interpreters.end(beside)
user.again()
{ENDED}""")


def test_an_interpreter_that_imports_first_and_ends_first(said):
    said(f"""
there, beside = interpreters.create(), interpreters.create()
interpreters.run(there, {USE!r}, key=key, name=key + '-first')
interpreters.run(beside, {USE!r}, key=key, name=key + "-second")
interpreters.run(there, "user.again()")
interpreters.end(there)
interpreters.run(beside, "user.again()")
user = interpreters.User(key, key + "-third")
interpreters.end(beside)
user.again()
{ENDED}""", first="")  # fmt: skip


@pytest.mark.parametrize("left", ["", "keep = []; keep += [keep, user]", "import builtins; builtins.user = user"])
def test_an_interpreter_closes_what_it_opened_and_nothing_else(said, left):
    """Also what lies in a cycle, and what stays where the interpreter looks last."""
    said(f"""
user = interpreters.User(key, key + '-first')
for _ in range(3):
    there = interpreters.create()
    interpreters.run(there, {SEPARATE!r} + "user = shmstore.open(key);" + {left!r}, key=key)
    assert len(user.store.clients()) == 2
    interpreters.end(there)
    {ENDED.strip().replace(chr(10), chr(10) + "    ")}
user.again()
""")


def test_an_interpreter_of_the_c_api(said):
    """Py_NewInterpreter and Py_EndInterpreter, as an embedding program calls them."""
    pytest.importorskip("_testcapi")
    said(f"""
import _testcapi
START = {START!r}.replace("sys.argv[1]", repr(key))
user = interpreters.User(key, key + '-first')
for _ in range(3):
    there = START + "user = interpreters.User(key, key + '-second')"
    assert _testcapi.run_in_subinterp(there) == 0
    every_call.remove(shmstore, key + "-second")
    user.again()
{ENDED}""")


def test_types_are_registered_in_one_interpreter(said):
    said("""
kind = every_call.Point
shmstore.register(101, kind, kind.to_bytes, kind.from_bytes)
store = shmstore.open(key, size="1M")
store["a"] = kind(1)
there = interpreters.create()
interpreters.run(there, '''
import shmstore, every_call
store = shmstore.open(key)
assert every_call.raises(shmstore.CodecError, lambda: store["a"])
assert every_call.raises(shmstore.CodecError, lambda: store.put("b", every_call.Point(1)))
shmstore.register(102, every_call.Point, every_call.Point.to_bytes, every_call.Point.from_bytes)
store["b"] = every_call.Point(2)
''', key=key)
assert store["a"] == kind(1) and every_call.raises(shmstore.CodecError, lambda: store["b"])
interpreters.end(there)
assert store["a"] == kind(1)
""")


def test_threads_of_two_interpreters_share_a_store(said):
    """The GIL that they share is what keeps their calls apart."""
    said("""
import threading
store, there = shmstore.open(key, size="1M"), interpreters.create()
interpreters.run(there, "import threading")  # in the thread that ends it, which waits for this one
program = "import shmstore; store = shmstore.open(key)\\nfor i in range(3000): store.incr('n'); store['a'] = (i, [i] * (i % 50))"
thread = threading.Thread(target=interpreters.run, args=(there, program), kwargs={"key": key})
thread.start()
for i in range(3000):
    store.incr("n")
    value = store.get("a", (0, []))
    assert set(value[1]) <= {value[0]}
thread.join()
assert store["n"] == 6000 and store.check() == 0
interpreters.end(there)
""")


def test_an_interpreter_with_a_gil_of_its_own_is_told_why_not(said):
    said("""
there = interpreters.create(isolated=True)
interpreters.run(there, '''
try:
    import shmstore
except ImportError as error:
    said = str(error)
    assert "isolated sub-interpreter" in said and "GIL of its own" in said and "cffi" in said and "mod_wsgi" in said, said
    assert OWN_GIL
else:
    assert not OWN_GIL
''', OWN_GIL=interpreters.OWN_GIL)
interpreters.end(there)
assert shmstore.open(shmstore.PRIVATE, size="1M").put("a", 1)
""")
