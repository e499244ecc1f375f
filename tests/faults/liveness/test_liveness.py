"""Liveness in real namespaces: a process counts as dead only if its death is proved.

In each test a victim holds the lock of a name's bucket, and an observer, maybe in other namespaces, wants it: the lock
of the dead is taken over, that of the living (stopped, traced, half gone, hidden) never.
"""

import ctypes
import os
import signal
import time

import actors
import pytest

import shmstore

UNMARKED = 2.5  # seconds: liveness.c
pytestmark = [
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
    pytest.mark.sample,  # minutes together: CI runs them once, beside the suite
]
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: mounts, becomes another user, chooses process ids"
)

SHARED_IPC = [("pid",), ("pid", "time")]  # a Kubernetes pod shares ipc and net between containers


@pytest.fixture
def pair(actor, make):
    """An observer and a victim that holds the lock of "k"."""
    make().put("k", 1)

    def start(observer=(), victim=(), timeout=30.0, offset=0.0):
        one = actor(*observer, timeout=timeout)
        two = actor(*victim, offset=offset)
        two.ask("hold", "k")
        return one, two

    return start


def alive_and_waited_for(observer, victim, seconds=0.4):
    """The lock stays where it is, and the error names its owner."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        assert observer.ask("call", "recover") == 0
        assert False not in observer.ask("others")
        time.sleep(0.1)
    with pytest.raises(shmstore.LockTimeout) as caught:
        observer.ask("call", "incr", "k")
    assert f"process {victim.ask('pid')}" in str(caught.value)


def taken_over(observer, at_least=0.0):
    took, got = observer.ask("timed", "incr", "k")
    assert got == 2 and took >= at_least
    assert observer.ask("call", "recover") <= 1
    assert observer.ask("others") == [True]  # the test's own handle
    observer.ask("call", "check")


def test_the_same_namespaces(pair):
    observer, victim = pair()
    assert observer.ask("others") == [True, True]
    victim.kill()
    taken_over(observer)


@pytest.mark.parametrize("of_victim", [("net",), ("time",), ("net", "time")], ids="+".join)
def test_a_process_id_counts_in_other_namespaces_of_network_and_time(pair, of_victim):
    observer, victim = pair((), of_victim, offset=1234.5678)
    assert observer.ask("others") == victim.ask("others") == [True, True]
    victim.kill()
    taken_over(observer)


@pytest.mark.parametrize("namespaces", SHARED_IPC, ids="+".join)
def test_a_pod(pair, namespaces):
    """Ids mean nothing to each other there, and are the same: 1. The victim's beacon goes out with it."""
    observer, victim = pair(namespaces, namespaces)
    assert observer.ask("pid") == victim.ask("pid") == 1
    assert observer.ask("others")[1:] == [True] and victim.ask("others")[1:] == [True]
    for _ in range(8):
        assert observer.ask("call", "recover") == 0
    victim.kill()
    took, got = observer.ask("timed", "incr", "k")
    assert got == 2 and took >= UNMARKED - 0.1
    assert observer.ask("others") == [True]
    observer.ask("call", "check")


@pytest.mark.parametrize(
    "observer, victim", [((), ("pid",)), (("pid",), ())], ids=["from the host", "from a container"]
)
def test_a_container_and_its_host(pair, observer, victim):
    """An id of the host's is another one's in the container, and the other way round."""
    observer, victim = pair(observer, victim)
    assert observer.ask("others") == [True, True]
    victim.kill()
    assert observer.ask("recover_within", 200) >= UNMARKED - 0.1
    taken_over(observer)


def test_stopped_in_another_container(pair):
    observer, victim = pair(("pid",), ("pid",), timeout=0.3)
    os.kill(victim.pid, signal.SIGSTOP)
    try:
        assert observer.ask("recover_within", UNMARKED + 1) is None
        with pytest.raises(shmstore.LockTimeout, match="process 1 of another pid namespace .* is alive"):
            observer.ask("call", "incr", "k")  # here, number 1 is the observer itself
    finally:
        os.kill(victim.pid, signal.SIGCONT)
    victim.kill()
    assert observer.ask("recover_within", 200)


