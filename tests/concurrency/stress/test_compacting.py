"""compact() beside writers and readers of other processes: nothing is lost, torn or renumbered, also when it is killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from typing import Any

WRITER = """
import random, sys, shmstore
key, number, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(number)
mine = {}
with shmstore.Store(key, create=False) as store:
    for turn in range(rounds):
        name = f"{number}:{rng.randrange(60)}"
        if name in mine:
            body, version = mine[name]
            assert store.get_versioned(name) == (body, version), name
        if rng.random() < 0.3:
            assert store.delete(name) == (name in mine)
            mine.pop(name, None)
            continue
        body = (name, turn, bytes([turn % 256]) * rng.choice((10, 100, 700, 3000, 9000, 30000)))
        if name in mine and turn % 3 == 0:
            assert store.cas(name, body, mine[name][1]), name
            mine[name] = store.get_versioned(name)
            assert mine[name][0] == body
        else:
            mine[name] = body, store.put(name, body)
        if turn % 5 == 0:
            store.incr("count")
    for name, (body, version) in mine.items():
        assert store.get_versioned(name) == (body, version), name
    assert {name for name in store.keys(f"{number}:")} == set(mine)
"""

READER = """
import random, sys, shmstore
rng = random.Random(1)
with shmstore.Store(sys.argv[1], create=False, readonly=sys.argv[2] == "readonly") as store:
    while not store.get("end"):
        name = f"{rng.randrange(2)}:{rng.randrange(60)}"
        value = store.get(name)
        if value is not None:
            who, turn, body = value
            assert who == name and body == bytes([turn % 256]) * len(body), name
"""

COMPACTOR = """
import sys, shmstore
with shmstore.Store(sys.argv[1], create=False) as store:
    while not store.get("end"):
        store.compact()
"""


def start(program: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], cwd="/")


def test_entries_stay_as_they_are_while_they_move(key: str, make: Any) -> None:
    rounds = 4000
    store = make(size="8M")
    others = [start(READER, key, "readonly"), start(READER, key, "writable"), start(COMPACTOR, key)]
    writers = [start(WRITER, key, number, rounds) for number in range(2)]
    try:
        assert [writer.wait(1200) for writer in writers] == [0, 0]
        store["end"] = True
        assert [other.wait(600) for other in others] == [0, 0, 0]
    finally:
        for process in (*writers, *others):
            process.kill()
            process.wait()
    assert store["count"] <= 2 * rounds
    assert store.stats().moves > 0
    store.check()
    store.clear()
    store.compact()
    assert store.stats().bytes_used == 0 and store.stats().fragmentation == 0


def test_what_killed_compactors_leave_is_whole(key: str, make: Any) -> None:
    store = make(size="8M")
    writer = start(WRITER, key, 0, 6000)
    rng = random.Random(2)
    killed = 0
    try:
        while writer.poll() is None:
            victim = start(COMPACTOR, key)
            moves = store.stats().moves
            while writer.poll() is None and store.stats().moves < moves + rng.randrange(1, 200):
                pass
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            killed += 1
            store.recover()
            store.check()
        assert writer.returncode == 0
    finally:
        writer.kill()
        writer.wait()
    assert killed
    free = store.stats().bytes_free
    store["most"] = bytes(free * 3 // 4)
    store.check()
    store.clear()
    store.compact()
    assert store.stats().bytes_used == 0 and store.stats().fragmentation == 0
