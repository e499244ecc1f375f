"""Creation under attack: openers that race, creators that die or stop half way, and what the next opener makes of it.

A creator's steps, and the words that show how far one came, stand in create.c and layout.h.
"""

import json
import os
import random
import signal
import threading
import time

import pytest

import shmstore
from shmstore import Store, sysv

SIZE = 1 << 20
MAGIC, BEING_CREATED = 0x45524F54534D4853, 0x54494E49534D4853
INITIALISING, READY = 1, 2
# Offsets in the header, as layout.h has them.
STATE, CREATOR_START, CREATOR_WHO = 8, 112, 120
END_OF_WHAT_THE_CREATOR_WRITES = 288


@pytest.fixture
def number():
    """A numeric key of this test alone; the segment that has it at the end goes, whatever it is."""
    number = 0x40000000 | random.SystemRandom().getrandbits(28)
    yield number
    try:
        sysv.shmctl(sysv.shmget(number, 0), sysv.IPC_RMID)
    except FileNotFoundError:
        pass


@pytest.fixture
def spawn():
    """Call functions in forked children; none outlives the test."""
    living = set()

    def spawn(function, *args):
        pid = os.fork()
        if pid == 0:
            try:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                function(*args)
            finally:
                os._exit(0)
        living.add(pid)
        return pid

    def wait(pid, options=0):
        status = os.waitpid(pid, options)[1]
        if not os.WIFSTOPPED(status):
            living.discard(pid)
        return status

    spawn.wait = wait
    yield spawn
    for pid in living:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def race(spawn, jobs):
    """Run every job in a process of its own, all let off at once; return what each returned or raised."""
    gate, opener = os.pipe()
    out, into = os.pipe()

    def run(index, job):
        os.close(opener)
        os.read(gate, 1)  # ends when the last writing end is closed
        try:
            result = job()
        except Exception as error:
            result = type(error).__name__
        os.write(into, json.dumps([index, result]).encode() + b"\n")

    pids = [spawn(run, index, job) for index, job in enumerate(jobs)]
    os.close(gate)
    os.close(into)
    os.close(opener)
    with open(out) as lines:
        results = dict(json.loads(line) for line in lines)
    for pid in pids:
        assert spawn.wait(pid) == 0
    return [results[index] for index in range(len(jobs))]


def works(store):
    store.check()
    store.clear()
    store["a"] = list(range(100))
    assert store["a"] == list(range(100)) and store.incr("n") == 1
    store.put_many({f"k{i}": i for i in range(500)})
    assert len(store) == 502 == len(list(store))
    store.check()
    store.clear()
    assert store.stats().bytes_used == 0
    store.check()


# ---- racing openers ----


def opened(number, **options):
    with Store(number, size=SIZE, **options) as store:
        store.incr("opened")
        return store.info().uuid


def test_racing_openers_all_get_one_store(spawn, number):
    for _ in range(10):
        uuids = race(spawn, [lambda: opened(number)] * 8)
        assert len(set(uuids)) == 1 and len(uuids[0]) == 32, uuids
        with Store(number, create=False) as store:
            assert store["opened"] == 8
            works(store)
            store.destroy()


def test_of_racing_creators_exactly_one_wins(spawn, number):
    for _ in range(10):
        results = race(spawn, [lambda: opened(number, create=True)] * 8)
        losers = [result for result in results if result == "StoreExists"]
        winners = [result for result in results if len(result) == 32]
        assert (len(winners), len(losers)) == (1, 7), results
        with Store(number, create=False) as store:
            assert store["opened"] == 1
            store.destroy()


def test_an_opener_that_does_not_create_finds_a_store_or_none(spawn, number):
    """A process creates and removes stores all the time: others find one, or none."""
    end = time.monotonic() + 1.5

    def come_and_go():
        while time.monotonic() < end:
            with Store(number, size=SIZE) as store:
                store.destroy()

    def look(**options):
        seen = set()
        while time.monotonic() < end:
            try:
                Store(number, **options).close()
                seen.add("open")
            except Exception as error:
                seen.add(type(error).__name__)
        return sorted(seen)

    results = race(spawn, [come_and_go, lambda: look(create=False), lambda: look(readonly=True)])
    assert {name for result in results[1:] for name in result} <= {"open", "StoreNotFound", "StoreDestroyed"}


def test_an_opener_gets_a_store_while_others_remove_it(spawn, number):
    end = time.monotonic() + 1

    def come_and_go():
        errors = set()
        while time.monotonic() < end:
            try:
                store = Store(number, size=SIZE)
            except Exception as error:
                errors.add(type(error).__name__)
                continue
            with store:
                try:
                    store.destroy()
                except shmstore.StoreDestroyed:
                    pass
        return sorted(errors)

    assert race(spawn, [come_and_go] * 3) == [[]] * 3


# ---- creators that died ----


def word(memory, offset):
    return int.from_bytes(memory[offset : offset + 8], "little")


