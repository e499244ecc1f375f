"""A Cache that was removed opens or creates itself again, in every call and every process. A Store keeps raising."""

import asyncio
import gc
import inspect
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

import shmstore
from shmstore import PRIVATE, Cache, Store, sysv

sys.path.insert(0, str(Path(__file__).resolve().parent))
from store_methods import ALL, READS, WRITES

CALLS = {**READS, **WRITES}
# What they find absent, in a cache that is empty by now, raises.
OF_ABSENT = {
    "__getitem__", "get_versioned", "get_into", "get_with_ttl", "describe", "ttl", "__delitem__", "pop", "popitem", "view", "modify",
}  # fmt: skip
WAITS = {"wait", "wait_async"}


@pytest.fixture
def cache(key):
    with Cache(key, size="1M") as cache:
        cache["k"] = 1
        yield cache
    gc.collect()


def by_destroy(cache):
    shmstore.destroy(cache._key.name.decode(), backend=cache.info().backend)


def by_the_kernel(cache):
    """As ipcrm, or rm of the file. A process finds out within a second of use."""
    info = cache.info()
    if info.backend == "sysv":
        sysv.shmctl(info.id, sysv.IPC_RMID)
    else:
        os.unlink(f"/dev/shm/shmstore-{info.name}")
    deadline = time.monotonic() + 30
    while cache.get("k") is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def call(name, cache):
    """One that answers, or says that what it looks for is absent."""
    try:
        CALLS[name](cache)
    except (KeyError, TimeoutError) as error:
        assert name in OF_ABSENT or (isinstance(error, TimeoutError) and name in WAITS)


@pytest.mark.parametrize("name", [name for name in ALL if name not in WAITS])
@pytest.mark.parametrize("backend", ["sysv", "posix"], indirect=True)
def test_every_call_after_destroy(cache, key, name):
    old = cache.info().uuid
    by_destroy(cache)
    call(name, cache)
    if name == "__eq__":  # of a cache, that is identity
        cache.get("k")
    if name == "destroy":
        with pytest.raises(shmstore.StoreNotFound):
            Cache(key, create=False)
    with Cache(key, size="1M", create=None if name == "destroy" else False) as other:
        assert cache.info().uuid == other.info().uuid != old
        cache["after"] = 1
        assert other["after"] == 1 and other.info().size == 1 << 20


@pytest.mark.parametrize("name", [name for name in ALL if name not in {"__eq__"}])
def test_a_store_keeps_raising(key, name):
    """Also one that is attached to a cache."""
    with Cache(key, size="1M") as cache, Store(key) as store:
        cache["k"] = 1
        cache.destroy()
        with pytest.raises(shmstore.StoreDestroyed):
            CALLS[name](store)
        cache["k"] = 2
        with pytest.raises(shmstore.StoreDestroyed):
            CALLS[name](store)


@pytest.mark.parametrize("backend", ["sysv", "posix"], indirect=True)
def test_removed_by_the_kernel(cache, key):
    by_the_kernel(cache)
    assert cache.get("k") is None
    cache["k"] = 2
    with Cache(key, create=False) as other:
        assert other["k"] == 2


@pytest.mark.parametrize("name", ["get_many", "put_many", "add_many", "delete_many", "update"])
def test_an_iterator_is_not_used_up(cache, name):
    """The first attempt has read it, the second reads it again."""
    keys = ["a", "b"]
    argument = iter(keys) if name in ("get_many", "delete_many") else iter([(key, 1) for key in keys])
    by_destroy(cache)
    getattr(cache, name)(argument)
    assert sorted(cache) == (keys if name in ("put_many", "add_many", "update") else [])


def test_a_change_goes_to_the_new_cache(cache):
    by_destroy(cache)
    assert cache.modify("k", lambda value: value + 1, 10) == 11 and cache["k"] == 11


def test_removed_while_a_function_changes_a_value(cache):
    calls = []

    def remove_once(value):
        calls.append(value)
        if len(calls) == 1:
            by_destroy(cache)
        return value + 1

    assert cache.modify("k", remove_once, 100) == 101
    assert calls == [1, 100] and cache["k"] == 101


def test_removed_while_a_value_is_computed(cache):
    def remove():
        by_destroy(cache)
        return 5

    assert cache.get_or_set("new", remove) == 5
    assert cache.get_or_set("other", remove, ttl=60, stale=60, early=1.0) == 5
    assert asyncio.run(cache.aget_or_set("third", remove)) == 5 == cache["third"]
    by_destroy(cache)
    assert cache.memoize(lambda n: n, name="f")(6) == 6
    with cache.lock("a"):
        assert cache.check() == 0


