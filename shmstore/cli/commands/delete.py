"""``shmstore del``: remove entries."""

from __future__ import annotations

import sys

from shmstore.cli.support.entry_keys import parse_entry_key
from shmstore.cli.support.failures import NOT_THERE, Failure, told
from shmstore.cli.support.output import print_json
from shmstore.cli.support.target import add_command, add_store, open_store, shown_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

EXAMPLES = """
shmstore del quickstart user:1 user:2
shmstore del quickstart --force lock      # succeeds if it is absent already
"""


def add_to(subparsers: Any) -> None:
    about = "Remove entries. If some of the keys are absent, the others are removed, and the exit code is 3."
    parser = add_command(subparsers, "del", "remove entries", about, EXAMPLES)
    add_store(parser, entries=True)
    parser.add_argument(
        "keys", metavar="KEY", nargs="+", help="a key; write bytes and special characters in quotes, as Python does"
    )
    parser.add_argument("-f", "--force", action="store_true", help="succeed if the key or the store is absent")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    keys = [parse_entry_key(entry) for entry in args.keys]
    try:
        with open_store(args, readonly=False) as store, told():
            missing = [key for key in keys if not store.delete(key)]
    except Failure as failure:
        if failure.code != NOT_THERE or not args.force:
            raise
        missing = keys
    if args.json:
        from shmstore.cli.support.typed import key_to_json

        print_json({"deleted": len(keys) - len(missing), "missing": [key_to_json(key) for key in missing]})
    if not missing or args.force:
        return 0
    if sys.stderr is not None:
        print(f"shmstore: store {shown_name(args)} has no key {', '.join(map(repr, missing))}", file=sys.stderr)
    return NOT_THERE
