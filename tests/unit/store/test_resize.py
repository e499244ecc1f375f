"""A store gets another size while handles, views, iterations, locks and waiters use it."""

import asyncio
import os
import pickle
import subprocess
import sys
import threading
import time

import pytest

import shmstore


@pytest.fixture(params=["sysv", "posix"])
def backend(request):
    return request.param


@pytest.fixture
def store(make, backend):
    return make(backend=backend, size="2M")


@pytest.fixture
def make_cache(key):
    opened = []

    def make(**options):
        opened.append(shmstore.Cache(key, **options))
        return opened[-1]

    yield make
    for cache in opened:
        cache.close()


def other(store, **options):
    return type(store)(store._key.name.decode(), backend=store._key.backend, **options)


def fill(store, entries=500):
    values = {f"key:{i}": {"n": i, "text": "x" * (i % 300)} for i in range(entries)}
    store.put_many(values)
    return values


@pytest.mark.parametrize("sizes", [["8M"], ["1M"], ["4M", "1M", "16M"]])
def test_entries_keep_value_version_and_time_to_live(store, sizes):
    values = fill(store)
    values[b"bytes"] = bytes(range(256)) * 100
    store.put(b"bytes", values[b"bytes"])
    store.put("soon", "expires", ttl=1000)
    store.incr("counter", 41)
    versions = {key: store.get_versioned(key)[1] for key in values}
    for size in sizes:
        store.resize(size)
        assert store.info().size == shmstore._store.names.parse_size(size)
        assert {key: store.get_versioned(key)[1] for key in values} == versions
    assert {key: store[key] for key in values} == values
    assert 900 < store.ttl("soon") <= 1000 and store.incr("counter") == 42
    assert store.cas("key:1", "new", version=versions["key:1"]) and not store.cas(
        "key:1", "newer", version=versions["key:1"]
    )
    assert len(store) == len(values) + 2
    store.check()


def test_every_handle_follows(store):
    values = fill(store)
    writer, reader = other(store), other(store, readonly=True)
    pickled = pickle.loads(pickle.dumps(store))
    for size in ("4M", "1M"):
        store.resize(size)
        for handle in (writer, reader, pickled):
            assert dict(handle) == values and handle.info().size == store.info().size
        writer["key:1"] = values["key:1"] = size
        assert reader["key:1"] == pickled["key:1"] == store["key:1"] == size
    assert writer.stats().clients == 2  # two handles still share a client slot; the first one has its own, as before
    for handle in (writer, reader, pickled):
        handle.close()


def test_tags_and_namespaces_stay(store):
    store.put("tagged", 1, tags=("a", "b"))
    store.put("other", 2, tags=("c",))
    users = store.namespace("users")
    users["ada"] = 3
    handle = other(store)
    inside = handle.namespace("users")
    store.resize("4M")
    assert users["ada"] == inside["ada"] == 3 and list(inside) == ["ada"] and handle["tagged"] == 1
    handle.evict_tag("b")
    assert "tagged" not in store and store["other"] == 2
    store.put("tagged", 4, tags=("a", "b"))
    store.resize("1M")
    assert handle["tagged"] == 4 and inside["ada"] == 3
    inside.clear()
    assert "ada" not in users and store["tagged"] == 4
    more = handle.namespace("more")
    more["x"] = 5
    store.resize("4M")
    users["x"] = 6
    users.clear()
    assert store.namespace("more")["x"] == 5
    for one in (more, inside, users, handle):
        one.close()


def test_figures_stay(store):
    fill(store)
    store.get("key:1"), store.get("absent")
    before = store.stats()
    store.resize("8M")
    after = store.stats()
    assert (after.entries, after.hits, after.misses, after.puts) == (
        before.entries,
        before.hits,
        before.misses,
        before.puts,
    )


def test_max_entries_can_change(store):
    fill(store, 100)
    store.resize("4M", max_entries=5000)
    assert store.info().max_entries == 5000
    store.resize("2M")
    assert store.info().max_entries == 5000


@pytest.mark.parametrize("size", ["128K", "200K"])
def test_a_store_that_does_not_fit_stays_as_it_is(store, size):
    values = fill(store, 2000)
    with pytest.raises(shmstore.StoreFull, match=r"2000 entries.*nothing was changed"):
        store.resize(size)
    assert dict(store) == values and store.info().size == 2 << 20
    store["more"] = 1
    store.check()


