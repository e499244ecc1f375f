"""``shmstore demo``: show what ``shmstore/demo.py`` and ``shmstore/_demo_parent.py`` do."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

from shmstore.cli.support.human import positive
from shmstore.cli.support.output import PlainOutput, choose_output, print_json
from shmstore.cli.support.target import add_command, add_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from typing import Any

    from shmstore._demo_parent import Answer, Demo
    from shmstore.cli.support.output import Output

DESCRIPTION = """\
Several worker processes analyse every file of this Python's standard library and share the results in a store.
One worker is killed in the middle, and the others finish its share. Then all of them repeat the work and find every result
in the store. The store is removed at the end.
"""


EXAMPLES = """
shmstore demo
shmstore demo --workers 4 --no-kill --limit 500
shmstore demo --json | jq '.rounds[].seconds'
"""


def add_to(subparsers: Any) -> None:
    about = "analyse Python's standard library in several processes"
    parser = add_command(subparsers, "demo", about, DESCRIPTION.strip(), EXAMPLES)
    parser.add_argument("--workers", type=positive, metavar="N", help="default: one per CPU, 3 to 8")
    parser.add_argument("--no-kill", action="store_true", help="kill no worker")
    parser.add_argument("--limit", type=positive, metavar="N", help="analyse only the first N files")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from shmstore._demo_parent import DemoError, Interrupted, running  # the other commands need none of it

    output = Silent() if args.json else choose_output()
    workers = args.workers or min(8, max(3, len(os.sched_getaffinity(0))))
    try:
        with running(workers, not args.no_kill, args.limit) as demo:
            answer = play(demo, output)
    except Interrupted as stop:
        print(f"{stop}; nothing is left behind", file=sys.stderr)
        return 128 + stop.signum
    except DemoError as error:
        print(f"shmstore demo: {error}", file=sys.stderr)
        return 1
    if args.json:  # everything is cleaned up by now
        print_json(as_document(demo, answer))
    else:
        present(demo, answer, output)
    return 0


class Silent(PlainOutput):
    """Shows nothing while a document is being made."""

    def line(self, text: str = "") -> None:
        pass

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[float], None]]:
        yield lambda fraction: None


def as_document(demo: Demo, answer: Answer) -> dict[str, Any]:
    """For JSON."""
    killed = demo.killed
    return {
        "workers": len(demo.workers),
        "files": len(demo.files),
        "killed": None if killed is None else {"worker": killed.worker, "pid": killed.pid, "seen": killed.seen},
        "rounds": [
            {
                "seconds": played.seconds, "computed": played.computed, "found": played.found,
                "p50": played.percentile(50), "p99": played.percentile(99),
            }
            for played in (demo.rounds[1], demo.rounds[2])
        ],
        "answer": {
            **answer.as_dict(),
            "longest": [{"lines": lines, "name": name, "where": where} for lines, name, where in answer.longest],
        },
    }  # fmt: skip


def play(demo: Demo, output: Output) -> Answer:
    key = demo.store.info().name
    output.line(f"{len(demo.workers)} workers analyse {len(demo.files)} files of Python's standard library.")
    output.line(f"They share only the store {key!r}.\n")
    for round_, title in enumerate(("first round: compute ", "second round: look up"), start=1):
        with output.progress(title) as show:
            for fraction in demo.play(round_):
                show(fraction)
        if round_ == 1 and demo.killed:
            claims = f", at work on {', '.join(demo.killed.claims)}" if demo.killed.claims else ""
            output.line(
                f"  worker {demo.killed.worker} (process {demo.killed.pid}) got SIGKILL after "
                f"{demo.killed.seen} files{claims}; the others finished its share"
            )
    return demo.answer()


def present(demo: Demo, answer: Answer, output: Output) -> None:
    first, second = demo.rounds[1], demo.rounds[2]
    output.table(
        "The same job twice",
        ["", ">first round", ">second round"],
        [
            ["seconds", f"{first.seconds:.3f}", f"{second.seconds:.3f}"],
            ["results computed by the survivors", f"{first.computed:,}", f"{second.computed:,}"],
            ["results found in the store", f"{first.found:,}", f"{second.found:,}"],
            ["get that finds, p50", micro(first.percentile(50)), micro(second.percentile(50))],
            ["get that finds, p99", micro(first.percentile(99)), micro(second.percentile(99))],
        ],
    )
    shares = ", ".join(
        f"{count} by worker {number}" + " (killed)" * bool(demo.killed and demo.killed.worker == number)
        for number, count in answer.by_worker.items()
    )
    output.table(
        "The store at the end",
        ["", ""],
        [
            ["objects", f"{answer.objects:,}"],
            ["results", shares],
            ["bytes", f"{answer.bytes_used:,} of {answer.size:,}"],
            ["hits", f"{answer.hits:,}"],
            ["speed-up of the second round", f"{first.seconds / max(second.seconds, 1e-9):,.0f} times"],
        ],
    )
    output.table(
        "The longest functions of the standard library",
        [">lines", "function", "where"],
        [[str(lines), name, where] for lines, name, where in answer.longest],
    )
    output.line(
        f"\nIt has {answer.functions:,} functions and {answer.classes:,} classes in {answer.lines:,} lines; "
        f"{answer.unreadable} files could not be parsed."
    )


def micro(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs"
