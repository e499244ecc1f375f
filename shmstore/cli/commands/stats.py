"""``shmstore stats``: print the figures of a store, once or repeatedly."""

from __future__ import annotations

import time

from shmstore.cli.support.failures import refuse_beside, told
from shmstore.cli.support.human import amount, parse_interval, positive
from shmstore.cli.support.output import Cell, choose_output, is_terminal, print_json
from shmstore.cli.support.target import add_command, add_store, open_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from shmstore import Stats, Store

DESCRIPTION = """\
Print the figures of a store. Counters are totals over the store's life. They cover all handles that may write.
Read-only handles are not counted. With --watch, print a line every --interval, as vmstat does: reads
and writes are per second, and the hit ratio is that of the interval.
"""

EXAMPLES = """
shmstore stats quickstart
shmstore stats quickstart --watch --interval 5s
shmstore stats quickstart --json | jq .hit_ratio
"""

MEANINGS = {
    "entries": "including expired entries that were not swept yet",
    "bytes_used": "",
    "bytes_free": "",
    "largest_free": "largest value that fits in one piece",
    "hits": "reads that found an entry",
    "misses": "reads that found no entry",
    "hit_ratio": "of all reads",
    "puts": "",
    "deletes": "",
    "evictions": "entries that a full cache removed",
    "evicted_for_memory": "of these, to make room for a value",
    "evicted_for_entries": "of these, because of max_entries",
    "expirations": "expired entries that were removed",
    "reader_retries": "reads repeated because of a write",
    "takeovers": "locks taken over from dead processes",
    "clients": "handles open for writing",
    "zombies": "deleted values that are still being read",
    "moves": "entries moved to make room for others",
    "fragmentation": "of the free memory, outside of its longest run",
}

_HEAD = f"{'time':8} {'entries':>9} {'used':>6} {'free':>6} {'hits/s':>8} {'misses/s':>8} {'ratio':>6} {'puts/s':>8} {'dels/s':>7} {'exp/s':>5} {'evict/s':>8}"
_EVERY = 20  # lines between two headings


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "stats", "print a store's figures", DESCRIPTION, EXAMPLES)
    add_store(parser)
    parser.add_argument("--watch", action="store_true", help="print a line every --interval until Ctrl-C")
    parser.add_argument("--interval", metavar="TIME", help="with --watch: time between two lines (default: 1 s)")
    parser.add_argument("--count", type=positive, metavar="N", help="with --watch: end after N lines")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if not args.watch:
        refuse_beside(args, "needs --watch", "--interval", "--count")
    interval = parse_interval(args.interval or "1", 0.01)
    with open_store(args) as store, told():
        if args.watch:
            _watch(store, interval, args.count, args.json)
        elif args.json:
            print_json(figures(store.stats()))
        else:
            _once(store.stats())
    return 0


def figures(stats: Stats) -> dict[str, Any]:
    """The fields of Stats, and the hit ratio: None before the first read."""
    fields: dict[str, Any] = {}
    for field, value in stats.as_dict().items():
        fields[field] = value
        if field == "misses":
            fields["hit_ratio"] = hit_ratio(stats.hits, stats.misses)
    return fields


def hit_ratio(hits: int, misses: int) -> float | None:
    return hits / (hits + misses) if hits + misses else None


def percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1%}"


def _once(stats: Stats) -> None:
    choose_output().table("", ["", ">", ""], [
        [field.replace("_", " "), percent(value) if field in ("hit_ratio", "fragmentation") else f"{value:,}", Cell(MEANINGS.get(field, ""), "quiet")]
        for field, value in figures(stats).items()
    ])  # fmt: skip


def _watch(store: Store[Any], interval: float, count: int | None, as_json: bool) -> None:
    before, then = store.stats(), time.monotonic()
    number = 0
    while count is None or number < count:
        time.sleep(interval)
        store.info()  # StoreDestroyed if it was removed
        now, moment = store.stats(), time.monotonic()
        if as_json:
            print_json({"time": time.time(), **figures(now)}, line=True)
        else:
            if number == 0 or (number % _EVERY == 0 and is_terminal()):
                print(_HEAD)
            print(_line(before, now, moment - then), flush=True)
        before, then = now, moment
        number += 1


def _line(before: Stats, now: Stats, seconds: float) -> str:
    hits, misses, puts, deletes, expirations, evictions = (
        max(0, getattr(now, field) - getattr(before, field))
        for field in ("hits", "misses", "puts", "deletes", "expirations", "evictions")
    )

    def rate(count: int) -> str:
        return f"{count / seconds:,.0f}"

    return (
        f"{time.strftime('%H:%M:%S')} {now.entries:>9,} {amount(now.bytes_used):>6} {amount(now.bytes_free):>6} {rate(hits):>8} "
        f"{rate(misses):>8} {percent(hit_ratio(hits, misses)):>6} {rate(puts):>8} {rate(deletes):>7} {rate(expirations):>5} "
        f"{rate(evictions):>8}"
    )
