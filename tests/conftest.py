"""A key for each test, stores that do not outlive it, the kinds of memory, and how a run behaves."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import shmstore
import shmstore._store.memory_errors  # and what else is imported when it is needed: who becomes another user may not read it any more
import shmstore._store.records
import shmstore.codecs.error_path
import shmstore.store
import shmstore.sysv._errors
from shmstore._store import opening
from shmstore._store.names import BACKENDS


@pytest.fixture(autouse=True)
def outside_the_checkout(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that tests start must find the installed package, not the checkout."""
    monkeypatch.chdir(tmp_path_factory.getbasetemp())


NAMES = "SHMSTORE_TEST_NAMES"  # in the environment: a file with the name of every store that a test may have made


# In the environment: the numbers of those signals that whoever started the run wants to be without effect on it.
IGNORED = "SHMSTORE_TEST_IGNORED"
MAY_END_A_RUN = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
# Those that Python itself ignores, and undoes for programs that it starts; and those of job control.
LEFT_ALONE = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


def give_programs_their_signals() -> None:
    """Let programs that tests start have every signal at its default, as from a shell that somebody types into.

    nohup, jobs in the background of a script, and some CI start a run with signals ignored or blocked, which is handed
    on from program to program. A handler is not: so a signal that would end this run, and must not, is caught and does
    nothing here. Workers of xdist are such programs, too; the environment tells them which ones.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    ignored = {number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN} - {
        *LEFT_ALONE
    }
    harmless = {int(number) for number in os.environ.get(IGNORED, "").split()} | ignored.intersection(MAY_END_A_RUN)
    for number in harmless:
        signal.signal(number, lambda signum, frame: None)
    for number in ignored - harmless:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.environ[IGNORED] = " ".join(str(int(number)) for number in harmless)


def pytest_configure(config: pytest.Config) -> None:
    give_programs_their_signals()
    if NAMES not in os.environ:  # workers inherit it
        handle, os.environ[NAMES] = tempfile.mkstemp(prefix="shmstore-test-names-")
        os.close(handle)
        config.stash[OURS] = os.environ[NAMES]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Three workers for two cores: tests that wait for a timeout or another process leave a third of the time unused."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # xdist obeys it
    cores = len(os.sched_getaffinity(0))
    return cores + (cores + 1) // 2


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect without the garbage collector, and exempt from it what pytest and the test modules hold from then on.

    All of it lives to the end of the run. A test that calls gc.collect() would walk through it each time, which takes a
    third of a second.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Workers that were interrupted could not tidy up: what they left is removed here."""
    path = config.stash.get(OURS, None)
    if path is None:
        return
    with open(path) as names:
        for name in names.read().split():
            remove(name)
    os.unlink(path)
    del os.environ[NAMES]


def remove(name: str) -> None:
    """Remove the stores of this name, of all kinds."""
    for backend in BACKENDS:
        try:
            shmstore.destroy(name, backend=backend)
        except (shmstore.ShmStoreError, OSError):
            pass  # it went in order, or there was none


OURS = pytest.StashKey[str]()
# Tests of the store as such: they run on every kind of memory. Programs that they start get it from defaults/.
ON_ALL = {
    "test_calls_within_calls", "test_entries", "test_fork", "test_forked_children", "test_full", "test_kill", "test_model",
    "test_opening", "test_pack", "test_process_end", "test_readonly", "test_reentry", "test_registry", "test_roundtrip",
    "test_shared_client", "test_store", "test_threads_and_exit", "test_view", "test_wait", "test_wait_async", "test_watch",
}  # fmt: skip
IN_EVERY_RUN = {
    "test_entries", "test_fork", "test_forked_children", "test_opening", "test_readonly", "test_registry",
    "test_shared_client", "test_store",
    "test_view", "test_wait", "test_wait_async", "test_watch",
}  # fmt: skip
DEFAULTS = Path(__file__).with_name("defaults")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend", choices=["sysv", "posix", "both"],
        help="the memory that tests of the store run on; without it POSIX has a part of them, and with -m slow all",
    )  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    module = metafunc.module.__name__.rsplit(".", 1)[-1]
    asked = metafunc.config.getoption("--backend")
    if module not in ON_ALL:
        return
    backends: list[Any] = ["sysv", "posix"] if asked in (None, "both") else [asked]
    if asked is None and module not in IN_EVERY_RUN:
        backends = ["sysv", pytest.param("posix", marks=pytest.mark.slow)]
    if metafunc.definition.get_closest_marker("sysv"):
        backends = [backend for backend in backends if backend == "sysv"]
    metafunc.parametrize("backend", backends, indirect=True)


@pytest.fixture(autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The memory of stores of this test that name none."""
    chosen: str = getattr(request, "param", "sysv")
    if chosen != "sysv":
        monkeypatch.setenv("SHMSTORE_TESTS_BACKEND", chosen)
        monkeypatch.setenv("PYTHONPATH", str(DEFAULTS), prepend=os.pathsep)
        for function in (shmstore.Store.__init__, shmstore.Cache.__init__, shmstore.open, shmstore.destroy):
            monkeypatch.setitem(function.__kwdefaults__, "backend", chosen)
    return chosen


@pytest.fixture
def key(backend: str) -> Iterator[str]:
    """A name that no other test has; its stores are removed at the end."""
    name = f"shmstore-test-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    with open(os.environ[NAMES], "a") as names:
        names.write(name + "\n")
    yield name
    remove(name)


@pytest.fixture
def separate_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every handle that this process opens is a client of its own, as if another process had opened it."""
    monkeypatch.setattr(opening, "SHARES_SLOT", False)


@pytest.fixture
def make(key: str) -> Iterator[Callable[..., shmstore.Store[Any]]]:
    """Open handles on the test's store; all are closed at its end.

    Each is a client of its own, as if another process had opened it. Handles that a test opens otherwise share one.
    """
    opened: list[shmstore.Store[Any]] = []

    def make(**options: Any) -> shmstore.Store[Any]:
        if not options.get("readonly") and options.get("create") is not False and not opened:
            options.setdefault("size", "1M")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(opening, "SHARES_SLOT", False)
            store: shmstore.Store[Any] = shmstore.Store(key, **options)
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(make: Callable[..., shmstore.Store[Any]]) -> Iterator[shmstore.Store[Any]]:
    """A store of one megabyte, checked at the end of the test."""
    store = make()
    yield store
    try:
        store.check()
    except (shmstore.StoreClosed, shmstore.StoreDestroyed):
        pass
