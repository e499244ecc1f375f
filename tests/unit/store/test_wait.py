"""wait: what wakes a sleeper, what ends a wait, and what goes on meanwhile.

Where a test asks whether a sleeper is *woken*, the slices in which wait sleeps are made so long (the fixture `patient`)
that one who is not would sleep until the test has failed.
"""

from __future__ import annotations

import signal
import statistics
import sys
import threading
import time
from pathlib import Path

import pytest

import shmstore
import shmstore.store
from shmstore import sysv
from shmstore._core import ffi, lib

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from store_programs import LONG, elsewhere, finished  # noqa: E402


@pytest.fixture
def patient(monkeypatch):
    monkeypatch.setattr(shmstore._store.waiting, "_SLICE", 2 * LONG * 10**9)


class Sleeper(threading.Thread):
    """Waits; `result` is the version, or the exception."""

    def __init__(self, store, name, **options):
        super().__init__(daemon=True)
        self.call = lambda: store.wait(name, **{"timeout": LONG, **options})
        self.result = None
        self.start()

    def run(self):
        try:
            self.result = self.call()
        except BaseException as error:
            self.result = error
        self.ended = time.monotonic()

    def woken(self):
        self.join(2 * LONG)
        assert not self.is_alive()
        return self.result


def asleep(seconds=0.05):
    """Gives sleepers the time to fall asleep. One that does so later is no fault of anybody's."""
    time.sleep(seconds)


# ---- what ends a wait --------------------------------------------------------------------------------------


def test_what_is_there_is_not_waited_for(store):
    version = store.put("k", 1)
    assert store.wait("k") == store.wait("k", timeout=0) == store.wait("k", timeout=0, spin=1) == version
    assert store.wait("k", after=0) == version
    assert store.wait("k", after=version + 1) == version
    assert store.wait("absent", after=version, timeout=0) == 0
    store["bytes"] = 1
    with pytest.raises(TimeoutError):
        store.wait(b"bytes", timeout=0)


def test_a_put_wakes(store, patient):
    sleeper, other = Sleeper(store, "k"), Sleeper(store, b"k")
    asleep()
    version = store.put("k", 1)
    assert sleeper.woken() == version
    assert other.is_alive()
    assert store.put(b"k", 1) == other.woken()


def test_another_process_wakes(store, patient):
    sleeper = Sleeper(store, "k")
    asleep()
    output = finished(elsewhere(store, "print(store.put('k', 1))"))
    assert sleeper.woken() == int(output)


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.put("k", 2),
        lambda store: store.incr("k"),
        lambda store: store.replace("k", 5),
        lambda store: store.modify("k", lambda n: n + 1),
        lambda store: store.put_many({"a": 1, "k": 2}),
        lambda store: store.cas("k", 7, store.get_versioned("k")[1]),
    ],
    ids=["put", "incr", "replace", "modify", "put_many", "cas"],
)
def test_every_change_wakes_a_wait_for_a_newer_version(store, patient, change):
    version = store.put("k", 1)
    sleeper = Sleeper(store, "k", after=version)
    asleep()
    change(store)
    assert sleeper.woken() == store.get_versioned("k")[1] != version


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.delete("k"),
        lambda store: store.pop("k"),
        lambda store: store.popitem(),
        lambda store: store.clear(),
        lambda store: store.delete_many(["k"]),
    ],
    ids=["delete", "pop", "popitem", "clear", "delete_many"],
)
def test_a_delete_wakes_a_wait_after_a_version(store, patient, change):
    sleeper = Sleeper(store, "k", after=store.put("k", 1))
    asleep()
    change(store)
    assert sleeper.woken() == 0


def test_a_delete_does_not_wake_a_wait_for_a_missing_key(store, patient):
    sleeper = Sleeper(store, "k")
    for _ in range(20):
        store.delete("k")
    asleep()
    assert sleeper.is_alive()
    assert store.put("k", 1) == sleeper.woken()


def test_an_expiry_wakes(store, patient):
    began = time.monotonic()
    version = store.put("k", 1, ttl=0.1)
    assert store.wait("k", after=version, timeout=LONG) == 0
    assert 0.05 < time.monotonic() - began
    version = store.put("k", 1, ttl=100)
    sleeper = Sleeper(store, "k", after=version)
    asleep()
    store.touch("k", 0.05)  # sooner than the sleeper knew
    assert sleeper.woken() == 0


def test_what_has_expired_is_waited_for(store, patient):
    store.put("k", 1, ttl=0.01)
    time.sleep(0.02)
    sleeper = Sleeper(store, "k")
    asleep()
    assert sleeper.is_alive()
    assert store.put("k", 2) == sleeper.woken()


@pytest.mark.parametrize("options", [{}, {"spin": 0.02}, {"spin": 100}, {"after": 0}], ids=str)
@pytest.mark.parametrize("readonly", [False, True], ids=["writer", "reader"])
def test_timeout(store, make, readonly, options):
    handle = make(readonly=True) if readonly else store
    what = "did not change" if "after" in options else "was not there"
    for seconds in (0, 0.001, 0.05, 0.25):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=f"'never' {what}") as caught:
            handle.wait("never", timeout=seconds, **options)
        assert not isinstance(caught.value, shmstore.LockTimeout)
        assert seconds - 0.005 <= time.monotonic() - began


