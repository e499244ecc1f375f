"""``shmstore watch``: print the changes of a store as they happen."""

from __future__ import annotations

import queue
import threading
import time

from shmstore._base.record import Record
from shmstore.cli.support.entry_keys import parse_entry_key, show_entry_key
from shmstore.cli.support.failures import FAILED, Failure, refuse_beside, told
from shmstore.cli.support.human import clock, parse_interval, positive
from shmstore.cli.support.output import choose_output, print_json
from shmstore.cli.support.target import add_command, add_store, open_store
from shmstore.cli.support.values import one_line
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

    from shmstore import Store
    from shmstore._store.keys import EntryKey

DESCRIPTION = """\
Print each change of the given keys, or of all keys, until Ctrl-C or until the store is removed (then the exit code
is 3). With KEYs, the command is read-only and looks every 2 ms; with --wake it attaches as a client and sleeps until a
writer wakes it. Without KEYs it reads the store's counters every --interval, and looks at all keys when these have
changed. A key that changes twice between two looks is printed once, with its newest value. Without KEYs the command
counts the changes that it did not see: "(1 put and 1 delete unseen)".
"""

EXAMPLES = """
shmstore watch quickstart
shmstore watch quickstart job:report --count 1 && echo reported
shmstore watch quickstart --json | jq -r .name
"""

_UNSEEN_EVERY = 0.5  # seconds between two lines about what was not seen


class Put(Record):
    """A key has a new value; a Failure if it cannot be read."""

    __slots__ = ("key", "value", "version")
    key: EntryKey
    version: int
    value: Any


class Gone(Record):
    """A key was deleted or evicted, or has expired."""

    __slots__ = ("key",)
    key: EntryKey


class Unseen(Record):
    """So many changes came and went between looks."""

    __slots__ = ("deletes", "puts")
    puts: int
    deletes: int


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "watch", "print changes as they happen", DESCRIPTION, EXAMPLES)
    add_store(parser)
    parser.add_argument("keys", metavar="KEY", nargs="*", help="only these keys (default: all)")
    parser.add_argument("--prefix", help="without KEY: only keys that begin with this")
    parser.add_argument("--interval", metavar="TIME", help="without KEY: time between two looks (default: 2 ms)")
    parser.add_argument(
        "--wake", action="store_true", help="with KEY: attach as a client, so that writers wake this command"
    )
    parser.add_argument("--count", type=positive, metavar="N", help="end after N changes")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    keys = list(dict.fromkeys(parse_entry_key(entry) for entry in args.keys))
    if keys:
        refuse_beside(args, "applies only without KEY, to all keys", "--prefix", "--interval")
    else:
        refuse_beside(args, "needs a KEY: nothing wakes a command that watches all keys", "--wake")
    prefix, interval = parse_entry_key(args.prefix or ""), parse_interval(args.interval or "2ms", 0.001)
    show = _show_json if args.json else _Lines().show
    with open_store(args, readonly=not args.wake) as store, told():
        changes = changes_of(store, keys) if keys else changes_of_all(store, prefix, interval)
        for number, change in enumerate(changes, start=1):
            show(time.time(), change)
            if args.count is not None and number >= args.count:
                return 0
    return 0


def changes_of(store: Store[Any], keys: list[EntryKey]) -> Iterator[Put | Gone]:
    """Wait for keys; several take a thread each."""
    now = {key: _version(store, key) for key in keys}
    if len(keys) == 1:
        yield from _changes_of_one(store, keys[0], now[keys[0]])
    found: queue.SimpleQueue[Put | Gone | BaseException] = queue.SimpleQueue()

    def wait_for(key: EntryKey) -> None:
        try:
            for change in _changes_of_one(store, key, now[key]):
                found.put(change)
        except BaseException as error:  # the main thread has to end, whatever it is
            found.put(error)

    for key in keys:
        threading.Thread(target=wait_for, args=(key,), daemon=True).start()
    while True:
        change = found.get()
        if isinstance(change, BaseException):
            raise change
        yield change


def _changes_of_one(store: Store[Any], key: EntryKey, version: int) -> Iterator[Put | Gone]:
    while True:
        version = store.wait(key, after=version)
        if version:
            change = _read(store, key, version)
            version = change.version
            yield change
        else:
            yield Gone(key=key)


def changes_of_all(store: Store[Any], prefix: EntryKey, interval: float) -> Iterator[Put | Gone | Unseen]:
    """Look at all keys whenever the counters say that something has changed."""
    from shmstore.cli.support.changes import begin

    def wanted(key: EntryKey) -> bool:
        return not prefix or (type(key) is type(prefix) and key.startswith(prefix))  # type: ignore[arg-type]

    table, counters = begin(store)
    pause, told_at = interval, time.monotonic()
    while True:
        time.sleep(pause)
        pause = interval
        if counters.moved() or table.is_due():
            began = time.monotonic()
            put, gone = table.look()
            pause = max(interval, time.monotonic() - began)  # a large table takes half of a core's time at most
            counters.puts -= len(put)
            counters.deletes -= sum(not expired for _, expired in gone)
            for key, version in put:
                if wanted(key):
                    change = _read(store, key, version)
                    table.know(key, change.version)
                    yield change
            for key, _ in gone:
                if wanted(key):
                    yield Gone(key=key)
        if time.monotonic() - told_at > _UNSEEN_EVERY and any(unseen := counters.take_unseen()):
            told_at = time.monotonic()
            yield Unseen(puts=unseen[0], deletes=unseen[1])


def _version(store: Store[Any], key: EntryKey) -> int:
    version = store._version(key)
    if not isinstance(version, int):
        raise store._fail(version)
    return version


def _read(store: Store[Any], key: EntryKey, version: int) -> Put:
    """The value as it is now, with its version, which may be a later one."""
    try:
        value, version = store.get_versioned(key)
        return Put(key=key, version=version, value=value)
    except KeyError:
        return Put(key=key, version=version, value=Failure(FAILED, "it was removed before it could be read"))
    except CodecError as error:
        return Put(key=key, version=version, value=Failure(FAILED, str(error)))


def _show_json(when: float, change: Put | Gone | Unseen) -> None:
    from shmstore.cli.support.typed import key_to_json, to_json

    if isinstance(change, Unseen):
        print_json({"time": when, "event": "unseen", "puts": change.puts, "deletes": change.deletes}, line=True)
        return
    row: dict[str, Any] = {"time": when, "name": key_to_json(change.key), "event": "gone"}
    if isinstance(change, Put):
        row.update(event="put", version=str(change.version))
        failed = isinstance(change.value, Failure)
        row.update({"error": str(change.value)} if failed else {"value": to_json(change.value)})
    print_json(row, line=True)


def _several(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


class _Lines:
    """One line for each change; on a terminal none is longer than it is wide."""

    def __init__(self) -> None:
        self.output = choose_output()

    def show(self, when: float, change: Put | Gone | Unseen) -> None:
        begin = f"{clock(when)}  " + ("" if isinstance(change, Unseen) else f"{show_entry_key(change.key)}  ")
        self.output.line(begin + self._text(change, len(begin)))

    def _text(self, change: Put | Gone | Unseen, begin: int) -> str:
        if isinstance(change, Unseen):
            counts = [(change.puts, "put"), (change.deletes, "delete")]
            return f"({' and '.join(_several(count, what) for count, what in counts if count)} unseen)"
        if isinstance(change, Gone):
            return "(gone)"
        if isinstance(change.value, Failure):
            return f"(cannot be read: {change.value})"
        width = self.output.width
        return one_line(change.value, None if width is None else max(20, width - begin))