def set_word(memory, offset, value):
    memory[offset : offset + 8] = value.to_bytes(8, "little")


BESIDE = (
    12288 + 1024 * 4096 + 131072
)  # header, pin bits, classes, client slots and generations: beside the size that is asked for


def blank(number, size, mode=0o600):
    sysv.shmget(number, size + BESIDE, sysv.IPC_CREAT | sysv.IPC_EXCL | mode)


def half_made(number, pid, step, size=SIZE, start=0):
    """Leave the segment as a creator with this process id does that came as far as *step*."""
    with Store(number, size=size) as store:  # what the creator writes, from a store that was finished
        id = store.info().id
        with sysv.shmat(id) as memory:
            header = bytes(memory[:END_OF_WHAT_THE_CREATOR_WRITES])
        store.destroy()
    maker = os.fork()  # the kernel's word for who made it must be of somebody who is gone
    if maker == 0:
        blank(number, size)
        os._exit(0)
    os.waitpid(maker, 0)
    who = word(header, STATE) & ~(0xF << 44 | 0x3FFFFF) | INITIALISING << 44 | pid
    with sysv.shmat(sysv.shmget(number, 0)) as memory:
        set_word(memory, 0, BEING_CREATED)
        if step == "magic":
            return
        set_word(memory, STATE, who)
        if step == "state":
            return
        set_word(memory, CREATOR_START, start)
        set_word(memory, CREATOR_WHO, who)
        if step == "identity":
            return
        memory[16:CREATOR_START] = header[16:CREATOR_START]
        memory[CREATOR_WHO + 8 : END_OF_WHAT_THE_CREATOR_WRITES] = header[CREATOR_WHO + 8 :]
        if step == "ready":
            set_word(memory, STATE, who & ~(0xF << 44) | READY << 44)


@pytest.fixture
def dead(spawn):
    """The process id of a process that has ended."""
    pid = spawn(lambda: None)
    spawn.wait(pid)
    return pid


@pytest.mark.parametrize("create", [None, True])
def test_a_creator_dead_before_his_first_word_is_replaced(spawn, number, create):
    spawn.wait(spawn(blank, number, SIZE))
    with Store(number, size=SIZE, create=create, timeout=20) as store:
        works(store)
        store.destroy()


@pytest.mark.parametrize("step", ["magic", "state", "identity", "all"])
@pytest.mark.parametrize("create", [None, True])
def test_a_creator_dead_half_way_is_replaced(number, dead, step, create):
    half_made(number, dead, step)
    with Store(number, size=SIZE, create=create, timeout=20) as store:
        works(store)
        with Store(number, create=False) as other:
            assert other.info().uuid == store.info().uuid
        store.destroy()


def test_a_creator_dead_before_the_last_word_has_made_the_store(number, dead):
    half_made(number, dead, "ready")
    with Store(number, create=False, timeout=20) as store:
        works(store)
        store.destroy()


def test_a_creator_whose_process_id_came_again_is_dead(number):
    half_made(number, os.getpid(), "identity", start=1)  # I live, but did not start then
    with Store(number, size=SIZE, timeout=20) as store:
        works(store)
        store.destroy()


def test_without_the_right_to_create_a_dead_creators_segment_stays(number, dead):
    half_made(number, dead, "all")
    for options in ({"create": False}, {"readonly": True}):
        with sysv.shmat(sysv.shmget(number, 0)) as memory:
            before = bytes(memory)
        with pytest.raises(shmstore.StoreNotFound, match=f"{number:#x}"):
            Store(number, timeout=0.05, **options)
        with sysv.shmat(sysv.shmget(number, 0)) as memory:
            assert before == bytes(memory)


def test_many_replace_a_dead_creator_once(spawn, number, dead):
    for step in ("magic", "state", "all", "ready"):
        half_made(number, dead, step)
        uuids = race(spawn, [lambda: opened(number)] * 6)
        assert len(set(uuids)) == 1 and len(uuids[0]) == 32, uuids
        with Store(number, create=False) as store:
            assert store["opened"] == 6
            works(store)
            store.destroy()


@pytest.mark.parametrize("size", [1216 << 10, 2 << 20, 4 << 20])
def test_a_dead_creator_of_another_size_leaves_nothing_behind(number, dead, size):
    half_made(number, dead, "all", size=size)
    with Store(number, size=SIZE, timeout=20) as store:
        store.check()
        store.put_many({f"k{i}": i for i in range(3000)})
        store.check()
        assert len(store) == 3000 == len(list(store))
        works(store)


