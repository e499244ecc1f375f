"""``shmstore info``: all that the kernel knows of one segment, and all that its header says if it is a store."""

from __future__ import annotations

from shmstore.cli._human import ago, amount, mode, moment, user
from shmstore.cli._names import printable
from shmstore.cli._target import add_command, add_json, add_key, segment_of
from shmstore.cli.ls import state_cell
from shmstore.cli.output import Cell, choose_output, print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from shmstore.cli._segments import Found

DESCRIPTION = """\
Show one segment: what ipcs -m -i shows, and of a store its header and how full it is. It need not be a
store, and need not be readable: then the kernel's part is all.
"""

EXAMPLES = """
shmstore info quickstart
shmstore info 0x0d583413 --json | jq .header.created
shmstore info --id 65538
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "info", "show one store or segment", DESCRIPTION, EXAMPLES)
    add_key(parser, optional=True)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from shmstore.cli._identity import same_store
    from shmstore.cli._segments import look

    found = look(segment_of(args))
    same_store(args, found)
    if args.json:
        print_json(as_document(found))
        return 0
    output = choose_output()
    title = {"store": "Store", "segment": "No store, but a segment", "unreadable": "A segment that you may not read"}
    output.table("", ["", ""], [[Cell(what, "quiet"), text] for what, text in [
        ("what", title[found.kind]), *_states(found), *_header(found), *_contents(found), *_kernel(found),
    ]])  # fmt: skip
    return 0


def as_document(found: Found) -> dict[str, Any]:
    """For JSON: ``kind``, ``states``, ``segment``; ``header``, ``stats`` and ``clients`` are null where there are none."""
    header = found.header
    return {
        "kind": found.kind,
        "states": found.states,
        "segment": found.segment.as_dict(),
        "header": None if header is None else {
            "name": header.name, "name_kind": header.kind, "format": header.format, "complete": header.complete,
            "size": header.size, "max_entries": header.max_entries, "max_clients": header.max_clients,
            "created": header.created, "creator_pid": header.creator, "creator_uid": header.creator_uid,
            "uuid": header.uuid,
        },
        "stats": None if found.stats is None else found.stats.as_dict(),
        "clients": found.clients,
    }  # fmt: skip


def _header(found: Found) -> list[tuple[str, str]]:
    header = found.header
    if header is None or not header.complete:
        return []
    rows = [] if header.name is None else [(header.kind, Cell(printable(header.name), "name"))]
    return [
        *rows,
        ("created", f"{moment(header.created)}, {ago(header.created)}"),
        ("format", f"{header.format}"),
        ("uuid", header.uuid),
        ("places for writers", f"{header.max_clients}"),
        ("max_entries", "from its size" if header.max_entries is None else f"{header.max_entries:,}"),
    ]


def _contents(found: Found) -> list[tuple[str, str]]:
    stats = found.stats
    if stats is None:
        return []
    heap = stats.bytes_used + stats.bytes_free
    return [
        ("used", f"{amount(stats.bytes_used)} of {amount(heap)} ({stats.bytes_used / max(heap, 1):.0%})"),
        ("entries", f"{stats.entries:,}"),
        ("clients", f"{found.clients} attached for writing"),
    ]


def _kernel(found: Found) -> list[tuple[str, str]]:
    segment = found.segment
    return [
        ("key", f"{segment.key:#010x}" if segment.key else "private (no key finds it)"),
        ("id", f"{segment.id}"),
        ("size", f"{segment.size:,} bytes ({amount(segment.size)})"),
        ("in memory", f"{amount(segment.rss)}" + (f", and {amount(segment.swap)} in swap" if segment.swap else "")),
        ("owner", f"{user(segment.uid)} (uid {segment.uid}, gid {segment.gid})"),
        ("creator", f"{user(segment.cuid)} (uid {segment.cuid}, gid {segment.cgid}), process {segment.cpid}"),
        ("mode", mode(segment.mode)),
        ("attached", f"{segment.nattch}, last by process {segment.lpid}"),
        ("attached last", f"{moment(segment.atime)}"),
        ("detached last", f"{moment(segment.dtime)}"),
        ("changed", f"{moment(segment.ctime)}"),
    ]

def _states(found: Found) -> list[tuple[str, str]]:
    return [("state", state_cell(found.states))] if found.states else []
