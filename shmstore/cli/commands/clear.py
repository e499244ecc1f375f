"""``shmstore clear``: remove all entries, or those with a prefix."""

from __future__ import annotations

from itertools import islice

from shmstore.cli.support.entry_keys import parse_entry_key
from shmstore.cli.support.failures import told
from shmstore.cli.support.output import choose_output, print_json
from shmstore.cli.support.target import add_command, add_store, open_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

EXAMPLES = """
shmstore clear quickstart
shmstore clear quickstart --prefix cache:
"""


def add_to(subparsers: Any) -> None:
    about = "Remove every entry, and without --prefix those of all namespaces. Entries that are put meanwhile may stay. The store stays; shmstore rm removes it."
    parser = add_command(subparsers, "clear", "remove every entry", about, EXAMPLES)
    add_store(parser, entries=True)
    parser.add_argument("--prefix", default="", help="only keys that begin with this and have its type")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    prefix = parse_entry_key(args.prefix)
    deleted = 0
    with open_store(args, readonly=False) as store, told():
        if not prefix and not args.namespace:
            store._clear_inside()
        names = iter(store.keys(prefix))
        while batch := list(islice(names, 1000)):
            deleted += store.delete_many(batch)
    if args.json:
        print_json({"deleted": deleted})
    else:
        choose_output().line(f"{deleted:,} {'entry' if deleted == 1 else 'entries'} removed")
    return 0
