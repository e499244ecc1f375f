"""The command ``shmstore``. Each subcommand is a function ``add_to(subparsers)`` of a module in ``commands/``.

``support/`` has what they share: exit codes (``failures.py``), which store STORE means (``target.py``), how keys and
values are written (``names.py``, ``values.py``, ``typed.py``). docs/cli.md describes the commands for users.
"""

from __future__ import annotations

import io
import os
import sys

import shmstore
from shmstore.cli.commands import (
    check,
    clear,
    clients,
    compact,
    counter,
    delete,
    demo,
    describe,
    doctor,
    evict_tag,
    get,
    info,
    keys,
    ls,
    permissions,
    prune,
    put,
    remove,
    resize,
    stats,
    ttl,
    watch,
)
from shmstore.cli.support.failures import CODES, FAILED, INTERRUPTED, Failure, complain, explain
from shmstore.cli.support.parser import CommandParser, HelpFormatter, Parser, looks_like_option
from shmstore.cli.support.warnings import stop_hearing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

COMMANDS = (
    ls, info, get, put, delete, evict_tag, keys, counter, ttl, describe, watch, stats, clients, check, compact, resize, clear,
    permissions, remove,
    prune, doctor, demo,
)  # fmt: skip

DESCRIPTION = """\
A shared object store in shared memory. STORE is the name that programs give to shmstore.open(), or the
store's System V key as ipcs -m prints it (0x...). With --backend posix, it is a store in /dev/shm. Commands that
only look attach read-only and create nothing.
"""

_LONGEST_INT = 1_000_000  # digits that are read and written; Python's own limit is 4300


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    _prepare()
    try:
        code = _run(argv)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _leave(INTERRUPTED)
    except BrokenPipeError:
        return _leave(FAILED)  # the reader (head, less) has gone, and knows it
    except (shmstore.ShmStoreError, Failure, OSError, MemoryError) as error:
        code, sentence = explain(error)
        complain(sentence)
        return _leave(code)
    finally:
        stop_hearing()


def _run(argv: Sequence[str] | None) -> int:
    parser = Parser(
        "shmstore", description=DESCRIPTION, allow_abbrev=False,
        epilog=f"'shmstore COMMAND --help' has examples.\n\n{CODES}",
        formatter_class=HelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"shmstore {shmstore.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", parser_class=CommandParser)
    for command in COMMANDS:
        command.add_to(subparsers)
    words = sys.argv[1:] if argv is None else list(argv)
    at = next((at for at, word in enumerate(words) if word == "--" or not looks_like_option(word)), len(words))
    options, rest = words[:at], words[at:]
    try:
        for option in options:
            if option not in ("-h", "--help", "--version"):
                parser.refuse_unknown_option(option, f" before a command; see '{parser.prog} COMMAND --help'")
        parser.parse_args(options)  # --help and --version end here
        if rest[:1] == ["--"]:
            del rest[0]
        if not rest:  # show the help, and fail: a script may have made a mistake
            parser.error_with_help("there is no COMMAND: give one of those above")
        parser.check_command(rest[0], subparsers.choices)
        args = subparsers.choices[rest[0]].parse_args(rest[1:])
    except SystemExit as end:  # --help and --version, too: what they print must be flushed here, not at exit
        return end.code if isinstance(end.code, int) else FAILED
    code: int = args.run(args)
    return code


def _prepare() -> None:
    if sys.stdout is None:  # the parent process closed it
        sys.stdout = open(os.devnull, "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks a sign shows its number
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(_LONGEST_INT)


def _leave(code: int) -> int:
    """Drop what is buffered if it cannot be written, so that the interpreter does not fail on it at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (OSError, ValueError):
            pass
    return code
