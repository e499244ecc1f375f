"""How objects become bytes and bytes objects.

A codec is anything with three attributes: ``name`` (a str, recorded beside each value), ``encode(obj) ->
bytes`` and ``decode(bytes) -> obj``. Three come with the package: ``msgpack`` (the default), ``raw`` (bytes
alone) and ``pickle``. A value names the codec it was written with, but that only selects among those that a
handle was opened with: what lies in a store cannot make a reader load a pickle that it did not ask for. A
fourth, ``msgspec``, is another way to read and write what ``msgpack`` does; its values are recorded as msgpack.
"""

from __future__ import annotations

from shmstore.codecs import msgpack, raw
from shmstore.codecs.explain import type_name
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from shmstore.codecs.protocol import Codec

__all__ = ["BUILTIN", "NAME_SIZE", "CustomCodec", "resolve"]

BUILTIN = ("msgpack", "msgspec", "raw", "pickle")
NAME_SIZE = 64  # bytes of UTF-8
_NAMES = ", ".join(map(repr, BUILTIN))


def resolve(codec: str | Codec, decoders: Iterable[str | Codec] = ()) -> tuple[Codec, dict[str, Codec]]:
    """Return the codec that writes, and all those that read, by name.

    msgpack and raw always read; pickle only if it is asked for by this name.

    Raises: TypeError for what is no codec, ValueError for an unknown name or one that cannot be used,
        ImportError for "msgspec" without that package.
    """
    if isinstance(decoders, (str, bytes)):
        raise TypeError(f"decoders must be a sequence of codecs, not {decoders!r}; write ({decoders!r},)")
    writer = _resolve_one(codec)
    readers: dict[str, Codec] = {"msgpack": msgpack, "raw": raw, writer.name: writer}
    for decoder in decoders:
        reader = _resolve_one(decoder)
        known = readers.setdefault(reader.name, reader)
        if isinstance(reader, CustomCodec) and not reader.wraps_same(known):
            raise ValueError(f"two codecs are named {reader.name!r}; each needs a name of its own")
    return writer, readers


def _resolve_one(codec: str | Codec) -> Codec:
    if not isinstance(codec, str):
        return CustomCodec(codec)
    if codec == "msgpack":
        return msgpack
    if codec == "raw":
        return raw
    if codec == "pickle":
        from shmstore.codecs import pickle

        return pickle
    if codec == "msgspec":
        from shmstore.codecs import msgspec

        return msgspec
    raise ValueError(f"unknown codec {codec!r}; use one of {_NAMES} or a codec object")


class CustomCodec:
    """A user's codec, with what it raises turned into CodecError. MemoryError and KeyboardInterrupt pass."""

    __slots__ = ("_decode", "_encode", "_wrapped", "name")

    def __init__(self, codec: Codec) -> None:
        try:
            name, encode, decode = codec.name, codec.encode, codec.decode
        except AttributeError as error:
            raise TypeError(
                f"a codec is one of {_NAMES} or an object with name, encode and decode; "
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
        except (CodecError, MemoryError):
            raise
        except Exception as error:
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
        except (CodecError, MemoryError):
            raise
        except Exception as error:
            raise CodecError(
                f"cannot decode: the codec {self.name!r} failed on {len(data)} bytes: "
                f"{type(error).__name__}: {error}"
            ) from error


def _check_name(name: str) -> None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError(f"the codec name {name!r} holds a lone surrogate; use valid Unicode") from None
    if not 0 < size <= NAME_SIZE or "\0" in name:
        raise ValueError(
            f"a codec's name takes 1 to {NAME_SIZE} bytes of UTF-8, none of them NUL, not {name[:80]!r}"
        )
    if name in BUILTIN:
        raise ValueError(f"the codec name {name!r} is taken by the built-in one; choose another")
