"""What the sweeps came to. `python tests/faults/crash/report.py DIRECTORY [--table | --kinds | --locks] [--rest FILE]`

DIRECTORY: the one that SHMSTORE_CRASH_REPORT named. For each function of the engine in which a victim was killed or
stopped: how many of its instructions, by objdump, had their turn. --rest writes the others to a file, by source line, with
the reason why no case reaches them; a line without a reason needs a new case. --table: the figures of each case.
--kinds: those of each kind of operation, the table of REPORT.md. --locks: which locks the stopped processes of the fifth
mode held.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import driver

ROOT = Path(__file__).resolve().parents[3]
# What calls the engine: it has no lock in its hands and owns nothing in the segment. It was swept, but is not counted.
NOT_ENGINE = re.compile(r"shmstore\._core\.c|^python/")
# Functions that look and tell: they change nothing in the segment, and hold nothing.
LOOKING = re.compile(r"/(api|check|liveness|linux|segment|walk|hash|table)\.[ch]$")
REASONS = json.loads(Path(__file__).with_name("reasons.json").read_text())


def module() -> Path:
    from shmstore import _core

    return Path(_core.__file__)


def lines_of(path: Path, offsets: list[int]) -> dict[int, tuple[str, int]]:
    """Source file and line of each instruction, innermost of what was inlined."""
    text = subprocess.run(
        ["addr2line", "-e", str(path)], input="\n".join(map(hex, offsets)), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found = {}
    for offset, line in zip(offsets, text, strict=True):
        file, _, number = line.split(" ")[0].rpartition(":")
        found[offset] = (file.rpartition("/csrc/")[2], int(number) if number.isdigit() else 0)
    return found


def source_line(file: str, number: int) -> str:
    path = ROOT / "shmstore" / "csrc" / file
    lines = path.read_text().splitlines() if path.is_file() else []
    return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def reason(function: str, file: str, text: str) -> str:
    for entry in REASONS:
        if re.search(entry["function"], function) and re.search(entry["line"], f"{file}: {text}"):
            return str(entry["reason"])
    return ""


def padding(text: str) -> bool:
    return bool(re.match(r"(data16 |cs )*(nop|xchg +%ax,%ax$)", text))


def table(figures: list[dict[str, Any]]) -> None:
    by_case: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for figure in figures:
        if figure["mode"] in ("kill", "stop", "race"):
            by_case[figure["case"]][figure["mode"]] = figure
    print("| operation | instructions | killed at | stopped at | raced, then killed | failures |")
    print("|---|---|---|---|---|---|")
    for name, modes in sorted(by_case.items()):
        killed, stopped, raced = (modes.get(mode, {}) for mode in ("kill", "stop", "race"))
        longest = max(figure["instructions"] for figure in modes.values())
        races = f"{raced['acted']}, {raced['states']}" if raced else ""
        print(f"| {name} | {longest} | {killed.get('acted', '')} | {stopped.get('acted', '')} | {races} "
              f"| {sum(len(figure['failures']) for figure in modes.values())} |")  # fmt: skip
    print("\n| the first dies in, the second in | pairs of states | failures |\n|---|---|---|")
    for figure in figures:
        if figure["mode"] == "two":
            print(f"| {figure['case']} | {figure['acted']} | {len(figure['failures'])} |")
    slowest = max((figure["longest_read"] for figure in figures if figure["mode"] == "stop"), default=0)
    print(f"\nThe longest read beside a stopped process: {1000 * slowest:.1f} ms.")


KINDS = {
    "fail": "add", "get": "get, in", "contains": "get, in", "iterate": "iteration, len", "list": "iteration, len",
    "count": "iteration, len", "refuse": "open, refused", "repair": "check(repair=True)", "recover": "takeover, recover",
    "takeover": "takeover, recover", "sweep": "sweep of what has expired", "use": "use after close and destroy",
    "private": "create", "finish": "create", "give": "delete", "say": "info, stats, clients",
}  # fmt: skip


def by_kind(figures: list[dict[str, Any]]) -> None:
    """By the first word of a case's name."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for figure in figures:
        word = re.split(r"\W", figure["case"])[0]
        for row in (rows[KINDS.get(word, word)], rows["~"]):
            row.update({figure["mode"]: figure["acted"], "failures": len(figure["failures"])})
            row["further"] += figure["states"] if figure["mode"] == "race" else 0
            row.update(cases=figure["mode"] != "two" and figure["mode"] != "stop")  # whatever is stopped is killed, too
    print(
        "| operation | cases | killed at | stopped at | raced, then killed | two killed | failures |\n|---|---|---|---|---|---|---|"
    )
    for name, row in sorted(rows.items()):
        count = {what: f"{number:,}" if number else "" for what, number in row.items()}
        raced = f"{count['race']}, {row['further']:,}" if row["race"] else ""
        print(f"| {'all' if name == '~' else name} | {count['cases']} | {count.get('kill', '')} | {count.get('stop', '')} | {raced} "
              f"| {count.get('two', '')} | {row['failures']} |")  # fmt: skip


