"""Write the tables of docs/performance.md anew from benchmarks/results/*.json: ``python -m benchmarks.tables``.

A table stands between ``<!-- NAME -->`` and ``<!-- end -->``; the words around it are its author's, who reads it again.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import RESULTS, ROOT

PAGE = ROOT / "docs" / "performance.md"
FILES = (
    "ops",
    "peers",
    "arrays",
    "readers",
    "ipc",
    "scaling",
    "writers",
    "hitratio",
    "cache",
    "fragmentation",
    "servers",
    "memory",
    "coordination",
)
PEERS = {
    "shmstore": "shmstore", "floor": "the floor", "lmdb": "LMDB", "UltraDict": "UltraDict", "sqlite3": "sqlite3",
    "diskcache": "diskcache", "memcached": "memcached", "Redis": "Redis", "Manager": "`multiprocessing.Manager`",
}  # fmt: skip
SMALL = ("get", "get_msgspec", "put", "put_ttl", "miss", "contains", "incr", "get_many", "put_many")
BLOBS = (
    "get_1k", "get_1k_raw", "get_100k", "get_100k_raw", "get_10m", "get_10m_raw", "into_1k", "into_100k", "into_10m",
    "put_1k", "put_100k", "put_10m",
)  # fmt: skip

Rows = dict[str, dict[str, Any]]


def median(row: dict[str, Any], contestant: str) -> float | None:
    found = row["contestants"].get(contestant)
    return None if found is None else float(found["median"])


def figure(number: float | None, digits: int = 0) -> str:
    return "" if number is None else f"{number:,.{digits}f}"


def significant(number: float | None) -> str:
    return "" if number is None else f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def lines(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A table: the first column of words, the others of figures."""
    head = list(header)
    body = ["| " + " | ".join(cells) + " |" for cells in rows]
    return ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|", *body]


def contest(names: Iterable[str], header: tuple[str, ...]) -> Callable[[dict[str, Rows]], list[str]]:
    def table(results: dict[str, Rows]) -> list[str]:
        rows = [results["ops"][name] for name in names]
        table = []
        for row in rows:
            ratios = figure(row["over_floor"], 2), figure(row["times_faster_than_lmdb"], 1)
            table.append((row["title"], figure(median(row, "shmstore")), *ratios))
        return lines(header, table)

    return table


def peers(results: dict[str, Rows]) -> list[str]:
    rows = results["peers"]

    def cells(name: str) -> Iterable[str]:
        for row in rows.values():
            ours, theirs = median(row, "shmstore"), median(row, name)
            assert ours is not None
            yield f"{ours:.0f} ns" if name == "shmstore" else significant(theirs / ours if theirs else None)

    header = ("", *(row["title"] for row in rows.values()))
    return lines(header, ((title, *cells(name)) for name, title in PEERS.items()))


def arrays(results: dict[str, Rows]) -> list[str]:
    put, get = results["arrays"]["put"], results["arrays"]["get"]
    titles = {"shmstore": "shmstore", "shmstore, view of bytes": "shmstore, `view` of the same as bytes",
              "memcpy, same region": "memcpy, always the same region",
              "memcpy, alternating": "memcpy, alternating between two regions", "lmdb": "LMDB"}  # fmt: skip

    def micro(row: dict[str, Any], name: str) -> str:
        found = median(row, name)
        return "" if found is None else significant(found / 1000)

    table = ((title, micro(put, name), micro(get, name)) for name, title in titles.items())
    return lines(("", "put, µs", "get, µs"), table)


def readers(results: dict[str, Rows]) -> list[str]:
    rows, table = results["readers"], []
    for names, kind in (("10,000 keys", ""), ("100 keys", "_hot")):
        for store in ("shmstore", "lmdb"):
            for how in ("beside a writer", "beside a busy core", "alone"):
                who = f"{store} {how}"
                gets = median(rows[f"reader{kind}"], who)
                if gets is None:
                    continue
                latency = [median(rows[f"latency{kind}_{part}"], who) for part in ("p50", "p99", "p99.9", "max")]
                micro = [figure(ns / 1000, 0 if part == 3 else 2) if ns else "" for part, ns in enumerate(latency)]
                puts = median(rows[f"writer{kind}"], store) if how == "beside a writer" else None
                table.append((f"{names}, {PEERS[store]} {how}", figure(gets), *micro, figure(puts)))
    return lines(("", "gets/s", "p50 µs", "p99", "p99.9", "max", "writer's puts/s"), table)


