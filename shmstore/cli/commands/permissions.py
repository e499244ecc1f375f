"""``shmstore chmod`` and ``shmstore chown``: change permissions (IPC_SET, or chmod and chown of the file)."""

from __future__ import annotations

from shmstore.cli.support.failures import WRONG, Failure
from shmstore.cli.support.human import mode as show_mode
from shmstore.cli.support.human import parse_mode, parse_user, user
from shmstore.cli.support.output import choose_output, print_json
from shmstore.cli.support.target import add_command, add_json, add_place, place_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from shmstore.cli.support.objects import Object
    from shmstore.cli.support.segments import Segment

CHMOD = """\
Change a store's permissions. MODE is octal (0640) or symbolic (g+r, o-rw, u=rw,g=r). Processes that are attached
stay attached. Only the owner, the creator and root may change permissions.
"""

CHOWN = """\
Change a store's owner, or its group with :GROUP. Only the owner, the creator and root may change them. Whether a
System V store is trusted depends on its creator, which does not change. Whether a POSIX store is trusted depends on
its owner, which only root can change.
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(
        subparsers, "chmod", "change a store's permissions", CHMOD,
        "shmstore chmod 0660 quickstart\nshmstore chmod g+r quickstart\nshmstore chmod 0600 --id 65538\n"
        "shmstore chmod 0644 --object shmstore-quickstart",
    )  # fmt: skip
    parser.add_argument("change", metavar="MODE", help="0640, or g+r")
    add_place(parser, optional=True)
    add_json(parser)
    parser.set_defaults(run=chmod)

    parser = add_command(
        subparsers, "chown", "change a store's owner", CHOWN,
        "shmstore chown postgres quickstart\nshmstore chown :www-data quickstart\nshmstore chown 1000:1000 --id 65538",
    )  # fmt: skip
    parser.add_argument("change", metavar="USER[:GROUP]", help="names or numbers")
    add_place(parser, optional=True)
    add_json(parser)
    parser.set_defaults(run=chown)


def chmod(args: argparse.Namespace) -> int:
    place = _place(args)
    return _set(args, place, place.uid, place.gid, parse_mode(args.change, place.mode & 0o777))


def chown(args: argparse.Namespace) -> int:
    place = _place(args)
    owner, colon, group = args.change.partition(":")
    if not owner and not group:
        raise Failure(WRONG, "give USER, USER:GROUP or :GROUP")
    uid = parse_user(owner) if owner else place.uid
    gid = _parse_group(group) if colon and group else place.gid
    return _set(args, place, uid, gid, place.mode & 0o777)


def _parse_group(text: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        import grp

        return grp.getgrnam(text).gr_gid
    except (ImportError, KeyError):
        raise Failure(WRONG, f"there is no group {text!r}; give a name or a number") from None


def _place(args: argparse.Namespace) -> Segment | Object:
    """It must be a store unless it is given by its id or name. What is unreadable is taken at its key's word."""
    from shmstore.cli.support.found import look
    from shmstore.cli.support.identity import require_store, same_store

    found = look(place_of(args))
    same_store(args, found)
    require_store(args, found, "changed")
    return found.place


def _set(args: argparse.Namespace, place: Segment | Object, uid: int, gid: int, mode: int) -> int:
    if not 0 <= uid < 2**32 - 1 or not 0 <= gid < 2**32 - 1:
        raise Failure(WRONG, "a uid or gid is below 2**32 - 1")
    place.change(uid, gid, mode)
    if args.json:
        print_json({**place.identity(), "uid": uid, "gid": gid, "mode": show_mode(mode)})
    else:
        choose_output().line(f"{place.shown}: owner {user(uid)}, gid {gid}, mode {show_mode(mode)}")
    return 0
