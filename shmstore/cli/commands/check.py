"""``shmstore check``: verify every invariant of a store."""

from __future__ import annotations

from shmstore.cli.support.failures import FAILED, told
from shmstore.cli.support.output import choose_output, print_json
from shmstore.cli.support.target import add_command, add_store, open_store, shown_name
from shmstore.cli.support.warnings import hear_warnings
from shmstore.errors import StoreCorrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

DESCRIPTION = """\
Verify every invariant of docs/format.md while other processes keep working. The exit code is 1 if one is broken.
The check takes no lock, and the command is read-only. --repair attaches for writing, makes the invariants true again,
and removes entries that contradict themselves.
"""

EXAMPLES = """
shmstore check quickstart && echo sound
shmstore check quickstart --repair
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "check", "verify a store", DESCRIPTION, EXAMPLES)
    add_store(parser)
    parser.add_argument("--repair", action="store_true", help="attach for writing, and repair what is broken")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    hear_warnings()  # about processes that died
    try:
        with open_store(args, readonly=not args.repair) as store, told():
            lost = store.check(repair=args.repair)
            entries = len(store)
    except StoreCorrupt as error:
        if not args.json:
            raise
        print_json({"sound": False, "lost": 0, "error": str(error)})
        return FAILED
    if args.json:
        print_json({"sound": True, "lost": lost, "error": None})
    else:
        given_up = f"; given up: {lost:,}" if args.repair else ""
        choose_output().line(
            f"store {shown_name(args)} is sound: {entries:,} {'entry' if entries == 1 else 'entries'}{given_up}"
        )
    return 0
