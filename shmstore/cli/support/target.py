"""Which store a command means, and how it is opened: the arguments that all commands share.

STORE means the System V store, and with --backend posix the POSIX store, as for ``shmstore.open``. A command never guesses
the kind. So its meaning does not change when somebody creates a store of the other kind."""

from __future__ import annotations

import argparse
import os
import re

from shmstore import errors
from shmstore._base.sentinels import DefaultStr
from shmstore._store.memory_errors import about_absence
from shmstore._store.names import BACKENDS, Key, parse_key
from shmstore.cli.support.entry_keys import parse_entry_key
from shmstore.cli.support.failures import CODES, NOT_THERE, WRONG, Failure, refuse_beside, with_options
from shmstore.cli.support.human import parse_duration, parse_user
from shmstore.cli.support.parser import HelpFormatter
from shmstore.cli.support.warnings import hear_warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shmstore import Store
    from shmstore.cli.support.objects import Object
    from shmstore.cli.support.segments import Segment

__all__ = [
    "add_command", "add_json", "add_place", "add_store", "is_pattern", "name_of", "no_such", "open_store", "parsed_name", "place_of",
    "shown_name", "targets_of",
]  # fmt: skip

STORE_HELP = "the store's name, or its System V key as ipcs -m prints it: 0x0d583413"

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,8}")
_PLACES = "give one of STORE, --id N and --object NAME"


