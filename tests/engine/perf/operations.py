"""Run under callgrind by test_instructions.py: one dump of the counters for each operation, done COUNT times.

operations.py PHASES_SO KEY
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import shmstore

COUNT = 200  # of each operation, on as many names
WARM_UP = 2  # passes that are not counted: they bind symbols and fill the interpreter's caches and free lists
LARGE = bytes(range(256)) * 64


def main(phases_so: str, key: int) -> None:
    phases = ctypes.CDLL(phases_so)
    store = shmstore.Store[Any](key, create=True, size="8M")
    try:
        for phase, (operation, arguments) in operations(store).items():
            for _ in range(WARM_UP):
                for argument in arguments:
                    operation(argument)
            phases.begin()
            for argument in arguments:
                operation(argument)
            phases.end(phase.encode())
    finally:
        store.destroy()


def operations(store: shmstore.Store[Any]) -> dict[str, tuple[Callable[[Any], object], list[Any]]]:
    """By phase: what is done, and with which arguments."""
    names = [f"user:{i:05d}" for i in range(COUNT)]
    absent = [f"{name}?" for name in names]
    counters = [f"hits:{i:05d}" for i in range(COUNT)]
    large = [f"blob:{i:05d}" for i in range(COUNT)]
    value = {"id": 10_000, "name": "user-00000", "score": 1 / 7, "active": True, "group": "staff"}
    store.put_many({**dict.fromkeys(names, value), **dict.fromkeys(counters, 1000), **dict.fromkeys(large, LARGE)})
    source = bytearray(LARGE)
    return {
        "one copy": (lambda _: bytes(source), names),
        "get": (store.get, names),
        "get 16 KB": (store.get, large),
        "put": (lambda name: store.put(name, value), names),
        "put 16 KB": (lambda name: store.put(name, LARGE), large),
        "miss": (store.get, absent),
        "contains": (store.__contains__, names),
        "incr": (store.incr, counters),
    }


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
