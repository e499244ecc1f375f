"""numpy dtypes as plain msgpack objects, and back: a grammar, checked; nothing is evaluated.

    dtype     = simple | subarray | structure
    simple    = str: one of < > |, then
                b1 i1 i2 i4 i8 u1 u2 u4 u8 q8 Q8 f2 f4 f8 f16 c8 c16 c32   (q8, Q8: C's long long)
                S n, U n, V n    n bytes, characters, bytes
                M8 m8            datetime64, timedelta64; then nothing (generic) or [unit] or [n unit]
    subarray  = [dtype, [length, ...]]
    structure = [[[name, offset, dtype] or [name, offset, dtype, title], ...], size, is it aligned]

Other dtypes (objects, strings of variable length, dtypes with metadata, dtypes of other packages, a structure that is also
a scalar) are not stored. Each dtype has exactly one description, and any other is refused. So are structures in which more
than 16 texts overlap.
"""

from __future__ import annotations

import re

from shmstore._base import calls
from shmstore._base.foreign import is_foreign
from shmstore.codecs.optional import need
from shmstore.codecs.unsupported import Unsupported
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ELEMENTS", "SIZE", "dtype_from", "dtype_to"]

SIZE = 65535  # bytes of a description
DEPTH = 32
ELEMENTS = 1 << 24  # of an array whose elements take no bytes
OVERLAPS = 16  # as many texts may lie one upon the other: a reader looks at the characters of each

_CODES = {"?": "b1", "b": "i1", "h": "i2", "i": "i4", "l": "i8", "q": "q8", "B": "u1", "H": "u2", "I": "u4",
          "L": "u8", "Q": "Q8", "e": "f2", "f": "f4", "d": "f8", "g": "f16", "F": "c8", "D": "c16",
          "G": "c32"}  # fmt: skip
_CHARS = {code: char for char, code in _CODES.items()}
_SIMPLE = re.compile(
    r"([<>|])(?:(b1|[iu][1248]|[qQ]8|f(?:2|4|8|16)|c(?:8|16|32))|([SUV](?:0|[1-9][0-9]{0,9}))"
    r"|([mM]8(?:\[(?:[1-9][0-9]{0,9})?(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?))",
    re.ASCII,
)

_known: dict[bytes, Any] = {}  # simple dtypes by their description
_KNOWN = 256


# ---- writing -----------------------------------------------------------------------------------------------


def dtype_to(dtype: Any) -> bytes:
    """Return the description of *dtype*, packed.

    Raises: Unsupported if it has none.
    """
    description = _describe(dtype, 0)
    packed = calls.pack(description) or b""
    if len(packed) > SIZE:
        raise Unsupported(f"its dtype takes {len(packed)} bytes to describe, {SIZE} is the most",
                          "store its fields one by one", ".dtype")  # fmt: skip
    if packed not in _known:
        try:
            again = dtype_from(packed)
        except Exception as error:
            if is_foreign(error):
                raise
            again = None
        if again != dtype or type(again) is not type(dtype):
            raise _not_described(dtype)
    return packed


def _describe(dtype: Any, depth: int) -> Any:
    if dtype.char == "T":
        raise Unsupported("its texts have any length", "store x.tolist()", ".dtype")
    if dtype.hasobject:
        raise Unsupported(
            "its dtype holds Python objects",
            "store x.tolist(), or an array of another dtype (texts: x.astype('U'))",
            ".dtype",
        )
    if dtype.metadata is not None:
        plain = depth == 0 and dtype.names is None
        raise Unsupported("its dtype has metadata, which numpy would not give back",
                          "store x.astype(x.dtype.str)" if plain else "store x.tolist()", ".dtype")  # fmt: skip
    if depth > DEPTH:
        raise Unsupported(f"its dtype has more than {DEPTH} levels", "flatten it", ".dtype")
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [_describe(base, depth + 1), list(shape)]
    if dtype.names is not None:
        return _structure(dtype, depth)
    order, char = dtype.str[0], dtype.char
    if dtype.isbuiltin == 2:
        raise _not_described(dtype)
    if char in _CODES:
        code = _CODES[char]
        if int(code[1:]) == dtype.itemsize:
            return order + code
    elif char in "SV":
        return f"{order}{char}{dtype.itemsize}"
    elif char == "U":
        return f"{order}U{dtype.itemsize // 4}"
    elif char in "mM":
        unit, count = need("numpy", "numpy").datetime_data(dtype)
        return f"{order}{char}8" + ("" if unit == "generic" else f"[{count if count != 1 else ''}{unit}]")
    raise _not_described(dtype)


