"""Bytes in the segment that must not hang, crash or loop anybody. Each program runs to its end in a process of its own,
so that a hang fails a test and not the suite."""

import subprocess
import sys

import pytest

import shmstore
from shmstore import sysv

SECONDS = 300  # nothing here takes one of them on an idle machine

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

# docs/format.md has these offsets: of header fields, then within a client slot, then of a page's words.
PIN_BITS, CLIENTS, PAGES, HEAP, HEAP_PAGES = 176, 184, 256, 264, 272
PINS = 768
WORD, INFO = 0, 8

def word(at):
    return struct.unpack_from("<Q", memory, at)[0]

def set_word(at, value):
    struct.pack_into("<Q", memory, at, value)

def page_of(name):
    return word(PAGES) + (block(name) - word(HEAP)) // 4096 * 32

def block(name):
    "Its block begins with its version, which also stands in records."
    return word(HEAP) + bytes(memory[word(HEAP):]).index(struct.pack("<Q", store.get_versioned(name)[1]))

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


def test_pins_that_name_what_is_no_block(outcomes):
    """Pins of a client that was pinned by nobody: on every granule, out of the heap, in the header."""
    said = outcomes("""
for i in range(30):
    store[f"k{i}"] = b"v" * 100
for i, at in enumerate([0, 8, 4096, word(HEAP), word(HEAP) + 1, block("k3") + 8, size[0], 2**64 - 8]):
    set_word(word(CLIENTS) + PINS + 16 * i, at)
    set_word(word(CLIENTS) + PINS + 16 * i + 8, store.get_versioned("k3")[1])
set_word(word(PIN_BITS), 1)
outcome(lambda: store.put("new", b"1"))
outcome(lambda: store.delete("k3"))
outcome(lambda: store.get("new"))
outcome(store.stats)
outcome(lambda: shmstore.Store(sys.argv[1]).put("newest", b"1"))
""")
    assert said == ["fine"] * 5


def test_a_large_value_whose_span_is_shorter(outcomes):
    """The value reaches beyond its span, to the end of the heap."""
    said = outcomes("""
store["a"] = bytes(word(HEAP_PAGES) * 4096 - 40 - 1 - 63)  # with header, key and alignment: the whole heap
info = word(page_of("a") + INFO)
assert info >> 8 == word(HEAP_PAGES)
set_word(page_of("a") + INFO, info - 256)
outcome(store.check)
outcome(lambda: store.get("a"))
outcome(lambda: store.delete("a"))
outcome(lambda: store.put("b", b"1"))
""")
    assert said[0] == "StoreCorrupt" and set(said[1:]) <= {"fine", "StoreCorrupt", "StoreFull"}


def test_spans_that_reach_beyond_the_heap(outcomes):
    """The last page of the heap begins a span of a hundred pages, of each class."""
    said = outcomes("""
store["a"] = b"1"
last = word(HEAP_PAGES) - 1
for kind in range(256):
    set_word(word(PAGES) + 32 * last + WORD, 7 << 2 | 2)
    set_word(word(PAGES) + 32 * last + INFO, 100 << 8 | kind)
    set_word(word(PAGES) + 32 * last + 16, 2**64 - 1)
    store["b"] = bytes(kind * 16)
outcome(store.check)
outcome(lambda: store.check(repair=True))
outcome(lambda: store.get("a"))
""")
    assert said == ["StoreCorrupt", "fine", "fine"]


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