def test_a_cache_evicts_what_has_no_room(make_cache, backend):
    cache = make_cache(backend=backend, size="4M")
    for i in range(10_000):
        cache[f"key:{i}"] = "x" * 200
    cache.resize("1M")
    left = set(cache)
    assert 1000 < len(left) < 10_000 and all(cache[key] == "x" * 200 for key in left)
    for i in range(10_000):
        cache[f"more:{i}"] = "y" * 200
    cache.check()
    cache.resize("8M")
    assert cache.stats().evictions > 0
    cache.check()


def test_what_is_used_often_stays_in_a_smaller_cache(make_cache):
    cache = make_cache(size="4M")
    for i in range(10_000):
        cache[f"key:{i}"] = "x" * 200
    hot = [f"key:{i}" for i in range(0, 10_000, 50)]
    for _ in range(3):
        for key in hot:
            cache.get(key)
    hot = [key for key in hot if key in cache]
    cache.resize("1M")
    assert sum(key in cache for key in hot) >= 0.9 * len(hot)


def test_views_stay_in_the_former_segment(store):
    store["blob"] = b"a" * 50_000
    view = store.view("blob")
    store.resize("4M")
    store["blob"] = b"b" * 50_000
    assert bytes(view) == b"a" * 50_000 and store["blob"] == b"b" * 50_000
    store.resize("8M")
    store.close()
    assert bytes(view) == b"a" * 50_000
    view.release()


@pytest.mark.parametrize("size", ["16M", "1M"])
def test_an_iteration_that_has_begun_yields_every_key_once(store, size):
    values = fill(store, 3000)
    handle = other(store)
    iteration = iter(handle)
    keys = [next(iteration) for _ in range(100)]
    store.resize(size)
    handle["key:1"] = "new"
    keys += [next(iteration) for _ in range(100)]
    store.resize("4M")
    keys += iteration
    assert sorted(keys) == sorted(values)
    handle.close()


def test_the_former_segment_is_left(store, becomes_attached):
    fill(store)
    iteration = iter(store)
    next(iteration)
    store.resize("4M")
    del iteration
    store.get("key:1")
    becomes_attached(store, 1)
    store.resize("1M")
    store.get("key:1")
    becomes_attached(store, 1)


