"""numpy arrays and scalars: a description of the dtype, then the elements as they are in memory.

An array comes back equal, with its dtype (byte order and padding included), its shape, its order (Fortran if
it was contiguous in that order and not in C's too; C otherwise) and its writeability. Strides of other kinds
are not kept. An array that is read has its own memory. A large array uses the copy of the value that the reader
made, so that it is copied once. A small array, or one inside a larger object, is copied out of the value's bytes if it
is writeable.

Exactly ``numpy.ndarray`` and numpy's own scalar types: matrices, masked and record arrays are refused.
A program that has such an object has imported numpy. This module imports numpy to read one.
"""

from __future__ import annotations

from shmstore._base.foreign import is_foreign
from shmstore.codecs.buffers import ext_head, pad_after, skip_pad
from shmstore.codecs.dtypes import ELEMENTS, SIZE, dtype_from, dtype_to
from shmstore.codecs.optional import need
from shmstore.codecs.unsupported import ENCODE_IT, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shmstore.codecs.buffers import _Memory

__all__ = ["NDARRAY", "SCALAR", "decode_ndarray", "decode_scalar", "ndarray_parts", "scalar_parts", "types"]

NDARRAY, SCALAR = 18, 19

FORTRAN, READ_ONLY = 1, 2

_HEAD = 5  # bytes: flags, padding, dimensions, length of the dtype in two
_TEXT, _BYTES = b"\xa1U", b"\xa1S"  # a str_ and a bytes_ keep zeros at their end, which elements do not
_FROZEN = b"\x91"  # an array of one, the dtype: a structure that is read-only, and so can be a key


def _memory(array: Any) -> Any:
    """Return the elements of a contiguous array as bytes, without a copy."""
    flat = array if array.flags.c_contiguous else array.T
    return flat.reshape(-1).view("u1")


def ndarray_parts(array: Any) -> tuple[list[Any], int]:
    """Write flags, shape and dtype, then the elements."""
    dtype = dtype_to(array.dtype)
    flags = array.flags
    fortran = flags.f_contiguous and not flags.c_contiguous
    size = array.nbytes
    if size == 0 and array.size > ELEMENTS:
        raise Unsupported(f"{array.size} elements of no bytes, {ELEMENTS} is the most", "store its shape")
    start = _HEAD + 8 * array.ndim + len(dtype)
    pad = pad_after(start, size)
    head = bytes((fortran * FORTRAN | (not flags.writeable) * READ_ONLY, len(pad), array.ndim))
    shape = b"".join([length.to_bytes(8, "big") for length in array.shape])
    if size and not flags.forc:
        array = array.copy("C")
    parts = [head, len(dtype).to_bytes(2, "big"), shape, dtype, pad, _memory(array) if size else b""]
    return parts, start + len(pad) + size


def head_and_memory(array: Any) -> tuple[bytes, Any]:
    """Return the bytes that precede the elements of an array like this one, and the memory of its elements.

    Raises: TypeError for an object that is no array, or not one piece of memory.
    """
    np = need("numpy", "numpy")
    if type(array) is not np.ndarray or not array.flags.forc or not array.flags.writeable:
        raise TypeError(
            f"get_into() takes a writable, contiguous numpy.ndarray, and this {type(array).__name__} is none"
        )
    try:
        pieces, size = ndarray_parts(array)
    except Unsupported as error:
        if is_foreign(error):
            raise
        raise TypeError(f"get_into() takes arrays that can be stored: {error.cause}") from None
    pieces.pop()
    return ext_head(NDARRAY, size) + b"".join(pieces), _memory(array) if array.nbytes else bytearray()


