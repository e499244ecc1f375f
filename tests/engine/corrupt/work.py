"""What the programs of test_corrupt.py do: damage stores, and use what was damaged.

Each runs to its end in a process of its own, so that a signal or a hang fails one test. `python work.py ROLE ..`"""

from __future__ import annotations

import random
import re
import struct
import sys
import time
from pathlib import Path

import shmstore
from shmstore import sysv

NAMES = [f"k{i}" for i in range(40)]
VALUES = dict(zip(NAMES, [1, "text", b"bytes" * 50, [1, 2, {"a": None}], b"x" * 9000] * 8))
TIMEOUT = 0.01


def fill(store):
    for name, value in VALUES.items():
        store[name] = value
    for name in NAMES[::5]:
        del store[name]
    store.put("mortal", 1, ttl=600)


def attempt(call):
    """A value, a miss or an error of the package; everything else ends this program."""
    try:
        return call()
    except (shmstore.ShmStoreError, KeyError, TimeoutError):  # the last is wait's
        return None
    except TypeError as error:
        if not any(text in str(error) for text in ("incr and decr need an int", "only a value that is bytes")):
            raise
        return None


def use(store, rng, rounds=1):
    writes = not store.info().readonly
    for _ in range(rounds):
        name = rng.choice([*NAMES, "mortal", "absent"])
        calls = [
            lambda: store.get(name), lambda: name in store, lambda: store.ttl(name), lambda: store.get_many(NAMES[:8]),
            lambda: store.get_versioned(name), lambda: len(store), store.stats, store.clients, store.info,
            lambda: store.wait(name, timeout=0.001),
        ]  # fmt: skip
        if rng.random() < 0.05:
            calls += [lambda: list(store), store.check]
        if writes:
            calls += [
                lambda: store.put(name, rng.choice([1, b"v" * rng.randrange(3000), "t" * rng.randrange(100), [name]])),
                lambda: store.incr(name), lambda: store.touch(name, 5), lambda: store.delete(name),
                lambda: store.add(name, 1), lambda: store.pop(name), lambda: bytes(store.view(name))[:10],
                lambda: store.put(name, b"x", ttl=0.001),
            ]  # fmt: skip
            if rng.random() < 0.02:
                calls += [store.recover, store.clear]
        rng.shuffle(calls)
        for call in calls:
            attempt(call)


def use_anew(key, rng, rounds):
    for options in ({"readonly": True}, {}):
        store = attempt(lambda options=options: shmstore.Store(key, timeout=TIMEOUT, create=False, **options))
        if store is not None:
            use(store, rng, rounds)
            attempt(store.check)
            store.close()


# ---- a scribbler and who suffers from it


def scribble(identifier, seed, seconds):
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    done = 0
    with sysv.shmat(identifier) as memory:
        word = lambda at: struct.unpack_from("<Q", memory, at)[0]  # noqa: E731
        size = len(memory)
        starts = [word(at) for at in (176, 184, 200, 208, 216, 248, 256, 264, 280)]
        sound = bytes(memory)
        while time.monotonic() < end:
            at = rng.choice([*starts, rng.randrange(1024, size), 1024, 1088]) + 8 * rng.randrange(200)
            at = min(at // 8 * 8, size - 8)
            value = rng.choice([0, 1, 2**64 - 1, 2**63, word(at) ^ 1 << rng.randrange(64), rng.getrandbits(64), at, size,
                                word(rng.randrange(size // 8) * 8)])  # fmt: skip
            struct.pack_into("<Q", memory, at, value)
            done += 1
            if done % 2000 == 0:  # back to what there was, or soon nothing is left that could be damaged
                memory[1024:size] = sound[1024:]
            if done % 50 == 0:
                time.sleep(0.0002)
    print(done, "scribbles")


def suffer(key, seed, seconds):
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    done = 0
    while time.monotonic() < end:
        store = attempt(lambda: shmstore.Store(key, timeout=TIMEOUT, create=False, readonly=rng.random() < 0.3))
        if store is not None:
            use(store, rng, 20)
            done += 20
            store.close()
    print(done, "rounds")


# ---- what stands still


def header_fields():
    """(offset, size, name) of what docs/format.md says of the header."""
    text = (Path(__file__).resolve().parents[3] / "docs" / "format.md").read_text()
    part = text[text.index("## Header") : text.index("### Feature masks")]
    fields = [(int(at), int(size), name) for at, size, name in re.findall(r"\| (\d+) \| (\d+) \| `(\w+)`", part)]
    assert len(fields) > 40
    return fields


def boundaries(own, size):
    near = [0, 1, 16, 48, 64, 255, 4095, 4096, 8192, 65536, 1 << 31, 1 << 32, 1 << 40, 1 << 44, 1 << 62, 1 << 63, 1 << 64,
            size, own, 0xFFFE, 0xFFFF, 613566756]  # fmt: skip
    steps = [0, 1, -1, 8, -8, 64, -64, 4096, -4096]
    return sorted({(value + step) % 2**64 for value in near for step in steps})


def header(key, identifier, part, parts):
    rng = random.Random(part)
    with sysv.shmat(identifier) as memory:
        sound = bytes(memory)
        for at, size, name in header_fields()[part::parts]:
            width = min(size, 8)
            own = int.from_bytes(sound[at : at + width], "little")
            for value in boundaries(own, len(sound)):
                if value >> 8 * width:
                    continue
                print(name, hex(value), flush=True)
                memory[:] = sound
                memory[at : at + width] = value.to_bytes(width, "little")
                use_anew(key, rng, 1)
        memory[:] = sound


def splice(key, identifier, other, seed, count):
    rng = random.Random(seed)
    with sysv.shmat(identifier) as memory, sysv.shmat(other) as others:
        sound, foreign = bytes(memory), bytes(others)
        swapped = b"".join(sound[at : at + 8][::-1] for at in range(0, len(sound), 8))
        for n in range(count):
            memory[:] = sound
            source = swapped if n % 8 == 7 else foreign
            for _ in range(rng.choice([1, 1, 2, 5])):
                unit = rng.choice([64, 4096, 65536])
                at = rng.randrange(len(sound) // unit) * unit
                length = unit * rng.choice([1, 1, 3])
                memory[at : at + length] = source[at : at + length]
                print("splice", n, at, length, flush=True)
            use_anew(key, rng, 3)
        memory[:] = sound


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    numbers = [int(argument) if argument.lstrip("-").isdigit() else argument for argument in arguments]
    {"scribble": scribble, "suffer": suffer, "header": header, "splice": splice}[role](*numbers)
