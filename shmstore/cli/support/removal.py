"""Removing a store or other memory: objections, the question before the removal, and the report after it."""

from __future__ import annotations

import os
import sys
import time

from shmstore._store.failures import user
from shmstore.cli.support.entry_keys import printable
from shmstore.cli.support.failures import FAILED, NOT_THERE, UNMET, Failure, explain
from shmstore.cli.support.found import RECHECK_PAUSE, RECHECKS
from shmstore.cli.support.human import amount
from shmstore.cli.support.output import choose_output
from shmstore.cli.support.warnings import hear_warnings
from shmstore.errors import ShmStoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from shmstore import Store
    from shmstore.cli.support.found import Found
    from shmstore.cli.support.objects import Object
    from shmstore.cli.support.segments import Segment

__all__ = ["Victim", "add_questions", "confirm", "remove_all", "report", "unless_you"]


class Victim:
    """A segment or object to be removed. ``named``: the user named it; otherwise a pattern or prune selected it."""

    def __init__(self, found: Found, name: str | None, *, named: bool) -> None:
        self.found = found
        self.name = name
        self.named = named
        self.label = found.place.shown if name is None else f"{printable(name)} ({printable(found.place.shown)})"
        self.since = ""  # shown after its contents
        self.removed = False
        self.attached: int | None = None  # how many processes keep its memory after the removal; None: unknown
        self.failure: Failure | None = None

    @property
    def objection(self) -> str:
        """Why it should not be removed; empty if there is no objection."""
        found = self.found
        if found.kind == "unreadable":
            return f"{found.trouble or 'you may not read it'}, so its kind is unknown"
        if found.kind != "store":
            return "it is not a store" + (f", but the {found.block.kind} {found.block.name!r}" if found.block else "")
        if found.trouble:
            return f"it is {found.trouble}" if found.trouble != "unfinished" else "it is being created"
        if found.foreign:
            return f"uid {found.place.trusted_uid} {'made' if found.place.backend == 'sysv' else 'owns'} it"
        return "" if found.destroyed else _in_use(found.attached)

    @property
    def contents(self) -> str:
        """What is removed with it."""
        stats = self.found.stats
        if stats is None:
            return f"{self.found.place.size:,} bytes"
        return f"{stats.entries:,} {'entry' if stats.entries == 1 else 'entries'}, {amount(stats.bytes_used)} bytes{self.since}"

    def remove(self, force: bool, dry_run: bool = False) -> None:
        """Remove it, unless there is an objection. Raises: Failure; OSError and ShmStoreError."""
        place = self.found.place
        self._object(self.objection, force)
        if place.removed and not self.found.private:
            raise Failure(
                NOT_THERE, f"{self.label} was removed before; attached processes that keep its memory: {place.attached}"
            )
        if dry_run:
            return
        try:
            self._remove(force)
        except PermissionError as error:
            if place.backend == "sysv" or not unless_you(place):
                raise  # the message names the users who may
            raise Failure(FAILED, f"{explain(error)[1]}; {unless_you(place)}") from None
        self.removed = True
        self.attached = _attached_after(self.found)

    def _object(self, objection: str, force: bool) -> None:
        if objection and not force:
            remedy = unless_you(self.found.place) or "--force removes it anyway"
            raise Failure(UNMET, f"{self.label} was not removed: {objection}; {remedy}")

    def _remove(self, force: bool) -> None:
        """Open it as a store, if possible, and destroy that, so that waiting processes wake up. Otherwise let the kernel remove it.

        Without force, count the attached processes again, right before. A process can still come in the microseconds between.
        """
        from shmstore.store import attach_to

        found = self.found
        if found.stats is not None and found.header is not None:
            hear_warnings()
            try:
                with attach_to(found.place.store_key(), readonly=False, timeout=1) as store:
                    if store.info().uuid == found.header.uuid:
                        self._object("" if force else _in_use(_others(store)), force)
                        store.destroy()
                        return
            except (ShmStoreError, OSError):
                pass  # if the kernel refuses, too, its error says why
        found.place.remove()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name, "backend": self.found.place.backend, **self.found.place.identity(), "removed": self.removed,
            "attached": self.attached, "error": None if self.failure is None else str(self.failure),
        }  # fmt: skip


def _others(store: Store[Any]) -> int | None:
    """How many other processes have it attached, without those that detach at once; None: unknown."""
    for _ in range(RECHECKS):
        attached = store.info().attached
        others = None if attached is None else attached - 1
        if not others or any(client.alive is not False and not client.is_me for client in store.clients()):
            break
        time.sleep(RECHECK_PAUSE)
    return others


def _in_use(attached: int | None) -> str:
    if attached is None:
        return "whether a process uses it is unknown"
    return f"{attached} {'process is' if attached == 1 else 'attachments are'} using it" if attached else ""


def unless_you(place: Segment | Object) -> str:
    """The users that can remove it, if this one cannot, even with --yes; otherwise empty."""
    who = sorted(place.removers | {0})
    if os.geteuid() in who:
        return ""
    return "only root can remove it" if who == [0] else f"only {' and '.join(map(user, who))} can remove it"


def _attached_after(found: Found) -> int | None:
    """How many processes still keep its memory. The kernel counts this only for segments, while they exist."""
    if found.place.backend != "sysv":
        return found.attached
    for _ in range(RECHECKS):
        remains = found.place.again()
        attached = remains.attached if remains is not None else 0
        if not attached or attached <= (found.attached or 0):
            break
        time.sleep(RECHECK_PAUSE)
    return attached


def confirm(victims: list[Victim], reasons: tuple[str, str], otherwise: str = "") -> None:
    """Show the selected stores, and ask on a terminal whether to remove them. Without a terminal, --yes is necessary.

    reasons: why they were selected, for one store and for several.

    Raises: Failure.
    """
    one = len(victims) == 1
    count = f"{len(victims)} {'store' if one else 'stores'}"
    if not (sys.stdin and sys.stderr and sys.stdin.isatty() and sys.stderr.isatty()):
        few = ", ".join(victim.label for victim in victims[:8]) + ", ..." * (len(victims) > 8)
        raise Failure(
            UNMET,
            f"nothing was removed: {count} {reasons[not one]}: {few}; use --yes to remove {'it' if one else 'them'}{otherwise}",
        )
    for victim in victims:
        stays = f"stays: {victim.objection}" if victim.objection else victim.contents
        print(f"  {victim.label}: {stays}", file=sys.stderr)
    print(f"Remove {count}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failure(UNMET, "nothing was removed")


def add_questions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask before removing")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only show what would be removed")


def remove_all(victims: list[Victim], args: argparse.Namespace, *, force: bool) -> list[Failure]:
    """Remove them one after the other, and report each. Return the failures."""
    output = None if args.json else choose_output()
    for victim in victims:
        try:
            victim.remove(force, args.dry_run)
        except Failure as failure:
            victim.failure = failure
        except (ShmStoreError, OSError) as error:
            victim.failure = Failure(*explain(error))
        if output is None or victim.failure is not None:
            continue
        if args.dry_run:
            output.line(f"{victim.label} would be removed: {victim.contents}")
        else:
            rest = f"; attached processes that keep its memory: {victim.attached}" if victim.attached else ""
            output.line(f"{victim.label} removed{rest}")
    return [victim.failure for victim in victims if victim.failure is not None]


def report(victims: list[Victim], args: argparse.Namespace) -> dict[str, Any]:
    """For JSON, if there may be several."""
    return {"dry_run": args.dry_run, "stores": [victim.as_dict() for victim in victims]}
