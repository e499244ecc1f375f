"""The default codec: msgpack on the wire, objects back equal and of the same type.

``encode(obj) -> bytes`` and ``decode(bytes) -> obj`` keep None, bool, int of any size, float, str, bytes, list, dict, tuple,
set, frozenset, complex, range, slice, datetime, date, time, timedelta, Decimal, Fraction, UUID, bytearray, memoryview,
array.array, the types of numpy, pyarrow and pandas, and registered types. The exact type counts: every other object
(of a subclass, a named tuple, an enum, a dataclass ...) raises ``CodecError`` with the path to it. So do cycles, containers
more than 256 deep, and bytes that are no such object. An object that is referred to several times is written each time,
because msgpack has no references.

The walks are in C (csrc/python/pack.c and unpack.c), with the types of the standard library. They call this module for
everything else: types of other packages and of users, and errors.
"""

from __future__ import annotations

from shmstore._base import calls
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import late
from shmstore.codecs import buffers, error_path, extensions, registry
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import msgpack  # type: ignore[import-untyped]
else:
    msgpack = late("msgpack")

__all__ = ["decode", "encode", "encode_parts", "name", "refused", "undecodable"]

name = "msgpack"

LARGE = 64 << 10  # bytes: from here on one piece of memory is copied once, from where it lies


# ---- encoding ----------------------------------------------------------------------------------------------


def encode(obj: object) -> bytes:
    """Return *obj* packed.

    Cost: for a dict of five plain fields, half of what msgpack's own packing takes.

    Raises: CodecError naming the path to what cannot be stored, the cause and the remedy.
    """
    found = encode_parts(obj)
    return b"".join(found) if isinstance(found, tuple) else found


def encode_parts(obj: object) -> bytes | tuple[bytes, Any]:
    """Return *obj* packed: bytes, or, for one large piece of memory, a head and the memory itself.

    Raises: CodecError.
    """
    packed = calls.pack(obj)
    return _whole(obj) if packed is None else packed


def _whole(value: Any) -> bytes | tuple[bytes, Any]:
    """Pack a value that is one piece of memory. From LARGE bytes up nothing is copied."""
    kind = type(value)
    try:
        code, _ = registry.find(kind) or (0, None)
        pieces, size = registry.PARTS[id(kind)](value)
        pieces.insert(0, buffers.ext_head(code, size))
    except Exception as error:
        if is_foreign(error):
            raise
        raise refused(value, error) from None
    if size < LARGE:
        return b"".join(pieces)
    memory = pieces.pop()
    return b"".join(pieces), memory


def refused(value: object, cause: Exception | None, result: int = 0, culprit: object = None) -> Exception:
    """Return the exception for a value that was not packed: *cause*, if it is foreign, otherwise a CodecError with the path to
    the unsupported object. *cause* was raised by a function that C called. *result* and *culprit* come from C."""
    if cause is not None and (is_foreign(cause, caught_in_c=True) or isinstance(cause, CodecError)):
        return cause
    return error_path.error_for(value, cause, result, culprit)


# ---- decoding ----------------------------------------------------------------------------------------------


def decode(data: bytes | bytearray) -> Any:
    """Return the object that *data* holds.

    Raises: CodecError for bytes that are no such object, unknown extension codes, and what exceeds the limits.
    """
    # Nothing but one extension: its memory need not be copied out. Of the large ones it may be written to.
    if len(data) > LARGE and data[0] == 0xC9 and data[5] in extensions.LARGE:
        if int.from_bytes(data[1:5], "big") == len(data) - 6:
            try:
                return leaf(data[5], memoryview(data)[6:])
            except Exception as error:
                if is_foreign(error):
                    raise
                raise undecodable(len(data), data[5], len(data) - 6, None, error) from None
    return calls.unpack(data)


def leaf(code: int, data: Any) -> Any:
    """Return the object of an extension that C does not know; what this raises is made a CodecError by undecodable()."""
    found = registry.READERS.get(code) or registry.reader(code)
    if found is not None:
        return found(data)
    if code == -1:
        return msgpack.Timestamp.from_bytes(bytes(data))
    raise CodecError(f"cannot decode: {registry.unknown(code)}")


_FOREIGN = "it was not written by this codec, or it is damaged: put it again or delete it"


def undecodable(size: int, code: int, part: int, why: str | None, cause: Exception | None) -> Exception:
    """Return the exception to raise for *size* bytes that were not unpacked.

    code, part: of the extension that it happened in, and the bytes of its payload; code -1 with part 0: in none. why: what C
    found. cause: else what was raised by a function that C called.
    """
    if cause is not None and (is_foreign(cause, caught_in_c=True) or isinstance(cause, CodecError)):
        return cause
    said = why or str(cause) or type(cause).__name__
    if why and why.startswith("more than"):  # a limit of the whole value
        return CodecError(f"cannot decode: {why}; {_FOREIGN}")
    if part or code != -1:
        error = CodecError(
            f"cannot decode: extension {code} ({extensions.NAMES.get(code, 'unknown')}) of {part} bytes: {said}"
        )
    else:
        error = CodecError(f"cannot decode: {size} bytes: {said}; {_FOREIGN}")
    error.__cause__ = cause
    return error


calls.set_codec(registry.find, leaf, registry.zone_of, registry.zone_from, registry.classes, refused, undecodable)
