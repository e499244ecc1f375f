"""``shmstore incr``: add to a counter."""

from __future__ import annotations

from shmstore.cli.support.creation import add_creation, add_ttl, creation, ttl_of
from shmstore.cli.support.entry_keys import parse_entry_key
from shmstore.cli.support.failures import WRONG, Failure, told
from shmstore.cli.support.output import print_json
from shmstore.cli.support.target import add_command, add_store, open_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

DESCRIPTION = """\
Add to an int, atomically among all processes, and print the sum. An absent key starts at --initial.
"""

EXAMPLES = """
shmstore incr quickstart hits
shmstore incr quickstart stock -3
shmstore incr quickstart visitors:today --ttl 1d  # applies to a new counter
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "incr", "add to a counter", DESCRIPTION, EXAMPLES)
    add_store(parser, entries=True)
    parser.add_argument("key", metavar="KEY", help="the counter's key")
    parser.add_argument("by", metavar="BY", nargs="?", type=int, default=1, help="what to add (default: 1)")
    parser.add_argument(
        "--initial", type=int, default=0, metavar="N", help="the value of an absent key before adding (default: 0)"
    )
    add_ttl(parser, "time to live of a new counter; an existing counter keeps its own")
    add_creation(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    key, ttl = parse_entry_key(args.key), ttl_of(args)
    if not all(-(2**63) <= number < 2**63 for number in (args.by, args.initial)):
        raise Failure(WRONG, "BY and --initial are ints of 64 bits, as counters are")
    with open_store(args, readonly=False, **creation(args)) as store, told():
        value = store.incr(key, args.by, initial=args.initial, ttl=ttl)
    if args.json:
        from shmstore.cli.support.typed import key_to_json

        print_json({"name": key_to_json(key), "value": value})
    else:
        print(value)
    return 0
