"""``shmstore rm``: remove stores, or any segments or objects."""

from __future__ import annotations

from shmstore.cli.support.failures import CODES_BY_WEIGHT, NOT_THERE, WRONG, Failure, complain
from shmstore.cli.support.output import print_json
from shmstore.cli.support.removal import Victim, add_questions, confirm, remove_all, report
from shmstore.cli.support.target import add_command, add_json, add_place, is_pattern, place_of, targets_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from shmstore.cli.support.found import Found

DESCRIPTION = """\
Remove stores with their entries. Without --force, a segment or object stays if it is not a store, cannot be read,
is broken, was made by another user, or is attached to a process; the exit code is then 4. Attached processes keep
the memory until they detach. Their next call on the store raises StoreDestroyed.

A STORE with * ? or [ is a pattern, as in a shell, of the names of stores in System V memory, or in /dev/shm with
--backend posix; quote it. The command shows the stores that match and asks before it removes them. If it
cannot ask, it needs --yes or --force. A store whose name is the pattern itself matches, too. With --name, STORE is
not a pattern, and the command does not ask.
"""

EXAMPLES = """
shmstore rm quickstart squares
shmstore rm quickstart --force         # also if it is in use, or absent
shmstore rm 'job-*' --dry-run          # shows what would be removed
shmstore rm 'job-*' --yes              # except stores in use
shmstore rm --name 'job-*'             # the store with this name
shmstore rm --id 65538 --force         # any segment, as ipcrm -m
shmstore rm --object leftover --force  # any object of /dev/shm
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "rm", "remove stores, or any other memory", DESCRIPTION, EXAMPLES)
    add_place(parser, several=True)
    parser.add_argument(
        "-f", "--force", action="store_true",
        help="remove it in any case, do not ask, and succeed if it is absent",
    )  # fmt: skip
    add_questions(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    targets = targets_of(args)
    victims: list[Victim] = []
    failures: list[Failure] = []
    for target in targets:
        try:
            victims += matching(target) if is_pattern(target) else [_named(target)]
        except Failure as failure:
            if failure.code == WRONG:
                raise
            failures.append(failure)
    victims = _once_each(victims)
    chosen = [victim for victim in victims if not victim.named]
    if chosen and not (args.yes or args.force or args.dry_run):
        pattern = next(target.store for target in targets if is_pattern(target))
        confirm(chosen, ("matches", "match"), f", or --name if {pattern!r} is a name")
    failures += remove_all(victims, args, force=args.force)
    if args.force:
        failures = [one for one in failures if one.code != NOT_THERE]
    for one in failures:
        complain(str(one))
    plain = len(targets) == 1 and not is_pattern(targets[0]) and not args.dry_run
    if args.json and not plain:
        print_json(report(victims, args))
    elif args.json and not failures:
        print_json(_document(victims))
    return max((one.code for one in failures), key=CODES_BY_WEIGHT.index, default=0)


def _named(target: argparse.Namespace) -> Victim:
    from shmstore.cli.support.found import look, recheck
    from shmstore.cli.support.identity import same_store

    found = look(place_of(target))
    found = next(iter(recheck([found])), found)
    same_store(target, found)
    return Victim(found, target.store, named=True)


def _once_each(victims: list[Victim]) -> list[Victim]:
    """What was named and matches, too, was named."""
    by_identity: dict[object, Victim] = {}
    for victim in victims:
        known = by_identity.setdefault((*victim.found.place.identity().items(),), victim)
        known.named |= victim.named
    return list(by_identity.values())


def matching(target: argparse.Namespace) -> list[Victim]:
    """The stores whose names match a pattern, or are it."""
    victims = _matching_in(target.backend, target.store)
    if not victims:
        other = "posix" if target.backend == "sysv" else "sysv"
        there = len(_matching_in(other, target.store))
        hint = f"; {there} {'does' if there == 1 else 'do'} with --backend {other}" if there else ""
        raise Failure(NOT_THERE, f"no store has a name that matches {target.store!r}{hint}")
    return victims


def _matching_in(backend: str, pattern: str) -> list[Victim]:
    from fnmatch import fnmatchcase

    from shmstore.cli.support.found import recheck, stores

    def matches(one: Found) -> bool:
        name = one.name
        return name is not None and not one.destroyed and (name == pattern or fnmatchcase(name, pattern))

    found = recheck([one for one in stores(backend) if matches(one)])
    return [Victim(one, one.name, named=one.name == pattern) for one in sorted(found, key=lambda one: str(one.name))]


def _document(victims: list[Victim]) -> dict[str, Any]:
    """Of one that was named: its id or object, or null if it was not there."""
    for victim in victims:
        (identity,) = victim.found.place.identity().values()
        return {"removed": identity, "attached": victim.attached}
    return {"removed": None, "attached": None}