def test_removed_while_it_is_walked_through(cache):
    """The walk ends, or goes on in the new cache. It raises nothing."""
    cache.update({f"k{n}": n for n in range(2000)})
    for walk in (iter(cache), iter(cache.items()), iter(cache.values()), iter(cache.keys("k"))):
        cache.update({f"k{n}": n for n in range(2000)})
        next(walk)
        by_destroy(cache)
        assert len(list(walk)) <= 2000
    assert dict(cache) == {}


def test_waits_go_on_in_the_new_cache(cache, key):
    """A wait for a key that is absent goes on; one for a change of a version finds the key absent."""
    version = cache.put("k", 1)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(("after", cache.wait("k", after=version, timeout=60)))),
        threading.Thread(target=lambda: found.append(("absent", cache.wait("new", timeout=60)))),
        threading.Thread(
            target=lambda: found.append(("async", asyncio.run(cache.wait_async("new", timeout=60))))
        ),
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    by_destroy(cache)
    threads[0].join()
    assert found == [("after", 0)]
    with Cache(key, size="1M") as other:
        version = other.put("new", 1)
        for thread in threads:
            thread.join()
    assert sorted(found) == [("absent", version), ("after", 0), ("async", version)]


def test_a_wait_keeps_to_its_time(cache):
    begun = time.monotonic()
    remover = threading.Timer(0.3, by_destroy, [cache])
    remover.start()
    with pytest.raises(TimeoutError):
        cache.wait("absent", timeout=0.5)
    assert time.monotonic() - begun >= 0.5
    remover.join()


def test_a_view_of_a_removed_cache_stays_readable(cache):
    cache["v"] = b"x" * 10_000
    view = cache.view("v")
    by_destroy(cache)
    assert cache.get("v") is None
    cache["v"] = b"y" * 10_000
    assert bytes(view) == b"x" * 10_000
    with cache.view("v") as other:
        assert bytes(other) == b"y" * 10_000
    view.release()
    cache.check()


def test_options_that_were_not_given_stay(key):
    with Cache(key, size="3M", max_entries=77), Cache(key) as cache:
        by_destroy(cache)
        cache["k"] = 1
        assert (cache.info().size, cache.info().max_entries) == (3 << 20, 77)


def test_the_handles_own_options_stay(key):
    with Cache(key, size="1M", ttl=1000, timeout=0, codec="pickle") as cache:
        by_destroy(cache)
        cache["k"] = {1: frozenset()}
        assert 990 < cache.ttl("k") <= 1000 and cache.describe("k").codec == "pickle"


def test_create_true_holds_for_the_first_opening_only(key):
    with Cache(key, size="1M", create=True) as cache, Cache(key, size="1M") as other:
        by_destroy(cache)
        other["k"] = 1
        assert cache["k"] == 1


@pytest.mark.parametrize("options", [{"create": False}, {"readonly": True}])
def test_a_handle_that_must_not_create_waits_for_one_that_does(cache, key, options):
    with Cache(key, **options) as handle:
        assert handle["k"] == 1
        by_destroy(handle)
        for _ in range(2):
            with pytest.raises(shmstore.StoreDestroyed, match="removed"):
                handle.get("k")
        cache["k"] = 2
        assert handle["k"] == 2


def test_another_store_has_taken_the_name(cache, key):
    by_destroy(cache)
    with Store(key, size="1M") as store:
        for _ in range(2):
            with pytest.raises(shmstore.NotACache):
                cache.get("k")
        store.destroy()
    assert cache.get("k") is None


def test_a_private_cache_does_not_come_back():
    """No other process could find it."""
    with Cache(PRIVATE, size="1M") as cache:
        cache.destroy()
        for _ in range(2):
            with pytest.raises(shmstore.StoreDestroyed):
                cache.get("k")


def test_a_closed_handle_stays_closed(cache, key):
    with Cache(key) as other:
        cache.close()
        assert cache.closed and not other.closed
        by_destroy(other)
        for name in [name for name in ALL if name != "__eq__"]:
            with pytest.raises(shmstore.StoreClosed):
                CALLS[name](cache)
        assert not other.closed


def test_pickled(cache, key):
    pickled = pickle.dumps(cache)
    with pickle.loads(pickled) as same:
        assert same["k"] == 1 and type(same) is Cache
    by_destroy(cache)
    with pickle.loads(pickled) as new:
        assert new.get("k") is None
        new["k"] = 2
        assert cache["k"] == 2 and new.info().size == 1 << 20
        by_destroy(new)
        assert new.put("k", 3) and cache["k"] == 3


def test_hashable_by_identity(cache, key):
    with Cache(key) as other:
        assert cache == cache and cache != other and cache != {"k": 1}
        assert {cache: 1, other: 2}[cache] == 1 and len({cache, other}) == 2
    assert hash(cache) == hash(cache)


