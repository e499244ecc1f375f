"""``shmstore describe``: the size, codec, version, age and time to live of an entry."""

from __future__ import annotations

import time

from shmstore.cli.support.entry_keys import parse_entry_key, show_entry_key
from shmstore.cli.support.failures import NOT_THERE, Failure, told
from shmstore.cli.support.human import amount, duration
from shmstore.cli.support.output import Cell, choose_output, print_json
from shmstore.cli.support.target import add_command, add_store, open_store, shown_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

DESCRIPTION = """\
Print the size, codec, version, age and time to live of an entry. The value is not read, so this works for values
that get cannot read.
"""

EXAMPLES = """
shmstore describe quickstart user:1
shmstore describe quickstart user:1 --json
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(
        subparsers, "describe", "show the size, codec, version, age and ttl of an entry", DESCRIPTION, EXAMPLES
    )
    add_store(parser, entries=True)
    parser.add_argument("key", metavar="KEY", help="the entry's key")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    key = parse_entry_key(args.key)
    with open_store(args) as store, told():
        try:
            entry = store.describe(key)
        except KeyError:
            raise Failure(NOT_THERE, f"store {shown_name(args)} has no key {key!r}") from None
    if args.json:
        from shmstore.cli.support.typed import key_to_json

        print_json({"name": key_to_json(key), **entry.as_dict(), "version": str(entry.version)})
        return 0
    used = [] if entry.frequency is None else [("used lately", f"{entry.frequency} of 3, as the cache counts it")]
    if entry.tags:
        used.append(("tags", f"{entry.tags}"))
    if entry.created is not None:
        used.append(("stored", f"{duration(max(time.time() - entry.created, 0))} ago"))
    expires = "never" if entry.ttl is None else f"in {duration(entry.ttl)}"
    choose_output().table("", ["", ""], [[Cell(about, "quiet"), text] for about, text in [
        ("key", Cell(show_entry_key(key), "name")), ("size", amount(entry.size)), ("codec", entry.codec),
        ("version", f"{entry.version}"), ("expires", expires), *used,
    ]])  # fmt: skip
    return 0
