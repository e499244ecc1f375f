"""``shmstore ls``: list the stores of this machine, and all other shared memory."""

from __future__ import annotations

from shmstore.cli.support.entry_keys import printable
from shmstore.cli.support.found import store_name
from shmstore.cli.support.human import amount, mode, user
from shmstore.cli.support.output import Cell, choose_output, print_json, state_cell
from shmstore.cli.support.target import add_command, add_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from shmstore.cli.support.found import Found
    from shmstore.cli.support.objects import Object
    from shmstore.cli.support.output import Output
    from shmstore.cli.support.segments import Segment

DESCRIPTION = """\
List all shared memory that is visible here: stores, other System V segments (as ipcs -m does) and other objects of
/dev/shm. Segments of SharedMemory and ShareableList have their names. A private store has no name: give --id or
--object to other commands. The entries of another user's POSIX store are not counted, because the owner can end a
process that maps the file by SIGBUS. The last column shows what is unusual:

  foreign     belongs to a user other than you and root; open it with --owner
  private     ends with its last process; other users' POSIX ones are not shown
  unreadable  its mode does not let you read it, so its kind is unknown
  destroyed   removed; its memory is freed when all processes have detached
  unfinished  being created, or its creator died; the next open replaces it
  corrupt     has the header of a store, but cannot be opened
  locked      its memory is never swapped out
"""

_FOLDED = 16  # columns: longer names are folded before a column is left out
_LEAST_MISSED = (">id", "mode", "owner")

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
    from shmstore.cli.support.found import look
    from shmstore.cli.support.objects import objects, private_objects
    from shmstore.cli.support.segments import segments

    places: list[Segment | Object] = [*segments(), *objects(), *private_objects()]
    found = [one for place in places if not (one := look(place)).gone]
    stores = [one for one in found if one.kind == "store"]
    stores.sort(key=lambda one: (store_name(one), *one.place.identity().items()))
    rest = [] if args.stores else [one for one in found if one.kind != "store"]
    others = [one for one in rest if one.place.backend == "sysv"]
    posix = [one for one in rest if one.place.backend == "posix"]
    if args.json:
        document = {"stores": [one.as_dict() for one in stores]}
        if not args.stores:
            document["segments"] = [one.as_dict() for one in others]
            document["posix"] = [one.as_dict() for one in posix]
        print_json(document)
        return 0
    output = choose_output()
    if not stores and not others and not posix:
        output.line("There is no store." if args.stores else "There is no store and no other shared memory.")
    left_out: set[str] = set()
    if stores:
        left_out |= _table(output, "Stores", *_stores(stores))
    if others:
        left_out |= _table(output, "Other System V segments", *_others(others))
    if posix:
        left_out |= _table(output, "Other POSIX objects in /dev/shm", *_posix(posix))
    if left_out:
        what = ", ".join(column.removeprefix(">") for column in _LEAST_MISSED if column in left_out)
        output.line(f"\nNo room for {what}; a pipe or --json has {'it' if len(left_out) == 1 else 'them'}.")
    return 0


def _stores(stores: list[Found]) -> tuple[list[str], list[list[str]]]:
    rows: list[list[str]] = []
    for one in stores:
        place, stats = one.place, one.stats
        share = ["-", "-", "-"]
        if stats is not None:
            share = [amount(stats.bytes_used), f"{stats.entries:,}", f"{one.clients}"]
        rows.append([
            Cell(store_name(one), "name"), *_key_and_id(place), user(place.uid), mode(place.mode),
            amount(one.size), *share, state_cell(one.states),
        ])  # fmt: skip
    return ["name", "key", ">id", "owner", "mode", ">size", ">used", ">entries", ">clients", "state"], rows


def _others(others: list[Found]) -> tuple[list[str], list[list[str]]]:
    header = ["key", ">id", "owner", "mode", ">bytes", ">attached", "state"]
    rows: list[list[str]] = [
        [
            *_key_and_id(one.place), user(one.place.uid), mode(one.place.mode), f"{one.place.size:,}",
            f"{one.place.attached}", state_cell(one.states),
        ]
        for one in others
    ]  # fmt: skip
    if not any(one.block for one in others):
        return header, rows
    named = [("", "") if one.block is None else (printable(one.block.name), one.block.kind) for one in others]
    return ["name", *header[:-1], "what", header[-1]], [
        [Cell(name, "name"), *row[:-1], Cell(what, "quiet"), row[-1]] for (name, what), row in zip(named, rows)
    ]


def _posix(posix: list[Found]) -> tuple[list[str], list[list[str]]]:
    rows: list[list[str]] = []
    for one in posix:
        place: Any = one.place
        rows.append([
            Cell(printable(str(place.identity()["object"])), "name"), user(place.uid), mode(place.mode),
            f"{place.size:,}", amount(place.allocated), Cell(place.kind, "quiet"), state_cell(one.states),
        ])  # fmt: skip
    return ["name", "owner", "mode", ">bytes", ">used", "what", "state"], rows


def _key_and_id(place: Segment | Object) -> tuple[Cell, str]:
    key = place.store_key()
    shown = "posix" if key.object is not None else "private" if key.kind == 4 else key.shown
    return Cell(shown, "quiet"), str(place.identity().get("id", "-"))


def _table(output: Output, title: str, header: list[str], rows: list[list[str]]) -> set[str]:
    """Show a table without a column of states that says nothing. Where it is too wide, names are folded, and then the
    columns least missed are left out; which ones is returned."""
    left_out = set()
    if not any(row[-1] for row in rows):
        header, rows = _without(header, rows, header[-1])
    for column in _LEAST_MISSED:
        widths = [max(map(len, cells)) for cells in zip(header, *rows)]
        natural = min(widths[0], _FOLDED) + sum(width + 2 for width in widths[1:])
        if output.width is not None and natural > output.width and "name" in header and column in header:
            if column == ">id":
                rows = [_with_id_for_key(header, row) for row in rows]
            header, rows = _without(header, rows, column)
            left_out.add(column)
    output.table(title, header, rows)
    return left_out


def _with_id_for_key(header: list[str], row: list[str]) -> list[str]:
    """What has no key is found by its id alone, so the id takes the key's place, unless the name is the id."""
    key, shown = header.index("key"), f"id {row[header.index('>id')]}"
    return [*row[:key], Cell(shown, "quiet"), *row[key + 1 :]] if row[key] == "private" and row[0] != shown else row


def _without(header: list[str], rows: list[list[str]], column: str) -> tuple[list[str], list[list[str]]]:
    at = header.index(column)
    return [*header[:at], *header[at + 1 :]], [[*row[:at], *row[at + 1 :]] for row in rows]