def test_nothing_shared_but_ipc(pair):
    """Neither ids nor sockets are of one world: unknown, until nobody else is attached."""
    observer, victim = pair(("pid", "net"), ("pid", "net"), timeout=0.3)
    assert None in observer.ask("others") and False not in observer.ask("others")
    victim.kill()
    assert observer.ask("recover_within", UNMARKED + 1) is None
    with pytest.raises(shmstore.LockTimeout, match=r"process 1 \(its id in its own pid namespace\) .*cannot be proved"):
        observer.ask("call", "incr", "k")
    assert observer.ask("call", "get", "k") == 1


def test_nothing_shared_but_ipc_and_alone(key, actor):
    with shmstore.Store(key, size="1M") as store:
        store["k"] = 1
    victim = actor("pid", "net")
    victim.ask("hold", "k")
    observer = actor("pid", "net", timeout=0.3)
    assert observer.ask("call", "recover") == 0
    victim.kill()
    assert observer.ask("timed", "incr", "k")[1] == 2
    observer.ask("call", "check")


def test_another_ipc_namespace_has_other_stores(make, actor, key):
    make().put("k", 1)
    other = actor("ipc", create=True, size="1M")
    assert other.ask("call", "get", "k") is None
    other.ask("call", "put", "k", 5)
    assert other.ask("others") == []
    make().check()
    assert make()["k"] == 1
    other.ask("call", "destroy")


# ---- the same process id


def once_more(pid, seconds=5):
    """Fork until the child has this id; as in a container, where ids are few."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with open("/proc/sys/kernel/ns_last_pid", "w") as file:
                file.write(str(pid - 1))
        except OSError as error:
            raise actors.NotAllowed(f"process ids cannot be chosen here: {error}") from None
        child = os.fork()
        if child == pid or child == 0:
            return child
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    raise actors.NotAllowed(f"the process id {pid} did not come again")


def short_lived(key):
    """A client that dies with a lock in hand: its process id."""
    pid = os.fork()
    if pid == 0:
        store = shmstore.Store(key, create=False)
        actors.hold(store, "k")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    return pid


def start_time_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[19])


def reuse(key, within_a_tick, tenant):
    """In a pid namespace of its own: a client dies, its id is given to a stranger; what a third one sees."""
    observer = shmstore.Store(key, create=False, timeout=0.5)
    pid = short_lived(key)
    time.sleep(0 if within_a_tick else 0.1)
    out, ready = os.pipe()
    child = once_more(pid)
    if child == 0:
        store = shmstore.Store(key, create=False) if tenant else observer.close()
        os.write(ready, b"x")
        signal.pause()
        os._exit(store is None)
    try:
        assert os.read(out, 1) == b"x"
        if within_a_tick:  # this machine may be too slow for it to come about
            actors.set_start_time(observer, pid, start_time_of(pid))
        return observer.incr("k"), [client.pid for client in observer.clients() if not client.is_me]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


TOO_SOON = pytest.mark.xfail(
    raises=shmstore.LockTimeout, strict=False,
    reason="an id that comes again within 20 ms, to another client of the same store: alive, mapped, the same start time",
)  # fmt: skip


@needs_root
@pytest.mark.parametrize("within_a_tick, tenant", [
    pytest.param(False, False, id="later, by a stranger"),
    pytest.param(False, True, id="later, by another client"),
    pytest.param(True, False, id="within a tick of the clock, by a stranger"),
    pytest.param(True, True, id="within a tick of the clock, by another client", marks=TOO_SOON),
])  # fmt: skip
def test_a_process_id_that_was_given_away(key, actor, monkeypatch, within_a_tick, tenant):
    """Its start time is another one; within a tick of the clock it is the same, and only the beacon is dark."""
    with shmstore.Store(key, size="1M") as store:
        store["k"] = 1
    monkeypatch.setattr(actors.Actor, "do_reuse", lambda self, *a: reuse(self.key, *a), raising=False)
    container = actor("pid", attach=False)
    try:
        value, others = container.ask("reuse", within_a_tick, tenant)
    except actors.NotAllowed as error:
        pytest.skip(str(error))
    assert value == 2 and len(others) == tenant


# ---- not dead, or not quite


def test_a_zombie(pair):
    observer, victim = pair()
    victim.kill(reap=False)
    try:
        taken_over(observer)
    finally:
        os.waitpid(victim.child, 0)
        victim.child = 0


def test_a_zombie_whose_threads_live(pair):
    observer, victim = pair(timeout=0.3)
    victim.ask("leader_exits")
    for _ in range(6000):
        with open(f"/proc/{victim.pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == "Z":
                break
        time.sleep(0.01)
    else:
        pytest.fail("the main thread did not end")
    assert victim.ask("call", "get", "k") == 1  # a put would use the very record that says which bucket is locked
    alive_and_waited_for(observer, victim)
    assert victim.ask("call", "get", "k") == 1
    victim.kill()
    taken_over(observer)


def test_a_stopped_process(pair):
    observer, victim = pair(timeout=0.3)
    pid = victim.ask("pid")
    os.kill(victim.pid, signal.SIGSTOP)
    os.waitpid(victim.pid, os.WUNTRACED)
    victim.ask = lambda what: pid
    alive_and_waited_for(observer, victim)
    os.kill(victim.pid, signal.SIGCONT)
    victim.kill()
    taken_over(observer)


def test_a_traced_process(pair):
    observer, victim = pair(timeout=0.3)
    pid = victim.ask("pid")
    zero = ctypes.c_void_p(0)
    if actors.LIBC.ptrace(16, victim.pid, zero, zero) != 0:  # PTRACE_ATTACH
        pytest.skip(f"tracing is not allowed here: {os.strerror(ctypes.get_errno())}")
    os.waitpid(victim.pid, 0)
    victim.ask = lambda what: pid
    alive_and_waited_for(observer, victim)
    actors.LIBC.ptrace(17, victim.pid, zero, zero)  # PTRACE_DETACH
    victim.kill()
    taken_over(observer)


# ---- /proc hidden


@needs_root
def test_a_proc_that_hides_others(make, key, actor):
    """hidepid=2 and another user: of others' processes only their existence can be learnt."""
    make(mode=0o666).put("k", 1)
    victim = actor()
    victim.ask("hold", "k")
    observer = actor(
        "mount", before=lambda: actors.mount_proc(b"hidepid=2"), uid=65534, owner=os.geteuid(), timeout=0.3
    )
    assert observer.ask("others") == [None, None]
    alive_and_waited_for(observer, victim)
    victim.kill()
    assert observer.ask("timed", "incr", "k")[1] == 2
    assert observer.ask("others") == [None]
    observer.ask("call", "check")