def add_command(subparsers: Any, name: str, about: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Add a command with its examples and the exit codes at the end of its help."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=about, description=description, epilog=f"examples:\n{_indent(examples)}\n\n{CODES}",
        formatter_class=HelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    return parser


def _indent(examples: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in examples.strip().splitlines())


def add_json(parser: argparse.ArgumentParser, what: str = "one JSON document instead of text") -> None:
    parser.add_argument("--json", action="store_true", help=what)


def add_place(parser: argparse.ArgumentParser, *, optional: bool = False, several: bool = False) -> None:
    """Add STORE and the options that say what it means. optional: also --id and --object; several: any number of them."""
    if several:
        parser.add_argument("stores", metavar="STORE", nargs="*", help=f"{STORE_HELP}; or a pattern of names: 'job-*'")
    else:
        parser.add_argument("store", metavar="STORE", nargs="?" if optional else None, help=STORE_HELP)
    group = parser.add_argument_group("which store")
    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--path", action="store_true", help="STORE is the path of an existing file (ftok)")
    kind.add_argument("--name", action="store_true", help="STORE is a name, even if it looks like 0x...")
    about = "the memory of the store: System V (the default), or a file in /dev/shm"
    group.add_argument("--backend", choices=BACKENDS, default=DefaultStr("sysv"), help=about)
    if optional or several:
        action = "append" if several else "store"
        place = group.add_mutually_exclusive_group()
        place.add_argument(
            "--id",
            action=action,
            type=int,
            metavar="N",
            help="instead of STORE: the segment with this id (shmid of ipcs -m)",
        )
        place.add_argument(
            "--object",
            action=action,
            metavar="NAME",
            help="instead of STORE: the object with this name, as ls shows it",
        )


def add_store(parser: argparse.ArgumentParser, *, entries: bool = False) -> None:
    """Add STORE and how the store is opened. entries: the command is about entries, which may be in a namespace."""
    add_place(parser)
    if entries:
        about = "entries of this namespace; given again, of one in it"
        parser.add_argument("--namespace", metavar="NAME", action="append", default=[], help=about)
    group = parser.add_argument_group("opening it")
    group.add_argument("--owner", metavar="USER", help='also open stores of this user; "any": of all users')
    group.add_argument(
        "--timeout",
        metavar="TIME",
        default="5",
        help="how long to wait for a lock, for example of a stopped process (default: 5 s)",
    )
    add_json(parser)


def name_of(args: argparse.Namespace) -> str | int | os.PathLike[str]:
    """The store's name, as ``shmstore.open`` takes it."""
    text: str = args.store
    name: str | int | os.PathLike[str] = text
    if args.path:
        from pathlib import Path

        name = Path(text)
    elif not args.name and _NUMBER.fullmatch(text):
        name = int(text, 16)
    try:
        parse_key(name, args.backend)
    except ValueError as error:
        raise Failure(WRONG, str(error)) from None
    except OSError as error:
        raise Failure(NOT_THERE, f"{error.strerror or error}: {text}") from None
    return name


def parsed_name(args: argparse.Namespace) -> Key:
    """The key by which the kernel knows that store."""
    return parse_key(name_of(args), args.backend)


def shown_name(args: argparse.Namespace) -> str:
    """The store's name, as error messages of the package show it."""
    return parsed_name(args).shown


def open_store(args: argparse.Namespace, *, readonly: bool = True, **options: Any) -> Store[Any]:
    """Attach to the store that the arguments name: read-only, and without creating it, unless told otherwise."""
    from shmstore import Store

    owner: int | str | None = args.owner
    if owner is not None and owner != "any":
        owner = parse_user(str(owner))
    options.setdefault("create", False)
    name = name_of(args)
    if not readonly:
        hear_warnings()
    try:
        store: Store[Any] = Store(
            name, backend=args.backend, readonly=readonly, owner=owner, timeout=parse_duration(args.timeout), **options
        )
        return _within(args, store)
    except errors.StoreNotFound:
        raise no_such(args) from None
    except ValueError as error:
        raise Failure(WRONG, str(error)) from None


def _within(args: argparse.Namespace, store: Store[Any]) -> Store[Any]:
    """The handle on the namespace that --namespace names. Only --create makes one."""
    path = tuple([parse_entry_key(name) for name in getattr(args, "namespace", ())])
    if path and not getattr(args, "create", False):
        from shmstore._store.namespaces import names

        if path not in names(store):
            store.close()
            shown = " in ".join([repr(name) for name in reversed(path)])
            raise Failure(NOT_THERE, f"store {shown_name(args)} has no namespace {shown}")
    for name in path:
        with store:
            store = store.namespace(name)
    return store


def no_such(args: argparse.Namespace) -> Failure:
    """There is no such store. Does a similar one exist, or can the command create it?"""
    parsed = parsed_name(args)
    where = "" if parsed.kind == 2 and args.backend == "sysv" else f" ({parsed.place})"
    here = " in this IPC namespace" if args.backend == "sysv" else ""
    hints = [f"there is no store {parsed.shown}{where}{here}"]
    if parsed.kind == 1 and args.store.isascii() and args.store.isdigit() and 0 < int(args.store) < 2**32:
        hints.append(f"if the number {args.store} is a System V key, write {int(args.store):#x}")
    if args.backend == "posix":
        from shmstore.cli.support.segments import segment_by_key

        if segment_by_key(parsed.number & 0xFFFFFFFF):
            hints.append("a System V segment has this key: omit --backend posix")
    elif os.path.lexists(other := parse_key(name_of(args), "posix").place):
        hints.append(f"{other} exists: add --backend posix")
    if parsed.kind == 1 and args.backend == "sysv" and (segment := _block_called(parsed.name)):
        hints.append(f"{segment.shown} is the SharedMemory of that name: shmstore info --id {segment.id} shows it")
    if gone := about_absence(parsed):
        hints.append(with_options(gone))
    if "create" in args:
        hints.append("--create creates it")
    return Failure(NOT_THERE, "; ".join(hints))


def _block_called(name: bytes) -> Segment | None:
    from shmstore.cli.support.found import look
    from shmstore.cli.support.segments import segment_by_key
    from shmstore.shared_memory._header import key_of as block_key_of

    segment = segment_by_key(block_key_of(name) & 0xFFFFFFFF)
    block = None if segment is None else look(segment).block
    return segment if block is not None and block.name.encode() == name else None


def targets_of(args: argparse.Namespace) -> list[argparse.Namespace]:
    """Split arguments with several STOREs, ids or objects into arguments with one each, for place_of. Raises: Failure."""
    given = {"store": args.stores, "id": args.id, "object": args.object}
    if sum(bool(values) for values in given.values()) != 1:
        raise Failure(WRONG, _PLACES)
    one = {**vars(args), **dict.fromkeys(given)}
    targets = [argparse.Namespace(**{**one, kind: value}) for kind, values in given.items() for value in values or ()]
    for target in targets:
        if target.store is not None:
            name_of(target)
    return targets


def is_pattern(args: argparse.Namespace) -> bool:
    """Whether STORE is a pattern of names, in commands that accept patterns."""
    return args.store is not None and not args.name and not args.path and any(sign in args.store for sign in "*?[")


def place_of(args: argparse.Namespace) -> Segment | Object:
    """The segment or object that STORE, --id or --object means, whatever is in it."""
    from shmstore.cli.support.objects import object_named
    from shmstore.cli.support.segments import segment_by_id, segment_by_key

    if sum(given is not None for given in (args.store, args.id, args.object)) != 1:
        raise Failure(WRONG, _PLACES)
    found: Segment | Object | None
    if args.store is None:
        refuse_beside(args, "applies to STORE, but no STORE is given", "--path", "--name")
    if args.id is not None:
        if args.backend == "posix":
            raise Failure(WRONG, "--id is for System V segments; use --object NAME for POSIX objects")
        found, what = segment_by_id(args.id), f"segment with id {args.id} in this IPC namespace"
    elif args.object is not None:
        if args.backend == "sysv" and type(args.backend) is not DefaultStr:
            raise Failure(WRONG, "--object is for POSIX objects; use --id N for System V segments")
        found, what = object_named(os.fsencode(args.object)), f"object {args.object!r}"
    else:
        key = parsed_name(args)
        found = segment_by_key(key.number & 0xFFFFFFFF) if key.object is None else object_named(key.object)
        if found is None:
            raise no_such(args)
    if found is None:
        raise Failure(NOT_THERE, f"there is no {what}")
    return found