@pytest.mark.parametrize("bad", [-1, float("nan"), "1", True])
def test_bad_arguments(store, bad):
    for option in ("timeout", "spin"):
        with pytest.raises((ValueError, TypeError)):
            store.wait("k", **{option: bad})


def test_infinity_is_a_number_of_seconds(store):
    store["k"] = 1
    assert store.wait("k", timeout=float("inf")) > 0


def test_destroy_wakes_every_sleeper(store, make, patient):
    version = store.put("k", 1)
    reader = make(readonly=True)
    sleepers = [
        Sleeper(store, "k", after=version),
        Sleeper(reader, "never"),
        *(Sleeper(store, f"n{i}") for i in range(9)),
    ]
    there = elsewhere(
        store,
        """
shmstore._store.waiting._SLICE = 10**12
print("ready", flush=True)
try:
    store.wait("never", timeout=60)
except shmstore.StoreDestroyed:
    print("destroyed")
""",
    )
    assert there.stdout.readline() == "ready\n"
    asleep(0.1)
    store.destroy()
    assert [type(sleeper.woken()) for sleeper in sleepers] == [shmstore.StoreDestroyed] * len(sleepers)
    assert finished(there) == "destroyed\n"


@pytest.mark.sysv
def test_the_administrators_removal_is_noticed(store):
    """ipcrm wakes nobody; the next look finds it."""
    sleeper = Sleeper(store, "never")
    asleep()
    sysv.shmctl(store.info().id, sysv.IPC_RMID)
    assert isinstance(sleeper.woken(), shmstore.StoreDestroyed)


@pytest.mark.parametrize("options", [{}, {"spin": LONG}], ids=["sleep", "spin"])
@pytest.mark.parametrize("readonly", [False, True], ids=["writer", "reader"])
def test_close_ends_the_waits_of_other_threads(store, make, becomes_attached, readonly, options):
    handle = make(readonly=readonly, create=False)
    sleepers = [Sleeper(handle, f"n{i}", **options) for i in range(3)]
    asleep()
    handle.close()
    assert [type(sleeper.woken()) for sleeper in sleepers] == [shmstore.StoreClosed] * 3
    becomes_attached(store, 1)


def test_a_read_only_handle_waits_too(store, make):
    """It cannot announce itself in the store, so it naps."""
    reader = make(readonly=True)
    sleeper = Sleeper(reader, "k")
    asleep()
    version = store.put("k", 1)
    assert sleeper.woken() == version
    sleeper = Sleeper(reader, "k", after=version)
    asleep()
    store.delete("k")
    assert sleeper.woken() == 0
    sleeper = Sleeper(reader, "k", after=store.put("k", 1, ttl=0.05))
    assert sleeper.woken() == 0


def test_spin(store):
    for options in ({"spin": LONG}, {"spin": 0.001}):
        sleeper = Sleeper(store, "k", **options)
        asleep()
        assert finished(elsewhere(store, "print(store.put('k', 1))")) == f"{sleeper.woken()}\n"
        store.delete("k")


# ---- what goes on meanwhile --------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"spin": LONG}], ids=["sleep", "spin"])
def test_other_threads_run(store, patient, options):
    """The wait ends when another thread has done its work."""
    begin = threading.Event()

    def work():
        begin.wait()
        for n in range(20_000):
            store["busy"] = n
        store["done"] = True

    thread = threading.Thread(target=work)
    thread.start()
    begin.set()
    try:
        assert store.wait("done", timeout=LONG, **options) == store.get_versioned("done")[1]
    finally:
        thread.join()
    assert store["busy"] == 19_999


INTERRUPTED = """
import signal
for turn in range(6):
    try:
        print("ready", flush=True)
        store.wait("never", timeout=600, spin=SPIN)
    except KeyboardInterrupt:
        print(time.monotonic(), flush=True)
    store["usable"] = turn
    assert store["usable"] == turn and store.incr("n") == turn + 1
signal.signal(signal.SIGINT, lambda *_: store.put("never", 1))  # a handler that does not raise: the wait goes on
print("ready", flush=True)
assert store.wait("never", timeout=60) == store.get_versioned("never")[1]
store.check()
"""


@pytest.mark.parametrize("spin", [0, 600], ids=["sleep", "spin"])
def test_ctrl_c(store, spin):
    """It acts at once: the wait would go on for ten minutes. And nothing is lost."""
    process = elsewhere(store, INTERRUPTED.replace("SPIN", str(spin)))
    delays = []
    try:
        for _ in range(6):
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.04)
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            delays.append(float(process.stdout.readline()) - sent)
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.04)
        process.send_signal(signal.SIGINT)
    except BaseException:
        process.kill()
        raise
    finished(process)
    print(f"Ctrl-C acted after {1e3 * statistics.median(delays):.2f} ms, at worst {1e3 * max(delays):.2f} ms")
    assert max(delays) < 5 * LONG
    assert store["usable"] == 5


