"""A program that knows docs/format.md and nothing else of the package reads what Python puts."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import time
import zlib
from pathlib import Path

import pytest

import shmstore
from shmstore import sysv

SOURCE = Path(__file__).resolve().parents[3] / "examples" / "read_from_c" / "read_from_c.c"
FOUND, ABSENT, FAILED = 0, 1, 2


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "these tests need a C compiler, as the package does"
    built = tmp_path_factory.mktemp("read_from_c") / "read_from_c"
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "-o", built, SOURCE], check=True)
    return built


@pytest.fixture
def read(program, start, finish):
    """Run the program to its end: exit code, lines, errors."""

    def read(*arguments):
        code, output, errors = finish(start(program, *arguments))
        return code, output.splitlines(), errors

    return read


@pytest.fixture
def segment(free_key):
    """A segment that is no store."""
    shmid = sysv.shmget(free_key, 1 << 16, sysv.IPC_CREAT | sysv.IPC_EXCL | 0o600)
    yield free_key, shmid
    sysv.shmctl(shmid, sysv.IPC_RMID)


def bytes_of(dump):
    """What a hex dump shows."""
    return bytes.fromhex("".join(line[8:] for line in dump))


def used_slots(memory):
    """Offset and word of each slot that is not empty."""
    slots, buckets = struct.unpack_from("<QQ", memory, 216)
    words = struct.unpack_from(f"<{buckets * 8}Q", memory, slots)
    return [(slots + i * 8, word) for i, word in enumerate(words) if i % 8 and word]


def test_it_knows_no_header_of_ours():
    assert re.findall(r'#\s*include\s*"', SOURCE.read_text()) == []


@pytest.mark.parametrize(
    "value",
    [
        *("hello", 'quotes " and \\, é, 日本, \n, \0', "", "x" * 40, "x" * 300, "é" * 40000),
        *(0, 127, 128, 255, 256, 65535, 65536, 2**32, 2**63, 2**64 - 1),
        *(-1, -32, -33, -128, -129, -(2**15) - 1, -(2**31) - 1, -(2**63)),
        *(None, True, False, 1.5, 0.1, -1e300),
        *([], {}, [1, [2, [3]], {}], list(range(20)), list(range(70000)), {str(n): n for n in range(70000)}),
        {"user": {"name": "Ada", "tags": ["a", None, {"deep": [True, -1.25]}]}, "n": 7},
    ],
    ids=lambda value: repr(value)[:20],
)
def test_values_come_as_they_were_put(make, key, read, value):
    make(size="8M")["it"] = value
    code, lines, errors = read(key, "it")
    assert (code, len(lines), errors) == (FOUND, 1, "")
    assert json.loads(lines[0]) == value
    assert type(json.loads(lines[0])) is type(value)


def test_bytes_inside_msgpack(store, key, read):
    store["it"] = {"raw": b"\0\xff", 5: [b""]}
    assert read(key, "it") == (FOUND, ["""{"raw": h'00ff', 5: [h'']}"""], "")


def test_a_large_aligned_value(make, key, read):
    blob = bytes(range(256)) * 4096
    store = make(size="8M")
    store["long"] = "x" * (1 << 20)
    store["blob"] = blob
    for size in (4095, 4096, 4097):  # around where values begin to be aligned
        store[f"b{size}"] = blob[:size]
    assert json.loads(read(key, "long")[1][0]) == "x" * (1 << 20)
    assert read(key, "blob")[1] == [f"h'{blob.hex()}'"]
    for size in (4095, 4096, 4097):
        assert read(key, f"b{size}")[1] == [f"h'{blob[:size].hex()}'"]


def test_other_codecs_come_as_their_bytes(make, key, read):
    class Squeezed:
        name = "zlib"  # stands in the block's extension, in front of name and value
        encode = staticmethod(zlib.compress)
        decode = staticmethod(zlib.decompress)

    make()
    data = bytes(range(256)) * 20
    make(codec="raw")["raw"] = data[:100]
    make(codec="raw")["none"] = b""
    make(codec=Squeezed)["zlib"] = data
    assert bytes_of(read(key, "raw")[1]) == data[:100]
    assert read(key, "none") == (FOUND, [], "")
    assert zlib.decompress(bytes_of(read(key, "zlib")[1])) == data


def test_extension_types_come_as_their_bytes(store, key, read):
    store["it"] = (1, "a")
    code, lines, _ = read(key, "it")
    assert (code, bytes_of(lines).hex()) == (FOUND, "d6019201a161")  # as docs/format.md has it


def test_thousands_of_names(make, key, read):
    """More than half of the slots are taken, so entries lie far from home, too; and some names went again."""
    store = make(size="2M", max_entries=4000)
    names = [f"name {n} é" for n in range(4000)]
    store.put_many({name: n for n, name in enumerate(names)})
    code, lines, errors = read(key, *names)
    assert (code, errors) == (FOUND, "")
    assert lines == [str(n) for n in range(4000)]
    store.delete_many(names[::2])
    assert read(key, *names[1::2])[:2] == (FOUND, [str(n) for n in range(1, 4000, 2)])
    code, lines, errors = read(key, *names[::2])
    assert (code, lines, errors.count("no entry")) == (ABSENT, [], 2000)


def test_a_store_with_two_buckets(make, key, read):
    store = make(size="64K", max_entries=14)
    names = [f"n{n}" for n in range(14)]
    for name in names:
        store[name] = name
    assert read(key, *names)[:2] == (FOUND, [f'"{name}"' for name in names])
    assert read(key, "none")[0] == ABSENT


def test_pinned_entries(make, key, read):
    """A view sets the pinned bit of the word. A pinned entry that is gone is a zombie, and is not found."""
    store = make()
    store["it"] = data = bytes(range(200))
    with store.view("it"), sysv.shmat(sysv.shmget(store.info().key, 0, 0)) as memory:
        [slot] = [slot for slot, _ in used_slots(memory)]
        block = struct.unpack_from("<Q", memory, slot)[0] % (1 << 40) * 16
        assert memory[block] & 3 == 1
        lines = read(key, "it")[1]
        assert lines == [f"h'{data.hex()}'"]
        taken_out = bytes(memory[slot : slot + 8])
        store["it"] = 1
        assert memory[block] & 3 == 2
        assert read(key, "it")[:2] == (FOUND, ["1"])
        published = bytes(memory[slot : slot + 8])
        memory[slot : slot + 8] = taken_out  # no writer does that
        code, lines, errors = read(key, "it")
        assert (code, lines) == (FAILED, [])
        assert "overtaken" in errors
        memory[slot : slot + 8] = published


class Zlib:
    name = "zlib"

    def encode(self, value):
        return zlib.compress(value)

    def decode(self, data):
        return zlib.decompress(data)


def test_entries_that_were_moved(make, key, read):
    """Their version stands in front of the extension and the key."""
    store = make(size="2M")
    named = make(create=False, codec=Zlib())
    counts = {"small": 400, "large": 40, "named": 400}
    for number in range(400):
        store.put(f"small:{number}", {"n": number})
        named.put(f"named:{number}", b"squeezed")
        if number < 40:
            store.put(f"large:{number}", bytes([number]) * 5000)
    for kind, count in counts.items():
        for number in range(0, count, 2):
            store.delete(f"{kind}:{number}")
    assert store.compact() > 10
    moved = []
    with sysv.shmat(store.info().id) as memory:
        for _, word in used_slots(memory):
            at = (word & 0xFFFFFFFFFF) * 16
            if memory[at + 24] & 0x20:
                behind = at + 40 + (struct.unpack_from("<I", memory, at + 40)[0] if memory[at + 24] & 0x10 else 0)
                moved.append(bytes(memory[behind : behind + 9]).partition(b":")[0].decode())
    assert set(moved) == set(counts)
    for number in range(1, 40, 4):
        code, lines, _ = read(key, f"small:{number}")
        assert code == FOUND and json.loads(lines[0]) == {"n": number}
        code, lines, _ = read(key, f"large:{number}")
        assert code == FOUND and lines == [f"h'{f'{number:02x}' * 5000}'"]
        code, lines, _ = read(key, f"named:{number}")
        assert code == FOUND and bytes_of(lines) == zlib.compress(b"squeezed")


def test_str_and_bytes_names(store, key, read):
    store["name"], store[b"name"], store["x" * 32768], store[""] = "str", "bytes", "long", "short"
    assert read(key, "name", "x" * 32768, "")[:2] == (FOUND, ['"str"', '"long"', '"short"'])
    assert read("-b", key, "name")[:2] == (FOUND, ['"bytes"'])
    assert read("-b", key, "")[0] == ABSENT


def test_absent_names(store, key, read):
    assert read(key, "it") == (ABSENT, [], 'read_from_c: no entry is named "it"\n')
    store["it"] = 1
    assert read(key, "it")[0] == FOUND
    del store["it"]
    assert read(key, "it")[0] == ABSENT


def test_time_to_live(store, key, read):
    store.put("short", 1, ttl=0.05)
    store.put("long", 2, ttl=600)
    store.put("touched", 3, ttl=600)
    store.touch("touched", ttl=0.05)
    time.sleep(0.1)
    assert read(key, "long")[:2] == (FOUND, ["2"])
    assert read(key, "short")[0] == ABSENT
    assert read(key, "touched")[0] == ABSENT


def test_tags(store, key, read):
    store.put("it", 5, tags=["t", b"u"])
    store.put("moved", 6, tags=["v"])
    store["filler"] = bytes(100)
    store.delete("filler")
    store.compact()
    assert read(key, "it", "moved") == (FOUND, ["5", "6"], "")
    store.evict_tag("t")
    assert read(key, "it")[:2] == (ABSENT, []) and read(key, "moved") == (FOUND, ["6"], "")
    store.namespace("users")["it"] = 7
    assert read(key, "it")[:2] == (ABSENT, [])
    store.put("it", 8, tags=["t"])
    assert read(key, "it") == (FOUND, ["8"], "")


@pytest.mark.parametrize("field", [(16, 8, 0xFFFF << 48), (12, 4, 2**32 - 1)])
def test_generations_that_cannot_be(store, key, read, field):
    offset, length, value = field
    store.put("it", 5, tags=["t"])
    memory = sysv.shmat(store.info().id).memory
    ((_, word),) = used_slots(memory)
    at = (word & 0xFFFFFFFFFF) * 16 + 40 + offset
    memory[at : at + length] = value.to_bytes(length, "little")
    assert read(key, "it")[:2] == (ABSENT, [])


def test_by_number(free_key, read):
    with shmstore.Store(free_key, create=True, size="64K") as store:
        try:
            store["it"] = "found"
            assert read("-k", hex(free_key), "it")[:2] == (FOUND, ['"found"'])
            assert read("-k", free_key, "it")[:2] == (FOUND, ['"found"'])
        finally:
            store.destroy()
    code, lines, errors = read("-k", hex(free_key), "it")
    assert (code, lines) == (FAILED, [])
    assert f"no store has the key {free_key:#010x}" in errors


def test_no_store(key, read, segment):
    code, lines, errors = read(key, "it")
    assert (code, lines) == (FAILED, [])
    assert re.fullmatch(r"read_from_c: no store has the key 0x[0-9a-f]{8}: .*\n", errors)
    number, shmid = segment
    code, lines, errors = read("-k", hex(number), "it")
    assert (code, lines) == (FAILED, [])
    assert errors == f"read_from_c: segment {shmid} is no store: another program made it\n"


@pytest.mark.parametrize(
    "arguments", [[], ["store"], ["-x"], ["-k", "name", "it"], ["-k", "0", "it"], ["-k", "", "it"]]
)
def test_wrong_arguments(read, arguments):
    code, lines, errors = read(*arguments)
    assert (code, lines) == (FAILED, [])
    assert errors


@pytest.mark.parametrize(
    ("offset", "form", "value", "said"),
    [
        (0, "<Q", 0x54494E49534D4853, "being created"),
        (0, "<Q", 1, "is no store"),
        (8, "<Q", 3 << 44, "destroyed"),
        (16, "<I", 2, "format or feature"),
        (24, "<Q", 1 << 63, "format or feature"),
        *[(offset, form, value, "damaged") for offset, form, value in [
            (20, "<I", 4096), (48, "<Q", 1 << 40), (164, "<I", 4096), (200, "<Q", 2**64 - 64),
            (216, "<Q", 2**64 - 4096), (216, "<Q", 0), (216, "<Q", 8200), (224, "<Q", 0), (224, "<Q", 2**58),
            (264, "<Q", 2**63), (264, "<Q", 2**63 + 1), (272, "<Q", 0), (272, "<Q", 2**60), (272, "<Q", 2**52)]],
        (4096, "<B", 0, "another name"),
        (160, "<I", 2, "another name"),
    ],
)  # fmt: skip
def test_headers_that_cannot_be(store, key, read, offset, form, value, said):
    store["it"] = 1
    with sysv.shmat(sysv.shmget(store.info().key, 0, 0)) as memory:
        good = bytes(memory[offset : offset + struct.calcsize(form)])
        memory[offset : offset + len(good)] = struct.pack(form, value)
        code, lines, errors = read(key, "it")
        memory[offset : offset + len(good)] = good
        assert (code, lines) == (FAILED, [])
        assert said in errors
        assert read(key, "it")[:2] == (FOUND, ["1"])


@pytest.mark.parametrize(
    ("offset", "form", "value", "said"),
    [
        (0, "<Q", 0, "overtaken"),  # no word
        (0, "<Q", 1 << 40 | 3, "overtaken"),  # free
        (0, "<Q", 1 << 40 | 2, "overtaken"),  # a zombie
        (24, "<Q", 2**64 - 1, "damaged"),
        (24, "<Q", 1 << 63 | 2 << 8 | 1, "damaged"),  # a value larger than the store
        (24, "<Q", 1 << 24 | 65535 << 8 | 1, "damaged"),  # a name longer than any
        (24, "<Q", 1 << 24 | 2 << 8 | 0x11, "damaged"),  # the name taken for an extension
    ],
)
def test_blocks_that_cannot_be(make, key, read, offset, form, value, said):
    store = make()
    store["it"] = 1
    with sysv.shmat(sysv.shmget(store.info().key, 0, 0)) as memory:
        block = struct.unpack_from("<Q", memory, 264)[0] + offset
        memory[block : block + 8] = struct.pack(form, value)
        code, lines, errors = read(key, "it")
        assert (code, lines) == (FAILED, [])
        assert said in errors


def test_a_slot_that_leads_out_of_the_heap(make, key, read):
    store = make()
    store["it"] = 1
    with sysv.shmat(sysv.shmget(store.info().key, 0, 0)) as memory:
        slots, buckets = struct.unpack_from("<QQ", memory, 216)
        words = memory[slots : slots + buckets * 64].cast("Q")
        [slot] = [i for i, word in enumerate(words) if i % 8 and word]
        tag = words[slot] >> 40 << 40
        for block in (0, 1, 8192 // 16, ((1 << 20) - 32) // 16, (1 << 40) - 1):
            words[slot] = tag | block
            code, lines, errors = read(key, "it")
            assert (code, lines) == (FAILED, [])
            assert "damaged" in errors
        words.release()


WRITER = """
import sys

import shmstore

store = shmstore.Store(sys.argv[1], create=False)
length = int(sys.argv[2])
print("writing", flush=True)
n = 0
while True:
    n += 1
    store["it"] = [n] * length
"""


@pytest.mark.parametrize(("length", "rounds"), [(1, 20_000), (2000, 400), (250_000, 5)])
def test_beside_a_writer_values_are_whole(make, key, read, start, tmp_path, length, rounds):
    """Somebody overwrites the entry all the time: every value read is one that was put, and later ones come later."""
    make(size="16M")["it"] = [0] * length
    script = tmp_path / "writer.py"
    script.write_text(WRITER)
    writer = start(script, key, length)
    assert writer.stdout.readline() == "writing\n"
    seen = []
    while len(set(seen)) < 20:
        assert writer.poll() is None
        code, lines, errors = read(key, *["it"] * rounds)
        assert (code, len(lines), errors) == (FOUND, rounds, "")
        for line in lines:
            first = line[1:].split(",")[0].rstrip("]")
            assert line == f"[{', '.join([first] * length)}]"
            seen.append(int(first))
    assert seen == sorted(seen)
