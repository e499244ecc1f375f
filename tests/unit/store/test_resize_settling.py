"""What a process leaves that dies after a resize, before it has removed the segment in between, is found and removed."""

import pytest

from shmstore import sysv

UUID, LEAVING = slice(56, 72), slice(2016, 2024)  # docs/format.md
STATE, READY = slice(8, 16), 2 << 44


def left_by(root, change):
    """A segment with the header of the superseded root, changed."""
    left = sysv.shmget(sysv.IPC_PRIVATE, 64 * 1024, 0o600)
    with sysv.shmat(left) as memory, sysv.shmat(root) as old:
        memory[:4096] = old[:4096]
        change(memory)
    return left


def exists(segment):
    try:
        sysv.shmctl(segment, sysv.IPC_STAT)
    except OSError:
        return False
    return True


def make_ready(memory):
    memory[STATE] = READY.to_bytes(8, "little")


def make_anothers(memory):
    memory[UUID] = bytes(16)


CHANGES = {
    "superseded": (lambda memory: None, True),
    "a store": (make_ready, False),
    "another store's": (make_anothers, False),
}


@pytest.mark.parametrize("end", ["open", "resize", "destroy"])
@pytest.mark.parametrize("kind", CHANGES)
def test_a_segment_that_the_signpost_has_left_is_removed(make, kind, end):
    store = make(size="1M")
    root = store.info().id
    store.resize("2M")
    change, goes = CHANGES[kind]
    left = left_by(root, change)
    try:
        with sysv.shmat(root) as memory:
            memory[LEAVING] = (left + 1).to_bytes(8, "little")
            if end == "open":
                make(create=False)
            elif end == "resize":
                store.resize("3M")
            else:
                store.destroy()
            assert exists(left) is not goes
            assert bytes(memory[LEAVING]) == bytes(8)
    finally:
        if exists(left):
            sysv.shmctl(left, sysv.IPC_RMID)


@pytest.mark.parametrize("garbage", [1, 2**31, 2**63, 2**64 - 1])
def test_a_number_that_is_no_segment_does_no_harm(make, garbage):
    store = make(size="1M")
    root = store.info().id
    store.put("key", 1)
    store.resize("2M")
    with sysv.shmat(root) as memory:
        memory[LEAVING] = garbage.to_bytes(8, "little")
        assert make(create=False)["key"] == 1
        assert bytes(memory[LEAVING]) == bytes(8)
