"""Time shmstore beside what a user might pick instead, each if it is installed: ``python -m benchmarks.peers``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks._bars import Bar
from benchmarks._contests import encode_names, in_batches
from benchmarks._floor import Dict
from benchmarks._guard import resources
from benchmarks._lmdb import Lmdb
from benchmarks._measure import Contestant, measure
from benchmarks._objects import TOGETHER, absent_names, counters, small_objects
from benchmarks._peers import DiskCache, Managed, Sqlite, Ultra
from benchmarks._run import Report, Row, Setting, parser, run
from benchmarks._servers import Memcached, Missing, Redis
from benchmarks._shmstore import Ours

US, FLOOR = "shmstore", "floor"
# By how they are called: what makes one, and what it wants installed.
PEERS: dict[str, tuple[Callable[[ExitStack, Mapping[str, Any]], Any], str]] = {
    "lmdb": (Lmdb, "lmdb"),
    "UltraDict": (Ultra, "UltraDict and atomics"),
    "sqlite3": (Sqlite, ""),
    "diskcache": (DiskCache, "diskcache"),
    "memcached": (Memcached, "pymemcache"),
    "Redis": (Redis, "redis"),
    "Manager": (Managed, ""),
}
OPERATIONS = ("get", "put", "miss", "contains", "incr", "get_many", "put_many")
BATCH = 200


def main(argv: Sequence[str] | None = None) -> int:
    options = parser("peers", __doc__, "31, quick 3")
    options.add_argument(
        "--peers", type=_names, default=tuple(PEERS), metavar="A,B", help=f"of {', '.join(PEERS)}; or none"
    )
    return run("peers", play, options.parse_args(argv))


def _names(text: str) -> tuple[str, ...]:
    names = () if text == "none" else tuple(text.split(","))
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no peer {unknown[0]!r}; there are {', '.join(PEERS)}")
    return names


def play(setting: Setting, report: Report) -> None:
    objects, numbers = small_objects(), counters()
    with resources() as stack:
        contestants: dict[str, Any] = {US: Ours(stack, {**objects, **numbers}), FLOOR: Dict(objects, numbers)}
        for name in setting.args.peers:
            report.progress(f"starting {name}")
            make, package = PEERS[name]
            try:
                contestants[name] = make(stack, {**objects, **numbers})
            except (ImportError, Missing) as error:
                report.note(
                    f"{name} is left out: " + (f"needs {package}" if isinstance(error, ImportError) else str(error))
                )
        rows = {operation: _measured(setting, report, contestants, operation) for operation in OPERATIONS}
    report.add(*rows.values())
    cells = []
    for name in contestants:
        cell = [name]
        for row in rows.values():
            ns, ratio = row.median(name), row.ratio(name, US)
            cell.append(f"{ns:,.0f} ({ratio:.1f})" if ns and ratio else "")
        cells.append(cell)
    header = ("", *(f">{operation}" for operation in OPERATIONS))
    report.table("Medians in ns, many-calls of 100 per item; and of shmstore's; all on one core", header, cells)
    for operation, row in rows.items():
        others = [name for name in contestants if name not in (US, FLOOR) and row.median(name)]
        if others:
            fastest = min(others, key=lambda name: row.median(name) or 0)
            report.bars.append(
                Bar(f"{operation}: times faster than the fastest peer ({fastest})", row.ratio(fastest, US), least=1)
            )


def _measured(setting: Setting, report: Report, contestants: dict[str, Any], operation: str) -> Row:
    arguments: Sequence[Any] = list(small_objects())
    items = 1
    if operation == "put":
        arguments = list(small_objects().items())
    elif operation == "miss":
        arguments = absent_names()
    elif operation == "incr":
        arguments = list(counters())
    elif operation == "get_many":
        arguments, items = in_batches(arguments), TOGETHER
    elif operation == "put_many":
        arguments, items = [dict(batch) for batch in in_batches(list(small_objects().items()))], TOGETHER
    found = []
    for name, peer in contestants.items():
        method = operation if hasattr(peer, operation) else "get" if operation == "miss" else None
        if method:
            theirs = [encode_names(argument) for argument in arguments] if name == "lmdb" else arguments
            found.append(Contestant(name, getattr(peer, method), theirs, items))
    report.progress(f"{operation}, {len(found)} contestants")
    batch = 20 if setting.quick else BATCH
    samples = measure(found, rounds=setting.rounds(31), batch=max(1, batch // items), rng=setting.rng, servers=True)
    return Row(operation, operation, "ns per item", samples)


if __name__ == "__main__":
    sys.exit(main())
