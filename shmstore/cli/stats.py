"""``shmstore stats``: figures of a store, once or again and again."""

from __future__ import annotations

import time

from shmstore.cli._failures import refuse_beside, told
from shmstore.cli._human import amount, parse_interval, positive
from shmstore.cli._target import add_command, add_store, open_store
from shmstore.cli.output import Cell, choose_output, is_terminal, print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from shmstore import Stats, Store

DESCRIPTION = """\
Print the figures of a store. Counters are totals over its life, of all processes that write (what read-only
handles find and miss is not counted). With --watch, a line every --interval, as vmstat does: reads and writes
are per second.
"""

EXAMPLES = """
shmstore stats quickstart
shmstore stats quickstart --watch --interval 5s
shmstore stats quickstart --json | jq '.hits / (.hits + .misses)'
"""

MEANINGS = {
    "entries": "entries, expired ones that nobody swept yet included",
    "bytes_used": "bytes used",
    "bytes_free": "bytes free",
    "largest_free": "largest free run, in bytes",
    "hits": "reads that found",
    "misses": "reads that did not",
    "puts": "puts",
    "deletes": "deletes",
    "evictions": "evictions",
    "expirations": "entries that expired",
    "reader_retries": "reads begun anew, overtaken by a writer",
    "takeovers": "locks taken over from dead processes",
    "clients": "processes attached for writing",
    "zombies": "values kept for those who still read them in place",
}

_HEAD = f"{'time':8}  {'entries':>9} {'used':>6} {'free':>6} {'hits/s':>8} {'misses/s':>8} {'puts/s':>8} {'dels/s':>8} {'exp/s':>6}"
_EVERY = 20  # lines between two headings


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "stats", "print a store's figures", DESCRIPTION, EXAMPLES)
    add_store(parser)
    parser.add_argument("--watch", action="store_true", help="print them until Ctrl-C")
    parser.add_argument("--interval", metavar="TIME", help="with --watch: time between two lines (default: 1 s)")
    parser.add_argument("--count", type=positive, metavar="N", help="with --watch: end after so many lines")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if not args.watch:
        refuse_beside(args, "goes with --watch alone", "--interval", "--count")
    interval = parse_interval(args.interval or "1", 0.01)
    with open_store(args) as store, told():
        if args.watch:
            _watch(store, interval, args.count, args.json)
        elif args.json:
            print_json(store.stats().as_dict())
        else:
            _once(store.stats())
    return 0


def _once(stats: Stats) -> None:
    rows: list[list[str]] = [
        [f"{value:,}", Cell(MEANINGS.get(field, field), "quiet")] for field, value in stats.as_dict().items()
    ]
    reads = stats.hits + stats.misses
    if reads:
        rows.append([f"{stats.hits / reads:.1%}", Cell("of the reads found something", "quiet")])
    choose_output().table("", [">", ""], rows)


def _watch(store: Store[Any], interval: float, count: int | None, as_json: bool) -> None:
    before, then = store.stats(), time.monotonic()
    number = 0
    while count is None or number < count:
        time.sleep(interval)
        store.info()  # StoreDestroyed if it was removed
        now, moment = store.stats(), time.monotonic()
        if as_json:
            print_json({"time": time.time(), **now.as_dict()}, line=True)
        else:
            if number == 0 or (number % _EVERY == 0 and is_terminal()):
                print(_HEAD)
            print(_line(before, now, moment - then), flush=True)
        before, then = now, moment
        number += 1


def _line(before: Stats, now: Stats, seconds: float) -> str:
    rates = [
        f"{max(0, getattr(now, field) - getattr(before, field)) / seconds:,.0f}"
        for field in ("hits", "misses", "puts", "deletes", "expirations")
    ]
    used, free = amount(now.bytes_used), amount(now.bytes_free)
    clock = time.strftime("%H:%M:%S")
    return f"{clock}  {now.entries:>9,} {used:>6} {free:>6} {rates[0]:>8} {rates[1]:>8} {rates[2]:>8} {rates[3]:>8} {rates[4]:>6}"
