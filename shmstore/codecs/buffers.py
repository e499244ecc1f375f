"""Values that are mostly one piece of memory: bytearray, memoryview and array.array, and how to copy it once.

The payload of such a value is a short head, padding, and its memory. This module or ``codecs/arrays.py`` and others make
the head. If the memory is the whole value and has ``LARGE`` bytes or more, it is copied directly into the store. Smaller
memory is first copied behind its head. From ``LARGE`` bytes on, padding puts the memory on a multiple of 64 bytes from the
first byte of the extension (with its header of six bytes). So it is aligned in the reader's copy, and usable there.
"""

from __future__ import annotations

import sys

from shmstore._base.imports import imported, late
from shmstore.codecs.unsupported import Unsupported, check_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    import array as arrays
    from array import array
    from collections.abc import Callable
    from typing import Any

    _Memory = bytes | bytearray | memoryview
else:
    arrays = late("array")

__all__ = ["BYTEARRAY", "MEMORYVIEW", "ARRAY", "HEADER", "LARGE", "ext_head", "pad_after", "skip_pad", "types"]

BYTEARRAY, MEMORYVIEW, ARRAY = 15, 16, 17

LARGE = 64 << 10
HEADER = 6  # bytes of an extension's header, for payloads of 64 KiB and more
_ALIGN = 64
_ZEROS = bytes(_ALIGN)

_FIXED = {1: b"\xd4", 2: b"\xd5", 4: b"\xd6", 8: b"\xd7", 16: b"\xd8"}


def ext_head(code: int, size: int) -> bytes:
    """Return the header of an extension of *size* bytes."""
    check_size(size)
    head = _FIXED.get(size)
    if head is None:
        width = 1 if size < 1 << 8 else 2 if size < 1 << 16 else 4
        head = (b"\xc7" if width == 1 else b"\xc8" if width == 2 else b"\xc9") + size.to_bytes(width, "big")
    return head + code.to_bytes(1, "big")


def pad_after(head: int, size: int) -> bytes:
    """Return the zeros between a head of so many bytes and memory of *size* bytes."""
    return _ZEROS[: -(HEADER + head) % _ALIGN] if size >= LARGE else b""


def skip_pad(data: _Memory, at: int, pad: int) -> int:
    """Return where the memory begins; the padding in front of it must be zeros."""
    if pad >= _ALIGN or bytes(data[at : at + pad]) != _ZEROS[:pad]:
        raise ValueError("the padding is not as it is written")
    return at + pad


# ---- bytearray ---------------------------------------------------------------------------------------------


def bytearray_parts(value: bytearray) -> tuple[list[Any], int]:
    """Write the bytes and nothing else."""
    memory = memoryview(value)  # from here on nobody changes the length
    return [memory], memory.nbytes


def decode_bytearray(data: _Memory) -> bytearray:
    """Read a bytearray."""
    return bytearray(data)


# ---- memoryview --------------------------------------------------------------------------------------------

_VIEW = 5  # bytes of head before the shape: flags, format, size of an element, dimensions, padding
READ_ONLY = 1
_FORMATS = {"c": 1, "b": 1, "B": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "l": 8, "L": 8, "q": 8, "Q": 8,
            "n": 8, "N": 8, "e": 2, "f": 4, "d": 8, "P": 8}  # fmt: skip
DIMENSIONS = 64  # as many as Python allows


def memoryview_parts(value: memoryview) -> tuple[list[Any], int]:
    """Write format, shape and whether it is read-only, then the elements in C order."""
    form = value.format[1:] if value.format[:1] == "@" else value.format
    if form not in _FORMATS or _FORMATS[form] != value.itemsize:
        raise Unsupported(
            f"a memoryview of format {value.format[:40]!r} cannot be made again",
            "store bytes(x), or numpy.asarray(x)",
        )
    lengths = value.shape or ()
    if value.ndim > 1 and 0 in lengths:
        raise Unsupported("a memoryview of several dimensions without elements cannot be made again",
                          "store bytes(x)")  # fmt: skip
    size = value.nbytes
    pad = pad_after(_VIEW + 8 * value.ndim, size)
    head = bytes((READ_ONLY if value.readonly else 0, ord(form), value.itemsize, value.ndim, len(pad)))
    shape = b"".join([length.to_bytes(8, "big") for length in lengths])
    memory = value if value.c_contiguous else value.tobytes()
    return [head, shape, pad, memory], _VIEW + len(shape) + len(pad) + size


def decode_memoryview(data: _Memory) -> memoryview:
    """Read a memoryview with its own memory."""
    flags, form, itemsize, dimensions, pad = data[:_VIEW]
    if flags > READ_ONLY or dimensions > DIMENSIONS or _FORMATS.get(chr(form)) != itemsize:
        raise ValueError("unknown flags or format")
    start = _VIEW + 8 * dimensions
    shape = [int.from_bytes(data[at : at + 8], "big") for at in range(_VIEW, start, 8)]
    start = skip_pad(data, start, pad)
    elements = 1
    for length in shape:
        elements *= length
    if elements * itemsize != len(data) - start:
        raise ValueError("the shape does not fit the bytes")
    memory = memoryview(data)[start:]
    if memory.readonly:  # a reader's bytes, or a part of something larger
        memory = memoryview(bytes(memory) if flags & READ_ONLY else bytearray(memory))
    elif flags & READ_ONLY:
        memory = memory.toreadonly()
    if dimensions == 1:
        return memory.cast(chr(form))  # type: ignore[call-overload,no-any-return]
    return memory.cast(chr(form), shape)  # type: ignore[call-overload,no-any-return]


# ---- array.array -------------------------------------------------------------------------------------------

_ITEMS = {"b": 1, "B": 1, "u": 4, "w": 4, "h": 2, "H": 2, "i": 4, "I": 4, "l": 8, "L": 8, "q": 8, "Q": 8,
          "f": 4, "d": 8}  # fmt: skip


def array_parts(value: array[Any]) -> tuple[list[Any], int]:
    """Write type code and size of an element, padding, and the elements as they are in memory."""
    if _ITEMS.get(value.typecode) != value.itemsize:
        raise Unsupported(f"an array of type code {value.typecode!r} is not stored", "store x.tolist()")
    memory = memoryview(value)  # from here on nobody changes the length
    pad = pad_after(3, memory.nbytes)
    head = bytes((ord(value.typecode), value.itemsize, len(pad)))
    return [head, pad, memory], 3 + len(pad) + memory.nbytes


def decode_array(data: _Memory) -> array[Any]:
    """Read an array. An array of characters must contain valid characters."""
    code, itemsize, pad = data[:3]
    typecode = chr(code)
    if _ITEMS.get(typecode) != itemsize:
        raise ValueError("no such type code")
    if typecode not in arrays.typecodes:
        raise ValueError(f"this Python has no arrays of type code {typecode!r}")
    memory = memoryview(data)[skip_pad(data, 3, pad) :]
    if typecode in "uw":
        str(memory, "utf-32-le" if sys.byteorder == "little" else "utf-32-be", "surrogatepass")
    value: array[Any] = arrays.array(typecode)
    value.frombytes(memory)
    return value


# ---- what codecs/registry.py asks for ----------------------------------------------------------------------


def types() -> list[tuple[type, int, Callable[[Any], tuple[list[Any], int]]]]:
    """Return type, code and parts of what this module stores."""
    found: list[tuple[type, int, Any]] = [
        (bytearray, BYTEARRAY, bytearray_parts),
        (memoryview, MEMORYVIEW, memoryview_parts),
    ]
    module = imported("array")
    if module is not None:
        found.append((module.array, ARRAY, array_parts))
    return found