def test_locks_stay_held(store):
    lock = store.lock("job", timeout=0)
    held = lock.__enter__()
    store.resize("4M")
    taken = subprocess.run(
        [sys.executable, "-c", f"import shmstore; s = shmstore.Store({store._key.name.decode()!r}, backend={store._key.backend!r}); "
         "print(s.lock('job').acquire(timeout=0))"], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert taken.stdout == "False\n" and held.token
    lock.__exit__(None, None, None)
    assert store.lock("job").acquire(timeout=0)


def test_a_lock_is_released_by_a_death_after_a_resize(store):
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        handle = other(store)
        handle.lock("job").acquire(timeout=0)
        os.write(go, b"x")
        time.sleep(1000)
    os.read(ready, 1)
    store.resize("4M")
    assert not store.lock("job").acquire(timeout=0)
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert store.lock("job").acquire(timeout=30)
    os.close(ready), os.close(go)


def test_a_waiter_is_woken_in_the_new_segment(store):
    found = []
    store["flag"] = 0
    version = store.get_versioned("flag")[1]
    thread = threading.Thread(target=lambda: found.append(other(store).wait("flag", after=version, timeout=60)))
    thread.start()
    store.resize("4M")
    store["flag"] = 1
    thread.join()
    assert found == [store.get_versioned("flag")[1]]


def test_an_async_waiter_is_woken_in_the_new_segment(store):
    async def main():
        waiter = asyncio.ensure_future(store.wait_async("flag", timeout=60))
        await asyncio.sleep(0)
        await asyncio.to_thread(store.resize, "4M")
        store["flag"] = 1
        return await waiter

    assert asyncio.run(main()) == store.get_versioned("flag")[1]


def test_waiters_in_a_loop_follow(store):
    async def main():
        waiters = [asyncio.ensure_future(store.wait_async(f"flag:{i}", timeout=60)) for i in range(200)]
        await asyncio.sleep(0)
        with other(store) as resizer:
            await asyncio.to_thread(resizer.resize, "4M")
            resizer.put_many({f"flag:{i}": i for i in range(200)})
            return await asyncio.gather(*waiters)

    assert asyncio.run(main()) == [store.get_versioned(f"flag:{i}")[1] for i in range(200)]


def test_threads_of_one_handle_go_on(store):
    fill(store, 200)
    stop, errors, done = threading.Event(), [], [0] * 4

    def work(n):
        try:
            while not stop.is_set():
                done[n] = store.incr(f"count:{n}")
                assert store.get(f"count:{n}") == done[n]
                assert len([key for key in store if key.startswith("key:")]) == 200
                store.put_many({f"many:{n}:{i}": i for i in range(300)})
                assert len(store.get_many([f"many:{n}:{i}" for i in range(300)])) == 300
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=[n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for n in range(30):
        store.resize(("4M", "1M", "2M")[n % 3])
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [store[f"count:{n}"] for n in range(4)] == done
    store.check()


def test_a_forked_child_follows(store):
    values = fill(store)
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(ready, 1)
        try:
            store["from the child"] = dict(store)["key:1"]
        finally:
            os._exit(0)
    store.resize("4M")
    os.write(go, b"x")
    os.waitpid(child, 0)
    assert store["from the child"] == values["key:1"]
    os.close(ready), os.close(go)


def test_destroy_removes_everything(store, backend):
    fill(store)
    handle = other(store)
    store.resize("4M")
    store.resize("1M")
    handle.destroy()
    with pytest.raises(shmstore.StoreDestroyed):
        store.get("key:1")
    with pytest.raises(shmstore.StoreNotFound):
        other(store, create=False)
    handle.close()


def test_a_handle_that_slept_through_several_resizes_follows(store):
    values = fill(store)
    handle = other(store)
    for size in ("4M", "1M", "8M", "3M"):
        store.resize(size)
    assert dict(handle) == values
    handle.close()


def test_a_handle_that_slept_through_resize_and_destruction_says_so(store):
    handle = other(store)
    store.resize("4M")
    store.destroy()
    with pytest.raises(shmstore.StoreDestroyed):
        handle.get("key:1")
    handle.close()


def test_a_cache_comes_back_after_resize_and_destruction(make_cache, backend):
    cache = make_cache(backend=backend, size="2M")
    handle = other(cache)
    cache.resize("4M")
    cache.destroy()
    handle["key"] = 1
    assert handle["key"] == 1 == cache["key"]
    handle.destroy()
    handle.close()


def test_two_resizes_at_once_both_happen(store):
    values = fill(store)
    errors = []

    def resize(size):
        try:
            other(store).resize(size)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=resize, args=[size]) for size in ("4M", "8M", "3M", "6M")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and store.info().size >> 20 in (3, 4, 6, 8) and dict(store) == values


def test_wrong_arguments(store, make):
    with pytest.raises(ValueError, match="too small"):
        store.resize(4096)
    with pytest.raises(TypeError, match="size"):
        store.resize(None)
    with pytest.raises(TypeError, match="max_entries"):
        store.resize("1M", max_entries="many")
    reader = other(store, readonly=True)
    with pytest.raises(shmstore.ReadOnlyStore):
        reader.resize("1M")
    reader.close()
    with pytest.raises(ValueError, match="private"), shmstore.open(shmstore.PRIVATE, size="1M") as private:
        private.resize("2M")
    store.close()
    with pytest.raises(shmstore.StoreClosed):
        store.resize("1M")


def test_doctor_and_the_list_show_one_store(store, backend):
    store.resize("4M")
    name = store._key.name.decode()
    listed = subprocess.run(
        [sys.executable, "-m", "shmstore", "ls", "--json"], capture_output=True, text=True, check=True
    )
    import json

    rows = [row for row in json.loads(listed.stdout)["stores"] if row.get("name") == name]
    assert len(rows) == 1 and rows[0]["size"] == 4 << 20 and rows[0]["backend"] == backend
    resized = subprocess.run(
        [sys.executable, "-m", "shmstore", "resize", name, "8M", "--backend", backend], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert "4M before, 8M now" in resized.stdout
    assert store.info().size == 8 << 20


def test_ipcrm_of_the_key_ends_a_resized_store(make):
    store = make(backend="sysv", size="2M")
    store.resize("4M")
    subprocess.run(["ipcrm", "-M", hex(store.info().key & 0xFFFFFFFF)], check=True)
    with pytest.raises(shmstore.StoreDestroyed):
        while True:  # a handle asks the kernel once in a second of use
            store.get("key")
    store.close()
