"""``shmstore get``: print one value."""

from __future__ import annotations

import sys

from shmstore.cli.support.entry_keys import parse_entry_key
from shmstore.cli.support.failures import FAILED, NOT_THERE, WRONG, Failure, told
from shmstore.cli.support.human import parse_duration
from shmstore.cli.support.output import print_json
from shmstore.cli.support.target import add_command, add_store, open_store, shown_name
from shmstore.cli.support.values import show_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from shmstore import Store

DESCRIPTION = """\
Print a value: a str as it is, and other values in Python's notation. --raw writes the bytes of a str or bytes,
without a line end. --json writes JSON. Values that JSON lacks become objects such as {"$tuple": [1, 2]}, which
put --typed reads.
"""

EXAMPLES = """
shmstore get quickstart user:1
shmstore get quickstart user:1 --json | jq .visits
shmstore get quickstart report --wait 30s        # waits until it is put
shmstore get quickstart image --raw > image.png
shmstore get quickstart "b'\\xff'"               # a key of bytes
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "get", "print a value", DESCRIPTION, EXAMPLES)
    add_store(parser, entries=True)
    parser.add_argument(
        "key", metavar="KEY", help="the entry's key; write bytes and special characters in quotes, as Python does"
    )
    parser.add_argument("--raw", action="store_true", help="the bytes of a str or bytes, with no line feed added")
    parser.add_argument("--wait", metavar="TIME", help="if the key is absent, wait for it, at most this long")
    parser.add_argument(
        "--pickle",
        action="store_true",
        help="read pickled values, too. A pickle can run any code: use this only if you trust every writer",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    key = parse_entry_key(args.key)
    if args.raw and args.json:
        raise Failure(WRONG, "give --raw or --json, not both")
    patience = None if args.wait is None else parse_duration(args.wait)
    with open_store(args, decoders=("pickle",) if args.pickle else ()) as store, told():
        value = fetch(store, key, patience, shown_name(args))
    if args.json:
        from shmstore.cli.support.typed import to_json

        with told():
            print_json(to_json(value))
    elif args.raw:
        _write_raw(value)
    else:
        from shutil import get_terminal_size

        print(show_value(value, get_terminal_size((100, 24)).columns))
    return 0


def fetch(store: Store[Any], key: str | bytes, patience: float | None, shown: str) -> Any:
    """The value, waited for if *patience* is given."""
    import time

    deadline = time.monotonic() + (patience or 0.0)
    while True:
        try:
            return store[key]
        except KeyError:
            left = deadline - time.monotonic()
            if patience is None:
                raise Failure(NOT_THERE, f"store {shown} has no key {key!r}") from None
        try:
            store.wait(key, timeout=max(0.0, left))
        except TimeoutError:
            raise Failure(NOT_THERE, f"store {shown} has no key {key!r}; it stayed absent for {patience:g} s") from None


def _write_raw(value: Any) -> None:
    if not isinstance(value, (str, bytes)):
        raise Failure(FAILED, f"--raw writes str and bytes only; this value is a {type(value).__name__}")
    sys.stdout.flush()
    out = getattr(sys.stdout, "buffer", None)
    if out is None:  # replaced by something that takes text alone
        sys.stdout.write(value if isinstance(value, str) else value.decode(errors="backslashreplace"))
    else:
        out.write(value.encode() if isinstance(value, str) else value)
