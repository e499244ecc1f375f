"""The command ``shmstore``. Each subcommand is a module of this package with ``add_to(subparsers)``.

Exit codes: 0 done, 1 failed (with a sentence on standard error), 2 wrong arguments, 128 + N ended by signal N
(130 for Ctrl-C).
"""

from __future__ import annotations

import argparse
import io
import os
import sys

import shmstore
from shmstore.cli import demo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

COMMANDS = (demo,)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser("shmstore", description="A shared object store in shared memory.")
    parser.add_argument("--version", action="version", version=f"shmstore {shmstore.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(subparsers)
    args = parser.parse_args(argv)

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without the sign for micro gets a question mark
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone; what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except shmstore.ShmStoreError as error:
        print(f"shmstore: {error}", file=sys.stderr)
        return 1
