"""``shmstore rm``: remove a store, or any segment."""

from __future__ import annotations

from shmstore.cli._failures import NOT_THERE, UNMET, Failure
from shmstore.cli._target import add_command, add_json, add_key, segment_of
from shmstore.cli.output import choose_output, print_json
from shmstore.errors import ShmStoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from shmstore.cli._segments import Found

DESCRIPTION = """\
Remove a store and what it holds. What is no store, cannot be read, is broken, was made by another user, or is
attached to by somebody, stays without --force (and the exit code is 4). Processes that are attached keep the
memory until they let go of it; their next call on the store says that it was removed.
"""

EXAMPLES = """
shmstore rm quickstart
shmstore rm quickstart --force         # whoever uses it
shmstore rm --id 65538 --force         # any segment, as ipcrm -m
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "rm", "remove a store, or any segment", DESCRIPTION, EXAMPLES)
    add_key(parser, optional=True)
    parser.add_argument("-f", "--force", action="store_true", help="remove it even so")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from shmstore.cli._identity import same_store
    from shmstore.cli._segments import look, segment_by_id

    segment = segment_of(args)
    found = look(segment)
    same_store(args, found)
    name = f"segment {segment.id}" if args.key is None else f"{args.key} (segment {segment.id})"
    objection = _objection(found)
    if objection and not args.force:
        raise Failure(UNMET, f"{name} was left alone: {objection}; --force removes it even so")
    if found.destroyed:
        raise Failure(NOT_THERE, f"{name} was removed before; it goes when the {segment.nattch} attached let go of it")
    _remove(found)
    remains = segment_by_id(segment.id)
    attached = 0 if remains is None else remains.nattch
    if args.json:
        print_json({"removed": segment.id, "attached": attached})
    else:
        rest = f"; {attached} still attached keep its memory" if attached else ""
        choose_output().line(f"{name} removed{rest}")
    return 0


def _objection(found: Found) -> str:
    """Why it should not be removed; empty if nothing speaks against it."""
    if found.kind == "unreadable":
        return "you may not read it, so it cannot be said what it is"
    if found.kind != "store":
        return "it is no store"
    if found.trouble:
        return f"it is {found.trouble}" if found.trouble != "unfinished" else "it is being created"
    if found.foreign:
        return f"uid {found.segment.cuid} made it"
    if found.segment.nattch and not found.destroyed:
        count = found.segment.nattch
        return f"{count} {'process is' if count == 1 else 'attachments are'} using it"
    return ""


def _remove(found: Found) -> None:
    """As a store if it can be opened, so that who sleeps in it wakes up; else as the kernel removes any segment."""
    from shmstore import Store, sysv

    if found.stats is not None:
        try:
            store: Store[Any] = Store(found.segment.key, create=False, owner="any", timeout=1)
            with store:
                if store.info().id == found.segment.id:
                    store.destroy()
                    return
        except (ShmStoreError, OSError):
            pass  # the kernel says why, if it refuses too
    sysv.shmctl(found.segment.id, sysv.IPC_RMID)