def ipc(results: dict[str, Rows]) -> list[str]:
    rows = list(results["ipc"].values())
    ways = ("shmstore", "shmstore, spin=", "pipe", "FIFO", "unix socket", "System V queue", "POSIX queue")

    def micro(row: dict[str, Any], way: str) -> str:
        found = median(row, way)
        return "" if found is None else figure(found / 1000, 1)

    return lines(("µs", *(row["row"] for row in rows)), ((way, *(micro(row, way) for row in rows)) for way in ways))


def growth(results: dict[str, Rows]) -> list[str]:
    sizes = [f"{10**power:,}" for power in range(3, 8)]
    table = []
    both, alone = ("shmstore", "floor"), ("shmstore",)
    for what, contestants in (("get", both), ("put", both), ("open and close", alone), ("stats", alone)):
        for name in contestants:
            found = [median(results["scaling"][f"growth {what}"], f"{name} {size}") for size in sizes]
            present = [ns for ns in found if ns]
            title = what if len(contestants) == 1 else f"{what}, {'dict of msgpack' if name == 'floor' else name}"
            table.append((title, *(figure(ns) for ns in found), figure(max(present) / present[0], 1)))
    return lines(("entries", *sizes, "slowest over smallest"), table)


def hit_ratios(results: dict[str, Rows]) -> list[str]:
    rows = list(results["hitratio"].values())
    policies = list(rows[0]["contestants"])
    table = ((row["title"], *(figure(median(row, policy), 2) for policy in policies)) for row in rows)
    return lines(("trace", *policies), table)


def writers(results: dict[str, Rows]) -> list[str]:
    table = []
    for row in results["writers"].values():
        for name in ("shmstore", "lmdb", "memcached"):
            one = median(row, f"{name}, one")
            if one:
                two = [median(row, f"{name}, two, {keys}") or 0 for keys in ("same keys", "keys of their own")]
                title = row["title"].removeprefix("writers, ")
                table.append((title, PEERS[name], figure(one), *(figure(both / one, 2) for both in two)))
    return lines(("puts of", "", "one writer, puts/s", "two, same keys: times one", "two, keys of their own"), table)


def full_caches(results: dict[str, Rows]) -> list[str]:
    speed, hits = results["cache"]["cache speed"], results["cache"]["cache hits"]
    cells = ((name, figure(median(speed, name)), figure(median(hits, name), 1)) for name in speed["contestants"])
    return lines(("", "operations/s of two processes", "hits of 100 gets"), cells)


def fragmentation(results: dict[str, Rows]) -> list[str]:
    table = []
    for row in results["fragmentation"].values():
        for name, title in (
            ("before", "former heap"),
            ("shmstore", "shmstore"),
            ("with compact()", "with `compact()`"),
        ):
            found = row["contestants"].get(name)
            if found is None:
                continue
            tail = found["single_operations_ns"]
            micro = (figure(tail[part] / 1000) for part in ("p50", "p99", "p99.9", "max"))
            table.append((row["title"], title, f"{row['refused'][name]:.2%}", *micro))
    return lines(("values", "", "refused", "put, p50 µs", "p99", "p99.9", "max"), table)


def servers(results: dict[str, Rows]) -> list[str]:
    rows = results["servers"]
    computed = rows["servers"]["computed"]

    def cells(name: str) -> Iterable[str]:
        yield from (figure(median(rows[row], name)) for row in ("servers", "servers cold"))
        yield figure(computed[name])
        yield from (figure((median(rows[row], name) or 0) / 1e6) for row in ("servers memory", "servers private"))

    header = ("", "requests/s", "first seconds, caches empty", "pages computed", "memory, PSS in MB", "USS in MB")
    return lines(header, ((name, *cells(name)) for name in computed))


def memory(results: dict[str, Rows]) -> list[str]:
    rows = results["memory"]
    attach, imports = rows["attach"], rows["import"]
    milli = {name: (median(imports, name) or 0) / 1e6 for name in imports["contestants"]}
    both = ("shmstore", "lmdb")
    return lines(("", "shmstore", "LMDB"), (
        ("bytes per entry: 58 of msgpack, a key of 10; 75 % of the slots taken",
         *(figure(median(rows["bytes_per_entry"], name)) for name in both)),
        ("attach and first get in a fresh process, µs",
         *(figure((median(attach, name) or 0) / 1000) for name in both)),
        (f"import, ms (msgpack alone: {milli['msgpack']:.1f}; `multiprocessing.shared_memory`: "
         f"{milli['multiprocessing.shared_memory']:.0f})", *(f"{milli[name]:.1f}" for name in both)),
    ))  # fmt: skip


