"""What the memory of a store says, read by docs/format.md and not by the engine."""

from __future__ import annotations

import struct
from pathlib import Path

import shmstore.sysv


class Audit:
    """Blocks in slots, lock holders, zombies."""

    def __init__(self, memory: memoryview) -> None:
        def u64(at: int) -> int:
            return int(struct.unpack_from("<Q", memory, at)[0])

        slots, buckets, arenas = u64(216), u64(224), u64(256)
        (arena_count,) = struct.unpack_from("<I", memory, 252)
        table = struct.unpack_from(f"<{8 * buckets}Q", memory, slots)
        self.bucket_owners = {i: table[8 * i] & 0xFFFF for i in range(buckets) if table[8 * i] & 0xFFFF}
        self.arena_owners = [u64(arenas + 4736 * a) & 0xFFFF for a in range(arena_count)]
        self.bytes, self.entries, self.spare = 0, 0, 0
        for i, word in enumerate(table):
            if i % 8 and word:
                block = (word & 0xFFFFFFFFFF) * 16
                lengths, _, tag = struct.unpack_from("<QII", memory, block + 24)
                size = (tag & 0x1FFFFFFF) * (4096 if tag & 0x20000000 else 16)
                need = 40 + (lengths >> 24) + (lengths >> 8 & 0xFFFF)
                if lengths & 0x10:
                    need += struct.unpack_from("<I", memory, block + 40)[0]
                if lengths >> 24 >= 4096:
                    need += 63
                self.bytes += size
                self.entries += 1
                self.spare = max(self.spare, size - max(48, (need + 15) // 16 * 16))
        for a in range(arena_count):
            at = u64(arenas + 4736 * a + 80)
            while at:
                self.bytes += (struct.unpack_from("<I", memory, at + 36)[0] & 0x1FFFFFFF) * 16
                at = u64(at + 8)


def number_of(memory: memoryview, pid: int) -> int:
    """The number of a process as a client; 0: none."""
    (clients,) = struct.unpack_from("<Q", memory, 184)
    count, size = struct.unpack_from("<II", memory, 192)
    for i in range(count):
        (word,) = struct.unpack_from("<Q", memory, clients + i * size)
        if word & 0x3FFFFF == pid and word >> 44 & 0xF:
            return i + 1
    return 0


def state_of(memory: memoryview, number: int) -> int:
    """Of a client: 1 claiming, 2 live .."""
    clients, size = struct.unpack_from("<Q", memory, 184)[0], struct.unpack_from("<I", memory, 196)[0]
    return struct.unpack_from("<Q", memory, clients + (number - 1) * size)[0] >> 44 & 0xF


def block_owned(memory: memoryview, number: int) -> int:
    """The block in a client's first record: owned, and not yet published."""
    clients, size = struct.unpack_from("<Q", memory, 184)[0], struct.unpack_from("<I", memory, 196)[0]
    return int(struct.unpack_from("<Q", memory, clients + (number - 1) * size + 192 + 16)[0])


def blocks_by_name(memory: memoryview) -> dict[bytes, int]:
    """Where the block of each str name is."""
    slots, buckets = struct.unpack_from("<Q", memory, 216)[0], struct.unpack_from("<Q", memory, 224)[0]
    found = {}
    for i, word in enumerate(struct.unpack_from(f"<{8 * buckets}Q", memory, slots)):
        if i % 8 and word:
            block = (word & 0xFFFFFFFFFF) * 16
            (lengths,) = struct.unpack_from("<Q", memory, block + 24)
            at = block + 40 + (struct.unpack_from("<I", memory, block + 40)[0] if lengths & 0x10 else 0)
            found[bytes(memory[at : at + (lengths >> 8 & 0xFFFF)])] = block
    return found


def remove_nameless(pid: int) -> None:
    """A private System V store whose maker dies before it marks it for removal stays behind (memory_sysv.c)."""
    for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        key, segment, _, _, creator, _, attached = (int(field) for field in line.split()[:7])
        if key == 0 and creator == pid and attached == 0:
            shmstore.sysv.shmctl(segment, shmstore.sysv.IPC_RMID)
