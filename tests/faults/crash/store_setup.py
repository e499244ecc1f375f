"""What stores hold when a case begins, and handles and views that are kept meanwhile.

Values prove themselves: each is a tuple of its name, who wrote it, and a body as long as it should be.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from raw_segment import memory_of, neighbours, sleepers

import shmstore

POSIX = "posix"
SIZE = 128 * 1024
MAX_ENTRIES = 56  # a small table: a sweep goes through every instruction of every walk through it
SMALL, MIDDLE, LARGE = 20, 700, 6000  # a large one touches three pages
UNUSED = 1200  # bytes of a value whose size class has no span


def value(name: str, who: str, size: int = SMALL) -> tuple[str, str, bytes]:
    return (name, who, who[:1].encode() * size)


new = {"new": [value("new", "new")]}
new_class = {"new": [value("new", "new", UNUSED)]}


def whole(name: str, found: Any) -> bool:
    """Is it one of the values that somebody wrote, with nothing torn?"""
    return found is None or isinstance(found, (int, bytes)) or found == value(name, found[1], len(found[2]))


def other_value(name: str, who: str, number: int) -> Any:
    """What others write meanwhile and afterwards: of the kind that the operation expects there."""
    if name in ("count", "new number") or name[:3] == "far":
        return 1000 + number
    return who.encode() if name == "raw" else value(name, who)


def populate(store: Any) -> None:
    """Entries and gaps of several sizes between them, so that blocks have neighbours of every kind."""
    for i in range(4):
        store.put(f"k{i}", value(f"k{i}", "old"))
    for i, size in enumerate((SMALL, 60, MIDDLE, 60)):
        store.put(f"gap{i}", value(f"gap{i}", "gap", size))
        store.put(f"between{i}", value(f"between{i}", "old"))
    store.put("large", value("large", "old", LARGE))
    store.put("count", 127)
    store.put("raw", b"r" * 300)
    store.put("mortal", value("mortal", "old"), ttl=10**6)  # longer than any sweep
    store.put("last", value("last", "old"))
    for i in range(4):
        store.delete(f"gap{i}")


STRANGER = 54321  # a uid that nobody has


def make(key: Any, **options: Any) -> Any:
    """The store of cases that create it."""
    return shmstore.Store(key, **{"size": SIZE, "max_entries": MAX_ENTRIES, **options})


def empty_store(key: str, **options: Any) -> None:
    make(key, **options).close()


def make_as_another_user(key: str, **options: Any) -> None:
    if os.geteuid() != 0:
        return
    pid = os.fork()
    if pid == 0:
        os.setuid(STRANGER)
        make(key, mode=0o666, **options).close()
        os._exit(0)
    wait_for(pid)


def wait_for(pid: int) -> None:
    """Until nothing of a child is left, whichever process reaps it."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    while os.path.exists(f"/proc/{pid}"):
        time.sleep(0.0005)


def another(store: Any) -> Any:
    """A handle of the same store."""
    return shmstore.Store(store.info().name, create=False, backend=store.info().backend)


def nothing(store: Any) -> None:
    return None


def let_expire(store: Any, count: int = 4, size: int = SMALL) -> None:
    for i in range(count):
        store.put(f"due{i}", value(f"due{i}", "old", size), ttl=0.001)
    time.sleep(0.01)


due = tuple(f"due{i}" for i in range(4))
FILLERS = tuple(f"filler{i}" for i in range(40))


def fill(store: Any) -> None:
    """No room for a middling value. The first one takes most of the pages."""
    store.put(FILLERS[0], value(FILLERS[0], "old", store.stats().largest_free - 3 * 4096))
    for name in FILLERS[1:]:
        try:
            store.put(name, value(name, "old", MIDDLE))
        except shmstore.StoreFull:
            break


def fill_with_due(store: Any) -> None:
    fill(store)
    for i, name in enumerate([name for name in FILLERS if name in store][-4:]):
        store.delete(name)
        store.put(f"due{i}", value(f"due{i}", "old", MIDDLE), ttl=0.05)
    time.sleep(0.06)


def crowd(store: Any) -> None:
    """More entries of one home than its bucket holds. Which names these are differs from store to store."""
    for name in neighbours(store, 10):
        store.put(name, 0)


def fill_table(store: Any) -> None:
    i = 0
    while True:
        try:
            store.put(f"{i}", i)
        except shmstore.StoreFull:
            store.delete("0")
            store.put("0", 0)
            return
        i += 1


def populate_without_expiry(store: Any) -> None:
    store.put("k1", value("k1", "old"))


class Own:
    name = "own"

    def encode(self, value: Any) -> bytes:
        return repr(value).encode()

    def decode(self, data: bytes) -> Any:
        import ast

        return ast.literal_eval(bytes(data).decode())


def put_own(store: Any, name: str, body: Any) -> Any:
    return store._put_if_(name, Own().encode(body), shmstore.DEFAULT, 0, 0, False, "own")


def populate_own_codec(store: Any) -> None:
    populate(store)
    put_own(store, "own", value("own", "old"))
    put_own(store, "own large", value("own large", "old", LARGE))


def due_and_sleepers(store: Any) -> None:
    let_expire(store)
    sleepers(store)


HUGE, ROOMY = 24 << 20, 64 << 20


def populate_huge(store: Any) -> None:
    populate(store)
    store.put("huge", b"h" * HUGE)


def populate_huge_within(store: Any) -> None:
    populate_huge(store)
    store.put("after", value("after", "old"))


def populate_given_back(store: Any) -> None:
    populate_huge_within(store)
    store.delete("huge")


def hold(store: Any) -> Any:
    return store.view("raw")


def leave_a_zombie(store: Any) -> None:
    with store.view("raw"):
        store.delete("raw")


def two_zombies(store: Any) -> Any:
    """One still read by the checking process, one that nobody reads."""
    store.put("raw2", b"s" * 300)
    held = store.view("raw")
    with store.view("raw2"):
        store.delete("raw")
        store.delete("raw2")
    return held


class Held:
    """Views of the checking process, of more handles than one."""

    def __init__(self, views: list[memoryview], other: Any) -> None:
        self.views, self.other = views, other

    def close(self) -> None:
        for view in self.views:
            view.release()
        self.other.close()


def read_before(store: Any) -> None:
    """Its life was pinned, and is no longer."""
    store.view("raw").release()


def ten_zombies(store: Any) -> Any:
    """Read by two handles."""
    other = another(store)
    for i in range(10):
        store.put(f"read{i}", b"r" * 40)
    views = [(store, other)[i % 2].view(f"read{i}") for i in range(10)]
    for i in range(10):
        store.delete(f"read{i}")
    return [Held(views, other)]


def attach_twice_more(store: Any) -> Any:
    return [another(store) for _ in range(2)]


def crowd_registry(store: Any) -> Any:
    """Live clients have all slots but two: one is the next victim's, which leaves it to the one after."""
    clients = int.from_bytes(memory_of(store)[192:196], "little")
    return [another(store) for _ in range(clients - 1 - len(store.clients()))]
