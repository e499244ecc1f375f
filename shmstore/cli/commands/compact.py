"""``shmstore compact``: move entries so that free memory lies in one piece."""

from __future__ import annotations

from shmstore.cli.support.failures import told
from shmstore.cli.support.human import amount
from shmstore.cli.support.output import choose_output, print_json
from shmstore.cli.support.target import add_command, add_store, open_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

DESCRIPTION = """\
Move entries so that free memory lies in one piece, while other processes read and write. Entries keep their values,
versions and times to live. Entries that a process reads in place stay where they are. A put that finds no room does this
by itself, as far as it needs it.
"""

EXAMPLES = """
shmstore compact quickstart
shmstore compact quickstart --json | jq .moved
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(
        subparsers, "compact", "move entries so that free memory lies in one piece", DESCRIPTION, EXAMPLES
    )
    add_store(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    with open_store(args, readonly=False) as store, told():
        before = store.stats()
        moved = store.compact()
        after = store.stats()
    if args.json:
        print_json({
            "moved": moved,
            "largest_free": after.largest_free, "largest_free_before": before.largest_free,
            "fragmentation": after.fragmentation, "fragmentation_before": before.fragmentation,
        })  # fmt: skip
    else:
        choose_output().line(
            f"{moved:,} {'entry' if moved == 1 else 'entries'} moved; largest free run: {amount(before.largest_free)} before, "
            f"{amount(after.largest_free)} now, of {amount(after.bytes_free)} free; fragmentation: {before.fragmentation:.0%} before, "
            f"{after.fragmentation:.0%} now"
        )
    return 0
