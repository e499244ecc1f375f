"""``shmstore info``: what the kernel knows about a segment or object, and the header of a store."""

from __future__ import annotations

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore.cli.support.entry_keys import printable, show_entry_key
from shmstore.cli.support.human import ago, amount, mode, moment, user
from shmstore.cli.support.output import Cell, choose_output, print_json, state_cell
from shmstore.cli.support.target import add_command, add_json, add_place, place_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from shmstore import Stats
    from shmstore._store.keys import EntryKey
    from shmstore.cli.support.found import Found
    from shmstore.cli.support.header import Header
    from shmstore.cli.support.objects import Object
    from shmstore.cli.support.segments import Segment

SPACES_SHOWN = 20
DESCRIPTION = """\
Show one segment as ipcs -m -i does, or one object of /dev/shm. For a store, also show its header and how full it
is, and what a process that attached with other sizes asked for. It need not be a store. If you may not read it, the command shows only what the kernel knows.
"""

EXAMPLES = """
shmstore info quickstart
shmstore info 0x0d583413 --json | jq .header.created
shmstore info --id 65538
shmstore info quickstart --backend posix
shmstore info --object /proc/4711/fd/3       # a private store, as ls shows it
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "info", "show one store, segment or object", DESCRIPTION, EXAMPLES)
    add_place(parser, optional=True)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from shmstore.cli.support.found import look
    from shmstore.cli.support.identity import same_store

    found = look(place_of(args))
    same_store(args, found)
    spaces = _namespaces(found)
    if args.json:
        from shmstore.cli.support.typed import key_to_json

        shown = None if spaces is None else [[key_to_json(name) for name in path] for path in spaces]
        print_json({**as_document(found), "namespaces": shown})
        return 0
    output = choose_output()
    output.table("", ["", ""], [[Cell(about, "quiet"), text] for about, text in [
        ("what", _what(found)), *_states(found), *_header(found), *_block(found), *_contents(found), *_shown(spaces or []),
        *_kernel(found),
    ]])  # fmt: skip
    return 0


def _namespaces(found: Found) -> list[tuple[EntryKey, ...]] | None:
    if found.stats is None:
        return None
    from shmstore._store.namespaces import names
    from shmstore.store import attach_to

    try:
        with attach_to(found.place.store_key()) as store:
            return names(store)
    except errors.ShmStoreError as error:  # it was removed since, or is damaged
        if is_foreign(error):
            raise
        return None


def _shown(spaces: list[tuple[EntryKey, ...]]) -> list[tuple[str, str]]:
    if not spaces:
        return []
    shown = ", ".join([" / ".join(map(show_entry_key, path)) for path in spaces[:SPACES_SHOWN]])
    return [
        ("namespaces", shown + (f", and {len(spaces) - SPACES_SHOWN:,} more" if len(spaces) > SPACES_SHOWN else ""))
    ]


def _what(found: Found) -> str:
    if found.kind == "store":
        return "Cache" if found.header is not None and found.header.evicts else "Store"
    if found.block is not None:
        return f"No store, but a {found.block.kind}"
    nouns = {"segment": "a segment", "object": "an object", "special": "a special file"}
    noun = nouns.get(found.place.kind, f"a {found.place.kind}")
    return (
        f"{noun[0].upper()}{noun[1:]} that you may not read" if found.kind == "unreadable" else f"No store, but {noun}"
    )


def as_document(found: Found) -> dict[str, Any]:
    """For JSON: ``kind``, ``states``, ``segment``; ``header``, ``stats`` and ``clients`` are null where there are none, and so is ``block``, the SharedMemory or ShareableList that it is."""
    header = found.header
    return {
        "kind": found.kind,
        "states": found.states,
        "segment": found.place.as_dict(),
        "header": None if header is None else {
            "name": header.name, "name_kind": header.kind, "format": header.format, "complete": header.complete,
            "size": header.size, "max_entries": header.max_entries, "max_clients": header.max_clients,
            "created": header.created, "creator_pid": header.creator, "creator_uid": header.creator_uid,
            "uuid": header.uuid, "requested": header.requested or None,
        },
        "stats": None if found.stats is None else found.stats.as_dict(),
        "clients": found.clients,
        "block": None if found.block is None else found.block.for_json(),
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
        ("size", f"{header.size:,} bytes ({amount(header.size)})"),
        ("max_clients", f"{header.max_clients:,}"),
        ("max_entries", "from its size" if header.max_entries is None else f"{header.max_entries:,}"),
        *_requested(header),
    ]


def _requested(header: Header) -> list[tuple[str, str]]:
    if not header.requested:
        return []
    what = ", ".join(
        [f"{field}={amount(value) if field == 'size' else value}" for field, value in header.requested.items()]
    )
    return [("asked for", f"{what}, by process {header.requested_by}, {ago(header.requested_at)}")]


def _contents(found: Found) -> list[tuple[str, str]]:
    stats = found.stats
    if stats is None:
        return []
    heap = stats.bytes_used + stats.bytes_free
    return [
        ("used", f"{amount(stats.bytes_used)} of {amount(heap)} ({stats.bytes_used / max(heap, 1):.0%})"),
        ("largest free run", f"{amount(stats.largest_free)} (fragmentation {stats.fragmentation:.0%})"),
        ("entries", f"{stats.entries:,}"),
        *_cache(found, stats),
        (
            "clients",
            f"{found.clients:,} of {found.header.max_clients:,} attached for writing" if found.header else "unknown",
        ),
    ]


def _cache(found: Found, stats: Stats) -> list[tuple[str, str]]:
    if found.header is None or not found.header.evicts:
        return []
    ratio = (
        "no read yet" if stats.hit_ratio is None else f"{stats.hit_ratio:.1%} of {stats.hits + stats.misses:,} reads"
    )
    return [
        ("hit ratio", ratio),
        ("evicted", f"{stats.evicted_for_memory:,} for memory, {stats.evicted_for_entries:,} for max_entries"),
    ]


def _block(found: Found) -> list[tuple[str, str]]:
    if found.block is None:
        return []
    return [("name", Cell(printable(found.block.name), "name")), ("usable size", f"{found.block.size:,} bytes")]


def _kernel(found: Found) -> list[tuple[str, str]]:
    from shmstore.cli.support.segments import Segment

    place = found.place
    what = "size" if found.header is None else "with client table"
    size = (what, f"{place.size:,} bytes ({amount(place.size)})")
    return _segment(place, size) if isinstance(place, Segment) else _object(place, size, found.attached)


def _segment(segment: Segment, size: tuple[str, str]) -> list[tuple[str, str]]:
    row = segment.row
    return [
        ("key", f"{segment.key:#010x}" if segment.key else "private (no key finds it)"),
        ("id", f"{segment.id}"),
        size,
        ("in memory", f"{amount(row.rss)}" + (f", and {amount(row.swap)} in swap" if row.swap else "")),
        ("owner", f"{user(segment.uid)} (uid {segment.uid}, gid {segment.gid})"),
        ("creator", f"{user(row.cuid)} (uid {row.cuid}, gid {row.cgid}), {_process(row.cpid)}"),
        ("mode", mode(segment.mode)),
        (
            "attached",
            f"{row.nattch}" + (f", last by {_process(row.lpid)}" if row.atime or row.dtime else ""),
        ),
        ("attached last", f"{moment(row.atime)}"),
        ("detached last", f"{moment(row.dtime)}"),
        ("changed", f"{moment(row.ctime)}"),
    ]


def _process(pid: int) -> str:
    """The kernel shows the processes of other pid namespaces as 0."""
    return f"process {pid}" if pid else "a process of another pid namespace"


def _object(it: Object, size: tuple[str, str], attached: int | None) -> list[tuple[str, str]]:
    return [
        ("object", printable(it.shown)),
        size,
        ("in memory", f"{amount(it.allocated)}, swap included"),
        ("owner", f"{user(it.uid)} (uid {it.uid}, gid {it.gid})"),
        ("mode", mode(it.mode)),
        ("attached", "cannot be told" if attached is None else f"{attached}"),
        ("written last", f"{moment(it.mtime)}"),
        ("changed", f"{moment(it.ctime)}"),
    ]


def _states(found: Found) -> list[tuple[str, str]]:
    return [("state", state_cell(found.states))] if found.states else []
