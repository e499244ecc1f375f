"""The floor: what the same operation costs without sharing anything, or without a store.

For objects that is a plain dict of msgpack bytes in the same process, decoded with the options that the
store's values need, and encoded by one Packer that is kept. For bytes it is one memcpy out of, or into, warm memory of
`multiprocessing.shared_memory`, at an offset that is known beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from multiprocessing.shared_memory import SharedMemory
from typing import Any

from msgpack import Packer, unpackb  # type: ignore[import-untyped]

from benchmarks._guard import fresh_name
from shmstore._base.calls import unpack_extension

_EXT_HOOK = unpack_extension
_STRICT_MAP_KEY = False


class Dict:
    """A dict of msgpack bytes; counters are ints in it."""

    name = "floor"

    def __init__(self, objects: Mapping[str, Any], counters: Mapping[str, int]) -> None:
        self._pack = Packer(strict_types=True).pack
        self._bodies = {name: self._pack(value) for name, value in objects.items()}
        self._counters = dict(counters)

    def get(self, names: Sequence[str]) -> None:
        bodies, ext_hook, strict = self._bodies, _EXT_HOOK, _STRICT_MAP_KEY
        for name in names:
            unpackb(bodies[name], ext_hook=ext_hook, strict_map_key=strict)

    def put(self, pairs: Sequence[tuple[str, Any]]) -> None:
        bodies, pack = self._bodies, self._pack
        for name, value in pairs:
            bodies[name] = pack(value)

    put_ttl = put  # a dict knows no time to live

    def miss(self, names: Sequence[str]) -> None:
        get = self._bodies.get
        for name in names:
            get(name)

    def contains(self, names: Sequence[str]) -> None:
        bodies = self._bodies
        for name in names:
            name in bodies

    def incr(self, names: Sequence[str]) -> None:
        counters = self._counters
        for name in names:
            counters[name] += 1

    def get_many(self, batches: Sequence[Sequence[str]]) -> None:
        for names in batches:
            self.get(names)  # one by one, nothing kept: the bar is per item of a plain get

    def put_many(self, batches: Sequence[Mapping[str, Any]]) -> None:
        for pairs in batches:
            self.put(pairs.items())  # type: ignore[arg-type]


class Memory:
    """Bytes at known offsets of shared memory, copied out and in."""

    name = "floor"

    def __init__(self, stack: ExitStack, blobs: Mapping[str, bytes]) -> None:
        self._length = len(next(iter(blobs.values())))
        self.buffer = bytearray(self._length)
        stride = self._length + 63 & ~63
        memory = SharedMemory(fresh_name(), create=True, size=stride * len(blobs))
        stack.callback(remove, memory)
        assert memory.buf is not None
        self._view = memory.buf[:]
        stack.callback(self._view.release)
        self.offsets = {name: number * stride for number, name in enumerate(blobs)}
        for name, value in blobs.items():
            at = self.offsets[name]
            self._view[at : at + self._length] = value

    def get(self, offsets: Sequence[int]) -> None:
        view, length = self._view, self._length
        for at in offsets:
            bytes(view[at : at + length])

    def get_into(self, offsets: Sequence[int]) -> None:
        view, length, buffer = self._view, self._length, memoryview(self.buffer)
        for at in offsets:
            buffer[:] = view[at : at + length]

    def put(self, pairs: Sequence[tuple[int, bytes]]) -> None:
        view, length = self._view, self._length
        for at, value in pairs:
            view[at : at + length] = value


def remove(memory: SharedMemory) -> None:
    memory.close()
    memory.unlink()
