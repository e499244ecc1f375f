"""How a command reports failures: by exit codes, and by one sentence for each error."""

from __future__ import annotations

import errno
import os
import re
import sys
from contextlib import contextmanager

from shmstore import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

__all__ = [
    "CODES", "CODES_BY_WEIGHT", "FAILED", "Failure", "INTERRUPTED", "NOT_THERE", "UNMET", "WRONG", "complain", "explain", "refuse_beside",
    "told", "with_options",
]  # fmt: skip

FAILED, WRONG, NOT_THERE, UNMET, INTERRUPTED = 1, 2, 3, 4, 130

CODES_BY_WEIGHT = (0, NOT_THERE, UNMET, FAILED)  # if several things fail, the code of the worst failure counts

CODES = """\
exit codes:
  0    done
  1    failed; a message on standard error says why
  2    wrong arguments
  3    not found: the store, segment or key does not exist, or was removed
  4    refused: --force or --yes is missing, or the key of put --add exists
  130  ended by Ctrl-C
"""

# Remedies in messages of the package, which address programs, and the same for a shell. The first match counts.
_REMEDIES: tuple[tuple[type[Exception], str, str], ...] = (
    (errors.StoreForeign, r'pass owner=(\d+) \(or owner="any"\)', r"use --owner \1 (or --owner any)"),
    (errors.NotAStore, r"ipcrm -m (\d+)", r"shmstore rm --id \1 --force"),
    (
        errors.StoreCorrupt,
        r"check\(repair=True\) keeps all entries that it can",
        "shmstore check --repair keeps all entries that it can",
    ),
    (errors.StoreCorrupt, r"check\(\) names the invariant", "shmstore check names the invariant"),
    (errors.StoreCorrupt, r"remove it: .*", "shmstore rm --force removes it"),
    (errors.CodecError, r"open the store with decoders=\('pickle',\)", "use --pickle"),
    (errors.LockTimeout, r"$", "; --timeout TIME waits longer"),
)


_WRITING = (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT, errno.EBADF)


class Failure(Exception):
    """Ends a command with an exit code and a sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def explain(error: BaseException) -> tuple[int, str]:
    """The exit code and the sentence for an exception of a command."""
    sentence = str(error)
    if isinstance(error, Failure):
        return error.code, sentence
    if isinstance(error, (errors.StoreNotFound, errors.StoreDestroyed)):
        return NOT_THERE, sentence
    if isinstance(error, errors.ShmStoreError):
        return FAILED, _for_a_shell(error, sentence)
    if isinstance(error, MemoryError):
        return FAILED, sentence or "out of memory"
    if (
        error.__class__ is OSError
        and error.filename is None
        and error.errno in _WRITING
        and error.strerror == os.strerror(error.errno)
    ):
        return FAILED, f"standard output: {error.strerror}"
    if isinstance(error, OSError):
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
        return FAILED, f"{error.strerror or error}{where}"
    return FAILED, sentence


def _for_a_shell(error: errors.ShmStoreError, sentence: str) -> str:
    """Replace the remedy for programs by the one for commands."""
    for kind, remedy, ours in _REMEDIES:
        if isinstance(error, kind) and re.search(remedy, sentence):
            return re.sub(remedy, ours, sentence, count=1)
    return with_options(sentence)


def with_options(sentence: str) -> str:
    """Arguments of a program as options of a command."""
    return re.sub(r'backend="(\w+)"', r"--backend \1", sentence)


def complain(sentence: str) -> None:
    """Write a sentence to standard error, if it is open."""
    if sys.stderr is not None and sentence:
        try:
            print(f"shmstore: {sentence}", file=sys.stderr, flush=True)
        except OSError:
            pass


def refuse_beside(args: argparse.Namespace, why: str, *options: str) -> None:
    """End the command if one of these options was given, because it would have no effect. Their defaults are None or False."""
    for option in options:
        if getattr(args, option.lstrip("-")) not in (None, False):
            raise Failure(WRONG, f"{option} {why}")


@contextmanager
def told() -> Iterator[None]:
    """Let an error about arguments (a key that is too long, a value that is not an int) end the command with its message."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        raise Failure(FAILED, str(error)) from error
    except RecursionError as error:
        raise Failure(FAILED, "the value is nested too deeply") from error
    except errors.StoreSystemError as error:
        if error.errno in (errno.EINVAL, errno.EIDRM):  # removed between two system calls
            raise Failure(NOT_THERE, str(error)) from error
        raise
