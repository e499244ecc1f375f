"""``shmstore ls``: the stores of this machine, and all other shared memory beside them."""

from __future__ import annotations

from shmstore.cli._human import amount, mode, user
from shmstore.cli._names import printable
from shmstore.cli._target import add_command, add_json
from shmstore.cli.output import Cell, choose_output, print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

    from shmstore.cli._segments import Found, Posix
    from shmstore.cli.output import Output

DESCRIPTION = """\
List all shared memory that this machine's IPC namespace holds: stores, other System V segments (as ipcs -m
does) and the objects of /dev/shm. Remarkable states:

  foreign     made by another user than you and root; opening it wants --owner
  unreadable  its mode does not let you look, so what it is cannot be said
  destroyed   removed, and kept only by processes that are still attached
  unfinished  being created, or its creator died; who opens it next finishes it
  corrupt     says that it is a store, and is none that can be opened
  locked      locked into memory
"""

_FOLDED = 24  # columns: longer names are folded before a column is left out

EXAMPLES = """
shmstore ls
shmstore ls --stores --json | jq -r '.stores[].name'
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "ls", "list stores and all other shared memory", DESCRIPTION, EXAMPLES)
    parser.add_argument("--stores", action="store_true", help="only the stores")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from shmstore.cli._segments import look, posix_objects, segments

    found = [look(segment) for segment in segments()]
    stores = [one for one in found if one.kind == "store"]
    stores.sort(key=lambda one: (store_name(one), one.segment.id))
    others = [] if args.stores else [one for one in found if one.kind != "store"]
    posix = [] if args.stores else posix_objects()
    if args.json:
        document = {"stores": [one.as_dict() for one in stores]}
        if not args.stores:
            document["segments"] = [one.as_dict() for one in others]
            document["posix"] = [one.as_dict() for one in posix]
        print_json(document)
        return 0
    output = choose_output()
    if not stores and not others and not posix:
        output.line("No store." if args.stores else "No store, and no other shared memory.")
    if stores:
        _table(output, "Stores", *_stores(stores))
    if others:
        _table(output, "Other System V segments", *_others(others))
    if posix:
        _table(output, "POSIX objects in /dev/shm", *_posix(posix))
    return 0


def store_name(found: Found) -> str:
    """What to call a store: its name or path, or its key where it has none."""
    if found.header is not None and found.header.name is not None:
        return printable(found.header.name)
    return f"{found.segment.key:#010x}" if found.segment.key else f"id {found.segment.id}"


def state_cell(words: Sequence[str]) -> Cell:
    """What is remarkable, and how much so."""
    bad = {"corrupt"}.intersection(words)
    return Cell(", ".join(words), "bad" if bad else "notice" if words else "quiet")


def _stores(stores: list[Found]) -> tuple[list[str], list[list[str]]]:
    rows: list[list[str]] = []
    for one in stores:
        segment, stats = one.segment, one.stats
        share = ["-", "-", "-"]
        if stats is not None:
            share = [amount(stats.bytes_used), f"{stats.entries:,}", f"{one.clients}"]
        rows.append([
            Cell(store_name(one), "name"), _key(segment.key), str(segment.id), user(segment.uid), mode(segment.mode),
            amount(segment.size), *share, state_cell(one.states),
        ])  # fmt: skip
    return ["name", "key", ">id", "owner", "mode", ">size", ">used", ">entries", ">clients", "state"], rows


def _others(others: list[Found]) -> tuple[list[str], list[list[str]]]:
    return ["key", ">id", "owner", "mode", ">bytes", ">attached", "state"], [
        [
            _key(one.segment.key), str(one.segment.id), user(one.segment.uid), mode(one.segment.mode),
            f"{one.segment.size:,}", str(one.segment.nattch), state_cell(one.states),
        ]
        for one in others
    ]  # fmt: skip


def _posix(posix: list[Posix]) -> tuple[list[str], list[list[str]]]:
    return ["name", "owner", "mode", ">bytes", ">used", "what"], [
        [
            Cell(printable(one.name.decode(errors="backslashreplace")), "name"), user(one.uid), mode(one.mode),
            f"{one.size:,}", amount(one.allocated),
            Cell(one.kind, "notice" if one.kind == "unreadable" else "quiet"),
        ]
        for one in posix
    ]  # fmt: skip


def _key(key: int) -> Cell:
    return Cell(f"{key:#010x}" if key else "private", "quiet")


def _table(output: Output, title: str, header: list[str], rows: list[list[str]]) -> None:
    """Show a table without the columns that say nothing, and without those least missed where it is too wide."""
    if not any(row[-1] for row in rows):
        header, rows = _without(header, rows, header[-1])
    for column in (">id", "mode", "owner"):
        widths = [max(map(len, cells)) for cells in zip(header, *rows)]
        natural = min(widths[0], _FOLDED) + sum(width + 2 for width in widths[1:])
        if output.width is not None and natural > output.width and "name" in header and column in header:
            header, rows = _without(header, rows, column)
    output.table(title, header, rows)


def _without(header: list[str], rows: list[list[str]], column: str) -> tuple[list[str], list[list[str]]]:
    at = header.index(column)
    return [*header[:at], *header[at + 1 :]], [[*row[:at], *row[at + 1 :]] for row in rows]
