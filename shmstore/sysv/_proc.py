"""/proc/sysvipc/shm, which shows every segment of this IPC namespace to every process, also to those that may not attach it.

This is the only place that reads its lines.
"""

from __future__ import annotations

from shmstore._base.record import Record
from shmstore._system.files import read

__all__ = ["TABLE", "Row", "parse", "read_table"]

TABLE = "/proc/sysvipc/shm"


class Row(Record):
    """One line. Its names are those of the columns, but for ``id`` (shmid) and ``mode`` (perms).

    ``key`` is a key_t, so it may be negative. ``rss`` and ``swap`` are in bytes, and 0 on kernels that do not print them.
    """

    __slots__ = (
        "atime", "cgid", "cpid", "ctime", "cuid", "dtime", "gid", "id",
        "key", "lpid", "mode", "nattch", "rss", "size", "swap", "uid",
    )  # fmt: skip
    key: int
    id: int
    mode: int
    size: int
    cpid: int
    lpid: int
    nattch: int
    uid: int
    gid: int
    cuid: int
    cgid: int
    atime: int
    dtime: int
    ctime: int
    rss: int
    swap: int


_COLUMNS = "key id mode size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap".split()
_LEAST = _COLUMNS.index("ctime") + 1


def parse(table: bytes) -> list[Row]:
    """Return the rows of the text of the table. Raises: ValueError if it is no such table."""
    return [_row(line.split()) for line in table.splitlines()[1:]]


def _row(words: list[bytes]) -> Row:
    if len(words) < _LEAST:
        raise ValueError(f"{len(words)} columns where at least {_LEAST} are expected")
    numbers = [int(word, 8 if name == "mode" else 10) for name, word in zip(_COLUMNS, words, strict=False)]
    return Row(**{"rss": 0, "swap": 0, **dict(zip(_COLUMNS, numbers, strict=False))})


def read_table() -> list[Row]:
    """Return the rows as they are now. Raises: OSError, ValueError."""
    return parse(read(TABLE))