def test_a_killed_sleeper_leaves_nothing(store):
    process = elsewhere(store, "print('ready', flush=True)\nstore.wait('never', timeout=60)")
    assert process.stdout.readline() == "ready\n"
    asleep()
    process.kill()
    process.communicate()
    assert store.recover() == 1
    store["never"] = 1
    store.check()


# ---- many sleepers -----------------------------------------------------------------------------------------


def names_of_one_bucket(store, count):
    """Keys with the same home bucket: layout.h has the offsets."""
    size = ffi.new("uint64_t *")
    header = bytes(ffi.buffer(lib.shms_memory(store._handle, size), 512))

    def number(at):
        return int.from_bytes(header[at : at + 8], "little")

    k0, k1, buckets = number(72), number(80), number(224)
    homes = {}
    for i in range(200_000):
        name = f"name:{i}"
        home = (lib.shms_hash(name.encode(), len(name), k0, k1) >> 32) * buckets >> 32
        group = homes.setdefault(home, [])
        group.append(name)
        if len(group) == count:
            return group
    raise AssertionError("no bucket has so many")


def test_fifty_sleepers_on_different_names_of_one_bucket(make, patient):
    store = make(size="256K")
    names = names_of_one_bucket(store, 50)
    sleepers = {name: Sleeper(store, name) for name in names}
    asleep(0.1)
    for name in names[::2]:
        assert store.put(name, 1) == sleepers[name].woken()
    for name in names[1::2]:
        assert sleepers[name].is_alive()
    versions = {name: store.put(name, 1) for name in names[1::2]}
    assert {name: sleepers[name].woken() for name in versions} == versions
    gone = [Sleeper(store, name, after=store.get_versioned(name)[1]) for name in names]
    asleep(0.1)
    store.delete_many(names)
    assert [sleeper.woken() for sleeper in gone] == [0] * 50


def test_many_sleepers_on_one_name(store, patient):
    sleepers = [Sleeper(store, "k") for _ in range(60)]
    others = [
        elsewhere(
            store,
            "shmstore._store.waiting._SLICE = 10**12\nprint('ready', flush=True)\nprint(store.wait('k', timeout=60))",
        )
        for _ in range(3)
    ]
    for other in others:
        assert other.stdout.readline() == "ready\n"
    asleep(0.1)
    version = store.put("k", 1)
    assert [sleeper.woken() for sleeper in sleepers] == [version] * 60
    assert [finished(other) for other in others] == [f"{version}\n"] * 3


PING_PONG = """
shmstore._store.waiting._SLICE = 10**12
mine, theirs, rounds = GAME
known, slow = 0, 0
for n in range(1, rounds + 1):
    if mine == "ping":
        store.put(mine, n)
    began = time.monotonic()
    known = store.wait(theirs, after=known, timeout=60)
    slow += time.monotonic() - began > 0.05
    assert store[theirs] == n
    if mine == "pong":
        store.put(mine, n)
print(slow)
"""


@pytest.mark.parametrize("spin", [False, True], ids=["sleep", "spin first"])
def test_no_wake_up_is_lost_in_twenty_thousand_rounds(store, spin):
    """Each waits for the other's answer; a wake-up that is lost once stops both for good."""
    program = PING_PONG.replace("timeout=60", "timeout=60, spin=20e-6" if spin else "timeout=60")
    began = time.monotonic()
    players = [
        elsewhere(store, program.replace("GAME", repr((mine, theirs, 20_000))))
        for mine, theirs in (("ping", "pong"), ("pong", "ping"))
    ]
    slow = [int(finished(player)) for player in players]
    print(f"{time.monotonic() - began:.1f} s; {slow} answers took more than 50 ms")
    store.check()


def test_no_wake_up_is_lost_among_threads_that_write_the_same_bucket(make, patient):
    """Neighbours in the bucket move the very word that the sleepers sleep on."""
    store = make(size="256K")
    first, second, noise, *_ = names_of_one_bucket(store, 4)
    stop, faults = threading.Event(), []

    def disturb():
        while not stop.is_set():
            store.incr(noise)
            time.sleep(0.0002)

    def play(mine, theirs, serves):
        known = 0
        try:
            for n in range(1, 1001):
                if serves:
                    store.put(mine, n)
                known = store.wait(theirs, after=known, timeout=LONG)
                assert store[theirs] == n
                if not serves:
                    store.put(mine, n)
        except BaseException as error:
            faults.append(error)

    players = [threading.Thread(target=play, args=(first, second, True)),
               threading.Thread(target=play, args=(second, first, False))]  # fmt: skip
    disturber = threading.Thread(target=disturb)
    for thread in (disturber, *players):
        thread.start()
    for player in players:
        player.join()
    stop.set()
    disturber.join()
    assert faults == []
