"""Values as the server has them (docs/format-redis.md): an int of 64 bits as decimals, so that INCRBY and other programs can count;
everything else as a codec byte and the value packed. A decimal never begins with a codec byte, so no value means two things."""

from __future__ import annotations

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import late
from shmstore.codecs import msgpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
    from typing import Any
else:
    hashlib = late("hashlib")

__all__ = ["decode", "encode", "version_of"]

MSGPACK = b"\x01"  # the codec byte
_LEAST, _MOST = -(2**63), 2**63 - 1
_DIGITS = 20  # of _LEAST, with its sign


def encode(value: object) -> bytes:
    """Raises: CodecError."""
    if type(value) is int and _LEAST <= value <= _MOST:
        return b"%d" % value
    return MSGPACK + msgpack.encode(value)


def decode(body: bytes) -> Any:
    """Raises: CodecError if shmstore has not written it."""
    if body[:1] == MSGPACK:
        return msgpack.decode(body[1:])
    try:
        number = int(body) if len(body) <= _DIGITS else None
    except ValueError as error:
        if is_foreign(error):
            raise
        number = None
    if number is None or b"%d" % number != body:
        raise errors.CodecError(
            f"the server has {body[:20]!r}... there, which is neither an int in decimals nor a value that begins with the "
            "codec byte 1: another program has written it; give the cache prefixes of its own"
        )
    return number


def version_of(body: bytes) -> int:
    """What get_versioned() returns and cas() compares: a server has no versions, so it is a hash of the stored bytes."""
    return int(hashlib.sha1(body, usedforsecurity=False).hexdigest(), 16)
