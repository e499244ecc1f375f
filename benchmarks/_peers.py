"""What a user might pick instead, as far as it runs inside of the process: each set up for speed, each durable nowhere.

All of them take names as str and objects as they are, and give objects back; what stores bytes gets msgpack.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from multiprocessing import Manager
from pathlib import Path
from typing import Any

from msgpack import Packer, unpackb  # type: ignore[import-untyped]

from benchmarks._guard import fresh_name

Names = Sequence[str]
Pairs = Sequence[tuple[str, Any]]


class Shared:
    """What offers itself as a dict."""

    _dict: Any

    def get(self, names: Names) -> None:
        get = self._dict.get
        for name in names:
            get(name)

    def put(self, pairs: Pairs) -> None:
        shared = self._dict
        for name, value in pairs:
            shared[name] = value

    def contains(self, names: Names) -> None:
        shared = self._dict
        for name in names:
            name in shared


class Managed(Shared):
    """multiprocessing.Manager().dict: a process of its own, asked through a socket."""

    def __init__(self, stack: ExitStack, values: Mapping[str, Any]) -> None:
        manager = stack.enter_context(Manager())
        self._dict = manager.dict(values)

    def incr(self, names: Names) -> None:
        shared = self._dict
        for name in names:
            shared[name] += 1  # not atomic: there is no such thing here


class Sqlite:
    """sqlite3 in /dev/shm: write-ahead log, nothing synced, each statement a transaction."""

    def __init__(self, stack: ExitStack, values: Mapping[str, Any]) -> None:
        self._pack = Packer(strict_types=True).pack
        folder = in_memory(stack)
        connection = sqlite3.connect(folder / "db", isolation_level=None)
        stack.callback(connection.close)
        self._execute = connection.execute
        for pragma in ("journal_mode=wal", "synchronous=off", "mmap_size=1000000000"):
            self._execute(f"pragma {pragma}").fetchall()
        self._execute("create table entries (name text primary key, value) without rowid")
        self._execute("begin")
        for name, value in values.items():
            self._store(name, value)
        self._execute("commit")

    def _store(self, name: str, value: Any) -> None:
        self._execute("replace into entries values (?, ?)", (name, value if type(value) is int else self._pack(value)))

    def get(self, names: Names) -> None:
        execute = self._execute
        for name in names:
            found = execute("select value from entries where name = ?", (name,)).fetchone()
            if found:
                unpackb(found[0])

    def put(self, pairs: Pairs) -> None:
        for name, value in pairs:
            self._store(name, value)

    def contains(self, names: Names) -> None:
        execute = self._execute
        for name in names:
            execute("select 1 from entries where name = ?", (name,)).fetchone()

    def incr(self, names: Names) -> None:
        execute = self._execute
        for name in names:
            execute("update entries set value = value + 1 where name = ? returning value", (name,)).fetchone()


class DiskCache:
    """diskcache in /dev/shm: sqlite below, pickle for objects."""

    def __init__(self, stack: ExitStack, values: Mapping[str, Any]) -> None:
        import diskcache

        self._cache = diskcache.Cache(str(in_memory(stack)), eviction_policy="none", sqlite_synchronous=0)
        stack.callback(self._cache.close)
        with self._cache.transact():
            for name, value in values.items():
                self._cache.set(name, value)

    def get(self, names: Names) -> None:
        get = self._cache.get
        for name in names:
            get(name)

    def put(self, pairs: Pairs) -> None:
        put = self._cache.set
        for name, value in pairs:
            put(name, value)

    def contains(self, names: Names) -> None:
        cache = self._cache
        for name in names:
            name in cache

    def incr(self, names: Names) -> None:
        incr = self._cache.incr
        for name in names:
            incr(name)


class Ultra(Shared):
    """UltraDict: a whole private dict in each process, kept up to date through shared memory.

    With shared_lock, as its documentation asks for between unrelated processes. What get returns is the private
    dict's own object, the same each time.
    """

    def __init__(self, stack: ExitStack, values: Mapping[str, Any]) -> None:
        from UltraDict import UltraDict

        self._dict = UltraDict(
            name=fresh_name(), create=True, shared_lock=True, buffer_size=1 << 20, full_dump_size=16 << 20
        )
        stack.callback(self._remove)
        self._dict.update(values)

    def _remove(self) -> None:
        self._dict.close()
        self._dict.unlink()

    def incr(self, names: Names) -> None:
        shared = self._dict
        for name in names:
            with shared.lock:
                shared[name] += 1


def in_memory(stack: ExitStack) -> Path:
    """A folder in /dev/shm, or where there is none in the folder for temporary files; removed at the end."""
    shm = Path("/dev/shm")
    parent = shm if shm.is_dir() and os.access(shm, os.W_OK) else Path(tempfile.gettempdir())
    folder = parent / fresh_name()
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder
