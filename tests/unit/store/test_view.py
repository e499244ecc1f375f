"""Reading in place: a view's bytes stay, whatever happens to the entry, the handle or the store."""

import gc
import os

import pytest

import shmstore


def test_a_view_shows_the_bytes_without_a_copy(store):
    value = bytes(range(256)) * 2000
    store["k"] = value
    with store.view("k") as memory:
        assert memory.readonly
        assert memory == value
    with pytest.raises(ValueError, match="released"):
        memory[0]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536, 1 << 20])
def test_bytes_of_every_length_and_codec(make, size):
    store = make(size="8M", codec="raw")
    store["raw"] = os.urandom(size)
    with shmstore.open(store.info().name, create=False) as other:
        other["packed"] = store["raw"]
        assert other.view("packed") == store.view("raw") == store["raw"]
        assert store.view("packed") == store["packed"]


def test_what_is_not_bytes_has_no_memory(store):
    for value in ([b"a"], "text", 7, None, b"a".__class__):
        try:
            store["k"] = value
        except shmstore.CodecError:
            continue
        with pytest.raises(TypeError, match="only a value that is bytes"):
            store.view("k")
    with pytest.raises(KeyError):
        store.view("absent")


def test_the_bytes_stay_when_the_entry_goes(make):
    store = make(size="4M")
    used = store.stats().bytes_used
    value = os.urandom(300_000)
    store["k"] = value
    view = store.view("k")
    for i in range(50):
        store["k"] = bytes([i]) * 300_000  # each would take the old block, were it free
    del store["k"]
    assert view == value
    assert store.stats().zombies == 1
    store.check()
    del view
    gc.collect()
    store["other"] = 1
    del store["other"]
    store.check()
    assert store.stats().zombies == 0
    assert store.stats().bytes_used == used


def test_slices_keep_it_alive(store):
    store["k"] = b"0123456789" * 1000
    with store.view("k") as view:
        part = view[10:20]
    store["k"] = b"x" * 10_000
    store["l"] = b"y" * 10_000
    assert part == b"0123456789"


def test_it_outlives_the_handle_and_the_store(make):
    store = make()
    store["k"] = b"still here" * 1000
    view = store.view("k")
    store.destroy()
    store.close()
    del store
    gc.collect()
    assert view == b"still here" * 1000


def test_readonly_has_none(make):
    store = make()
    store["k"] = b"v"
    with shmstore.open(store.info().name, readonly=True) as reader, pytest.raises(shmstore.ReadOnlyStore):
        reader.view("k")


def test_too_many_views(make):
    store = make(size="64M")
    store.update({f"k{n}": b"v" * 100 for n in range(1000)}, k=b"v" * 100)
    views = []
    with pytest.raises(shmstore.StoreFull, match="views of other values"):
        for n in range(1000):
            views.append(store.view(f"k{n}"))
    views += [store.view("k0") for _ in range(1000)]  # another view of the same value needs nothing
    assert len(views) == 1208
    assert store["k"] == b"v" * 100  # a copying reader needs no pin
    views.clear()
    store.view("k").release()
    store.check()


def test_a_child_that_closes_leaves_the_view_mapped(make):
    """The inherited view must not become a segmentation fault, nor unpin what the parent's client pins."""
    store = make()
    store["k"] = b"v" * 5000
    view = store.view("k")
    pid = os.fork()
    if pid == 0:
        try:
            store["child"] = 1
            store.close()
            ok = bytes(view) == b"v" * 5000
            del view
            gc.collect()
            os._exit(0 if ok else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    store["k"] = b"w" * 5000
    store["l"] = b"x" * 5000
    assert view == b"v" * 5000
    assert store["child"] == 1
