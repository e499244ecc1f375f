"""The bytes of codec "msgpack", written and read by msgspec, which is faster; and values read as a given type.

Plain values go to msgspec, all others to ``codecs/msgpack.py``. So the bytes, the supported types and the errors are the
same, and the values are recorded as msgpack. This codec does more in two respects:

- It stores ``msgspec.Struct`` objects, as the map (or array, with ``array_like``) that msgspec makes of them.
  Their fields follow the rules of all values. In addition, an enum in a field is stored as its value, if the field's
  annotation restores the enum. Without ``type=``, such a value is read as the dict or list.
- ``decode_as`` reads directly into a type. Types that msgspec cannot read from an extension (datetime, tuple, UUID,
  Decimal ...) are decoded first and then converted.

Importing this module imports msgspec.
"""

from __future__ import annotations

import enum

try:
    import msgspec
except ImportError as _error:
    raise ModuleNotFoundError(
        "codec 'msgspec' needs the package msgspec: pip install 'shmstore[fast]', or use codec='msgpack', which "
        "reads and writes the same bytes"
    ) from _error

from shmstore._base import calls
from shmstore._base.foreign import is_foreign
from shmstore.codecs import msgpack, registry
from shmstore.codecs.error_path import type_name
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["convert", "decode", "decode_as", "encode", "encode_parts", "name"]

name = "msgspec"


def _ext_hook(code: int, data: memoryview) -> Any:
    return calls.unpack_extension(code, bytes(data))


_encode = msgspec.msgpack.Encoder().encode


# ---- encoding ----------------------------------------------------------------------------------------------


def encode(obj: object) -> bytes:
    """Return *obj* packed, with the bytes that codec "msgpack" gives.

    Raises: CodecError naming the path to what cannot be stored, the cause and the remedy.
    """
    if isinstance(obj, msgspec.Struct) and calls.is_plain(list(msgspec.structs.astuple(obj))):
        return _encode_struct(obj)
    try:
        return msgpack.encode(obj)
    except CodecError as error:
        if is_foreign(error):
            raise
        plain = _expand(obj, 0)
        if plain is obj:
            raise
    return msgpack.encode(plain)


def encode_parts(obj: object) -> bytes | tuple[bytes, Any]:
    """As encode(); for one large piece of memory, a head and the memory itself."""
    return msgpack.encode_parts(obj) if id(type(obj)) in registry.PARTS else encode(obj)


def _encode_struct(obj: msgspec.Struct) -> bytes:
    try:
        return _encode(obj)
    except Exception as error:
        if is_foreign(error):
            raise
        return msgpack.encode(_expand(obj, 0))


def _expand(node: Any, depth: int) -> Any:
    """Return *node* with dicts and lists in the place of Structs; itself if it holds none."""
    kind = type(node)
    if depth > calls.DEPTH:
        return node
    if kind is list or kind is tuple:
        parts = [_expand(part, depth + 1) for part in node]
        if all([a is b for a, b in zip(parts, node, strict=False)]):
            return node
        return kind(parts)
    if kind is dict:
        items = [(key, part, _expand(part, depth + 1)) for key, part in node.items()]
        if all([part is plain for _, part, plain in items]):
            return node
        return {key: plain for key, _, plain in items}
    if isinstance(node, msgspec.Struct):
        return _struct(node, depth)
    return node


def _struct(node: msgspec.Struct, depth: int) -> Any:
    kind = type(node)
    config = node.__struct_config__
    values = [_value(part, depth + 1) for part in msgspec.structs.astuple(node)]
    plain: Any
    if config.array_like:
        plain = values if config.tag is None else [config.tag, *values]
    else:
        plain = {} if config.tag is None else {config.tag_field: config.tag}
        for key, value in zip(node.__struct_encode_fields__, values, strict=True):
            if value is not msgspec.UNSET:
                plain[key] = value
    if any([isinstance(part, enum.Enum) for part in msgspec.structs.astuple(node)]):
        _check_enums(node, kind, plain)
    return plain


def _value(part: Any, depth: int) -> Any:
    return part.value if isinstance(part, enum.Enum) else _expand(part, depth)


def _check_enums(node: msgspec.Struct, kind: type, plain: Any) -> None:
    again: Any
    try:
        again = msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        if is_foreign(error):
            raise
        again = None
    for field, before in zip(node.__struct_fields__, msgspec.structs.astuple(node), strict=True):
        if isinstance(before, enum.Enum) and getattr(again, field, None) is not before:
            raise CodecError(
                f"cannot encode $: field {field!r} of {type_name(kind)} holds a {type_name(type(before))}, which its "
                f"type would not give back; annotate the field as {type(before).__qualname__}, or store its .value"
            )


# ---- decoding ----------------------------------------------------------------------------------------------


def decode(data: bytes) -> Any:
    """Return the object that *data* holds.

    Raises: CodecError.
    """
    return msgpack.decode(data)


_MANY = 256

_readers: dict[Any, msgspec.msgpack.Decoder[Any]] = {}  # by type


def _reader(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    try:
        found = _readers.get(kind)
    except TypeError as error:  # not hashable
        if is_foreign(error):
            raise
        return msgspec.msgpack.Decoder(kind, ext_hook=_ext_hook)
    if found is None:
        if len(_readers) >= _MANY:
            _readers.clear()
        found = _readers[kind] = msgspec.msgpack.Decoder(kind, ext_hook=_ext_hook)
    return found


def decode_as(data: bytes, kind: Any) -> Any:
    """Return the object that *data* holds, as *kind*: a Struct, or whatever msgspec takes for a type.

    Raises: CodecError if it is of another type; TypeError if *kind* is nothing that msgspec reads.
    """
    reader = _reader(kind)
    if calls.check(data) is not None:
        return convert(msgpack.decode(data), kind)
    try:
        return reader.decode(data)
    except Exception as error:
        if is_foreign(error):
            raise
        return convert(decode(data), kind)  # perhaps an extension where a type is wanted that it stands for


def convert(value: Any, kind: Any) -> Any:
    """Return a value that was read without a type as *kind*.

    Raises: CodecError if it is of another type.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        if is_foreign(error):
            raise
        raise CodecError(
            f"cannot decode as {_shown(kind)}: {error}; read it without type= to see what it is"
        ) from error


def _shown(kind: Any) -> str:
    return type_name(kind) if issubclass(type(kind), type) else str(kind)  # list[int] claims to be a type in 3.10
