"""Whether a segment or file is the store that the user named: two names may have the same System V key, or the same file."""

from __future__ import annotations

import os

from shmstore.cli.support.failures import FAILED, UNMET, Failure
from shmstore.cli.support.target import parsed_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from shmstore.cli.support.found import Found

__all__ = ["require_store", "same_store"]


def same_store(args: argparse.Namespace, found: Found) -> None:
    """Refuse a store with another name. A number means any store with this key."""
    header = found.header
    if args.store is None or header is None or not header.complete:
        return
    parsed = parsed_name(args)
    if parsed.kind == 2 or header.name == os.fsencode(parsed.name).decode(errors="backslashreplace"):
        return
    place = parsed.place if parsed.object is not None else f"its {parsed.place}"
    raise Failure(FAILED, f"store {parsed.shown}: {place} belongs to another store, {header.name!r}")


def require_store(args: argparse.Namespace, found: Found, what: str) -> None:
    """Refuse a segment or object that is not a store, unless the user gave its id or object name."""
    if found.kind in ("store", "unreadable") or args.store is None:
        return
    ((option, value),) = found.place.identity().items()
    it = f"{found.place.shown} ({found.place.size} bytes)"
    raise Failure(UNMET, f"{it} is not a store, so it was not {what}; to do it anyway, use --{option} {value}")