@pytest.mark.parametrize("step", ["blank", "state"])
def test_too_small_for_a_store_and_left_by_a_dead_creator(spawn, number, dead, step):
    small = 4096
    if step == "blank":
        spawn.wait(spawn(blank, number, small))
    else:
        blank(number, small)
        with Store(number + 1, size=SIZE) as store:
            with sysv.shmat(store.info().id) as memory:
                who = word(memory, STATE)
            store.destroy()
        with sysv.shmat(sysv.shmget(number, 0)) as memory:
            set_word(memory, 0, BEING_CREATED)
            set_word(memory, STATE, who & ~(0xF << 44 | 0x3FFFFF) | INITIALISING << 44 | dead)

    def attack():
        try:
            Store(number, size=small, timeout=2)
        except (ValueError, shmstore.NotAStore):
            os._exit(7)

    assert os.waitstatus_to_exitcode(spawn.wait(spawn(attack))) == 7


def test_the_mode_is_that_of_the_process_that_finished_the_creation(spawn, number):
    spawn.wait(spawn(blank, number, SIZE, 0o600))
    with Store(number, size=SIZE, mode=0o640) as store:
        assert store.info().mode == 0o640
        store.destroy()


# ---- creators that stopped ----


def stopped(spawn):
    pid = spawn(lambda: os.kill(os.getpid(), signal.SIGSTOP))
    assert os.WIFSTOPPED(spawn.wait(pid, os.WUNTRACED))
    return pid


@pytest.mark.parametrize("step", ["state", "identity", "all"])
def test_a_stopped_creator_is_waited_for_and_named(spawn, number, step):
    pid = stopped(spawn)
    half_made(number, pid, step)
    began = time.monotonic()
    with pytest.raises(shmstore.LockTimeout) as caught:
        Store(number, size=SIZE, timeout=0.2)
    assert time.monotonic() - began >= 0.2
    assert isinstance(caught.value, TimeoutError)
    for part in (f"{number:#x}", f"process {pid} (", "SIGCONT", "SIGKILL"):
        assert part in str(caught.value)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # a zombie whom nobody waited for has gone, too
    with Store(number, size=SIZE, timeout=20) as store:
        works(store)
        store.destroy()


def test_a_creator_that_goes_on_in_time_is_waited_for(spawn, number):
    half_made(number, stopped(spawn), "all")
    attached = sysv.shmat(sysv.shmget(number, 0))
    memory = attached.memory

    def finish():
        set_word(memory, STATE, word(memory, STATE) & ~(0xF << 44) | READY << 44)  # noqa: F821 (deleted after it ran)
        set_word(memory, 0, MAGIC)  # noqa: F821

    timer = threading.Timer(0.2, finish)
    timer.start()
    try:
        with Store(number, size=SIZE, timeout=60) as store:
            assert word(memory, 0) == MAGIC
            works(store)
            store.destroy()
    finally:
        timer.join()
        del memory, finish, timer


def test_a_blank_segment_with_a_live_creator_is_no_store(spawn, number):
    """A creator has a second for its first word; after that the zero bytes count as foreign data."""
    read, write = os.pipe()

    def make():
        blank(number, SIZE)
        os.write(write, b"1")
        os.kill(os.getpid(), signal.SIGSTOP)

    pid = spawn(make)
    assert os.read(read, 1) == b"1"
    os.close(read)
    os.close(write)
    with pytest.raises(shmstore.NotAStore, match="not changed"):
        Store(number, size=SIZE, timeout=20)
    with pytest.raises(shmstore.NotAStore):
        Store(number, size=2 * SIZE, timeout=20)
    with sysv.shmat(sysv.shmget(number, 0)) as memory:
        assert not any(memory)
    os.kill(pid, signal.SIGKILL)
    spawn.wait(pid)
    with Store(number, size=SIZE) as store:
        works(store)
        store.destroy()


def test_a_creator_stopped_before_his_first_word_is_named(number):
    blank(number, SIZE)
    with pytest.raises((shmstore.LockTimeout, shmstore.NotAStore)) as caught:
        Store(number, size=SIZE, timeout=0.05)
    assert "process 0 " not in str(caught.value)
    if isinstance(caught.value, shmstore.LockTimeout):
        assert f"process {os.getpid()} (" in str(caught.value)


# ---- brute force ----


def test_openers_killed_at_any_moment(spawn, number):
    """Whatever sixty creators and clients left when they were killed, the next one opens, works and checks."""
    rng = random.Random(4)

    def attack():
        os.read(gate, 1)
        while True:
            with Store(number, size=SIZE) as store:
                store["a"] = [1] * 100
                store.incr("n")

    for _ in range(20):
        gate, opener = os.pipe()
        pids = []
        for _ in range(3):
            pids.append(spawn(lambda: (os.close(opener), attack())))
        os.close(gate)
        os.close(opener)
        for pid in pids:
            time.sleep(rng.uniform(0, 0.003))
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            spawn.wait(pid)
        with Store(number, size=SIZE, timeout=20) as store:
            store.check()
            assert store.get("a", [1] * 100) == [1] * 100
            works(store)
            assert [client.is_me for client in store.clients()] == [True]
            if rng.random() < 0.8:
                store.destroy()
