"""Contestants and data of each row of ``ops``.

Rows that use the same data share a ground, so it is made once; and it is removed before the next one is made.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from typing import Any

from benchmarks._floor import Dict, Memory
from benchmarks._lmdb import HOW_TO_GET_IT, INSTALLED, Lmdb
from benchmarks._measure import Contestant, Run
from benchmarks._objects import SIZES, TOGETHER, absent_names, blobs, counters, small_objects
from benchmarks._shmstore import Ours

ROOM = 200 << 20  # bytes of /dev/shm, for the largest values of the peers; shmstore needs none of it


def in_batches(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[at : at + TOGETHER] for at in range(0, len(items), TOGETHER)]


class Small:
    """Ten thousand small objects and as many counters."""

    def __init__(self, stack: ExitStack, codec: str = "msgpack") -> None:
        self._objects, self._counters = small_objects(), counters()
        values = {**self._objects, **self._counters}
        self._ours = Ours(stack, values, codec=codec)
        self._floor = Dict(self._objects, self._counters)
        self._lmdb = Lmdb(stack, values) if INSTALLED else None
        self.left_out = {} if self._lmdb else {"lmdb": "not installed"}

    def contestants(self, operation: str) -> list[Contestant]:
        arguments, items = self._arguments(operation), 1
        if operation.endswith("_many"):
            items = TOGETHER
        found = [
            Contestant(each.name, getattr(each, operation), arguments, items) for each in (self._ours, self._floor)
        ]
        if self._lmdb:
            encoded = [encode_names(argument) for argument in arguments]
            found.append(Contestant(self._lmdb.name, getattr(self._lmdb, operation), encoded, items))
        return found

    def _arguments(self, operation: str) -> Sequence[Any]:
        pairs = list(self._objects.items())
        match operation:
            case "miss":
                return absent_names()
            case "incr":
                return list(self._counters)
            case "put" | "put_ttl":
                return pairs
            case "get_many":
                return in_batches(list(self._objects))
            case "put_many":
                return [dict(batch) for batch in in_batches(pairs)]
        return list(self._objects)


def encode_names(argument: Any) -> Any:
    """A name, a pair, a list of names or a dict, with bytes for names, as LMDB wants them."""
    if isinstance(argument, str):
        return argument.encode()
    if isinstance(argument, tuple):
        return argument[0].encode(), argument[1]
    if isinstance(argument, dict):
        return {name.encode(): value for name, value in argument.items()}
    return [name.encode() for name in argument]


class Blobs:
    """Bytes of one size. *codec*: "msgpack" is what a store uses unless told otherwise."""

    def __init__(self, stack: ExitStack, size: str, codec: str) -> None:
        self._values = blobs(size)
        total = SIZES[size][0] * SIZES[size][1]
        self._ours = Ours(stack, self._values, size=f"{16 * (total >> 20) + 64}M", codec=codec)
        self._ours.buffer = bytearray(SIZES[size][0])
        self._floor: Memory | None = None
        self._lmdb: Lmdb | None = None
        self.left_out = {}
        if _free_in_dev_shm() < ROOM:
            self.left_out = {"floor": "no room", "lmdb": "no room"}
            return
        self._floor = Memory(stack, self._values)
        self._floor.buffer = self._ours.buffer  # one for all, so that none has it in the caches alone
        if INSTALLED:
            self._lmdb = Lmdb(stack, self._values, size=128 << 20, plain=True)
            self._lmdb.buffer = self._ours.buffer
        else:
            self.left_out = {"lmdb": "not installed"}

    def contestants(self, operation: str) -> list[Contestant]:
        values = self._values
        ours, floor, lmdb = self._ours, self._floor, self._lmdb
        pairs = operation == "put"
        found = [Contestant(ours.name, getattr(ours, operation), list(values.items() if pairs else values))]
        if floor:
            offsets = [(at, values[name]) if pairs else at for name, at in floor.offsets.items()]
            found.append(Contestant(floor.name, getattr(floor, operation), offsets))
        if lmdb:
            encoded = [(name.encode(), value) if pairs else name.encode() for name, value in values.items()]
            runs: dict[str, Run] = {"put": lmdb.put_bytes, "get": lmdb.get_bytes, "get_into": lmdb.get_into}
            found.append(Contestant(lmdb.name, runs[operation], encoded))
        return found


def ground(name: str, stack: ExitStack) -> Small | Blobs:
    """Make a ground: "small" or "mortal" (small, where entries have a time to live) or a size, and a codec.

    Raises: ImportError if the codec is not installed.
    """
    size, codec = name.split()
    if codec == "msgspec":
        import_module(codec)
    return Small(stack, codec) if size in ("small", "mortal") else Blobs(stack, size, codec)


def why(left_out: dict[str, str]) -> str:
    """What to do about those that were left out."""
    if "no room" in left_out.values():
        return f"left out, /dev/shm has less than {ROOM >> 20} MB to spare: " + ", ".join(left_out)
    if "shmstore" in left_out:
        return left_out["shmstore"]
    return f"LMDB is {HOW_TO_GET_IT}" if left_out else ""


def _free_in_dev_shm() -> int:
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize
