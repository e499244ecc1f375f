"""What a handle asked for and the creator of the store did not choose. It is logged once for each process and store."""

from __future__ import annotations

from shmstore._store.failures import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shmstore.store import Store

__all__ = ["log_differences"]

_FIELDS = (
    ("size", "store_size", 1),
    ("max_entries", "max_entries", 2),
    ("max_clients", "max_clients", 4),
)  # bits of shms_open_result.differs
_logged: set[bytes] = set()  # the uuids of the stores


def log_differences(store: Store[Any], result: Any) -> None:
    """Log what *result*, of opening a store that exists, says to differ."""
    if not result.differs or store._uuid in _logged:
        return
    _logged.add(store._uuid)
    log = logger()
    if log is None:
        return
    fields = [(name, chosen) for name, chosen, bit in _FIELDS if result.differs & bit]
    theirs = ", ".join([f"{name}={getattr(result, chosen) or None}" for name, chosen in fields])
    ours = ", ".join([f"{name}={getattr(store._options, name)}" for name, _ in fields])
    log.warning(
        "shmstore %s: its creator chose %s, and this handle asks for %s; the store keeps what its creator chose; shmstore resize "
        "changes its size and max_entries while it is used",
        store._key.shown,
        theirs,
        ours,
    )
