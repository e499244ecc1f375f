"""What a process holds as a client stays its own after a resize, whatever slots and handles it has."""

import pytest

import shmstore


@pytest.fixture(params=["sysv", "posix"])
def backend(request):
    return request.param


def other(store, **options):
    return shmstore.Store(store._key.name.decode(), backend=store._key.backend, **options)


def number_of(store):
    (number,) = [client.number for client in store.clients() if client.is_me]
    return number


def test_two_slots_of_a_process_stay_two(make, backend):
    """A process has two if half the pins of the first were in use. What either one holds is released by that one alone."""
    first, second, resizer = make(backend=backend, size="2M"), make(backend=backend), make(backend=backend)
    numbers = [number_of(first), number_of(second)]
    locks = [store.lock(f"lock:{n}", timeout=0) for n, store in enumerate((first, second))]
    assert all(lock.acquire() for lock in locks)
    for size in ("4M", "1M"):
        resizer.resize(size)
        assert [number_of(first), number_of(second)] == numbers
    assert resizer.stats().clients == 3
    assert not any(resizer.lock(f"lock:{n}").acquire(timeout=0) for n in range(2))
    for lock in locks:
        lock.release()
    assert all(resizer.lock(f"lock:{n}").acquire(timeout=0) for n in range(2))


@pytest.mark.parametrize("sizes", [["4M"], ["4M", "1M", "8M"]])
def test_a_slot_stays_until_every_handle_has_followed(make, backend, sizes, becomes_attached):
    """Two handles share it. One of them follows and is closed before the other one follows."""
    resizer = make(backend=backend, size="2M")
    early, late = other(resizer), other(resizer)
    lock = late.lock("job", timeout=0)
    assert lock.acquire()
    for size in sizes:
        resizer.resize(size)
        assert early.get("key") is None
    early.close()
    assert not resizer.lock("job").acquire(timeout=0)
    lock.release()
    assert resizer.lock("job").acquire(timeout=0)
    late.close()
    assert resizer.stats().clients == 1
    resizer.get("key")
    becomes_attached(resizer, 1)


def test_a_slot_ends_with_the_last_handle_though_none_followed(make, backend):
    resizer = make(backend=backend, size="2M")
    handles = [other(resizer) for _ in range(3)]
    handles[2].lock("job", timeout=0).acquire()
    resizer.resize("4M")
    for handle in handles:
        handle.close()
    assert resizer.lock("job").acquire(timeout=0) and resizer.stats().clients == 1


def test_a_view_of_the_former_segment_keeps_the_slot(make, backend, becomes_attached):
    resizer = make(backend=backend, size="2M")
    handle = other(resizer)
    handle["blob"] = b"x" * 5000
    view = handle.view("blob")
    for size in ("4M", "1M"):
        resizer.resize(size)
        assert handle["blob"] == b"x" * 5000
    handle.close()
    assert bytes(view) == b"x" * 5000
    view.release()
    assert resizer.stats().clients == 1
    becomes_attached(resizer, 1)
