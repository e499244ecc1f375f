"""Options of commands that store: a time to live, and the creation of a missing store."""

from __future__ import annotations

import shmstore
from shmstore._store.names import parse_size
from shmstore._store.options import CLIENTS_MAX, parse_count
from shmstore.cli.support.failures import WRONG, Failure
from shmstore.cli.support.human import parse_duration, parse_mode
from shmstore.cli.support.target import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

__all__ = ["add_creation", "add_ttl", "creation", "ttl_of"]


def add_ttl(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--ttl", metavar="TIME", help=text)


def ttl_of(args: argparse.Namespace) -> float | None:
    """Seconds to live; None: no limit."""
    if args.ttl is None or args.ttl == "never":
        return None
    seconds = parse_duration(args.ttl)
    if seconds <= 0:
        raise Failure(WRONG, "--ttl must be more than 0 seconds, or never")
    return seconds


def add_creation(parser: argparse.ArgumentParser) -> None:
    """Let a command create a missing store."""
    group = parser.add_argument_group("creating the store")
    group.add_argument("--create", action="store_true", help="create the store if it does not exist")
    group.add_argument("--size", help="size of a new store (default: 64M; memory is taken as it is used)")
    group.add_argument("--mode", help="permissions of a new store (default: 0600)")
    group.add_argument(
        "--max-clients", type=int, metavar="N", help="writing processes at once in a new store (default: 1024)"
    )


def creation(args: argparse.Namespace) -> dict[str, Any]:
    """The options of ``Store`` for the options of add_creation. An existing store stays as it is."""
    if not args.create:
        if args.size is not None or args.mode is not None or args.max_clients is not None:
            raise Failure(WRONG, "--size, --mode and --max-clients apply to a new store only: add --create")
        return {}
    try:
        size, mode = parse_size(args.size or "64M"), parse_mode(args.mode or "0600", 0)
        parse_count("--max-clients", args.max_clients, CLIENTS_MAX)
    except ValueError as error:
        raise Failure(WRONG, str(error)) from None
    try:
        shmstore.Store(name_of(args), backend=args.backend, create=False, readonly=True, owner="any", timeout=0).close()
        return {}
    except shmstore.StoreNotFound:
        return {"create": None, "size": size, "mode": mode, "max_clients": args.max_clients}
    except shmstore.ShmStoreError:
        return {"create": None}  # opening it in earnest says what is wrong
