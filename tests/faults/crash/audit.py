"""What the memory of a store says, read by docs/format.md and not by the engine."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import shmstore.sysv
from shmstore._core import lib

CLIENTS, CLIENT_COUNT, CLIENT_SIZE, SLOTS, BUCKETS, DUE = 184, 192, 196, 216, 224, 208
PAGES, HEAP, HEAP_PAGES, CLIENTS_HIGH, NUMBERS, PAGES_HIGH = 256, 264, 272, 1032, 1088, 1096
HINTS, GHOST_SETS, SHARES, USED_HINT = 232, 296, 1280, 0x80
HASH_KEY, MOVED, KEY_FLAGS = 72, 0x20, 0xC8
RECORDS, RECORD_COUNT, PINS = 192, 9, 768
CLAIMING, LIVE, DEAD = 1, 2, 3
PINNED, ENDED, FREE = 1, 2, 3
TAKEN, OPEN = 1, 2
MARK = 1 << 23  # of a due word
LARGE = 255


def class_bytes(kind: int) -> int:
    """The capacity of a size class: 48, 64 .. 256, then eight per doubling up to 8192."""
    return (kind + 3) * 16 if kind < 14 else (9 + (kind - 14) % 8) << ((kind - 14) // 8 + 5)


CLASSES = [class_bytes(kind) for kind in range(54)]


def capacity_for(need: int) -> int:
    return next((size for size in CLASSES if size >= need), (need + 4095) // 4096 * 4096)


@dataclass
class Record:
    """An operation record of a client that is live or dead."""

    client: int
    index: int
    bucket: int
    block: int
    life: int
    old: int
    page: int
    other: int
    blocks: int
    bytes: int

    def holds(self) -> bool:
        return bool(self.bucket or self.block or self.old or self.page)

    @property
    def run(self) -> range:
        first = (self.page & 0xFFFFFFFF) - 1
        return range(first, first + (self.page >> 32)) if self.page else range(0)


class Audit:
    """Every page, block and slot: whose it is. `faults` says what belongs to nobody, or to two."""

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory
        self.faults: list[str] = []
        self.bytes = self.entries = self.spare = self.pages_used = 0
        self.zombies: list[int] = []
        self.unpublished: list[int] = []  # blocks that are alive in a record alone
        slots, buckets = self._u64(SLOTS), self._u64(BUCKETS)
        self._multiplier, self._xor = self._u64(88), self._u64(96)
        self._heap, self._buckets, self._slots = self._u64(HEAP), buckets, slots
        self.table = struct.unpack_from(f"<{8 * buckets}Q", memory, slots)
        self.bucket_owners = {i: self.table[8 * i] & 0xFFFF for i in range(buckets) if self.table[8 * i] & 0xFFFF}
        self._read_clients()
        self._read_pages()
        self._read_slots()
        self._judge_blocks()
        self._judge_counters()
        if self._u64(GHOST_SETS):
            self._judge_hints()

    def _u64(self, at: int) -> int:
        return int(struct.unpack_from("<Q", self.memory, at)[0])

    def life_of(self, number: int) -> int:
        return ((number * self._multiplier ^ self._xor) << 2) % 2**64

    # ---- clients

    def _read_clients(self) -> None:
        clients, size = self._u64(CLIENTS), struct.unpack_from("<I", self.memory, CLIENT_SIZE)[0]
        self.states: dict[int, int] = {}
        self.records: list[Record] = []
        self.pins: set[tuple[int, int]] = set()
        self.used = [0, 0]
        for i in range(self._u64(CLIENTS_HIGH)):
            at = clients + i * size
            state = self._u64(at) >> 44 & 0xF
            for k in (0, 1):
                self.used[k] = (
                    self.used[k] + self._u64(at + 64 + 8 * (8 + k))
                ) % 2**48  # above: the owner's generation
            if not state:
                continue
            self.states[i + 1] = state
            if state == CLAIMING:
                continue
            for k in range(RECORD_COUNT):
                record = Record(i + 1, k, *struct.unpack_from("<8Q", self.memory, at + RECORDS + 64 * k))
                if record.holds():
                    self.records.append(record)
            if state == LIVE:
                pins = struct.unpack_from(f"<{(size - PINS) // 8}Q", self.memory, at + PINS)
                self.pins.update((pins[k], pins[k + 1]) for k in range(0, len(pins), 2) if pins[k + 1])

    def of(self, client: int) -> list[Record]:
        return [record for record in self.records if record.client == client]

    # ---- pages and blocks

    def _page(self, page: int) -> tuple[int, int]:
        return struct.unpack_from("<QQ", self.memory, self._u64(PAGES) + 32 * page)

    def word_of(self, page: int) -> int:
        return self._page(page)[0]

    def _read_pages(self) -> None:
        high, page = min(self._u64(PAGES_HIGH), self._u64(HEAP_PAGES)), 0
        self.blocks: dict[int, tuple[int, int, int]] = {}  # offset: its capacity, its word, the free word of its span
        self.spans: dict[int, tuple[int, int, int]] = {}  # first page: pages, class, number
        while page < high:
            word, info = self._page(page)
            self.pages_used += word != 0
            if word & 3 == OPEN:
                page += self._read_span(page, word >> 2, info)
                continue
            if word & 3 == TAKEN:
                if not any(
                    page in r.run and (word >> 2 == r.other or (word >> 2 == r.blocks and page != r.run[0]))
                    for r in self.records
                ):
                    self.faults.append(f"page {page} is taken by number {word >> 2}, which no record names")
            elif word:
                self.faults.append(f"page {page} has the impossible word {word:#x}")
            page += 1

    def _read_span(self, first: int, number: int, info: int) -> int:
        pages, kind = info >> 8, info & 0xFF
        if not 0 < pages <= self._u64(HEAP_PAGES) - first or (kind >= len(CLASSES) and kind != LARGE):
            self.faults.append(f"page {first} begins a span of {pages} pages of class {kind}")
            return 1
        for i in range(1, pages):
            if self._page(first + i) != (number << 2 | TAKEN, i):
                self.faults.append(f"page {first + i} is {self._page(first + i)}, in the span {number} from {first} on")
        self.pages_used += pages - 1
        self.spans[first] = (pages, kind, number)
        size = pages * 4096 if kind == LARGE else CLASSES[kind]
        start, free = self._heap + first * 4096, self.life_of(number) | FREE
        for i in range(pages * 4096 // size):
            self.blocks[start + i * size] = (size, self._u64(start + i * size), free)
        return pages

    # ---- slots

    def _read_slots(self) -> None:
        self.in_slots: Counter[int] = Counter()
        for i, word in enumerate(self.table):
            if i % 8 == 0 or not word:
                continue
            block, slot = (word & 0xFFFFFFFFFF) * 16, i // 8 * 7 + i % 8 - 1
            self.in_slots[block] += 1
            self.entries += 1
            if block not in self.blocks:
                self.faults.append(f"slot {slot} names {block:#x}, where no block is")
                continue
            size, life, _ = self.blocks[block]
            self.bytes += size
            if not life or life & ENDED:
                self.faults.append(f"slot {slot} names the block at {block:#x}, whose word is {life:#x}")
            self._judge_entry(slot, word, block, size)
        self.faults += [f"the block at {at:#x} is in {n} slots" for at, n in self.in_slots.items() if n > 1]

    def _judge_entry(self, slot: int, word: int, block: int, size: int) -> None:
        hashed, expiry, lengths, own = struct.unpack_from("<QQQI", self.memory, block + 8)
        if lengths & MOVED:
            hashed = self._hash_of_key(block, lengths)
        home = (hashed >> 32) * self._buckets >> 32
        if own != slot:
            self.faults.append(f"the block in slot {slot} says that it is in slot {own}")
        if word >> 40 != (hashed & 0xFFFF) << 8 | home & 0xFF:
            self.faults.append(f"slot {slot} has another tag than its block")
        if (slot // 7 - home) % self._buckets > self.table[8 * home] >> 16 & 0xFF:
            self.faults.append(f"slot {slot} is out of the reach of home {home}")
        tagged = has_generations(self.memory, block, lengths)
        due_word = self._u64(self._u64(DUE) + 8 * (slot // 56)) if expiry or tagged else 0
        due = due_word >> 24
        if tagged and home not in self.bucket_owners and not due_word & MARK:
            self.faults.append(f"slot {slot} has generations, and its group has no mark")
        if expiry and home not in self.bucket_owners and not 0 < due <= min(expiry // 10**6 + 1, 2**40 - 1):
            self.faults.append(f"slot {slot} expires before its group is due")
        need = key_at(self.memory, block, lengths) - block + (lengths >> 24) + (lengths >> 8 & 0xFFFF)
        if need > size:
            self.faults.append(f"the entry in slot {slot} needs {need} bytes of {size}")
        if lengths >> 24 >= 4096:
            need += 63
        self.spare = max(self.spare, size - capacity_for(need + 16))  # a number reserves what its sum may need

    def _hash_of_key(self, block: int, lengths: int) -> int:
        k0, k1 = struct.unpack_from("<QQ", self.memory, HASH_KEY)
        at = key_at(self.memory, block, lengths)
        key = bytes(self.memory[at : at + (lengths >> 8 & 0xFFFF)])
        return int(lib.shms_hash(key, len(key), k0 ^ lengths & KEY_FLAGS, k1))

    # ---- who owns what

    def _judge_blocks(self) -> None:
        closers = {self.life_of(r.other) for r in self.records if r.page}
        stated = {(r.block, r.life) for r in self.records if r.block}
        stated |= {(r.old, r.other) for r in self.records if r.old and not r.page}
        for at, (_, word, free) in self.blocks.items():
            life = word & ~3
            if word == free:
                continue
            if word and not word & ENDED:
                if at in self.in_slots:
                    continue
                if (at, life) not in stated and life not in closers:
                    self.faults.append(f"the block at {at:#x} is alive, in no slot and no record")
                self.unpublished.append(at)
            elif word & 3 == ENDED:
                self.zombies.append(at)
                if (at, life) not in self.pins and (at, life) not in stated:
                    self.faults.append(f"the zombie at {at:#x} is pinned by nobody")
            else:
                self.faults.append(f"the word of the block at {at:#x} is {word:#x}, the span's free one is {free:#x}")

    def _judge_hints(self) -> None:
        """An entry of a cache without its bit would never be evicted. Counts may be wrong by what is in progress."""
        busy = {r.block for r in self.records} | {r.old for r in self.records}
        for i, word in enumerate(self.table):
            if i % 8 == 0 or not word or (word & 0xFFFFFFFFFF) * 16 in busy:
                continue
            slot = i // 8 * 7 + i % 8 - 1
            if not self.memory[self._u64(HINTS) + slot] & USED_HINT:
                self.faults.append(f"slot {slot} has an entry and no hint")
        counts = self._u64(SHARES)
        if counts & 0xFFFFFFFF > counts >> 32:
            self.faults.append(f"of {counts >> 32} entries, {counts & 0xFFFFFFFF} are in the small share")

    def _judge_counters(self) -> None:
        if not any(r.block or r.old for r in self.records) and self.used != [self.entries, self.bytes]:
            self.faults.append(f"the clients count {self.used} entries and bytes, not {[self.entries, self.bytes]}")


def has_generations(memory: memoryview, block: int, lengths: int) -> bool:
    """The first record of the extension is of type 3."""
    return bool(lengths & 0x10) and struct.unpack_from("<H", memory, block + 48)[0] == 3


def key_at(memory: memoryview, block: int, lengths: int) -> int:
    """Behind the header and the extension."""
    at = block + 40
    return at + (int(struct.unpack_from("<I", memory, at)[0]) if lengths & 0x10 else 0)


def number_of(memory: memoryview, pid: int) -> int:
    """The number of a process as a client; 0: none."""
    (clients,) = struct.unpack_from("<Q", memory, CLIENTS)
    (high,) = struct.unpack_from("<Q", memory, CLIENTS_HIGH)
    (size,) = struct.unpack_from("<I", memory, CLIENT_SIZE)
    for i in range(high):
        (word,) = struct.unpack_from("<Q", memory, clients + i * size)
        if word & 0x3FFFFF == pid and word >> 44 & 0xF:
            return i + 1
    return 0


def blocks_by_name(memory: memoryview) -> dict[bytes, int]:
    """Where the block of each str name is."""
    slots, buckets = struct.unpack_from("<Q", memory, SLOTS)[0], struct.unpack_from("<Q", memory, BUCKETS)[0]
    found = {}
    for i, word in enumerate(struct.unpack_from(f"<{8 * buckets}Q", memory, slots)):
        if i % 8 and word:
            block = (word & 0xFFFFFFFFFF) * 16
            (lengths,) = struct.unpack_from("<Q", memory, block + 24)
            at = key_at(memory, block, lengths)
            found[bytes(memory[at : at + (lengths >> 8 & 0xFFFF)])] = block
    return found


def remove_nameless(pid: int) -> None:
    """A private System V store whose maker dies before it marks it for removal stays behind (memory_sysv.c)."""
    for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        key, segment, _, _, creator, _, attached = (int(field) for field in line.split()[:7])
        if key == 0 and creator == pid and attached == 0:
            shmstore.sysv.shmctl(segment, shmstore.sysv.IPC_RMID)
