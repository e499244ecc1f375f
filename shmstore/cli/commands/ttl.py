"""``shmstore ttl``: how long an entry has to live, and to change that."""

from __future__ import annotations

from shmstore.cli.support.entry_keys import parse_entry_key
from shmstore.cli.support.failures import NOT_THERE, WRONG, Failure, told
from shmstore.cli.support.human import parse_duration
from shmstore.cli.support.output import print_json
from shmstore.cli.support.target import add_command, add_store, open_store, shown_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

DESCRIPTION = """\
Print the seconds until an entry expires, or "never". With TIME, set its time to live.
"""

EXAMPLES = """
shmstore ttl quickstart token
shmstore ttl quickstart token 10m
shmstore ttl quickstart token never
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "ttl", "show or set an entry's time to live", DESCRIPTION, EXAMPLES)
    add_store(parser, entries=True)
    parser.add_argument("key", metavar="KEY", help="the entry's key")
    parser.add_argument("time", metavar="TIME", nargs="?", help="the new time to live: 30, 10m, 12h, 7d or never")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    key = parse_entry_key(args.key)
    wanted = None if args.time in (None, "never") else parse_duration(args.time)
    if wanted is not None and wanted <= 0:
        raise Failure(WRONG, "a time to live must be more than 0 seconds; shmstore del removes an entry")
    with open_store(args, readonly=args.time is None) as store, told():
        try:
            if args.time is not None and not store.touch(key, wanted):
                raise KeyError(key)
            left = store.ttl(key) if args.time is None else wanted
        except KeyError:
            raise Failure(NOT_THERE, f"store {shown_name(args)} has no key {key!r}") from None
    if args.json:
        from shmstore.cli.support.typed import key_to_json

        print_json({"name": key_to_json(key), "ttl": left})
    elif args.time is None:
        print("never" if left is None else f"{left:.3f}")
    return 0
