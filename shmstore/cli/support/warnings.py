"""What the package logs while a command runs, in the command's own manner: one line on standard error.

Only calls that want a lock log anything, so a command that merely looks does not load ``logging`` for it.
"""

from __future__ import annotations

from shmstore.cli.support.failures import complain
from shmstore.errors import ShmStoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging

__all__ = ["hear_warnings", "stop_hearing"]

_heard: list[logging.Handler] = []


def _show(_: logging.Handler, record: logging.LogRecord) -> None:
    if isinstance(record.args, tuple) and any(isinstance(arg, ShmStoreError) for arg in record.args):
        return  # it is raised, too, and the command ends with it
    complain(f"store {record.getMessage().removeprefix('shmstore ')}")


def hear_warnings() -> None:
    """From now on show what the package logs, until stop_hearing()."""
    if _heard:
        return
    import logging

    kind = type("Handler", (logging.Handler,), {"emit": _show})
    _heard.append(kind(logging.WARNING))
    logging.getLogger("shmstore").addHandler(_heard[0])


def stop_hearing() -> None:
    """The command has ended; the process may go on (a test, a program that calls main)."""
    if _heard:
        import logging

        logging.getLogger("shmstore").removeHandler(_heard.pop())
