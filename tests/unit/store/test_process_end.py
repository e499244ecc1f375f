"""Processes that end, in order or not, while their threads are inside of a store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from fresh_process import assert_nothing_is_held, assert_quiet, run  # noqa: E402

ENDING = """
import atexit, os, sys, threading, time
atexit.register(time.sleep, 0.02)  # runs after what was registered later: threads go on for a while
import shmstore
store, how, delay = shmstore.Store(sys.argv[1], create=False), sys.argv[2], float(sys.argv[3])
large = bytes(9 << 20)

def loop(i):
    n = 0
    while True:
        n += 1
        choice = (i + n) % 6
        if choice == 0:
            store.put(f"k{n % 20}", [n] * (n % 200))
            store.delete(f"k{n % 17}")
        elif choice == 1:
            store.get(f"k{n % 20}")
            store.get_many([f"k{j}" for j in range(9)])
        elif choice == 2:
            store.incr("n")
        elif choice == 3 and i < 2:
            store.put("large", large)
            store.get("large")
        elif choice == 4:
            try:
                store.wait("n", after=store.get_versioned("n")[1], timeout=0.002)
            except TimeoutError:
                pass
        elif choice == 5 and i == 3:
            store.check()

store.incr("n")
for i in range(4):
    if how == "nameless":
        import _thread
        _thread.start_new_thread(loop, (i,))
    else:
        threading.Thread(target=loop, args=(i,), daemon=True).start()
time.sleep(delay)
if how == "sys.exit":
    sys.exit(0)
if how == "os._exit":
    os._exit(0)
if how == "close":
    threading.excepthook = lambda args: None  # the threads get StoreClosed
    store.close()
"""


def end_many(store, how, times):
    """Two at a time, as there are two cores."""
    name, faults = store.info().name, []
    for i in range(0, times, 2):
        pair = [
            subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-c", ENDING, name, how, str(0.003 * (i + j))],
                cwd="/",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )  # fmt: skip
            for j in range(2)
        ]
        for process in pair:
            try:
                output, _ = process.communicate(timeout=600)
            finally:
                process.kill()
                process.wait()
            # The next one may warn that the last one left without notice: its slot belongs to a process that is gone.
            lines = [line for line in output.splitlines() if "died in the midst of" not in line]
            if lines or process.returncode:
                faults.append((process.returncode, lines))
    return faults


@pytest.mark.parametrize(
    "how, times", [("end", 20), ("sys.exit", 6), ("os._exit", 10), ("close", 6)], ids=lambda value: str(value)
)
def test_the_process_ends_while_daemon_threads_are_inside(make, how, times):
    store = make(size="192M", max_entries=1000)
    assert end_many(store, how, times) == []
    assert_nothing_is_held(store)


def test_the_process_ends_while_threads_are_inside_that_threading_does_not_know(make):
    store = make(size="192M", max_entries=1000)
    faults = end_many(store, "nameless", 2)
    assert_nothing_is_held(store)
    assert faults == []


@pytest.mark.parametrize("how", ["", "sys.exit(3)", "raise SystemExit(3)", "store.close(); sys.exit(3)", "del store"])
def test_a_process_that_exits_normally_frees_its_slot(store, how):
    program = f"import shmstore, sys\nstore = shmstore.Store(sys.argv[1], create=False)\nstore.incr('n')\n{how}"
    done = run(program, store.info().name)
    assert done.stderr == "" and done.returncode == (3 if "3" in how else 0)
    assert len(store.clients()) == 1 and store.recover() == 0  # it was not found dead: it said goodbye


def test_the_store_in_code_that_runs_at_exit(store):
    program = """
import atexit, shmstore, sys, threading
store = shmstore.Store(sys.argv[1], create=False)
class Last:
    def __del__(self, store=store):
        try:
            store.incr("finalizer")
        except shmstore.StoreClosed:
            pass
keep, keep.me = (lambda: 0), Last()
atexit.register(lambda: store.incr("atexit"))
threading.Thread(target=lambda: [store.incr("threads") for _ in range(2000)]).start()
"""
    assert_quiet(run(program, store.info().name))
    assert store["threads"] == 2000 and store["atexit"] == 1
    assert_nothing_is_held(store)


# ---- code that runs inside of calls ------------------------------------------------------------------------
