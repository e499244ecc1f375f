"""The bytes of a store, read and written by hand, by docs/format.md: where names have their home, and what no engine writes."""

from __future__ import annotations

from typing import Any

from audit import blocks_by_name

from shmstore._core import lib


def get(memory: memoryview, at: int, size: int = 8) -> int:
    return int.from_bytes(memory[at : at + size], "little")


def put(memory: memoryview, at: int, number: int, size: int = 8) -> None:
    memory[at : at + size] = (number % 2 ** (8 * size)).to_bytes(size, "little")


ARENA_SIZE, TOP, HIGH, USED, BLOCKS, SUSPECT, ZOMBIES, ZOMBIE_COUNT, RETIRING = 4736, 32, 40, 56, 64, 72, 80, 88, 104
FL_MAP, SL_MAP, HEADS = 256, 264, 384


class Segment:
    """The words of a store by docs/format.md."""

    def __init__(self, store: Any) -> None:
        self.memory = memory_of(store)
        self.store = store
        self.clients, self.summary, self.due, self.slots, self.buckets, self.arenas, self.heap = (
            get(self.memory, at) for at in (184, 200, 208, 216, 224, 256, 264)
        )
        self.blocks = dict(blocks_of(store))

    def arena(self, field: int) -> int:
        return get(self.memory, self.arenas + field)

    def set_arena(self, field: int, number: int) -> None:
        put(self.memory, self.arenas + field, number)

    def block(self, name: str) -> int:
        return int(self.blocks[name.encode()])

    def slot(self, name: str) -> int:
        """Where its slot is."""
        number = get(self.memory, self.block(name) + 32, 4)
        return self.slots + number // 7 * 64 + 8 + number % 7 * 8

    def run(self) -> tuple[int, int]:
        """A list that is not empty: where its head is, and its first run."""
        for at in range(self.arenas + HEADS, self.arenas + HEADS + 8 * 34 * 16, 8):
            if get(self.memory, at):
                return at, get(self.memory, at)
        raise AssertionError("there is no free run")

    def free_list(self) -> int:
        return (self.run()[0] - self.arenas - HEADS) // 8


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
    slots, buckets, arenas = (int.from_bytes(memory[at : at + 8], "little") for at in (216, 224, 256))
    for at in [*(slots + 64 * i for i in range(buckets)), arenas]:
        memory[at + 3] |= 1


def suspect(store: Any) -> None:
    memory = memory_of(store)
    memory[int.from_bytes(memory[256:264], "little") + 72] = 1


def break_lists(store: Any) -> None:
    """The first run of each list says that there is one before it."""
    memory = memory_of(store)
    heads = int.from_bytes(memory[256:264], "little") + 384
    for at in range(heads, heads + 8 * 34 * 16, 8):
        run = int.from_bytes(memory[at : at + 8], "little")
        if run:
            memory[run + 16] = 8


def lock_of_nobody(store: Any, at: int) -> None:
    memory_of(store)[at] = 9  # a place that nobody has


def bucket_of_nobody(store: Any) -> None:
    memory = memory_of(store)
    lock_of_nobody(store, int.from_bytes(memory[216:224], "little") + 64 * home_of(store, "k2"))


def arena_of_nobody(store: Any) -> None:
    lock_of_nobody(store, int.from_bytes(memory_of(store)[256:264], "little"))


def impossible_slots(store: Any) -> None:
    """Words in empty slots: out of the heap, no block, a block inside another."""
    memory = memory_of(store)
    slots, arenas = (int.from_bytes(memory[at : at + 8], "little") for at in (216, 256))
    empty = (at for at in range(slots, slots + 64 * 20, 8) if at % 64 and not any(memory[at : at + 8]))
    blocks = dict(blocks_of(store))
    for block in (16, blocks[b"large"] + 1024, blocks[b"raw"] + 64, blocks[b"raw"] + 128):
        at = next(empty)
        memory[at : at + 8] = (block // 16).to_bytes(8, "little")
    memory[arenas + 72] = 1


def blocks_of(store: Any) -> Any:
    return blocks_by_name(memory_of(store)).items()


def names_of_home(store: Any, home: int, count: int) -> list[str]:
    found, i = [], 0
    while len(found) < count:
        if home_of(store, f"far{i}") == home:
            found.append(f"far{i}")
        i += 1
    return found
