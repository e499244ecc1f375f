"""wait and wait_async: who is woken, by what, and what else goes on meanwhile.

Where a test asks whether a sleeper is *woken*, the slices in which wait sleeps are made so long (the fixture `patient`)
that one who is not would sleep until the test has failed.
"""

from __future__ import annotations

import asyncio
import signal
import statistics
import subprocess
import sys
import threading
import time

import pytest

import shmstore
import shmstore.store
from shmstore import sysv
from shmstore._core import ffi, lib

LONG = 60  # seconds: nobody waits so long unless something is wrong


@pytest.fixture
def patient(monkeypatch):
    monkeypatch.setattr(shmstore._store.waiting, "SLICE", 2 * LONG * 10**9)


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


def elsewhere(store, program, **options):
    """A process that runs *program* on the store."""
    text = "import sys, os, time\nimport shmstore, shmstore.store\nstore = shmstore.Store(sys.argv[1], create=False)\n"
    return subprocess.Popen(
        [sys.executable, "-c", text + program, store.info().name], cwd="/", text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def finished(process):
    try:
        output, errors = process.communicate(timeout=2 * LONG)
    finally:
        process.kill()
        process.wait()
    assert errors == "" and process.returncode == 0
    return output


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
def test_every_change_wakes_who_waits_for_a_newer_version(store, patient, change):
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
def test_a_delete_wakes_who_said_what_he_knew(store, patient, change):
    sleeper = Sleeper(store, "k", after=store.put("k", 1))
    asleep()
    change(store)
    assert sleeper.woken() == 0


def test_who_waits_for_a_name_is_not_bothered_by_deletes(store, patient):
    sleeper = Sleeper(store, "k")
    for _ in range(20):
        store.delete("k")
    asleep()
    assert sleeper.is_alive()
    assert store.put("k", 1) == sleeper.woken()


def test_an_expiry_wakes(store, patient):
    version = store.put("k", 1, ttl=0.1)
    began = time.monotonic()
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


def test_destroy_wakes_everybody(store, make, patient):
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
shmstore._store.waiting.SLICE = 10**12
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


@pytest.mark.parametrize("options", [{}, {"spin": 10}], ids=["sleep", "spin"])
def test_other_threads_run(store, options):
    stop, count = threading.Event(), [0]

    def work():
        while not stop.is_set():
            count[0] += 1
            store["busy"] = count[0]

    thread = threading.Thread(target=work)
    thread.start()
    try:
        before = count[0]
        with pytest.raises(TimeoutError):
            store.wait("never", timeout=0.3, **options)
        during = count[0] - before
    finally:
        stop.set()
        thread.join()
    print(f"{during} puts during 0.3 s of waiting")
    assert during > 100


INTERRUPTED = """
import signal
for turn in range(6):
    print("ready", flush=True)
    try:
        store.wait("never", timeout=60, spin=SPIN)
    except KeyboardInterrupt:
        print(time.monotonic(), flush=True)
    store["usable"] = turn
    assert store["usable"] == turn and store.incr("n") == turn + 1
signal.signal(signal.SIGINT, lambda *_: store.put("never", 1))  # a handler that does not raise: the wait goes on
print("ready", flush=True)
assert store.wait("never", timeout=60) == store.get_versioned("never")[1]
store.check()
"""


@pytest.mark.parametrize("spin", [0, 60], ids=["sleep", "spin"])
def test_ctrl_c(store, spin):
    """It acts at once, and nothing is lost."""
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
    assert statistics.median(delays) < 1
    assert store["usable"] == 5


def test_a_sleeper_who_is_killed_leaves_nothing(store):
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
    """Names whose home is the same bucket: layout.h has the offsets."""
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
            "shmstore._store.waiting.SLICE = 10**12\nprint('ready', flush=True)\nprint(store.wait('k', timeout=60))",
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
shmstore._store.waiting.SLICE = 10**12
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


# ---- wait_async --------------------------------------------------------------------------------------------


def sleeping_threads():
    return [thread for thread in threading.enumerate() if thread.name == "shmstore-wait"]


@pytest.fixture
def no_thread_stays():
    yield
    deadline = time.monotonic() + LONG
    while sleeping_threads() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert sleeping_threads() == []


def test_async_results(store, no_thread_stays):
    async def main():
        version = store.put("k", 1)
        assert await store.wait_async("k") == version
        task = asyncio.create_task(store.wait_async("k", after=version, timeout=LONG))
        await asyncio.sleep(0.03)
        newer = store.put("k", 2)
        assert await task == newer
        task = asyncio.create_task(store.wait_async("k", after=newer, timeout=LONG))
        await asyncio.sleep(0.03)
        store.delete("k")
        assert await task == 0
        task = asyncio.create_task(store.wait_async("new", timeout=LONG, spin=0.001))
        finished(await asyncio.to_thread(elsewhere, store, "store.put('new', 1)"))
        assert await task == store.get_versioned("new")[1]

    asyncio.run(main())


def test_async_timeout(store, no_thread_stays):
    async def main():
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="'never' was not there"):
            await store.wait_async("never", timeout=0.1)
        assert 0.09 <= time.monotonic() - began
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(store.wait_async("never"), 0.05)
        with pytest.raises(ValueError):
            await store.wait_async("never", timeout=-1)
        with pytest.raises(TypeError):
            await store.wait_async(5)

    asyncio.run(main())


