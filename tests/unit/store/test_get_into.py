"""get_into: a value copied into memory of the caller's, whole or not at all."""

import mmap
import threading

import pytest

import shmstore

np = pytest.importorskip("numpy")

SIZES = [0, 1, 300, 70_000, 9 << 20]  # the last is copied while other threads run


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "codec"), [(bytes, "msgpack"), (bytes, "raw"), (bytearray, "msgpack")])
def test_bytes_fill_the_beginning_and_leave_the_rest(make, size, kind, codec):
    store = make(size="64M", codec=codec)
    body = bytes(range(256)) * (size // 256 + 1)
    store["k"] = kind(body[:size])
    buffer = bytearray(b"\xee" * (size + 3))

    assert store.get_into("k", buffer) == size
    assert buffer == body[:size] + b"\xee" * 3


def test_into_a_part_of_a_mapping(make):
    store = make()
    store["k"] = b"x" * 100
    with mmap.mmap(-1, 4096) as memory:
        view = memoryview(memory)[1000:1100]
        assert store.get_into("k", view) == 100
        view.release()
        assert memory[999:1101] == b"\0" + b"x" * 100 + b"\0"


def test_what_does_not_fit_changes_nothing(make):
    store = make()
    store["k"], store["n"] = b"x" * 100, 5
    buffer = bytearray(99)
    with pytest.raises(ValueError, match="'k' has 100 bytes, and the buffer 99"):
        store.get_into("k", buffer)
    with pytest.raises(TypeError, match="'n' is not bytes or a bytearray"):
        store.get_into("n", buffer)
    with pytest.raises(KeyError):
        store.get_into("absent", buffer)
    assert buffer == bytes(99)


@pytest.mark.parametrize(
    "buffer", [b"abc", memoryview(b"abc"), memoryview(bytearray(8))[::2], np.zeros(8)[::2], "abc", 5]
)
def test_other_buffers_are_refused(make, buffer):
    store = make()
    store["k"] = b"x"
    with pytest.raises(TypeError, match=r"writable, contiguous|bytes-like object"):
        store.get_into("k", buffer)


@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (100, 40), (300, 400), (2, 0)])
@pytest.mark.parametrize("dtype", ["f8", ">i4", "M8[s]", [("a", "u1"), ("b", "f4")]])
@pytest.mark.parametrize("writeable", [True, False])
def test_arrays_fill_arrays_of_their_kind(make, shape, dtype, writeable):
    store = make(size="8M")
    array = np.arange(int(np.prod(shape)) or 1).reshape(shape if 0 not in shape else (1, 1)).astype(dtype)
    if 0 in shape:
        array = np.zeros(shape, dtype)
    array.flags.writeable = writeable
    store["k"] = array
    into = np.zeros(shape, dtype)

    assert store.get_into("k", into) == array.nbytes
    assert into.tobytes() == array.tobytes()


def test_arrays_of_other_kinds_are_refused(make):
    store = make()
    store["k"], store["f"] = np.ones((3, 4)), np.ones((3, 4), order="F")
    for buffer in (np.zeros((4, 3)), np.zeros(12), np.zeros((3, 4), "i8"), np.zeros((3, 4), ">f8")):
        with pytest.raises(TypeError, match="is not an array of the buffer's dtype"):
            store.get_into("k", buffer)
        assert not buffer.any()
    with pytest.raises(TypeError):
        store.get_into("f", np.zeros((3, 4)))
    into = np.zeros((3, 4), order="F")
    assert store.get_into("f", into) == 96 and into.all()
    with pytest.raises(TypeError, match="MaskedArray"):
        store.get_into("k", np.ma.zeros((3, 4)))
    with pytest.raises(TypeError, match="not bytes or a bytearray"):
        store.get_into("k", bytearray(96))


@pytest.mark.parametrize("size", [1 << 16, 10 << 20])
def test_whole_under_a_storm_of_overwrites(make, size):
    """What arrives is one value, also while the writer overtakes the reader again and again."""
    store = make(size="128M")
    bodies = [bytes([i]) * size for i in range(5)]
    store["k"] = bodies[0]
    stop = threading.Event()

    def overwrite():
        mine = shmstore.Store(store.info().name, create=False)
        while not stop.is_set():
            for body in bodies:
                mine["k"] = body

    writer = threading.Thread(target=overwrite)
    writer.start()
    try:
        buffer = bytearray(size)
        for _ in range(30):
            assert store.get_into("k", buffer) == size
            assert buffer.count(buffer[0]) == size
    finally:
        stop.set()
        writer.join()


def test_a_buffer_in_use_cannot_be_resized(make):
    store = make(size="64M")
    store["k"] = bytes(9 << 20)
    buffer = bytearray(9 << 20)
    refused = []
    done = threading.Event()

    def shrink():
        while not done.is_set():
            try:
                buffer.append(0)
                buffer.pop()
            except BufferError:
                refused.append(1)

    thread = threading.Thread(target=shrink)
    thread.start()
    for _ in range(20):
        try:
            store.get_into("k", buffer)
        except ValueError:
            pass  # between append and pop it is held with one byte more, never with one less
    done.set()
    thread.join()
    store.check()


def test_closed_and_destroyed(make):
    store = make()
    store["k"] = b"x"
    other = shmstore.Store(store.info().name, create=False)
    other.close()
    with pytest.raises(shmstore.StoreClosed):
        other.get_into("k", bytearray(5))
    store.destroy()
    with pytest.raises(shmstore.StoreDestroyed):
        store.get_into("k", bytearray(5))
