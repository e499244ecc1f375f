"""Giving a store another size while others use it. The argument is in csrc/engine/resize.h."""

from __future__ import annotations

from time import sleep

from shmstore import errors
from shmstore._base.durations import timeout_ns
from shmstore._core import ffi, lib
from shmstore._store import opening
from shmstore._store.control import require_writing
from shmstore._store.failures import user
from shmstore._store.names import parse_size
from shmstore._store.options import parse_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shmstore.store import Store

__all__ = ["resize"]

_PRIVATE = 4  # the kind of a key


def resize(store: Store[Any], size: int | str, max_entries: int | None) -> None:
    bytes_ = parse_size(size)
    parse_count("max_entries", max_entries, 2**32 - 1)
    require_writing(store)
    if store._key.kind == _PRIVATE:
        raise ValueError(f"store {store._key.shown}: a private store cannot be resized; give it a name")
    if max_entries is None:
        max_entries = store.info().max_entries
    options = store._options.replaced(create=None, size=bytes_, max_entries=max_entries, uuid=None)
    end = lib.shms_now() + timeout_ns(options.timeout, "timeout")
    while _resize(store, options) == lib.SHMS_BUSY:  # another process resizes it
        if lib.shms_now() > end:
            raise errors.LockTimeout(
                f"store {store._key.shown}: another process resizes it, and has not finished within the timeout; try again later"
            )
        sleep(0.001)
    opening.follow(store)


def _resize(store: Store[Any], options: Any) -> int:
    """Make one attempt. Return SHMS_OK, or SHMS_BUSY to try again; raise any other failure."""
    opening.follow(store)
    request, memory = opening.request_of(store._key, options)
    result, resizing = ffi.new("struct shms_open_result *"), ffi.new("void **")
    try:  # C sets *resizing, so a signal handler that raises leaves no resize that is not ended
        status = lib.shms_resize_start(store._handle, request, result, resizing)
        if status == lib.SHMS_OK:
            while (status := lib.shms_w_resize(resizing[0])) == lib.SHMS_AGAIN:
                pass
    finally:
        lib.shms_resize_leave(resizing)
        del memory
    if status == lib.SHMS_OK:
        return int(status)
    if status in (lib.SHMS_BUSY, lib.SHMS_SUPERSEDED, lib.SHMS_FORKED):
        return int(lib.SHMS_BUSY)
    raise _failure(store, status, request, result)


def _failure(store: Store[Any], status: int, request: Any, result: Any) -> Exception:
    name = f"store {store._key.shown}"
    if status in (lib.SHMS_FULL, lib.SHMS_TABLE_FULL):
        used = store.stats()
        return errors.StoreFull(
            f"{name}: its {used.entries} entries, which take {used.bytes_used} bytes, do not fit into size={request.size}; nothing "
            "was changed; ask for a larger size, or delete some"
        )
    if status == lib.SHMS_FOREIGN:
        return errors.StoreForeign(f"{name}: only {user(result.uid)}, who owns it, can resize it; nothing was changed")
    if status in (lib.SHMS_TOO_SMALL, lib.SHMS_TOO_LARGE, lib.SHMS_SYSTEM, lib.SHMS_NO_MEMORY):
        return opening.failure(status, store._key, request, result)
    return store._fail(status)
