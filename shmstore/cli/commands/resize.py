"""``shmstore resize``: give a store another size while it is used."""

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
Give a store another size, while other processes read and write. Entries keep their values, versions and times to live, locks
stay held, and every process goes on with its next call. A cache that becomes too small evicts entries. A store that would be too small
for its entries stays as it is.
"""

EXAMPLES = """
shmstore resize quickstart 128M
shmstore resize quickstart 128M --max-entries 100000
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "resize", "give a store another size while it is used", DESCRIPTION, EXAMPLES)
    add_store(parser)
    parser.add_argument("size", metavar="SIZE", help="bytes, or a number with K, M, G or T: 256M")
    parser.add_argument("--max-entries", type=int, metavar="N", help="the largest number of entries; default: as it is")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    with open_store(args, readonly=False) as store, told():
        before = store.info().size
        store.resize(args.size, max_entries=args.max_entries)
        after = store.info()
        stats = store.stats()
    if args.json:
        print_json({
            "size": after.size, "size_before": before, "max_entries": after.max_entries, "entries": stats.entries,
            "bytes_free": stats.bytes_free,
        })  # fmt: skip
    else:
        choose_output().line(
            f"size: {amount(before)} before, {amount(after.size)} now; {stats.entries:,} "
            f"{'entry' if stats.entries == 1 else 'entries'}, {amount(stats.bytes_free)} free"
        )
    return 0
