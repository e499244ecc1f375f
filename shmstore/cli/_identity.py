"""Whether the segment under a key is the store that the user named: two names may share a System V key."""

from __future__ import annotations

import os

from shmstore._keys import parse_key
from shmstore.cli._failures import FAILED, UNMET, Failure
from shmstore.cli._target import key_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from shmstore.cli._segments import Found, Segment

__all__ = ["require_store", "same_store"]


def same_store(args: argparse.Namespace, found: Found) -> None:
    """Refuse another name's store. A number means whatever lies under it."""
    header = found.header
    if args.key is None or header is None or not header.complete:
        return
    parsed = parse_key(key_of(args))
    if parsed.kind == 2 or header.name == os.fsencode(parsed.name).decode(errors="backslashreplace"):
        return
    raise Failure(FAILED, f"store {parsed.shown}: its key {found.segment.key:#010x} belongs to the store {header.name!r}")


def require_store(args: argparse.Namespace, found: Found, what: str) -> None:
    """Refuse a segment that is no store, unless it was asked for by its id."""
    if found.kind == "segment" and args.id is None:
        raise Failure(
            UNMET, f"{_called(found.segment)} is no store, so it was not {what}; if you mean it, say --id {found.segment.id}"
        )


def _called(segment: Segment) -> str:
    return f"segment {segment.id} (key {segment.key:#010x}, {segment.size} bytes)"
