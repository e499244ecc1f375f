"""What the processes of a host share besides the copies: entries of the store's own.

The state is one entry, so it changes in one step: [digest, generation, valid_until]. While now < valid_until, everything that the
server executed up to valid_until - bound has been applied to the store. A copy counts only with the generation of the state. The
listener draws a new generation, a fencing token, whenever it may have missed something. *digest*: which server, prefixes and bound the
listener has; a process that was told others does not believe it.

A copy is [generation, deadline, value], and a *token* stands for a copy that a process fetches: bytes, its owner and a number.
"""

from __future__ import annotations

from shmstore._core import lib
from shmstore._store import leases, locks
from shmstore._store.keys import KeptKey
from shmstore.codecs import msgpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shmstore.store import Store

__all__ = [
    "LISTENER",
    "REPORT",
    "STARTING",
    "STATE",
    "ListenerLock",
    "is_copy",
    "new_generation",
    "put_state",
    "put_token",
]

STATE = KeptKey(b"near:state")
STARTING = KeptKey(b"near:starting")  # a process has started a listener, which is not there yet
LISTENER = "listener"  # the name of the lock
REPORT = KeptKey(b"near:listener")  # figures of the listener, for stats()


class ListenerLock(locks.Lock):
    """Its holder is the listener of the host. A stopped listener keeps it, one that was killed does not."""

    __slots__ = ()

    _WHAT = "listener"


def new_generation(store: Store[Any]) -> int:
    """Greater than all former ones, and one that no former store of this name had."""
    return store.incr(leases.TOKENS, initial=leases._first_token(), ttl=None)


def put_state(store: Store[Any], state: list[int], version: int) -> int:
    """The new version of the state; 0 if it has another *version* by now. 0: there is no state yet."""
    mode = leases.CAS if version else leases.ADD
    return store._put_if_(STATE, msgpack.encode(state), None, mode, version, False, lib.SHMS_CODEC_MSGPACK)


def put_token(store: Store[Any], raw: bytes, version: int) -> int:
    """The version of the token, which replaces this version of the entry, 0: none. 0: the entry has another version by now."""
    mode = leases.CAS if version else leases.ADD
    return store._put_if_(raw, leases.unique_value(store), None, mode, version, False, leases.RAW)


def is_copy(entry: Any, generation: int, now: int) -> bool:
    return type(entry) is list and len(entry) == 3 and entry[0] == generation and now < entry[1]