def test_async_cancel(store, no_thread_stays):
    async def main():
        tasks = [asyncio.create_task(store.wait_async("never")) for _ in range(10)]
        await asyncio.sleep(0.03)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 10
        assert store.incr("n") == 1

    asyncio.run(main())


def test_async_waits_do_not_block_the_loop(store, no_thread_stays):
    async def main():
        ticks, worst = 0, 0.0

        async def tick():
            nonlocal ticks, worst
            while True:
                began = time.monotonic()
                await asyncio.sleep(0.005)
                worst = max(worst, time.monotonic() - began - 0.005)
                ticks += 1

        ticker = asyncio.create_task(tick())
        waits = [asyncio.create_task(store.wait_async(f"k{i % 20}", timeout=LONG)) for i in range(80)]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in waits)
        during = ticks
        versions = {i: store.put(f"k{i}", i) for i in range(20)}
        assert await asyncio.gather(*waits) == [versions[i % 20] for i in range(80)]
        ticker.cancel()
        print(f"{during} ticks of 5 ms in 0.3 s with 80 waits, the latest {1e3 * worst:.1f} ms late")
        assert during >= 1  # 50 on an idle machine; a blocked loop would not tick at all

    asyncio.run(main())


def test_async_end_of_the_store(store, make, no_thread_stays):
    async def main():
        handle = make(create=False)
        closed = [asyncio.create_task(handle.wait_async("never")) for _ in range(3)]
        destroyed = [asyncio.create_task(store.wait_async("never")) for _ in range(3)]
        await asyncio.sleep(0.03)
        handle.close()
        results = await asyncio.gather(*closed, return_exceptions=True)
        assert [type(result) for result in results] == [shmstore.StoreClosed] * 3
        store.destroy()
        results = await asyncio.gather(*destroyed, return_exceptions=True)
        assert [type(result) for result in results] == [shmstore.StoreDestroyed] * 3

    asyncio.run(main())


def test_a_loop_that_ends_before_its_waits(store, no_thread_stays):
    """asyncio.run cancels what is left; the sleeping threads find the loop gone, and say nothing."""

    async def main():
        for _ in range(3):
            asyncio.create_task(store.wait_async("never"))
        await asyncio.sleep(0.03)

    asyncio.run(main())
    assert (
        finished(
            elsewhere(
                store,
                """
import asyncio
async def main():
    tasks = [asyncio.create_task(store.wait_async("never")) for _ in range(5)]
    await asyncio.sleep(0.03)
asyncio.run(main())
""",
            )
        )
        == ""
    )
    store.recover()
    store.check()
