"""What can go wrong: one tree of exceptions, and the map from the engine's status codes to it.

Every message names the store, the entry if it is about one, the cause and the remedy. A missing name is a plain
``KeyError``; wrong types and sizes are ``TypeError`` and ``ValueError``.

The classes are the same for all imports of the package in one interpreter, so who catches one of them catches what
handles of an earlier import raise.
"""

from __future__ import annotations

from shmstore._base.imports import once

__all__ = [
    "CodecError",
    "FormatMismatch",
    "InvalidKey",
    "KeyCollision",
    "LockTimeout",
    "NotAStore",
    "ReadOnlyStore",
    "ShmStoreError",
    "StoreClosed",
    "StoreCorrupt",
    "StoreDestroyed",
    "StoreExists",
    "StoreForeign",
    "StoreFull",
    "StoreNotFound",
    "StoreSystemError",
    "TooManyClients",
    "UnencodableKey",
    "ValueTooLarge",
]


@once
class ShmStoreError(Exception):
    """Base of everything that this package raises on its own account.

    What ends a call on many entries says how far it came. These attributes survive pickle and copy.

    stored: how many entries a ``put_many``, ``add_many`` or ``update`` had stored, or how many a ``delete_many`` had
        removed, before it ended; None for other calls.
    failed: the keys that it did not come to, in order: the first is the one that it failed at.
    """

    stored: int | None = None
    failed: tuple[str | bytes, ...] = ()


@once
class StoreNotFound(ShmStoreError):
    """``create=False``, and no store has this key."""


@once
class StoreExists(ShmStoreError):
    """``create=True``, and a segment has this key already."""


@once
class StoreForeign(ShmStoreError):
    """The segment was created by a user whom this handle was not told to trust."""


@once
class NotAStore(ShmStoreError):
    """A segment has this key, but it is no store. It was left untouched."""


@once
class KeyCollision(ShmStoreError):
    """Another name's store lives under the same System V key."""


@once
class StoreFull(ShmStoreError, MemoryError):
    """No room, with everything expired given back. The old value, if any, is intact."""


@once
class ValueTooLarge(StoreFull):
    """The object could not fit even into the empty store."""


@once
class TooManyClients(ShmStoreError):
    """Every client slot of the store belongs to a live process. A forked child without a slot can still read."""


@once
class ReadOnlyStore(ShmStoreError):
    """The handle was opened with ``readonly=True``."""


@once
class StoreClosed(ShmStoreError):
    """This handle was closed; the store lives on."""


@once
class StoreDestroyed(ShmStoreError):
    """Somebody removed the store; what it held is gone."""


@once
class StoreCorrupt(ShmStoreError):
    """The segment breaks an invariant of the format, which the message names."""


@once
class FormatMismatch(ShmStoreError):
    """The store was made by a version whose format this one cannot read, or not write."""


@once
class CodecError(ShmStoreError):
    """A value cannot be encoded as it is, or a stored one not be decoded by this handle."""


@once
class InvalidKey(ShmStoreError, ValueError):
    """A str or bytes that nothing can be stored under: too long, or not encodable."""


@once
class UnencodableKey(InvalidKey, UnicodeEncodeError):
    """A str with a lone surrogate, which UTF-8 does not encode; ``reason`` is the whole message."""

    def __str__(self) -> str:
        return self.reason


@once
class LockTimeout(ShmStoreError, TimeoutError):
    """Somebody alive but stopped holds what this operation needs; the message says who."""


@once
class StoreSystemError(ShmStoreError, OSError):
    """The kernel refused a call; ``errno`` says which way, the message which limit."""
