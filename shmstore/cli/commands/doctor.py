"""``shmstore doctor``: settings of this machine that cause problems, each with the command that fixes it."""

from __future__ import annotations

from shmstore.cli.support.entry_keys import printable
from shmstore.cli.support.failures import FAILED
from shmstore.cli.support.output import Cell, choose_output, print_json
from shmstore.cli.support.target import add_command, add_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

DESCRIPTION = """\
Check the kernel's limits, /dev/shm, huge pages, namespaces, systemd, control groups, memory and the existing
stores, and report settings that cause problems. The command changes nothing; below each problem it prints the
command that fixes it. The exit code is 1 if there is a problem. Notes are no problems.
"""

EXAMPLES = """
shmstore doctor
shmstore doctor --json | jq '.checks[] | select(.level == "problem")'
"""

_MEANINGS = {"ok": "good", "note": "notice", "problem": "bad"}


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "doctor", "report settings that cause problems", DESCRIPTION, EXAMPLES)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from shmstore.cli.support import doctor_limits, doctor_surroundings
    from shmstore.cli.support.machine import Machine

    machine = Machine()
    checks = [check(machine) for check in (*doctor_limits.CHECKS, *doctor_surroundings.CHECKS)]
    problems = sum(check.level == "problem" for check in checks)
    if args.json:
        print_json({"problems": problems, "checks": [check.for_json() for check in checks]})
        return FAILED if problems else 0
    output = choose_output()
    rows: list[list[str]] = []
    for check in checks:
        rows.append([Cell(check.level, _MEANINGS[check.level]), Cell(check.topic, "name"), printable(check.says)])
        if check.fix:
            rows.append(["", Cell("", "quiet"), Cell(f"fix: {printable(check.fix)}", "quiet")])
    output.table("", ["", "", ""], rows)
    notes = sum(check.level == "note" for check in checks)
    output.line(f"\n{_count(problems, 'problem')}, {_count(notes, 'note')}.")
    return FAILED if problems else 0


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
