"""``shmstore put``: store one value, from the command line, a file or standard input."""

from __future__ import annotations

import sys

from shmstore.cli.support.creation import add_creation, add_ttl, creation, ttl_of
from shmstore.cli.support.entry_keys import parse_entry_key, raw_argument
from shmstore.cli.support.failures import NOT_THERE, UNMET, WRONG, Failure, told
from shmstore.cli.support.output import print_json
from shmstore.cli.support.target import add_command, add_store, open_store, shown_name
from shmstore.cli.support.values import parse_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

DESCRIPTION = """\
Store a value under a key, replacing the old one. VALUE is JSON. With --text it is stored as a str, with --bytes as bytes; with
--typed it is read in the notation of get --json. Without VALUE, or with -, the value is read from standard input.
"""

EXAMPLES = """
shmstore put quickstart user:1 '{"name": "Ada", "visits": 3}' --create
shmstore put quickstart greeting --text hello
shmstore put quickstart image --bytes --file image.png --ttl 1h
date | shmstore put quickstart today --text
shmstore put quickstart profile:7 '{}' --tag user:7
shmstore put quickstart lock 1 --add --ttl 30s || echo taken
shmstore get first rows --json | shmstore put second rows --typed
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "put", "store a value", DESCRIPTION, EXAMPLES)
    add_store(parser, entries=True)
    parser.add_argument(
        "key", metavar="KEY", help="the entry's key; write bytes and special characters in quotes, as Python does"
    )
    parser.add_argument("value", metavar="VALUE", nargs="?", help="JSON; -, or no VALUE: read standard input")
    what = parser.add_argument_group("type of the value").add_mutually_exclusive_group()
    what.add_argument("--text", action="store_true", help="VALUE is text, stored as a str")
    what.add_argument("--bytes", action="store_true", help="VALUE is bytes, stored as bytes")
    what.add_argument(
        "--typed", action="store_true", help='JSON in which {"$tuple": [...]} and its like stand for other types'
    )
    parser.add_argument("--file", metavar="PATH", help="read the value from a file")
    add_ttl(parser, "time to live: 30s, 10m, 12h, 7d, or never (the default)")
    parser.add_argument("--tag", metavar="TAG", action="append", default=[], help="a tag; may be given several times")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--add", action="store_true", help="only if the key is absent, else exit with 4")
    when.add_argument("--replace", action="store_true", help="only if the key is present, else exit with 3")
    add_creation(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    key, ttl = parse_entry_key(args.key), ttl_of(args)
    tags = [parse_entry_key(tag) for tag in args.tag]
    with told():
        value = read_value(args)
    with open_store(args, readonly=False, **creation(args)) as store, told():
        if args.add and not store.add(key, value, ttl=ttl, tags=tags):
            raise Failure(UNMET, f"store {shown_name(args)} already has the key {key!r}")
        if args.replace and not store.replace(key, value, ttl=ttl, tags=tags):
            raise Failure(NOT_THERE, f"store {shown_name(args)} has no key {key!r} to replace")
        if not args.add and not args.replace:
            store.put(key, value, ttl=ttl, tags=tags)
    if args.json:
        from shmstore.cli.support.typed import key_to_json

        print_json({"name": key_to_json(key), "stored": True, "ttl": ttl})
    return 0


def read_value(args: argparse.Namespace) -> Any:
    """The value that the arguments mean."""
    raw, what = _read(args)
    if args.bytes:
        return raw
    if args.text:
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise Failure(
                WRONG, f"{what} is not UTF-8 ({error.reason} at byte {error.start}); use --bytes to store it as bytes"
            ) from None
    document = parse_json(raw, what)
    if not args.typed:
        return document
    from shmstore.cli.support.typed import from_json

    try:
        return from_json(document)
    except ValueError as error:
        raise Failure(WRONG, str(error)) from None


def _read(args: argparse.Namespace) -> tuple[bytes, str]:
    if args.file is not None:
        if args.value is not None:
            raise Failure(WRONG, "give VALUE or --file PATH, not both")
        with open(args.file, "rb") as file:
            return file.read(), f"the file {args.file}"
    if args.value is not None and args.value != "-":
        return raw_argument(args.value), "VALUE"
    if sys.stdin is None:
        raise Failure(WRONG, "there is no VALUE, and standard input is closed")
    buffer = getattr(sys.stdin, "buffer", None)
    return (sys.stdin.read().encode() if buffer is None else buffer.read()), "standard input"
