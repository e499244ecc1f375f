"""Histories of operations, as they lie in files: who called what when, and what came back.

Each thread writes a file of its own through a shared mapping, so what it wrote stays when its process is killed at any
instruction. A record is written in two steps: before the call all that was asked, the kind of operation last; after
the call what came back, the time of the response last. So a record without an operation is the end of the file, and
one without a response is a call that its process did not live to see the end of.

Every value that is ever written is different, and says whether it is stored as an int or as bytes:

    63      60 59      44 43       16 15       14      0
    |    0    |  writer  |  counter  | padded |  count  |

incr adds to the low bits. So a value is written at most once in a history, and names the operation that wrote it.
"""

from __future__ import annotations

import mmap
import pathlib
import struct
from typing import NamedTuple

GET, GET_VERSIONED, CONTAINS, PUT, ADD, REPLACE, CAS, INCR, DELETE, POP, SETDEFAULT, TOUCH, MODIFY = range(1, 14)
DELETE_VERSION, GET_TOUCH, INCR_PRESENT = range(14, 17)
KINDS = range(GET, INCR_PRESENT + 1)
CLEAR = 17  # of all keys: they are in a namespace that is cleared, or have a tag that is evicted
NAMES = (
    "", "get", "get_versioned", "contains", "put", "add", "replace", "cas", "incr", "delete", "pop", "setdefault",
    "touch", "modify", "delete of a version", "get and touch", "incr without creating", "clear",
)  # fmt: skip

# Outcomes. NO: absent, or a condition that did not hold. RAISED: incr of a value that is no int.
NO, YES, RAISED, TORN, ERROR = range(5)

ASKED = struct.Struct("<qQqqBB6x")  # value, expected or by, ttl in ns (0: for ever), invoked, key, operation
ANSWERED = struct.Struct("<qQB7xq")  # value, version, outcome, responded
RECORD = struct.Struct(ASKED.format + ANSWERED.format[1:])
PADDED = 1 << 15
NEVER = 1 << 62


class Operation(NamedTuple):
    """One call. ``end`` without a ``completed`` response is when its process was known to be dead, or NEVER."""

    kind: int
    key: int
    start: int
    end: int
    completed: bool
    value: int = 0
    extra: int = 0  # the version that cas and delete expect; what incr adds
    ttl: int = 0
    outcome: int = NO
    result: int = 0
    version: int = 0
    who: str = ""

    def __str__(self) -> str:
        asked = {
            CAS: f"{self.value:#x} if {self.extra:#x}",
            INCR: f"{self.extra} from {self.value:#x}",
            DELETE_VERSION: f"{self.extra:#x}",
            INCR_PRESENT: f"{self.extra}",
        }
        what = asked.get(self.kind, f"{self.value:#x}" if self.value else "")
        ttl = f" ttl {self.ttl / 1e6} ms" if self.ttl else ""
        end = ("no", "yes", "TypeError", "torn", "error")[self.outcome] + (f" {self.result:#x}" if self.result else "")
        end += f" version {self.version:#x}" if self.version else ""
        answer = end if self.completed else "its process died"
        return f"[{self.start} {self.end}] {self.who} {NAMES[self.kind]}({what}{ttl}) -> {answer}"


def stored(value: int) -> int | bytes:
    """What a store is given for a value."""
    if not value & PADDED:
        return value
    return value.to_bytes(8, "little") * (1, 12, 90, 700)[value >> 16 & 3]


def value_of(found: object) -> int:
    """The value that a store gave, or -1 if that is no value at all (of several, half of one)."""
    if type(found) is int:
        return found if not found & PADDED else -1
    if type(found) is bytes and found[:8] * (len(found) // 8) == found and len(found) >= 8:
        value = int.from_bytes(found[:8], "little")
        return value if stored(value) == found else -1
    return -1


def length(log: mmap.mmap) -> int:
    """How many operations were called: there are no gaps."""
    low, high = 0, len(log) // RECORD.size
    while low < high:
        middle = (low + high) // 2
        if log[middle * RECORD.size + 33]:  # the operation
            low = middle + 1
        else:
            high = middle
    return low


def load(path: pathlib.Path) -> bytes:
    """The records in use of a sparse file; its writer may have died before it gave it a length."""
    if not path.stat().st_size:
        return b""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as log:
        return log[: length(log) * RECORD.size]


def read(path: pathlib.Path, died: int | None) -> list[Operation]:
    """The operations of one thread; *died*: when its process was known to be dead, if it was killed."""
    operations = []
    for record in RECORD.iter_unpack(load(path)):
        value, extra, ttl, start, key, kind, result, version, outcome, end = record
        completed = end != 0
        end = end or died or NEVER
        operations.append(
            Operation(kind, key, start, end, completed, value, extra, ttl, outcome, result, version, path.stem)
        )
    return operations
