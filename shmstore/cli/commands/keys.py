"""``shmstore keys``: list the keys in a store."""

from __future__ import annotations

from shmstore._store.coding import NAMES_OF_CODECS
from shmstore.cli.support.entry_keys import parse_entry_key, show_entry_key
from shmstore.cli.support.failures import told
from shmstore.cli.support.human import amount, duration
from shmstore.cli.support.output import Cell, choose_output, print_json
from shmstore.cli.support.target import add_command, add_store, open_store
from shmstore.cli.support.values import kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from shmstore import Store

DESCRIPTION = """\
List the keys in a store, sorted, one per line. Keys of bytes, and keys with control characters or a leading
quote, are shown as Python literals, and the other commands accept them in this form. The list is not a snapshot:
other processes may write meanwhile.
"""

EXAMPLES = """
shmstore keys quickstart
shmstore keys quickstart --prefix user: --long
shmstore keys quickstart --prefix "b''"            # keys of bytes
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "keys", "list the keys in a store", DESCRIPTION, EXAMPLES)
    add_store(parser, entries=True)
    parser.add_argument("--prefix", default="", help="only keys that begin with this and have its type")
    parser.add_argument(
        "-l",
        "--long",
        action="store_true",
        help="also type, size of the stored value and time to live; with --json codec and version, too",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from shmstore.cli.support.typed import key_to_json

    prefix = parse_entry_key(args.prefix)
    with open_store(args) as store, told():
        keys = sorted(store.keys(prefix), key=lambda key: (type(key) is bytes, key))
        if args.long:
            rows = [row for key in keys if (row := describe(store, key)) is not None]
    if args.json:
        print_json({"keys": [key_to_json(key) for key in keys] if not args.long else [
            {**row, "name": key_to_json(row["name"])} for row in rows
        ]})  # fmt: skip
        return 0
    if not args.long:
        for key in keys:
            print(show_entry_key(key))
    elif rows:
        choose_output().table("", ["key", "type", ">size", ">ttl"], [
            [
                Cell(show_entry_key(row["name"]), "name"), row["type"], amount(row["size"]),
                Cell("", "quiet") if row["ttl"] is None else duration(row["ttl"]),
            ]
            for row in rows
        ])  # fmt: skip
    return 0


def describe(store: Store[Any], key: str | bytes) -> dict[str, Any] | None:
    """Type, stored size, seconds to live and version of an entry; None if it is gone meanwhile."""
    found = store._get_versioned(key)
    if found is None:
        return None
    if len(found) == 1:
        raise store._fail(found)
    version, number, data = found
    codec = number if isinstance(number, str) else NAMES_OF_CODECS.get(number, f"codec {number}")
    try:
        ttl = store.ttl(key)
    except KeyError:
        return None
    return {
        "name": key, "type": kind_of(codec, data), "codec": codec, "size": len(data), "ttl": ttl, "version": str(version)
    }  # fmt: skip
