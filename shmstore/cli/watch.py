"""``shmstore watch``: print what changes in a store, while it changes."""

from __future__ import annotations

import queue
import threading
import time

from shmstore.cli._failures import FAILED, Failure, refuse_beside, told
from shmstore.cli._human import clock, parse_interval, positive
from shmstore.cli._names import parse_name, show_name
from shmstore.cli._target import add_command, add_store, open_store
from shmstore.cli._values import one_line
from shmstore.cli.output import choose_output, print_json
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

    from shmstore import Store

Change = tuple[str | bytes, int]  # a name, and its new version; 0: it is gone

DESCRIPTION = """\
Print each change of the names given, or of all names, until Ctrl-C or until the store is removed (then the
exit code is 3). Given names are waited for: with --wake asleep until a writer wakes this process, for which it
attaches as a client; otherwise read-only, looking every 2 ms. Without names the whole table is looked at every
--interval. What changes twice between two looks is printed once, with its newest value.
"""

EXAMPLES = """
shmstore watch quickstart
shmstore watch quickstart job:report --count 1 && echo reported
shmstore watch quickstart --json | jq -r .name
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "watch", "print changes as they happen", DESCRIPTION, EXAMPLES)
    add_store(parser)
    parser.add_argument("entries", metavar="NAME", nargs="*", help="only these names (default: all)")
    parser.add_argument("--prefix", help="without NAME: only names that begin with this")
    parser.add_argument("--interval", metavar="TIME", help="without NAME: time between two looks (default: 0.5 s)")
    parser.add_argument("--wake", action="store_true", help="with NAME: attach as a client, to be woken by writers")
    parser.add_argument("--count", type=positive, metavar="N", help="end after so many changes")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    names = list(dict.fromkeys(parse_name(entry) for entry in args.entries))
    if names:
        refuse_beside(args, "goes without NAME: it is for looking at all names", "--prefix", "--interval")
    else:
        refuse_beside(args, "goes with NAME: who looks at all names is not woken", "--wake")
    prefix, interval = parse_name(args.prefix or ""), parse_interval(args.interval or "0.5", 0.001)
    show = _show_json if args.json else _Lines().show
    with open_store(args, readonly=not args.wake) as store, told():
        changes = changes_of(store, names) if names else changes_of_all(store, prefix, interval)
        for number, (name, version) in enumerate(changes, start=1):
            show(time.time(), name, *_read(store, name, version))
            if args.count is not None and number >= args.count:
                return 0
    return 0


def changes_of(store: Store[Any], names: list[str | bytes]) -> Iterator[Change]:
    """Wait for names; several take a thread each."""
    now = {name: _version(store, name) for name in names}
    if len(names) == 1:
        (name,) = names
        while True:
            now[name] = store.wait(name, after=now[name])
            yield name, now[name]
    found: queue.SimpleQueue[Change | BaseException] = queue.SimpleQueue()

    def wait_for(name: str | bytes, version: int) -> None:
        try:
            while True:
                version = store.wait(name, after=version)
                found.put((name, version))
        except BaseException as error:  # the main thread has to end, whatever it is
            found.put(error)

    for name in names:
        threading.Thread(target=wait_for, args=(name, now[name]), daemon=True).start()
    while True:
        change = found.get()
        if isinstance(change, BaseException):
            raise change
        yield change


def changes_of_all(store: Store[Any], prefix: str | bytes, interval: float) -> Iterator[Change]:
    """Compare the versions of all names with those of the last look."""
    old = {name: _version(store, name) for name in store.keys(prefix)}
    while True:
        time.sleep(interval)
        store.info()  # StoreDestroyed if it was removed
        new = {name: version for name in store.keys(prefix) if (version := _version(store, name))}
        for name, version in new.items():
            if old.get(name) != version:
                yield name, version
        for name in old.keys() - new.keys():
            yield name, 0
        old = new


def _version(store: Store[Any], name: str | bytes) -> int:
    version = store._version(name)
    if not isinstance(version, int):
        raise store._fail(version)
    return version


def _read(store: Store[Any], name: str | bytes, version: int) -> tuple[int, Any]:
    """Version and value as they are now; version 0 if the entry is gone."""
    if not version:
        return 0, None
    try:
        value, version = store.get_versioned(name)
        return version, value
    except KeyError:
        return 0, None
    except CodecError as error:
        return version, Failure(FAILED, str(error))


def _show_json(when: float, name: str | bytes, version: int, value: Any) -> None:
    from shmstore.cli._typed import name_to_json, to_json

    row: dict[str, Any] = {"time": when, "name": name_to_json(name), "event": "put" if version else "gone"}
    if isinstance(value, Failure):
        row.update(version=str(version), error=str(value))
    elif version:
        row.update(version=str(version), value=to_json(value))
    print_json(row, line=True)


class _Lines:
    """One line for each change; on a terminal none is longer than it is wide."""

    def __init__(self) -> None:
        self.output = choose_output()

    def show(self, when: float, name: str | bytes, version: int, value: Any) -> None:
        begin = f"{clock(when)}  {show_name(name)}  "
        width = self.output.width
        room = None if width is None else max(20, width - len(begin))
        if isinstance(value, Failure):
            text = f"(cannot be read: {value})"
        else:
            text = one_line(value, room) if version else "(gone)"
        self.output.line(begin + text)
