"""``shmstore rm``: remove a store, or any segment or object."""

from __future__ import annotations

import os

from shmstore._native import user
from shmstore.cli._failures import FAILED, NOT_THERE, UNMET, Failure, explain
from shmstore.cli._target import add_command, add_json, add_key, place_of
from shmstore.cli._warnings import hear_warnings
from shmstore.cli.output import choose_output, print_json
from shmstore.errors import ShmStoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from shmstore.cli._found import Found
    from shmstore.cli._objects import Object
    from shmstore.cli._segments import Segment

DESCRIPTION = """\
Remove a store and what it holds. What is no store, cannot be read, is broken, was made by another user, or is
attached to by somebody, stays without --force (and the exit code is 4). Processes that are attached keep the
memory until they let go of it; their next call on the store says that it was removed.
"""

EXAMPLES = """
shmstore rm quickstart
shmstore rm quickstart --force         # whoever uses it
shmstore rm --id 65538 --force         # any segment, as ipcrm -m
shmstore rm quickstart --backend posix
shmstore rm --object leftover --force  # any object of /dev/shm
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "rm", "remove a store, or any other memory", DESCRIPTION, EXAMPLES)
    add_key(parser, optional=True)
    parser.add_argument("-f", "--force", action="store_true", help="remove it even so")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from shmstore.cli._found import look
    from shmstore.cli._identity import same_store

    place = place_of(args)
    found = look(place)
    same_store(args, found)
    name = place.shown if args.key is None else f"{args.key} ({place.shown})"
    objection = _objection(found)
    if objection and not args.force:
        raise Failure(UNMET, f"{name} was left alone: {objection}; {_only(place) or '--force removes it even so'}")
    if place.removed and not found.private:
        raise Failure(NOT_THERE, f"{name} was removed before; it goes when the {place.attached} attached let go of it")
    try:
        _remove(found)
    except PermissionError as error:
        if place.backend == "sysv" or not _only(place):
            raise  # it says who may
        raise Failure(FAILED, f"{explain(error)[1]}; {_only(place)}") from None
    attached = _attached_after(found)
    if args.json:
        (identity,) = place.identity().values()
        print_json({"removed": identity, "attached": attached})
    else:
        rest = f"; {attached} still attached keep its memory" if attached else ""
        choose_output().line(f"{name} removed{rest}")
    return 0


def _only(place: Segment | Object) -> str:
    """Who can remove it, if this user cannot, whatever he says; else empty."""
    who = sorted(place.removers | {0})
    if os.geteuid() in who:
        return ""
    return "only root can remove it" if who == [0] else f"only {' and '.join(map(user, who))} can remove it"


def _objection(found: Found) -> str:
    """Why it should not be removed; empty if nothing speaks against it."""
    if found.kind == "unreadable":
        return f"{found.trouble or 'you may not read it'}, so it cannot be said what it is"
    if found.kind != "store":
        return "it is no store" + (f", but the {found.block.kind} {found.block.name!r}" if found.block else "")
    if found.trouble:
        return f"it is {found.trouble}" if found.trouble != "unfinished" else "it is being created"
    if found.foreign:
        return f"uid {found.place.trusted_uid} {'made' if found.place.backend == 'sysv' else 'owns'} it"
    if found.attached is None and not found.destroyed:
        return "whether anybody uses it cannot be told"
    if found.attached and not found.destroyed:
        return f"{found.attached} {'process is' if found.attached == 1 else 'attachments are'} using it"
    return ""


def _remove(found: Found) -> None:
    """As a store if it can be opened, so that who sleeps in it wakes up; else as the kernel removes anything."""
    from shmstore.store import attach_to

    if found.stats is not None and found.header is not None:
        hear_warnings()
        try:
            with attach_to(found.place.store_key(), readonly=False, timeout=1) as store:
                if store.info().uuid == found.header.uuid:
                    store.destroy()
                    return
        except (ShmStoreError, OSError):
            pass  # the kernel says why, if it refuses too
    found.place.remove()


def _attached_after(found: Found) -> int | None:
    """How many keep the memory of what was removed. The kernel counts it for segments alone, as long as they last."""
    from shmstore.cli._segments import Segment, segment_by_id

    if not isinstance(found.place, Segment):
        return found.attached
    remains = segment_by_id(found.place.id)
    return 0 if remains is None else remains.nattch
