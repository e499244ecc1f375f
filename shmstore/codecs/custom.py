"""Codecs of users: objects with name, encode and decode, and what they do wrong turned into errors that say so."""

from __future__ import annotations

from shmstore._base.foreign import is_foreign
from shmstore.codecs import BUILTIN, NAMES
from shmstore.codecs.error_path import type_name
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shmstore.codecs.protocol import Codec

__all__ = ["NAME_SIZE", "CustomCodec"]

NAME_SIZE = 64  # bytes of UTF-8


class CustomCodec:
    """A user's codec, with what it raises turned into CodecError, but for what is_foreign."""

    __slots__ = ("_decode", "_encode", "_wrapped", "name")

    def __init__(self, codec: Codec) -> None:
        try:
            name, encode, decode = codec.name, codec.encode, codec.decode
        except AttributeError as error:
            if is_foreign(error):
                raise
            raise TypeError(
                f"a codec is one of {NAMES} or an object with name, encode and decode; "
                f"an object of type {type_name(type(codec))} has no {error.name!r}"
            ) from None
        if type(name) is not str:
            raise TypeError(f"a codec's name must be a str, not {type_name(type(name))}")
        if not callable(encode) or not callable(decode):
            raise TypeError(f"encode and decode of the codec {name!r} must be callable")
        _check_name(name)
        self.name = name
        self._wrapped = codec
        self._encode = encode
        self._decode = decode

    def __repr__(self) -> str:
        return f"<codec {self.name!r}>"

    def wraps_same(self, other: object) -> bool:
        """Tell whether *other* stands for the same object of the user's."""
        return isinstance(other, CustomCodec) and other._wrapped is self._wrapped

    def encode(self, obj: Any) -> bytes:
        """Return what the user's codec makes of *obj*, which must be bytes."""
        try:
            encoded = self._encode(obj)
        except Exception as error:
            if is_foreign(error) or isinstance(error, CodecError):
                raise
            raise CodecError(
                f"cannot encode $: the codec {self.name!r} failed on an object of type "
                f"{type_name(type(obj))}: {type(error).__name__}: {error}"
            ) from error
        if type(encoded) is not bytes:
            raise CodecError(
                f"cannot encode $: the codec {self.name!r} returned {type_name(type(encoded))}; "
                "its encode must return bytes"
            )
        return encoded

    def decode(self, data: bytes) -> Any:
        """Return the object that the user's codec finds in *data*."""
        try:
            return self._decode(data)
        except Exception as error:
            if is_foreign(error) or isinstance(error, CodecError):
                raise
            raise CodecError(
                f"cannot decode: the codec {self.name!r} failed on {len(data)} bytes: {type(error).__name__}: {error}"
            ) from error


def _check_name(name: str) -> None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        if is_foreign(error):
            raise
        raise ValueError(f"the codec name {name!r} holds a lone surrogate; use valid Unicode") from None
    if not 0 < size <= NAME_SIZE or "\0" in name:
        raise ValueError(f"a codec's name takes 1 to {NAME_SIZE} bytes of UTF-8, none of them NUL, not {name[:80]!r}")
    if name in BUILTIN:
        raise ValueError(f"the codec name {name!r} is taken by the built-in one; choose another")
