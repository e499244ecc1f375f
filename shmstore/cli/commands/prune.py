"""``shmstore prune``: remove unused stores."""

from __future__ import annotations

import os
import time

from shmstore.cli.support.failures import FAILED, UNMET, complain
from shmstore.cli.support.human import ago, parse_duration
from shmstore.cli.support.output import choose_output, print_json
from shmstore.cli.support.removal import Victim, add_questions, confirm, remove_all, report
from shmstore.cli.support.target import add_command, add_json
from shmstore.errors import ShmStoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from shmstore.cli.support.found import Found

DESCRIPTION = """\
Remove your unused stores, in System V memory and in /dev/shm. A store is unused if no process has it attached, not
even read-only, and no client that may be alive has a slot in it. A store of short programs is unused between two
of them: --older-than keeps stores that were open for writing within that time. Reading does not count. The command
shows the stores and asks before it removes them. If it cannot ask, it needs --yes.

Private, foreign and broken stores stay, and so does memory that is not a store. Each store is checked again right
before its removal. If a process opens it in the microseconds between, its next call raises StoreDestroyed.
"""

EXAMPLES = """
shmstore prune
shmstore prune --older-than 7d --dry-run
shmstore prune --older-than 1h --backend posix --yes
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "prune", "remove unused stores", DESCRIPTION, EXAMPLES)
    parser.add_argument(
        "--older-than", metavar="TIME", default="0", help="keep stores that were open for writing within this time"
    )
    parser.add_argument(
        "--backend", choices=("sysv", "posix"), help="only stores in System V memory, or only those in /dev/shm"
    )
    add_questions(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from shmstore.cli.support.found import recheck, stores

    age = parse_duration(args.older_than)
    now = time.time()
    found = recheck(
        [one for backend in ("sysv", "posix") if args.backend in (None, backend) for one in stores(backend)]
    )
    victims = [_victim(one) for one in found if unused(one, age, now, dry_run=args.dry_run)]
    if victims and not (args.yes or args.dry_run):
        confirm(victims, ("is unused", "are unused"))
    failures = remove_all(victims, args, force=False)
    for failure in failures:
        complain(str(failure))
    if args.json:
        print_json(report(victims, args))
    elif not victims:
        choose_output().line("There is no unused store.")
    return FAILED if any(failure.code != UNMET for failure in failures) else 0


def unused(found: Found, age: float, now: float, *, dry_run: bool) -> bool:
    """Whether a store of this user is unused, and had no writer for so many seconds."""
    place = found.place
    if found.stats is None or found.states or os.geteuid() not in place.removers | {0}:
        return False
    if found.attached != 0 or found.clients:
        return False
    if not age:
        return True
    if found.last_writer is None:  # a dead client still has its slot: its time begins when a process notices the death
        if not dry_run:
            _notice_deaths(found)
        return False
    return now - found.last_writer >= age


def _notice_deaths(found: Found) -> None:
    from shmstore.store import attach_to

    try:
        with attach_to(found.place.store_key(), readonly=False, timeout=1) as store:
            store.recover()
    except (ShmStoreError, OSError):
        pass  # removed meanwhile, or full


def _victim(found: Found) -> Victim:
    from shmstore.cli.support.found import store_name

    victim = Victim(found, store_name(found), named=False)
    victim.since = f", last open for writing {ago(found.last_writer)}" if found.last_writer else ""
    return victim
