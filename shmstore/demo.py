"""Analyse the standard library in several processes that share one store: the job behind ``shmstore demo``.

Every worker needs the analysis of every file. It looks for each one in the store, and computes it only if it is missing.
So each worker finds what others have computed. In a second round, all workers find everything.

Two workers should not compute the same file at the same time, and the death of a worker must not block its file. So a
worker claims a file before it computes it: ``add`` succeeds for one worker only, and the claim has a time to live. A
worker that finds a claimed file continues with the next one. At the end it sleeps until the result is there or the
claim has expired. No other recovery is necessary: there is no list of workers and no heartbeat.

The workers are separate programs (``python -m shmstore.demo --worker KEY``). They share only the name of the store.
This file is the worker. ``_demo_parent.py`` starts, kills and ends workers. ``cli/commands/demo.py`` shows the progress.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
import sysconfig
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import shmstore

CLAIM_SECONDS = 2.0
ROUNDS = (1, 2)  # the first computes, the second finds everything
LONGEST = 10  # functions to remember of each file

LIBRARY = Path(sysconfig.get_path("stdlib"))


# ---- the names in the store ----


def result_name(path: str) -> str:
    return f"file:{path}"


def claim_name(path: str) -> str:
    return f"claim:{path}"


def start_name(round_: int) -> str:
    """The key that the parent puts to start a round."""
    return f"start:{round_}"


def seen_name(round_: int, worker: int) -> str:
    """The key of a counter of the files that a worker has done, for the progress bar."""
    return f"seen:{round_}:{worker}"


def report_name(round_: int, worker: int) -> str:
    """The key that a worker puts when it has every file."""
    return f"report:{round_}:{worker}"


# ---- the work ----


def library_files(limit: int | None = None) -> list[str]:
    """List the standard library's Python files, relative to LIBRARY, in the same order in every process."""
    found = []
    for folder, subfolders, names in os.walk(LIBRARY):
        # Installed packages are no part of the library, wherever a distribution puts them.
        subfolders[:] = [name for name in subfolders if name not in ("site-packages", "dist-packages")]
        found += [Path(folder, name) for name in names if name.endswith(".py")]
    return sorted(str(path.relative_to(LIBRARY)) for path in found)[:limit]


def analyse(path: str) -> dict[str, Any]:
    """Find out what a source file defines and imports, and which of its functions are the longest."""
    source = b""
    functions: list[tuple[int, str, int]] = []  # lines, qualified name, first line
    classes = 0
    imports: set[str] = set()
    try:
        source = (LIBRARY / path).read_bytes()
        pending: list[tuple[Any, str]] = [(ast.parse(source), "")]
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        # The library's own tests bring files that are broken on purpose.
        return {"lines": source.count(b"\n"), "error": type(error).__name__}
    while pending:
        node, scope = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            last = node.end_lineno or node.lineno
            functions.append((last - node.lineno + 1, scope + node.name, node.lineno))
            scope += node.name + "."
        elif isinstance(node, ast.ClassDef):
            classes += 1
            scope += node.name + "."
        elif isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imports.add("." * node.level + (node.module or ""))
        # Definitions and imports are statements, and those live in statements: expressions need no visit.
        for block in ("body", "handlers", "orelse", "finalbody", "cases"):
            pending += [(child, scope) for child in getattr(node, block, ())]
    return {
        "lines": source.count(b"\n"),
        "functions": len(functions),
        "classes": classes,
        "imports": sorted(imports),
        "longest": sorted(functions, reverse=True)[:LONGEST],
    }


class Worker:
    """Get the analysis of every file, from the store or by computing it; one object for each round."""

    def __init__(self, store: shmstore.Store[Any], number: int, round_: int) -> None:
        self.store = store
        self.number = number
        self.round = round_
        self.computed = 0
        self.found = 0
        self.latencies: list[int] = []  # nanoseconds of each get that found something

    def run(self, files: list[str]) -> None:
        self.store.wait(start_name(self.round))
        began = time.monotonic()  # the same clock in all processes
        claimed_by_others = [path for path in files if not self.get_or_compute(path)]
        for path in claimed_by_others:
            while not self.get_or_compute(path):
                try:
                    self.store.wait(result_name(path), timeout=CLAIM_SECONDS)
                except TimeoutError:
                    pass  # the worker that claimed it is dead, or slow: by now its claim has expired
        report = {
            "began": began,
            "ended": time.monotonic(),
            "computed": self.computed,
            "found": self.found,
            "latencies": self.latencies,
        }
        self.store.put(report_name(self.round, self.number), report)

    def get_or_compute(self, path: str) -> bool:
        """Get or compute the result of a file. Return False if another worker has claimed it."""
        if self.is_found(path):
            self.found += 1
        else:
            if not self.store.add(claim_name(path), self.number, ttl=CLAIM_SECONDS):
                return False
            # Look again: between our look and our claim, another worker may have put it and given its claim up.
            if self.is_found(path):
                self.found += 1
            else:
                self.store.put(result_name(path), analyse(path) | {"by": self.number})
                self.computed += 1
            self.store.delete(claim_name(path))
        self.store.incr(seen_name(self.round, self.number))
        return True

    def is_found(self, path: str) -> bool:
        before = time.perf_counter_ns()
        result = self.store.get(result_name(path))
        after = time.perf_counter_ns()
        if result is None:
            return False
        self.latencies.append(after - before)
        return True


# ---- the program ----


def end_with_the_parent(key: str) -> None:
    """Wait for the end of standard input, an unused pipe from the parent: it ends when the parent ends, even by a kill.

    Then remove the store, because a killed parent could not do that.
    """

    def watch() -> None:
        os.read(0, 1)
        try:
            shmstore.destroy(key)
        except shmstore.ShmStoreError:
            pass  # the parent has done it, or another worker
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    parser = argparse.ArgumentParser("python -m shmstore.demo", description="A worker of `shmstore demo`.")
    parser.add_argument("--worker", metavar="KEY", required=True, help="the store that the workers share")
    parser.add_argument("--number", type=int, default=0, help="of this worker")
    parser.add_argument("--limit", type=int, help="analyse only so many files")
    args = parser.parse_args()

    end_with_the_parent(args.worker)
    warnings.simplefilter("ignore")  # about the old code in the library's tests
    files = library_files(args.limit)
    try:
        with shmstore.Store[Any](args.worker, create=False) as store:
            for round_ in ROUNDS:
                Worker(store, args.number, round_).run(files)
    except (shmstore.StoreNotFound, shmstore.StoreDestroyed):
        return 1  # the parent has called it off
    return 0


if __name__ == "__main__":
    sys.exit(main())
