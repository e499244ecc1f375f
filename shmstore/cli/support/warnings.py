"""The log records of the package while a command runs, as lines on standard error.

Only calls that need a lock log anything, so read-only commands do not import ``logging``.
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
        return  # it is also raised, and ends the command
    complain(f"store {record.getMessage().removeprefix('shmstore ')}")


def hear_warnings() -> None:
    """Show the log records of the package until stop_hearing()."""
    if _heard:
        return
    import logging

    kind = type("Handler", (logging.Handler,), {"emit": _show})
    _heard.append(kind(logging.WARNING))
    logging.getLogger("shmstore").addHandler(_heard[0])


def stop_hearing() -> None:
    """Called when the command has ended. The process may continue (a test, a program that calls main)."""
    if _heard:
        import logging

        logging.getLogger("shmstore").removeHandler(_heard.pop())
