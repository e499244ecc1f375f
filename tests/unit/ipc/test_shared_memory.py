"""``shmstore.SharedMemory``: what code written for the standard library's class expects, and names without collisions."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import shmstore
from shmstore import KeyCollision, SharedMemory
from shmstore.shared_memory import _block, _header
from shmstore.sysv import IPC_CREAT, IPC_STAT, shmat, shmctl, shmget

sys.path.insert(0, str(Path(__file__).resolve().parent))
from eventually import comes_to

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


PAGE = os.sysconf("SC_PAGE_SIZE")


def shmid_of(block):
    return block._attachment.shmid


def attached(block):
    gc.collect()
    return shmctl(shmid_of(block), IPC_STAT).nattch


# ---- the contract ----


@pytest.mark.parametrize("size", [1, 63, 512, PAGE - 1, PAGE, PAGE + 1, 3 << 20])
def test_size_and_place_are_as_asked(name, size):
    with SharedMemory(name, True, size) as block, SharedMemory(name) as other:
        assert block.size == other.size == len(block.buf) == other.buf.nbytes == size
        assert (block.buf.format, block.buf.readonly, block.buf.ndim) == ("B", False, 1)
        assert (block._attachment.address + block._offset) % PAGE == 0
        assert bytes(block.buf) == bytes(size)
        block.buf[-1] = 42
        assert other.buf[size - 1] == 42


def test_a_size_given_to_an_existing_block_is_ignored(block):
    with SharedMemory(block.name, size=20 * 512) as other:
        assert other.size == 512


def test_name_and_repr(block, name):
    assert (block.name, repr(block)) == (name, f"SharedMemory({name!r}, size=512)")
    with pytest.raises(AttributeError):
        block.name = "other"
    with pytest.raises(AttributeError):
        block.size = 1


def test_names_are_made_up():
    blocks = [SharedMemory(create=True, size=1, track=track) for track in (True, False) * 5]
    assert len({block.name for block in blocks}) == 10
    for block in blocks:
        SharedMemory(block.name, track=False).close()
        block.close()
        block.unlink()


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"create": True, "size": -1}, ValueError),
        ({"create": True, "size": 0}, ValueError),
        ({"create": True}, ValueError),
        ({"create": False}, ValueError),
        ({}, ValueError),
        ({"name": "a\0b"}, ValueError),
        ({"name": "a\0b", "create": True, "size": 1}, ValueError),
        ({"name": b"a"}, TypeError),
        ({"name": "a", "create": True, "size": 1.5}, TypeError),
        ({"name": "", "create": True, "size": 1}, OSError),
        ({"name": "//"}, OSError),
        ({"name": "x" * 5000}, OSError),
    ],
)
def test_what_cannot_be(arguments, error):
    with pytest.raises(error):
        SharedMemory(**arguments)


def test_there_is_only_one_of_a_name(block, name):
    for number in range(2):
        with pytest.raises(FileExistsError, match=f"as segment {shmid_of(block)}") as refused:
            SharedMemory(name, create=True, size=512)
        assert refused.value.errno == errno.EEXIST and refused.value.filename == name
    block.unlink()
    with pytest.raises(FileNotFoundError, match="no shared memory of this name") as refused:
        SharedMemory(name)
    assert refused.value.errno == errno.ENOENT and refused.value.filename == name


def test_close_ends_the_handle_only(block, name):
    buf = block.buf
    buf[0] = 1
    block.close()
    block.close()
    assert block.buf is None
    with pytest.raises(ValueError, match="released"):
        buf[0]
    assert (block.name, block.size) == (name, 512)
    with SharedMemory(name) as other:
        assert other.buf[0] == 1


@pytest.mark.parametrize(
    "export", [lambda buf: buf[1:3], lambda buf: buf.cast("b"), memoryview, memoryview.toreadonly, pickle.PickleBuffer]
)
def test_close_with_exported_buffers(block, export):
    block.buf[1] = 7
    view = export(block.buf)
    with pytest.raises(BufferError):
        block.close()
    assert 7 in bytes(view)
    assert block.buf[1] == 7
    comes_to(lambda: attached(block), 1)
    view.release()
    block.close()
    comes_to(lambda: attached(block), 0)


def test_close_with_an_array(block):
    numpy = pytest.importorskip("numpy")
    array = numpy.ndarray((64,), dtype=numpy.int64, buffer=block.buf)
    array[:] = 5
    with pytest.raises(BufferError):
        block.close()
    assert array.sum() == 320
    del array
    block.close()


def test_a_dropped_handle_goes_with_its_last_view(block, name):
    other = SharedMemory(name)
    view = other.buf[:3]
    del other
    comes_to(lambda: attached(block), 2)
    assert bytes(view) == bytes(3)
    view.release()
    del view
    comes_to(lambda: attached(block), 1)


def test_as_a_context_manager(block, name):
    with SharedMemory(name) as other:
        other.buf[0] = 1
    assert other.buf is None
    with pytest.raises(KeyError):
        with SharedMemory(name) as other:
            part = other.buf[1:]
            raise KeyError(part[0])
    with pytest.raises(BufferError):
        with SharedMemory(name) as other:
            part = other.buf[1:]
    part.release()
    other.close()


def test_unlink_once(block, name):
    other = SharedMemory(name)
    other.unlink()
    for handle in (other, block):
        with pytest.raises(FileNotFoundError, match=name):
            handle.unlink()
    block.buf[0] = 3  # it lives until its last handle is closed
    assert other.buf[0] == 3
    other.close()
    block.close()
    with pytest.raises(FileNotFoundError):
        block.unlink()


def test_unlink_after_close(block, name):
    block.close()
    block.unlink()
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling(block, protocol):
    block.buf[:6] = b"pickle"
    pickled = pickle.dumps(block, protocol)
    with pickle.loads(pickled) as other:
        assert type(other) is SharedMemory
        assert (other.name, other.size, bytes(other.buf[:6])) == (block.name, 512, b"pickle")
        block.buf[:6] = b"newval"
        assert bytes(other.buf[:6]) == b"newval"
    block.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickled)


def test_subclasses_are_pickled_as_such(name):
    with Mine(name, create=True, size=1) as block:
        with pickle.loads(pickle.dumps(block)) as other:
            assert type(other) is Mine
        assert repr(block).startswith("Mine(")


class Mine(SharedMemory):
    pass


def test_a_forked_child_has_the_handle(block, in_child):
    def child():
        block.buf[0] = 9
        block.close()
        with pickle.loads(pickle.dumps(block)) as other:
            return other.buf[0]

    assert in_child(child) == 9
    assert block.buf[0] == 9
    comes_to(lambda: attached(block), 1)


def test_it_is_imported_when_asked_for():
    program = (
        "import sys, shmstore; assert 'shmstore.shared_memory' not in sys.modules;"
        "assert 'SharedMemory' in dir(shmstore);"
        "from shmstore import *; assert SharedMemory is shmstore.SharedMemory; from shmstore import shared_memory;"
        "assert shared_memory.ShareableList is ShareableList; print([m for m in ('typing', 'multiprocessing', 'mmap') "
        "if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path += {sys.path[1:]!r}; {program}"],
                          capture_output=True, text=True)  # fmt: skip
    assert (told.stdout, told.stderr) == ("[]\n", "")
    with pytest.raises(AttributeError, match="has no attribute 'shared'"):
        shmstore.shared  # noqa: B018


# ---- names without collisions ----


NAMES = ["a", "A", " a", "a ", "b/c", "a/b", "..", "ä", "名前", "\udcff", "a\n", "x" * 4032, "%", "\\", "😀" * 500]


def test_names_are_arbitrary_and_each_its_own(name):
    blocks = [SharedMemory(name + suffix[-4032 + len(name) :], create=True, size=8) for suffix in NAMES]
    try:
        for number, block in enumerate(blocks):
            block.buf[0] = number
        for number, block in enumerate(blocks):
            with SharedMemory(block.name) as other:
                assert other.buf[0] == number
    finally:
        for block in blocks:
            block.unlink()
            block.close()


def test_slashes_in_front_do_not_count(block, name):
    with SharedMemory(f"/{name}") as other:
        assert other.name == f"/{name}"
        block.buf[0] = 4
        assert other.buf[0] == 4


def test_a_store_of_the_same_name_is_something_else(name):
    with shmstore.open(name, size="1M") as store, SharedMemory(name, create=True, size=8) as block:
        store["a"] = 1
        block.buf[0] = 2
        assert (store["a"], block.buf[0]) == (1, 2)
        store.destroy()
        block.unlink()


def test_two_names_of_one_key(one_key):
    with SharedMemory("one", create=True, size=8) as block:
        for arguments in ({"create": True, "size": 8}, {}):
            with pytest.raises(KeyCollision, match=f"'two': its key {one_key:#010x} is taken by .*memory 'one'"):
                SharedMemory("two", **arguments)
        with pytest.raises(FileExistsError):
            SharedMemory("one", create=True, size=8)
        comes_to(lambda: attached(block), 1)
        block.unlink()


@pytest.mark.parametrize("content", [b"\1", b"SHMSTORE", b"SHMSTMEM" + bytes(8) + b"\2"])
def test_a_segment_of_another_program(one_key, monkeypatch, content):
    monkeypatch.setattr(_block, "PATIENCE", 0.05)
    shmid = shmget(one_key, 100, IPC_CREAT | 0o600)
    with shmat(shmid) as memory:
        memory[: len(content)] = content
    for arguments in ({"create": True, "size": 8}, {}):
        with pytest.raises(KeyCollision, match=f"segment {shmid}.*ipcrm -m {shmid}"):
            SharedMemory("one", **arguments)
    comes_to(lambda: shmctl(shmid, IPC_STAT).nattch, 0)
    with shmat(shmid) as memory:
        assert bytes(memory) == content.ljust(100, b"\0")


def test_a_small_segment_of_another_program(one_key):
    shmget(one_key, 5, IPC_CREAT | 0o600)
    with pytest.raises(KeyCollision):
        SharedMemory("one")


@pytest.mark.parametrize("at, value", [(16, 2), (20, 200), (24, 1), (25, 0x20), (38, 1), (64, 1), (8, 1)])
def test_a_damaged_header_is_not_believed(name, block, monkeypatch, at, value):
    """Not even if its check is right, as in a header that an attacker wrote."""
    monkeypatch.setattr(_block, "PATIENCE", 0.02)
    memory = block._attachment.memory
    memory[at] ^= value
    with pytest.raises(KeyCollision):
        SharedMemory(name)
    length = int.from_bytes(memory[20:24], "little")
    memory[8:16] = _header._check(bytes(memory[16:40]), bytes(memory[64 : 64 + length]))
    if at == 8:
        SharedMemory(name).close()
        return
    with pytest.raises(KeyCollision):
        SharedMemory(name)


def test_attaching_while_the_header_is_written_waits(name, monkeypatch):
    """And in whatever order the bytes of the header become visible."""
    monkeypatch.setattr(_block, "PATIENCE", 60.0)
    with SharedMemory(name, create=True, size=8) as block:
        memory = block._attachment.memory
        header = bytes(memory[:128])
        memory[8:128] = bytes(120)  # the magic came first
        timer = threading.Timer(0.05, lambda: memory.__setitem__(slice(0, 128), header))
        timer.start()
        with SharedMemory(name) as other:
            assert other.size == 8
        timer.join()
        block.unlink()