def test_its_options_are_those_of_a_store(key):
    """They are written out twice: editors read the source."""
    of_store, of_cache = (dict(inspect.signature(kind.__init__).parameters) for kind in (Store, Cache))
    on_error = of_cache.pop("on_error")
    assert (on_error.default, on_error.kind) == ("raise", on_error.KEYWORD_ONLY)
    assert list(of_cache) == list(of_store)
    for name, parameter in of_store.items():
        assert (of_cache[name].default, of_cache[name].kind) == (parameter.default, parameter.kind)
        assert type(of_cache[name].default) is type(parameter.default)


def test_a_subclass(key):
    class Mine(Cache):
        def again(self):
            return self.get("k")

    with Mine(key, size="1M") as cache:
        by_destroy(cache)
        assert cache.again() is None and cache.put("k", 1)


def test_after_fork(cache):
    """The child finds the cache removed, by itself or by its parent, and both meet in the new one."""
    for remover in ("child", "parent"):
        cache["k"] = remover
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(writer)
                os.read(reader, 1)
                if remover == "child":
                    by_destroy(cache)
                cache["from the child"] = cache.get("k")
                os._exit(0)
            finally:
                os._exit(1)
        os.close(reader)
        if remover == "parent":
            by_destroy(cache)
        os.close(writer)
        assert os.waitpid(child, 0)[1] == 0
        assert cache["from the child"] is None
        assert cache.check() == 0
        cache.clear()


def removing(key, backend, number, seconds):
    """Put, get and now and then remove the cache. Returns how often it was removed, and what was raised."""
    removed, end = 0, time.monotonic() + seconds
    with Cache(key, size="1M", backend=backend) as cache:
        n = 0
        while time.monotonic() < end or removed < 3:
            n += 1
            cache.put(f"{number}:{n % 50}", n)
            cache.get(f"{number}:{n % 50}")
            cache.get_many([f"{other}:1" for other in range(4)])
            cache.incr("count")
            cache.modify("list", lambda found: found[-5:] + [1], [])
            if n % 100 == number:
                cache.destroy()
                removed += 1
        assert cache.put("end", 1) and cache.check() == 0
    return removed


@pytest.mark.parametrize("backend", ["sysv", "posix"], indirect=True)
def test_many_processes_at_once(key, backend):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        removed = pool.starmap(removing, [(key, backend, number, 2) for number in range(4)])
    assert sum(removed) > 10


@pytest.mark.parametrize("backend", ["sysv", "posix"], indirect=True)
def test_many_threads_of_one_handle(cache):
    """One of them opens it; a second one that has opened it, too, uses the handle of the first."""
    failures, removed = [], []

    def use(number):
        try:
            for n in range(150):
                cache.put(f"{number}:{n % 50}", n)
                cache.get(f"{number}:{n % 50}")
                list(cache)
                cache.stats()
                if n % 30 == number:
                    cache.destroy()
                    removed.append(n)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and len(removed) == 30
    assert cache.put("k", 1) and cache.check() == 0
    assert len(cache.clients()) == 1  # no handle is left over


def test_no_memory_is_left_over(cache):
    """Of a hundred removals: neither descriptors nor mappings."""

    def used():
        with open("/proc/self/maps") as maps:
            return len(os.listdir("/proc/self/fd")), len(maps.readlines())

    by_destroy(cache)
    cache["k"] = 1
    fds, maps = used()
    for _ in range(100):
        cache.destroy()
        cache["k"] = 1
    gc.collect()
    assert used()[0] <= fds + 2 and used()[1] <= maps + 20


def test_a_signal_handler_that_raises_while_it_is_opened(cache):
    """Its exception passes, and the handle goes on."""

    class Limit(Exception):
        pass

    def handler(signum, frame):
        raise Limit

    before = signal.signal(signal.SIGALRM, handler)
    try:
        for microseconds in range(1, 400, 7):
            cache.destroy()
            try:
                signal.setitimer(signal.ITIMER_REAL, microseconds / 1e6)
                while True:
                    cache.put("k", 1, ttl=None)
            except Limit:
                pass
            assert cache.put("k", 2) and cache["k"] == 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert cache.check() == 0


def test_calls_after_reopening_cost_no_more(cache, caplog):
    """The methods are those of the C type, not functions in Python around them."""
    caplog.set_level(logging.WARNING, logger="shmstore")
    for name in ("get", "put", "incr", "add", "delete", "__contains__", "__getitem__", "__setitem__"):
        assert getattr(Cache, name) is getattr(Store, name)
    by_destroy(cache)
    cache.get("k")
    assert caplog.records == []
