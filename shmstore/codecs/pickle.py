"""The codec that stores nearly every Python object, and trusts every process that can write to the store.

.. warning::

   **Loading a pickle runs the code that it names.** A program that may write to the store can make every process
   that reads it with this codec do anything that the process may do: delete files, start programs, send data to
   other machines. The default mode of a store is 0600, so these are all programs of the same user, and of every
   user that a wider ``mode`` or ``owner="any"`` allows. No check of the bytes makes this safe.

None, bools, ints of 64 signed bits, floats, strs and bytes never come here: a handle of this codec stores them as msgpack
(``is_scalar`` in csrc/python/encode.c), so that they can be counted, viewed, and read without this codec.

So it is never a default, and the bytes in a store never select it: a handle reads pickles only if it was
opened with ``codec="pickle"`` or ``decoders=("pickle",)``. Classes are stored by name; the reader must be
able to import them, and a changed class gets the state of the old one.

Memory that an object offers out of band (protocol 5: numpy arrays, pyarrow buffers, ``PickleBuffer``) is not
copied into the pickle: pieces of ``LARGE`` bytes and more follow it as they are, each on a multiple of 64
bytes, so that writing copies them once. Read-only pieces are read in place in the value's bytes,
writeable ones are copied out. Without such pieces the value is a plain pickle.

    "shmpkl5" NUL                         no pickle begins so
    u32 number of pieces, u32 zero
    u64 offset and u64 length of the pickle
    u64 offset and u64 length of each piece; bit 63 of the length: it is read-only
    the pickle, zeros to a multiple of 64, piece, zeros to a multiple of 64, piece ...

Numbers are little-endian; offsets count from the value's first byte.
"""

from __future__ import annotations

import pickle
import struct

from shmstore._base.foreign import is_foreign
from shmstore.codecs.error_path import type_name
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LARGE", "PROTOCOL", "decode", "encode", "name"]

name = "pickle"

PROTOCOL = 5  # every supported Python reads it; a newer default would shut older readers out
LARGE = 16 << 10

_MAGIC = b"shmpkl5\0"
_HEAD = struct.Struct("<8sII")
_SPAN = struct.Struct("<QQ")
_READ_ONLY = 1 << 63
_ALIGN = 64


def encode(obj: object) -> bytes:
    """Return *obj* pickled.

    Raises: CodecError from whatever pickling raised.
    """
    pieces: list[memoryview] = []

    def keep_inside(buffer: pickle.PickleBuffer) -> bool:
        try:
            piece = buffer.raw()
        except BufferError as error:  # in no order that could be written at once: let the pickler say so
            if is_foreign(error):
                raise
            return True
        if piece.nbytes < LARGE:
            return True
        pieces.append(piece)
        return False

    try:
        pickled = pickle.dumps(obj, PROTOCOL, buffer_callback=keep_inside)
    except Exception as error:
        if is_foreign(error):
            raise
        raise CodecError(
            f"cannot encode $: an object of type {type_name(type(obj))} does not pickle: {error}; "
            "leave out what cannot be pickled (open files, locks, lambdas, local classes)"
        ) from error
    return _frame(pickled, pieces) if pieces else pickled


def _frame(pickled: bytes, pieces: list[memoryview]) -> bytes:
    at = _HEAD.size + _SPAN.size * (1 + len(pieces))
    head = [_HEAD.pack(_MAGIC, len(pieces), 0), _SPAN.pack(at, len(pickled))]
    body: list[Any] = [pickled]
    at += len(pickled)
    for piece in pieces:
        zeros = bytes(-at % _ALIGN)
        at += len(zeros)
        head.append(_SPAN.pack(at, piece.nbytes | piece.readonly * _READ_ONLY))
        body += zeros, piece
        at += piece.nbytes
    return b"".join(head + body)


def decode(data: bytes) -> Any:
    """Load the pickle *data*, which runs whatever it asks for: see the warning above.

    Raises: CodecError from whatever loading raised.
    """
    try:
        if not data.startswith(_MAGIC):
            return pickle.loads(data)
        pickled, pieces = _unframe(data)
        return pickle.loads(pickled, buffers=pieces)
    except Exception as error:
        if is_foreign(error):
            raise
        raise CodecError(
            f"cannot decode: the pickle of {len(data)} bytes does not load: {type(error).__name__}: {error}; "
            "its classes must be importable here, as they were when it was written"
        ) from error


def _unframe(data: bytes) -> tuple[memoryview, list[memoryview | bytearray]]:
    _, count, _ = _HEAD.unpack_from(data)
    if _HEAD.size + _SPAN.size * (1 + count) > len(data):
        raise ValueError("its head is cut short")
    memory = memoryview(data)
    spans = [_SPAN.unpack_from(data, _HEAD.size + _SPAN.size * number) for number in range(1 + count)]
    if sum([length & ~_READ_ONLY for _, length in spans]) > len(data):
        raise ValueError("its pieces overlap")
    found = []
    for at, length in spans:
        piece = memory[at : at + (length & ~_READ_ONLY)]
        if len(piece) != length & ~_READ_ONLY:
            raise ValueError("a piece is cut short")
        found.append(piece)
    pickled, *pieces = found
    readable = [length & _READ_ONLY for _, length in spans[1:]]
    return pickled, [piece if only else bytearray(piece) for piece, only in zip(pieces, readable, strict=True)]
