"""The exceptions of the package.

Every message names the store, the entry if there is one, the cause and the remedy. An absent key raises a plain
``KeyError``. Wrong arguments raise ``TypeError`` and ``ValueError``.

All imports of the package in one interpreter have the same classes. So an ``except`` also catches what handles of an
earlier import raise.
"""

from __future__ import annotations

from shmstore._base.imports import once

__all__ = [
    "BackingError",
    "BackingUnavailable",
    "CodecError",
    "FormatMismatch",
    "InvalidKey",
    "InvalidTag",
    "KeyCollision",
    "LeaseLost",
    "LockTimeout",
    "NotACache",
    "NotAStore",
    "OutcomeUnknown",
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
    "TooManyNamespaces",
    "UnencodableKey",
    "ValueTooLarge",
]


@once
class ShmStoreError(Exception):
    """The base class of the package's exceptions.

    An error that ends a call on many entries has two attributes. Pickling and copying keep them.

    stored: the number of entries that ``put_many``, ``add_many`` or ``update`` had stored, or that ``delete_many`` had
        removed; None for other calls.
    failed: the other keys, in order. The first of them caused the error.
    """

    stored: int | None = None
    failed: tuple[str | bytes, ...] = ()


@once
class StoreNotFound(ShmStoreError):
    """No store has this name, and the call must not create one (``create=False``)."""


@once
class StoreExists(ShmStoreError):
    """A segment or file has this name already, and the call must create a store (``create=True``)."""


@once
class StoreForeign(ShmStoreError):
    """The store belongs to another user, and the option ``owner`` does not allow that user."""


@once
class NotACache(ShmStoreError):
    """A store has this name, but it was created as a Store, which never evicts. It was not changed."""


@once
class NotAStore(ShmStoreError):
    """A segment or file has this name, but it is not a store. It was not changed."""


@once
class KeyCollision(ShmStoreError):
    """A store with another name has the same System V key."""


@once
class StoreFull(ShmStoreError, MemoryError):
    """There is not enough memory, even after expired entries were removed. The old value, if any, stays."""


@once
class ValueTooLarge(StoreFull):
    """The value does not fit even into the empty store."""


@once
class TooManyClients(ShmStoreError):
    """Every client slot of the store belongs to a live process. A forked child without a slot can still read."""


@once
class TooManyNamespaces(ShmStoreError):
    """The store has as many namespaces as it can have."""


@once
class LeaseLost(ShmStoreError):
    """The lock or lease is not held any more: it was released, or its client lost its place in the store."""


@once
class ReadOnlyStore(ShmStoreError):
    """The handle was opened with ``readonly=True``."""


@once
class StoreClosed(ShmStoreError):
    """This handle was closed. The store still exists."""


@once
class StoreDestroyed(ShmStoreError):
    """The store was removed, and its entries are lost."""


@once
class StoreCorrupt(ShmStoreError):
    """The store breaks an invariant of the format. The message names the invariant."""


@once
class FormatMismatch(ShmStoreError):
    """A version of the package created the store in a format that this version cannot read, or cannot write."""


@once
class CodecError(ShmStoreError):
    """A value cannot be stored without a change, or this handle cannot read a stored value."""


@once
class InvalidKey(ShmStoreError, ValueError):
    """A str or bytes that cannot be a key: it is too long, or UTF-8 cannot encode it."""


@once
class InvalidTag(ShmStoreError, ValueError):
    """What cannot be a tag, or more tags than an entry can have."""


@once
class UnencodableKey(InvalidKey, UnicodeEncodeError):
    """A str with a lone surrogate, which UTF-8 cannot encode. ``reason`` is the whole message."""

    def __str__(self) -> str:
        return self.reason


@once
class LockTimeout(ShmStoreError, TimeoutError):
    """A lock was not free in time. The message names its holder, which is stopped or cannot be proved dead."""


@once
class StoreSystemError(ShmStoreError, OSError):
    """The kernel refused a call. ``errno`` is its error, and the message names the limit."""


@once
class BackingError(ShmStoreError):
    """The server behind a near cache refused a command. The message has its answer."""


@once
class BackingUnavailable(BackingError, ConnectionError):
    """The server behind a near cache cannot be reached. Nothing was changed.

    With on_partition="raise", also: the listener does not prove that copies are fresh.
    """


@once
class OutcomeUnknown(BackingError, ConnectionError):
    """The connection to the server was lost after a command was sent that changes something.

    It may have been executed or not, and was not sent again. ``failed`` has the keys.
    """