def locks(results: dict[str, Rows]) -> list[str]:
    alone, two = results["coordination"]["lock"], results["coordination"]["lock of two"]
    titles = {"shmstore": "`store.lock`", "multiprocessing.Lock": "`multiprocessing.Lock`",
              "fcntl.lockf": "`fcntl.lockf`", "Redis": "a lock of redis-py"}  # fmt: skip
    table = []
    for name, title in titles.items():
        ns = median(alone, name)
        if ns is not None:
            table.append((title, significant(ns / 1000), figure(median(two, name))))
    return lines(("", "acquire and release, µs", "two processes at once, per second together"), table)


def memoized(results: dict[str, Rows]) -> list[str]:
    row = results["coordination"]["memoized hit"]
    titles = {"functools.lru_cache": "`functools.lru_cache`, for one process", "get, and shmstore.key": "`store.get` and `shmstore.key`",
              "shmstore": "`store.memoize`", "diskcache": "diskcache", "joblib": "joblib"}  # fmt: skip
    found = ((title, median(row, name)) for name, title in titles.items())
    table = ((title, significant(ns / 1000)) for title, ns in found if ns is not None)
    return lines(("a hit of a memoized function", "µs"), table)


def waiting(results: dict[str, Rows]) -> list[str]:
    rows = results["coordination"]
    wake = rows["wake-up"]
    p99, longest = (figure(wake[part] / 1e6, 2) for part in ("p99", "max"))
    return lines(("waiting", ""), (
        ("a thread that waits for a lock, % of a core", significant(median(rows["asleep"], "shmstore"))),
        (f"{rows['coroutines asleep']['title']}, % of a core for all", significant(median(rows["coroutines asleep"], "shmstore"))),
        (f"{wake['title']}, ms", figure((median(wake, "shmstore") or 0) / 1e6, 2)),
        ("the same, p99", p99),
        ("the same, the longest of a thousand", longest),
    ))  # fmt: skip


def bars() -> list[str]:
    table = []
    for name in FILES:
        for bar in json.loads((RESULTS / f"{name}.json").read_text())["bars"]:
            sign, wanted = ("<=", bar["most"]) if bar["most"] is not None else (">=", bar["least"])
            unit = "" if bar["unit"] == "x" else f" {bar['unit']}"
            held = "held" if bar["held"] else "**missed**" if bar["held"] is False else "not measured"
            asked = f"{wanted:,}" if wanted >= 1000 else f"{wanted:.3g}"
            table.append((bar["bar"], f"{sign} {asked}{unit}", significant(bar["measured"]), held))
    return lines(("bar", "asked", "measured", ""), table)


TABLES: dict[str, Callable[[dict[str, Rows]], list[str]]] = {
    "small": contest(SMALL, ("", "ns", "of the floor", "times faster than LMDB")),
    "peers": peers,
    "bytes": contest(
        BLOBS, ("", "ns", "of raw memcpy out of, or into, `multiprocessing.shared_memory`", "times faster than LMDB")
    ),
    "arrays": arrays,
    "readers": readers,
    "ipc": ipc,
    "growth": growth,
    "writers": writers,
    "hits": hit_ratios,
    "caches": full_caches,
    "fragmentation": fragmentation,
    "servers": servers,
    "memory": memory,
    "locks": locks,
    "memoized": memoized,
    "waiting": waiting,
    "bars": lambda _: bars(),
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="default docs/performance.md")
    path: Path = parser.parse_args(argv).page
    results = {}
    for name in FILES:
        rows = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
        results[name] = {row["row"]: row for row in rows}
    page = path.read_text()
    for name, table in TABLES.items():
        pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        made = "\n".join(table(results))
        page, count = pattern.subn(lambda found, made=made: f"{found[1]}{made}\n{found[2]}", page)  # type: ignore[misc]
        if count != 1:
            raise SystemExit(f"{path}: {count} places for the table {name!r}, not one")
    path.write_text(page)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
