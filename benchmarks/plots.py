"""Draw the plots of README and docs from benchmarks/results/*.json: ``python -m benchmarks.plots``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import RESULTS, ROOT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOTS = ROOT / "docs" / "plots"
# By contestant, the same in all plots, and apart for those who see red and green alike (Okabe and Ito's palette).
COLOURS = {
    "shmstore": "#0072B2", "floor": "#999999", "lmdb": "#D55E00", "UltraDict": "#CC79A7", "sqlite3": "#E69F00",
    "diskcache": "#F0E442", "memcached": "#009E73", "Redis": "#56B4E9", "Manager": "#000000",
    "LocMemCache": "#E69F00", "no cache": "#999999",
    "LRU": "#999999", "S3-FIFO": "#E69F00", "Belady": "#000000",
}  # fmt: skip
NAMES = {"floor": "dict of msgpack", "lmdb": "LMDB", "Manager": "mp.Manager"}

Rows = dict[str, dict[str, Any]]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plots", description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="with what --save wrote")
    parser.add_argument("--into", type=Path, default=PLOTS, metavar="FOLDER", help="default docs/plots")
    parser.add_argument("--png", action="store_true", help="PNG instead of SVG")
    args = parser.parse_args(argv)
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("matplotlib is not installed: pip install '.[bench]'") from None
    matplotlib.use("Agg")
    # The same results give the same files: no date, no random ids, text as text.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "shmstore", "font.size": 9,
                                "axes.spines.top": False, "axes.spines.right": False})  # fmt: skip
    from matplotlib import pyplot

    args.into.mkdir(parents=True, exist_ok=True)
    for name, (height, panels) in PLANS.items():
        source = args.results / f"{name}.json"
        if not source.exists():
            print(f"{name}: no {source.name}; run  python -m benchmarks.{name} --save")
            continue
        rows: Rows = {row["row"]: row for row in json.loads(source.read_text())["rows"]}
        figure, axes = pyplot.subplots(1, len(panels), figsize=(9, height), layout="constrained", squeeze=False)
        for axis, panel in zip(axes[0], panels):
            panel(axis, rows)
        path = args.into / f"{name}.{'png' if args.png else 'svg'}"
        figure.savefig(path, dpi=150, metadata=None if args.png else {"Date": None})
        pyplot.close(figure)
        print(path)
    return 0


# ---- panels ------------------------------------------------------------------------------------------------


def dots(row: str, title: str, leave_out: Sequence[str] = ()) -> Callable[[Axes, Rows], None]:
    """Medians of all contestants of a row, the fastest on top, on a logarithmic scale."""

    def draw(axis: Axes, rows: Rows) -> None:
        found = {name: each["median"] for name, each in rows[row]["contestants"].items() if name not in leave_out}
        order = sorted(found, key=lambda name: -float(found[name]))
        colours = [COLOURS.get(name.partition(",")[0], "#777777") for name in order]
        # Dots, as a bar's length would mean nothing where there is no zero.
        axis.hlines(
            range(len(order)), 0, [found[name] / 1000 for name in order], colors="#dddddd", linewidth=1, zorder=0
        )
        axis.scatter([found[name] / 1000 for name in order], range(len(order)), color=colours)
        axis.set_yticks(range(len(order)), [_name(name) for name in order])
        axis.set_xscale("log")
        for at, name in enumerate(order):
            text, point = _micro(found[name]), (found[name] / 1000, at)
            axis.annotate(text, point, (7, 0), textcoords="offset points", va="center", fontsize=8)
        axis.set_title(title)
        axis.set_xlabel("µs")
        axis.set_xlim(min(found.values()) / 1500, max(found.values()) / 250)

    return draw


def tail(row: str, title: str) -> Callable[[Axes, Rows], None]:
    """Latency by percentile; the scale shows each further nine as long as the one before."""

    def draw(axis: Axes, rows: Rows) -> None:
        for key, quantiles in rows[row]["quantiles_ns"].items():
            who, _, beside = key.partition(" ")
            if beside == "alone":
                continue
            points = [(float(percent), ns / 1000) for percent, ns in quantiles.items() if 50 <= float(percent) < 100]
            nines = [1 / (1 - percent / 100) for percent, _ in points]
            line = "-" if "writer" in beside else ":"
            axis.plot(nines, [us for _, us in points], line, color=COLOURS[who], label=f"{_name(who)}, {beside}")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks([2, 10, 100, 1000, 10000], ["p50", "p90", "p99", "p99.9", "p99.99"])
        axis.set_ylabel("µs per get")
        axis.set_title(title)
        axis.legend(frameon=False, fontsize=8)

    return draw


def growth(operation: str) -> Callable[[Axes, Rows], None]:
    """By entries, of contestants called "who 1,000"."""

    def draw(axis: Axes, rows: Rows) -> None:
        found = rows[f"growth {operation}"]["contestants"]
        for who in ("shmstore", "floor"):
            points = [(int(name.split()[1].replace(",", "")), each["median"]) for name, each in found.items()
                      if name.startswith(who)]  # fmt: skip
            axis.plot(*zip(*sorted(points)), marker="o", color=COLOURS[who], label=_name(who))
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("entries")
        axis.set_ylabel("ns")
        axis.set_title(f"{operation}, keys at random, caches cold")
        axis.legend(frameon=False)

    return draw


def hit_ratios(number: int) -> Callable[[Axes, Rows], None]:
    """By entries that fit, a line for each policy; number: of the trace."""

    def draw(axis: Axes, rows: Rows) -> None:
        traces: dict[str, list[dict[str, Any]]] = {}
        for name, row in rows.items():
            traces.setdefault(name.rpartition(" ")[0], []).append(row)
        trace, found = sorted(traces.items())[number]
        for policy in found[0]["contestants"]:
            if "processes" in policy:
                continue
            points = [(int(row["row"].rpartition(" ")[2]), row["contestants"][policy]["median"]) for row in found]
            axis.plot(*zip(*sorted(points)), "-" if "shmstore" in policy else ":", marker="o", label=policy,
                      color=COLOURS.get(policy.partition(".")[0]))  # fmt: skip
        axis.set_xscale("log")
        capacities = sorted(int(row["row"].rpartition(" ")[2]) for row in found)
        axis.set_xticks(capacities, [f"{capacity:,}" for capacity in capacities])
        axis.minorticks_off()
        axis.set_xlabel("entries that fit")
        axis.set_ylabel("hits of 100 requests")
        axis.set_title(trace)
        axis.legend(frameon=False, fontsize=8)

    return draw


WRITERS = ("shmstore", "lmdb", "memcached")


def two_writers(axis: Axes, rows: Rows) -> None:
    """What two writers at once do, of one."""
    labels, at = [], 0.0
    for row in rows.values():
        for who in WRITERS:
            one = row["contestants"].get(f"{who}, one")
            for which, marker in (("same keys", "o"), ("keys of their own", "s")):
                two = row["contestants"].get(f"{who}, two, {which}")
                if one and two:
                    axis.scatter(two["median"] / one["median"], at, color=COLOURS[who], marker=marker)
        labels.append(row["title"].removeprefix("writers, "))
        at += 1
    for who in WRITERS:
        axis.scatter([], [], color=COLOURS[who], label=_name(who))
    for which, marker in (("same keys", "o"), ("keys of their own", "s")):
        axis.scatter([], [], color="#999999", marker=marker, label=which)
    axis.set_yticks(range(len(labels)), labels)
    axis.set_xlim(left=0)
    axis.axvline(1, color="#dddddd", linewidth=1, zorder=0)
    axis.set_xlabel("puts per second of two writers, of one's")
    axis.legend(frameon=False, fontsize=8)


def bars(row: str, title: str, unit: str, scale: float = 1.0) -> Callable[[Axes, Rows], None]:
    """The median of each contestant in the order of the file, from zero."""

    def draw(axis: Axes, rows: Rows) -> None:
        found = {name: each["median"] / scale for name, each in reversed(rows[row]["contestants"].items())}
        drawn = axis.barh(list(found), list(found.values()), color=[COLOURS[name] for name in found])
        axis.bar_label(drawn, fmt="{:,.0f}", padding=3, fontsize=8)
        axis.set_xlim(right=1.2 * max(found.values()))
        axis.set_title(title)
        axis.set_xlabel(unit)

    return draw


def _name(name: str) -> str:
    return NAMES.get(name, name)


def _micro(ns: float) -> str:
    return f"{ns / 1000:.3g}" if ns < 1e6 else f"{ns / 1000:,.0f}"


PLANS: dict[str, tuple[float, list[Callable[[Axes, Rows], None]]]] = {
    "peers": (2.6, [dots("get", "get, a dict of five fields"), dots("put", "put"), dots("incr", "incr")]),
    "ipc": (2.4, [dots(f"{size}, two cores", f"{size} to another core and back") for size in ("64 B", "1 MB")]),
    "readers": (3.0, [tail("latency_p50", "One reader beside one process that floods the same 10,000 keys")]),
    "scaling": (2.8, [growth("get"), growth("put")]),
    "hitratio": (3.2, [hit_ratios(0), hit_ratios(1)]),
    "writers": (3.2, [two_writers]),
    "servers": (2.4, [bars("servers", "a site behind gunicorn", "requests per second"),
                      bars("servers cold", "its first seconds, caches empty", "requests per second"),
                      bars("servers memory", "all its processes", "MB", 1e6)]),
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
