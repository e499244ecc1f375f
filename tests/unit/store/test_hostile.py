"""Bytes in the segment that must not hang, crash or loop anybody. Each program runs to its end in a process of its own,
so that a hang fails a test and not the suite."""

import subprocess
import sys

import pytest

import shmstore
from shmstore import sysv

SECONDS = 30  # nothing here takes a tenth of one

PRELUDE = """
import struct, sys
import shmstore
from shmstore import sysv
from shmstore._core import ffi, lib

# A segment takes the place just under the one attached before: when that one goes, nothing is behind the store, and a
# byte read there is a fault.
above = sysv.shmget(0, 1 << 20, 0o600)
attached = sysv.shmat(above)
sysv.shmctl(above, sysv.IPC_RMID)
store = shmstore.Store(sys.argv[1], size="1M", codec="raw", timeout=1)
sysv.shmdt(attached)
size = ffi.new("uint64_t *")
start = lib.shms_memory(store._handle, size)
memory = ffi.buffer(start, size[0])

# docs/format.md has these offsets: of header fields, then within an arena, then within a block.
PIN_BITS, CLIENTS, ARENAS, HEAP, ARENA_SIZE = 176, 184, 256, 264, 272
PINS = 448
TOP, ZOMBIES, ZOMBIE_COUNT = 32, 80, 88
HASH, TAG = 8, 36

def word(at):
    return struct.unpack_from("<Q", memory, at)[0]

def set_word(at, value):
    struct.pack_into("<Q", memory, at, value)

def shorten(block, granules):
    tag = struct.unpack_from("<I", memory, block + TAG)[0]
    struct.pack_into("<I", memory, block + TAG, tag - granules)

def block(name):
    "Its block begins with its version."
    return bytes(memory).index(struct.pack("<Q", store.get_versioned(name)[1]))

def outcome(operation):
    try:
        operation()
    except shmstore.ShmStoreError as error:
        print(type(error).__name__)
    else:
        print("fine")
"""


@pytest.fixture
def outcomes(key):
    """What a program prints, line by line, after the prelude and on the test's key."""

    def run(program):
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + program, key], capture_output=True, text=True, cwd="/", timeout=SECONDS
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


def test_a_block_without_a_sequence(outcomes):
    """It looks like a free in progress, which readers wait out; this one never ends."""
    said = outcomes("""
store["a"] = b"1"
store["b"] = b"2"
set_word(block("a"), 0)
outcome(lambda: store.get("a"))
outcome(lambda: list(store))
outcome(store.check)
outcome(lambda: len(store))
outcome(lambda: store.get("b"))
outcome(lambda: store.get("c"))
""")
    assert said == ["StoreCorrupt", "StoreCorrupt", "StoreCorrupt", "fine", "fine", "fine"]


def test_a_zombie_list_that_bites_its_tail(outcomes):
    """Nine pinned blocks in a list of a tail that leads to itself, and a count that says there are more."""
    said = outcomes("""
for i in range(30):
    store[f"k{i}"] = b"v" * 100
blocks = [block(f"k{i}") for i in range(0, 20, 2)]
for one, next in zip(blocks, blocks[1:]):
    set_word(one + HASH, next)
set_word(blocks[-1] + HASH, blocks[-2])
arena = word(ARENAS)
set_word(word(CLIENTS) + PINS, blocks[0])
set_word(word(PIN_BITS), 1)
set_word(arena + ZOMBIES, blocks[0])
set_word(arena + ZOMBIE_COUNT, 2**64 - 1)
outcome(lambda: store.put("new", b"1"))
outcome(lambda: store.put("newer", b"1"))
outcome(lambda: store.get("newer"))
outcome(lambda: shmstore.Store(sys.argv[1]).put("newest", b"1"))
""")
    assert said == ["fine"] * 4


def test_a_chain_that_ends_just_before_its_top(outcomes):
    """Sixteen bytes are left at the end of the segment: the tag of a block there would lie behind it."""
    said = outcomes("""
store["a"] = bytes(word(ARENA_SIZE) - 40 - 1 - 63)  # with header, name and alignment: the whole heap
assert word(word(ARENAS) + TOP) == size[0]
shorten(block("a"), 1)
outcome(store.check)
outcome(lambda: store.delete("a"))
outcome(lambda: store.put("b", b"1"))
""")
    assert said[0] == "StoreCorrupt" and set(said[1:]) <= {"fine", "StoreCorrupt", "StoreFull"}


def test_a_heap_full_of_nothing(outcomes):
    """The same in a store that holds nothing, with a top that is said to be the end."""
    said = outcomes("""
set_word(word(ARENAS) + TOP, word(HEAP) + word(ARENA_SIZE))
struct.pack_into("<I", memory, word(HEAP) + TAG, (word(ARENA_SIZE) - 16) // 16)
outcome(store.check)
outcome(lambda: store.put("b", b"1"))
""")
    assert said[0] == "StoreCorrupt" and said[1] in ("fine", "StoreCorrupt", "StoreFull")


def test_a_page_of_the_table_that_the_summary_does_not_know(store):
    """I10: nobody would look there, so what stands there could never be found."""
    store["a"] = 1
    with sysv.shmat(store.info().id) as memory:
        summary = int.from_bytes(memory[200:208], "little")
        before = bytes(memory[summary : summary + 8])
        memory[summary : summary + 8] = bytes(8)
        with pytest.raises(shmstore.StoreCorrupt, match="I10"):
            store.check()
        memory[summary : summary + 8] = before
    store.check()