@needs_root
@pytest.mark.parametrize("reap", [True, False], ids=["gone", "a zombie"])
def test_no_proc_at_all(make, actor, reap):
    """Not even its own namespaces can be learnt, so no id counts."""
    make().put("k", 1)
    victim = actor()
    victim.ask("hold", "k")
    observer = actor("mount", before=actors.hide_proc, timeout=0.3)
    assert observer.ask("others") == [None, None]
    alive_and_waited_for(observer, victim)
    victim.kill(reap)
    assert observer.ask("call", "recover") == 0
    with pytest.raises(shmstore.LockTimeout):
        observer.ask("call", "incr", "k")
    sighted = actor(timeout=30)
    assert sighted.ask("timed", "incr", "k")[1] == 2
    assert observer.ask("call", "incr", "k") == 3


# ---- time


@pytest.mark.parametrize("offset", [3_000_000.25, 1000.123456789, -600.001], ids=str)
def test_expiry_in_a_time_namespace(make, actor, offset):
    """Its CLOCK_BOOTTIME is ahead, or behind; the store's clock is the host's."""
    if offset < 0 and time.clock_gettime(time.CLOCK_BOOTTIME) < 700:
        pytest.skip("the machine was started too short a time ago")
    here = make()
    there = actor("time", offset=offset)
    here.put("from here", 1, ttl=100)
    there.ask("call", "touch", "from here", 50)
    assert 49 < here.ttl("from here") <= 50
    here.put("from here", 1, ttl=100)
    assert 99 < there.ask("call", "ttl", "from here") <= 100
    for giver, taker in ((here.touch, lambda: there.ask("call", "get", "k")), (None, lambda: here.get("k"))):
        here["k"] = 1
        began = time.monotonic()
        giver("k", 0.3) if giver else there.ask("call", "touch", "k", 0.3)
        while taker() == 1:
            assert time.monotonic() - began < 200
            time.sleep(0.005)
        assert 0.3 <= time.monotonic() - began
    here.check()
    there.ask("call", "check")
    assert there.ask("others") == [True] and [c.alive for c in here.clients()] == [True, True]


