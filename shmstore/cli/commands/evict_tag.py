"""``shmstore evict-tag``: remove all entries with a tag."""

from __future__ import annotations

from shmstore.cli.support.entry_keys import parse_entry_key
from shmstore.cli.support.failures import told
from shmstore.cli.support.output import print_json
from shmstore.cli.support.target import add_command, add_store, open_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

DESCRIPTION = """\
Remove all entries that were put with a tag, at once. How many they are is not counted: other tags may share the
tag's counter, and their entries go, too.
"""

EXAMPLES = """
shmstore evict-tag quickstart user:7
shmstore evict-tag quickstart user:7 team:1
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "evict-tag", "remove all entries with a tag", DESCRIPTION, EXAMPLES)
    add_store(parser)
    parser.add_argument("tags", metavar="TAG", nargs="+", help="a tag; bytes are written as a key of bytes is")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    tags = [parse_entry_key(tag) for tag in args.tags]
    with open_store(args, readonly=False) as store, told():
        for tag in tags:
            store.evict_tag(tag)
    if args.json:
        print_json({"evicted": args.tags})
    return 0