def decode_ndarray(data: _Memory) -> Any:
    """Read an array."""
    np = need("numpy", "numpy")
    flags, pad, dimensions, high, low = data[:_HEAD]
    if flags > FORTRAN | READ_ONLY:
        raise ValueError(f"unknown flags {flags:#x}")
    start = _HEAD + 8 * dimensions
    shape = tuple([int.from_bytes(data[at : at + 8], "big") for at in range(_HEAD, start, 8)])
    size = high << 8 | low
    dtype = dtype_from(bytes(data[start : start + size]))
    if dtype.subdtype is not None:
        raise ValueError("no array has a dtype of subarrays")
    start = skip_pad(data, start + size, pad)
    elements = 1
    for length in shape:
        elements *= length
    if elements * dtype.itemsize != len(data) - start:
        raise ValueError("shape and dtype do not fit the bytes")
    if dtype.itemsize == 0 and elements > ELEMENTS:
        raise ValueError(f"{elements} elements of no bytes, {ELEMENTS} is the most")
    order = "F" if flags & FORTRAN else "C"
    if len(data) == start:  # numpy.empty would find memory for one element, however large, and makes S0 an S1
        data, start = memoryview(bytearray(16))[:0], 0  # aligned, though there is nothing
    array = np.ndarray(shape, dtype, data, start, order=order)
    if len(data) >= _ROOMY:
        _keep_freed_memory()
    if not array.flags.aligned or (not array.flags.writeable and not flags & READ_ONLY):
        copy = np.empty(shape, dtype, order)
        _memory(copy)[:] = np.frombuffer(data, "u1", -1, start)
        array = copy
    array.flags.writeable = not flags & READ_ONLY
    if flags & FORTRAN and array.flags.c_contiguous:
        raise ValueError("an array in both orders is in C's")
    _check_text(array)
    return array


_ROOMY = 1 << 20
_keeps_freed_memory = False


def _keep_freed_memory() -> None:
    """Let glibc keep a few dozen MB that are freed, once for the process.

    It gives memory back at twice the largest mapping that it has seen freed: the value's bytes and the array
    together reach that every time, and touching 8 MB of new pages takes 14 ms where copying takes 0.5. A
    mapping of 31 MB that comes and goes, untouched, puts the limit at 62; glibc stops learning at 32.
    """
    global _keeps_freed_memory
    if not _keeps_freed_memory:
        _keeps_freed_memory = True
        bytes(31 << 20)


def _check_text(array: Any) -> None:
    """Refuse elements that are no characters: Python makes no str of them."""
    dtype = array.dtype
    if dtype.names is not None:
        for name in dtype.names:
            _check_text(array[name])
    elif dtype.char == "U" and array.nbytes:
        if not array.flags.c_contiguous:
            array = array.copy("C")
        if array.reshape(-1).view(dtype.byteorder.replace("=", "<").replace("|", "<") + "u4").max() > 0x10FFFF:
            raise ValueError("a text holds what is no character")


# ---- scalars -----------------------------------------------------------------------------------------------


def scalar_parts(value: Any) -> tuple[list[Any], int]:
    """Write the dtype, then the bytes; of a str_ the UTF-8."""
    np = need("numpy", "numpy")
    kind = type(value)
    if kind is np.str_:
        try:
            dtype, memory = _TEXT, value.encode()
        except UnicodeEncodeError as error:
            if is_foreign(error):
                raise
            raise Unsupported("a text with a lone surrogate", ENCODE_IT) from None
    elif kind is np.bytes_:
        dtype, memory = _BYTES, bytes(value)
    else:
        dtype, memory = dtype_to(value.dtype), value.tobytes()
        if kind is np.void and value.dtype.names is not None and not value.flags.writeable:
            dtype = _FROZEN + dtype
            if len(dtype) > SIZE:
                raise Unsupported("its dtype is too long to describe", "store x.item()", ".dtype")
    return [len(dtype).to_bytes(2, "big"), dtype, memory], 2 + len(dtype) + len(memory)


def decode_scalar(data: _Memory) -> Any:
    """Read a scalar."""
    np = need("numpy", "numpy")
    start = 2 + int.from_bytes(data[:2], "big")
    packed, memory = bytes(data[2:start]), bytes(data[start:])
    if packed == _TEXT:
        return np.str_(memory.decode())
    if packed == _BYTES:
        return np.bytes_(memory)
    frozen = packed[:1] == _FROZEN
    dtype = dtype_from(packed[frozen:])
    if dtype.subdtype is not None or dtype.char in "SU" or (frozen and dtype.names is None):
        raise ValueError("no scalar has such a dtype")
    if dtype.itemsize != len(memory):
        raise ValueError("the dtype does not fit the bytes")
    array = np.empty((), dtype)
    if memory:
        array.reshape(-1).view("u1")[:] = np.frombuffer(memory, "u1")
    _check_text(array)
    array.flags.writeable = not frozen
    return array[()]


def types() -> list[tuple[type, int, Callable[[Any], tuple[list[Any], int]]]]:
    """Return type, code and parts of what this module stores."""
    np = need("numpy", "numpy")
    scalars = [np.dtype(char).type for char in "?bhilqBHILQefdgFDGSUVMm"]
    return [(np.ndarray, NDARRAY, ndarray_parts), *[(kind, SCALAR, scalar_parts) for kind in scalars]]
