"""Namespaces: handles whose keys are all in one namespace. csrc/python/inside.c explains how they work."""

from __future__ import annotations

from shmstore import errors
from shmstore._core import lib
from shmstore._store.keys import KEPT_KEYS, KeptKey, raw_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from shmstore._store.keys import EntryKey
    from shmstore.store import Store

    _S = TypeVar("_S", bound=Store[Any])

__all__ = ["names", "namespace", "require_store"]

_ENTRY, _ID = b"namespace:", 8  # csrc/python/inside.c: the key of the entry that has a namespace's id
NAME_MAX = 255  # bytes
DEPTH_MAX = 16


def namespace(store: _S, name: EntryKey) -> _S:
    """Return a new handle for the keys of the namespace, attached to the same store, as unpickling would attach it."""
    if store.closed:
        raise store._fail(lib.SHMS_CLOSED)
    if store._options.on_error == "raise" and (status := lib.shms_usable(store._handle)) != lib.SHMS_OK:
        store._reopen(status)  # as every call of a cache does
    where = f"store {store._key.shown}"
    raw, kind = raw_key(where, name)
    if not 0 < len(raw) <= NAME_MAX:
        raise errors.InvalidKey(f"{where}: the name of a namespace has 1 to {NAME_MAX} bytes, not {len(raw)}")
    path = (*store._options.namespace, (b"b" if kind else b"s") + raw)
    if len(path) > DEPTH_MAX:
        raise errors.InvalidKey(
            f"{where}: namespaces are nested up to {DEPTH_MAX} levels, and {name!r} would be one more"
        )
    attach, (cls, key, place, options, *more) = store.__reduce__()
    *which, shown = key
    inside: _S = attach(cls, (*which, f"{shown} / {name!r}"), place, {**options, "namespace": path}, *more)
    if not store._options.readonly:
        inside._inside()  # an error is raised here, not by a later call
    return inside


def names(store: Store[Any]) -> list[tuple[EntryKey, ...]]:
    """Return all namespaces of the store, sorted: each is a tuple of names, the outermost first. Walks through the store."""
    found: dict[bytes, tuple[bytes, EntryKey]] = {}  # by id: that of the namespace around it, and the name
    for raw in store._walk(b"", KEPT_KEYS):
        entry = store._get_versioned(KeptKey(raw)) if raw.startswith(_ENTRY) else None
        if entry is not None and len(raw) > len(_ENTRY) + _ID:
            around, marked = raw[len(_ENTRY) :][:_ID], raw[len(_ENTRY) + _ID :]
            name = marked[1:]
            found[entry[2]] = around, name if marked[:1] == b"b" else name.decode("utf-8", "replace")

    def path(id: bytes, depth: int = 0) -> tuple[EntryKey, ...]:
        around, name = found.get(id, (bytes(_ID), None))
        return () if name is None or depth > DEPTH_MAX else (*path(around, depth + 1), name)

    return sorted([path(id) for id in found], key=lambda path: [(type(name) is bytes, name) for name in path])


def require_store(store: Store[Any], method: str) -> None:
    if store._options.namespace:
        raise TypeError(
            f"store {store._key.shown}: {method}() is about the whole store: call it there, or clear() the namespace"
        )
