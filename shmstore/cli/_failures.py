"""What a command answers its shell: exit codes, and one sentence for each thing that can go wrong."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager

from shmstore import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CODES", "FAILED", "Failure", "INTERRUPTED", "NOT_THERE", "UNMET", "WRONG", "explain", "told"]

FAILED, WRONG, NOT_THERE, UNMET, INTERRUPTED = 1, 2, 3, 4, 130

CODES = """\
exit codes:
  0    done
  1    failed; a sentence on standard error says why
  2    wrong arguments
  3    not there: no such store, segment or name (any more)
  4    not done: refused without --force, or --add found the name taken
  130  ended by Ctrl-C
"""

_HINTS: tuple[tuple[type[Exception], str], ...] = (
    (errors.StoreForeign, "say --owner UID (or --owner any) if you trust its creator"),
    (errors.NotAStore, "shmstore info and shmstore rm --force work on any segment"),
    (errors.StoreCorrupt, "shmstore rm --force removes it"),
    (errors.LockTimeout, "--timeout TIME waits longer"),
)


_WRITING = (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT, errno.EBADF)


class Failure(Exception):
    """Ends a command with an exit code and a sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def explain(error: BaseException) -> tuple[int, str]:
    """Exit code and sentence of what a command raised."""
    sentence = str(error)
    if isinstance(error, Failure):
        return error.code, sentence
    if isinstance(error, (errors.StoreNotFound, errors.StoreDestroyed)):
        return NOT_THERE, sentence
    if isinstance(error, errors.ShmStoreError):
        hints = [hint for kind, hint in _HINTS if isinstance(error, kind)]
        if isinstance(error, errors.CodecError) and "decoders=('pickle',)" in sentence:
            hints = ["--pickle reads it"]
        if isinstance(error, errors.LockTimeout) and "recover()" in sentence:
            hints = ["shmstore check --lock does"]
        return FAILED, sentence if not hints else f"{sentence} (here: {hints[0]})"
    if isinstance(error, MemoryError):
        return FAILED, sentence or "out of memory"
    if error.__class__ is OSError and error.filename is None and error.errno in _WRITING:
        return FAILED, f"standard output: {error.strerror}"
    if isinstance(error, OSError):
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
        return FAILED, f"{error.strerror or error}{where}"
    return FAILED, sentence


@contextmanager
def told() -> Iterator[None]:
    """Let what a store says of its arguments (too long a name, no integer there) end the command in a sentence."""
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