def _structure(dtype: Any, depth: int) -> list[Any]:
    if dtype.type is not need("numpy", "numpy").void:
        raise Unsupported(f"elements of type {dtype.type.__name__} are not stored",
                          "store x.view(numpy.dtype((numpy.void, x.dtype)))" if depth == 0 else "store x.tolist()",
                          ".dtype")  # fmt: skip
    fields = []
    for name in dtype.names:
        base, offset, *title = dtype.fields[name]
        if any([type(word) is not str for word in (name, *title)]):
            raise Unsupported("a field's title is no str", "give it another title", ".dtype")
        fields.append([name, offset, _describe(base, depth + 1), *title])
    return [fields, dtype.itemsize, bool(dtype.isalignedstruct)]


def _not_described(dtype: Any) -> Unsupported:
    return Unsupported(f"its dtype {str(dtype)[:80]} is not one of numpy's own", "store x.astype() of another",
                       ".dtype")  # fmt: skip


# ---- reading -----------------------------------------------------------------------------------------------


def dtype_from(packed: bytes) -> Any:
    """Return the dtype that is described so.

    Raises: ValueError and what numpy raises.
    """
    found = _known.get(packed)
    if found is not None:
        return found
    if len(packed) > SIZE:
        raise ValueError("the description of its dtype is too long")
    try:
        description = calls.unpack(packed)
    except CodecError as error:
        if is_foreign(error):
            raise
        raise ValueError("its dtype is not described by one msgpack object") from None
    dtype = _build(description, 0)
    if _text_bytes(dtype) > OVERLAPS * dtype.itemsize:
        raise ValueError(f"more than {OVERLAPS} texts overlap")
    if calls.pack(_describe(dtype, 0)) != packed:
        raise ValueError("this is not how the dtype is described")
    if type(description) is str and len(_known) < _KNOWN:
        _known[packed] = dtype
    return dtype


def _text_bytes(dtype: Any) -> int:
    """Count the bytes of texts in an element, those that overlap as often as they do."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        count: int = _text_bytes(base)
        for length in shape:
            count *= length
        return count
    if dtype.names is not None:
        return sum([_text_bytes(dtype.fields[name][0]) for name in dtype.names])
    return int(dtype.itemsize) if dtype.char == "U" else 0


def _build(description: Any, depth: int) -> Any:
    np = need("numpy", "numpy")
    if depth > DEPTH:
        raise ValueError(f"its dtype has more than {DEPTH} levels")
    if type(description) is str:
        found = _SIMPLE.fullmatch(description)
        if found is None:
            raise ValueError(f"{description[:80]!r} is no dtype")
        order, number, text, moment = found.groups()
        return np.dtype(order + (_CHARS[number] if number else text or moment))
    if type(description) is not list or not 2 <= len(description) <= 3:
        raise ValueError("its dtype is described by neither a str nor a list")
    if len(description) == 2:
        base, shape = description
        if type(shape) is not list or not all([type(n) is int and 0 <= n < 2**31 for n in shape]):
            raise ValueError("a subarray has lengths")
        return np.dtype((_build(base, depth + 1), tuple(shape)))
    fields, size, aligned = description
    if type(fields) is not list or type(size) is not int or not 0 <= size < 2**31 or type(aligned) is not bool:
        raise ValueError("a structure has fields, size and alignment")
    spec: dict[str, list[Any]] = {"names": [], "offsets": [], "formats": [], "titles": []}
    for field in fields:
        if type(field) is not list or not 3 <= len(field) <= 4:
            raise ValueError("a field has name, offset, dtype and perhaps a title")
        name, offset, base, *title = field
        if any([type(word) is not str for word in (name, *title)]) or type(offset) is not int:
            raise ValueError("a field has name, offset, dtype and perhaps a title")
        spec["names"].append(name)
        spec["offsets"].append(offset)
        spec["formats"].append(_build(base, depth + 1))
        spec["titles"].append(title[0] if title else None)
    return np.dtype({**spec, "itemsize": size}, align=aligned)
