"""``shmstore clients``: list the processes that are attached for writing."""

from __future__ import annotations

from shmstore.cli.support.entry_keys import printable
from shmstore.cli.support.failures import told
from shmstore.cli.support.human import ago
from shmstore.cli.support.output import Cell, choose_output, print_json
from shmstore.cli.support.target import add_command, add_store, open_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

DESCRIPTION = """\
List the processes that are attached for writing. Read-only handles leave no trace in a store; shmstore info counts
all processes that are attached. A process that has ended stays in the list until another process attaches or needs
its client slot. Its state is "unknown" if its death cannot be proved, as in another pid namespace.
"""

EXAMPLES = """
shmstore clients quickstart
shmstore clients quickstart --json | jq '.clients[] | select(.alive == false)'
"""


def add_to(subparsers: Any) -> None:
    parser = add_command(subparsers, "clients", "list the processes that write", DESCRIPTION, EXAMPLES)
    add_store(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    with open_store(args) as store, told():
        clients = store.clients()
    if args.json:
        fields = ("number", "pid", "program", "alive", "attached_at")
        print_json({"clients": [{field: getattr(client, field) for field in fields} for client in clients]})
        return 0
    output = choose_output()
    if not clients:
        output.line("No process is attached for writing.")
        return 0
    states = {True: Cell("alive", "good"), False: Cell("dead", "bad"), None: Cell("unknown", "notice")}
    output.table("", [">client", ">process", "program", "state", "attached"], [
        [
            str(client.number), str(client.pid), Cell(printable(client.program or "?"), "name"), states[client.alive],
            ago(client.attached_at),
        ]
        for client in clients
    ])  # fmt: skip
    return 0
