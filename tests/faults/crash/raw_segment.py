"""The bytes of a store, read and written by hand, by docs/format.md: where names have their home, and what no engine writes."""

from __future__ import annotations

from typing import Any

from audit import blocks_by_name

from shmstore._core import lib


def get(memory: memoryview, at: int, size: int = 8) -> int:
    return int.from_bytes(memory[at : at + size], "little")


def put(memory: memoryview, at: int, number: int, size: int = 8) -> None:
    memory[at : at + size] = (number % 2 ** (8 * size)).to_bytes(size, "little")


class Segment:
    """The words of a store by docs/format.md."""

    def __init__(self, store: Any) -> None:
        self.memory = memory_of(store)
        self.store = store
        self.clients, self.summary, self.due, self.slots, self.buckets, self.pages, self.heap = (
            get(self.memory, at) for at in (184, 200, 208, 216, 224, 256, 264)
        )
        self.blocks = dict(blocks_of(store))

    def block(self, name: str) -> int:
        return int(self.blocks[name.encode()])

    def slot(self, name: str) -> int:
        """Where its slot is."""
        number = get(self.memory, self.block(name) + 32, 4)
        return self.slots + number // 7 * 64 + 8 + number % 7 * 8

    def page_of(self, name: str) -> int:
        """Where the page words of the first page of its span are: its word, its info, its map."""
        page = (self.block(name) - self.heap) // 4096
        if get(self.memory, self.pages + 32 * page) & 3 != 2:
            page -= get(self.memory, self.pages + 32 * page + 8)
        return self.pages + 32 * page

    def spans(self) -> list[int]:
        """Where the words of the first page of each open span are."""
        words = range(self.pages, self.pages + 32 * min(get(self.memory, 272), get(self.memory, 1096)), 32)
        return [at for at in words if get(self.memory, at) & 3 == 2]

    def client(self, number: int) -> int:
        return self.clients + (number - 1) * get(self.memory, 196, 4)


def hash_of(store: Any, name: str) -> int:
    header = memory_of(store)
    k0, k1 = (int.from_bytes(header[at : at + 8], "little") for at in (72, 80))
    raw = name.encode()
    return int(lib.shms_hash(raw, len(raw), k0, k1))


def memory_of(store: Any) -> memoryview:
    from shmstore._core import ffi

    size = ffi.new("uint64_t *")
    memory = lib.shms_memory(store._handle, size)
    return memoryview(ffi.buffer(memory, size[0]))


def home_of(store: Any, name: str) -> int:
    buckets = int.from_bytes(memory_of(store)[224:232], "little")
    return (hash_of(store, name) >> 32) * buckets >> 32


def neighbours(store: Any, count: int) -> list[str]:
    """Names that have the home of the last bucket, so that the search goes round the table's end."""
    buckets = int.from_bytes(memory_of(store)[224:232], "little")
    found, i = [], 0
    while len(found) < count:
        if home_of(store, f"far{i}") == buckets - 1:
            found.append(f"far{i}")
        i += 1
    return found


def far(store: Any, i: int) -> str:
    return neighbours(store, 11)[i]


FAR = {f"far#{i}": i for i in range(11)}  # "far#9" in changes stands for the tenth neighbour


def sleepers(store: Any) -> None:
    memory = memory_of(store)
    slots, buckets = (int.from_bytes(memory[at : at + 8], "little") for at in (216, 224))
    for at in range(slots, slots + 64 * buckets, 64):
        memory[at + 3] |= 1


def wrong_hints(store: Any) -> None:
    """Every hint about free memory is wrong: maps say the contrary, classes name pages that are not theirs, no page is
    said to be free, and none has memory to spare."""
    g = Segment(store)
    for at in g.spans():
        for word in (16, 24):
            put(g.memory, at + word, ~get(g.memory, at + word))
    for at in range(8320, 8320 + 64 * 54, 4):
        put(g.memory, at, 1 if at % 64 == 60 else at % 16, 4)
    taken = get(g.memory, 280)
    for at in range(taken, taken + (get(g.memory, 272) + 7) // 8):
        put(g.memory, at, 0xFF, 1)
    put(g.memory, 1112, 1 << 40)
    g.memory.release()


def lock_of_nobody(store: Any, at: int) -> None:
    memory_of(store)[at] = 9  # a place that nobody has


def bucket_of_nobody(store: Any) -> None:
    memory = memory_of(store)
    lock_of_nobody(store, int.from_bytes(memory[216:224], "little") + 64 * home_of(store, "k2"))


def impossible_slots(store: Any) -> None:
    """Words in empty slots: out of the heap, no block, a block inside another."""
    memory = memory_of(store)
    slots = int.from_bytes(memory[216:224], "little")
    empty = (at for at in range(slots, slots + 64 * 20, 8) if at % 64 and not any(memory[at : at + 8]))
    blocks = dict(blocks_of(store))
    for block in (16, blocks[b"large"] + 1024, blocks[b"raw"] + 64, blocks[b"raw"] + 128):
        at = next(empty)
        memory[at : at + 8] = (block // 16).to_bytes(8, "little")


def blocks_of(store: Any) -> Any:
    return blocks_by_name(memory_of(store)).items()


def names_of_home(store: Any, home: int, count: int) -> list[str]:
    found, i = [], 0
    while len(found) < count:
        if home_of(store, f"of{i}") == home:
            found.append(f"of{i}")
        i += 1
    return found