@pytest.mark.parametrize("offsets", [(2000.0, 7.003), (0.0, 123456.789)], ids=str)
def test_start_times_in_time_namespaces(make, actor, offsets):
    make().put("k", 1)
    observer, victim = (actor("time", offset=offset, timeout=0.3) for offset in offsets)
    victim.ask("hold", "k")
    assert observer.ask("others") == victim.ask("others") == [True, True]
    alive_and_waited_for(observer, victim)
    victim.kill()
    taken_over(observer)


# ---- what outlives a process without being it


@pytest.mark.parametrize("namespaces", [(), ("pid",)], ids=["by process id", "by liveness socket"])
def test_a_child_that_never_calls_the_store(pair, namespaces):
    """It inherits mapping and descriptors, and lives on when its parent dies."""
    observer, victim = pair(namespaces, ())
    child = victim.ask("fork")
    victim.kill()
    try:
        taken_over(observer, UNMARKED - 0.1 if namespaces else 0)
        with open(f"/proc/{child}/maps") as file:
            assert "/SYSV" in file.read()
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize(
    "namespaces", [(), ("pid",), ("time",)], ids=["by process id", "by liveness socket", "in a time namespace"]
)
def test_exec(pair, namespaces):
    """The same process id and start time, but no client any more: its beacon closed itself."""
    observer, victim = pair(namespaces, ())
    victim.ask("exec")
    taken_over(observer, UNMARKED - 0.1 if "pid" in namespaces else 0)


def test_exec_in_another_network_cannot_be_told(pair):
    """Where no beacon can be seen a process that lives is alive."""
    observer, victim = pair(("net",), (), timeout=0.3)
    pid = victim.ask("pid")
    victim.ask("exec")
    victim.ask = lambda what: pid
    alive_and_waited_for(observer, victim)
    victim.kill()
    taken_over(observer)


def test_a_process_that_closed_its_liveness_socket_opens_it_again(pair):
    """As daemons do that close all descriptors. It uses the store, so it is not held for dead."""
    observer, victim = pair(("pid",), (), timeout=0.3)
    victim.ask("close_descriptors")
    victim.tell("use", UNMARKED + 2)
    assert observer.ask("recover_within", UNMARKED + 1.5) is None
    victim.get()
    assert observer.ask("others") == [True, True]
    assert observer.ask("call", "get", "used") > 4  # forty, on an idle machine


def test_a_process_that_closed_its_liveness_socket_and_sleeps_loses_its_slot(pair):
    """From where only beacons are seen it is dead. It finds out at its next call, and takes another place."""
    observer, victim = pair(("pid",), (), timeout=0.3)
    victim.ask("close_descriptors")
    assert observer.ask("recover_within", 200) >= UNMARKED - 0.1
    assert observer.ask("timed", "incr", "k")[1] == 2
    time.sleep(1.1)  # it looks once a second
    assert victim.ask("call", "incr", "k") == 3
    assert observer.ask("others") == [True, True]
    assert observer.ask("recover_within", UNMARKED + 1) is None
    observer.ask("call", "check")


def test_a_child_that_the_c_library_did_not_make(pair):
    """No handler ran in it, so it holds its parent's beacon: seen by that alone, the parent lives on."""
    if os.uname().machine != "x86_64":
        pytest.skip("the number of the clone system call is not known here")
    observer, victim = pair(("pid",), (), timeout=0.3)
    child = victim.ask("clone")
    victim.kill()
    try:
        assert observer.ask("recover_within", UNMARKED + 1) is None
    finally:
        os.kill(child, signal.SIGKILL)
    assert observer.ask("recover_within", 200)
    taken_over(observer)