def locks(figures: list[dict[str, Any]]) -> None:
    """Of the instructions at which a process was stopped while others wrote: at how many it held which lock."""
    held = ("nothing", "its home", "the home of what expires")
    print(f"| operation | stopped at | held {' | held '.join(held)} | failures |\n|---|---|---|---|---|---|")
    total: Counter[str] = Counter()
    for figure in [*(figure for figure in figures if figure["mode"] == "others"), None]:
        counts = Counter(figure["locks"]) if figure else total
        acted, failures = (figure["acted"], len(figure["failures"])) if figure else (total["acted"], total["failures"])
        shares = " | ".join(f"{100 * counts[what] / max(1, acted):.1f} %" for what in held)
        print(f"| {figure['case'] if figure else 'all'} | {acted:,} | {shares} | {failures} |")
        if figure:
            total.update({**counts, "acted": acted, "failures": failures})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rest", type=Path)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--kinds", action="store_true")
    parser.add_argument("--locks", action="store_true")
    arguments = parser.parse_args()
    figures = [json.loads(path.read_text()) for path in sorted(arguments.directory.glob("*.json"))]
    if arguments.table:
        table(figures)
        return
    if arguments.kinds:
        by_kind(figures)
        return
    if arguments.locks:
        locks(figures)
        return
    code = driver.Object(module())
    reached = {offset for figure in figures for offset in figure["reached"]}
    entered = {code.function_at(offset) for offset in reached} - {None}
    files = {start: file for start, (file, _) in lines_of(code.path, sorted(entered)).items()}  # type: ignore[type-var]
    by_function: dict[int, list[int]] = defaultdict(list)
    for offset, text in code.instructions().items():
        start = code.function_at(offset)
        if start in entered and files[start] and not NOT_ENGINE.search(files[start]) and not padding(text):
            by_function[start].append(offset)  # type: ignore[index]
    total = hit = explained = 0
    kinds: dict[str, list[int]] = {"that change the segment": [0, 0, 0], "that look and tell": [0, 0, 0]}
    rest: list[str] = []
    print(f"{'function':34} {'file':16} instructions  acted at")
    for start, offsets in sorted(by_function.items(), key=lambda item: (files[item[0]], item[0])):
        missed = [offset for offset in offsets if offset not in reached]
        name = code.where(start)[0]
        kind = kinds["that look and tell" if LOOKING.search(files[start]) else "that change the segment"]
        kind[0] += 1
        kind[1] += len(offsets)
        kind[2] += len(offsets) - len(missed)
        total += len(offsets)
        hit += len(offsets) - len(missed)
        print(f"{name:34} {files[start]:16} {len(offsets):12} {100 * (1 - len(missed) / len(offsets)):8.1f} %")
        lines = Counter(lines_of(code.path, missed).values()) if missed else Counter()
        for (file, number), count in sorted(lines.items()):
            text = source_line(file, number)
            why = reason(name, file, text)
            explained += count if why else 0
            rest.append(f"{name:30} {file}:{number:<5} {count:4}  {why or 'NO REASON'}  | {text}")
    for what, (functions, instructions, had) in kinds.items():
        share = 100 * had / max(1, instructions)
        print(f"{functions} functions {what}: {had} of {instructions} instructions, {share:.1f} %")
    print(f"{hit} of {total} instructions, {100 * hit / max(1, total):.2f} %; of the other {total - hit}, {explained} "
          "have a reason")  # fmt: skip
    by_mode: dict[str, Counter[str]] = defaultdict(Counter)
    for figure in figures:
        counter = by_mode[figure["mode"]]
        counter.update(acted=figure["acted"], cases=1, failures=len(figure["failures"]), late=figure["ended_before"])
    for mode, counter in by_mode.items():
        print(mode, dict(counter))
    if arguments.rest:
        arguments.rest.write_text("\n".join(rest) + "\n")


if __name__ == "__main__":
    main()
