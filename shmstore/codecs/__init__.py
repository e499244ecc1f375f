"""Codecs convert objects to bytes and back.

A codec is an object with three attributes: ``name`` (a str, which is recorded with each value), ``encode(obj) ->
bytes`` and ``decode(bytes) -> obj``. The package has ``msgpack`` (the default), ``raw`` (bytes only) and ``pickle``.
A value names its codec, but a handle only uses the codecs that it was opened with. So a value cannot make a reader
load a pickle unless the reader allows pickles. A fourth codec, ``msgspec``, reads and writes the same bytes as
``msgpack``. Its values are recorded as msgpack.
"""

from __future__ import annotations

from shmstore._base.imports import imported, late
from shmstore.codecs import msgpack, raw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from shmstore.codecs.protocol import Codec

_custom = late("shmstore.codecs.custom", needs="sys")
_msgspec = late("shmstore.codecs.msgspec", needs="msgspec")
_pickle = late("shmstore.codecs.pickle", needs="pickle")

__all__ = ["BUILTIN", "NAMES", "resolve"]

BUILTIN = ("msgpack", "msgspec", "raw", "pickle")
NAMES = ", ".join(map(repr, BUILTIN))


def resolve(codec: str | Codec, decoders: Iterable[str | Codec] = ()) -> tuple[Codec, dict[str, Codec]]:
    """Return the codec that writes, and those that read, by name.

    msgpack and raw always read. pickle reads only if the caller names it.

    Raises: TypeError if an object is not a codec; ValueError if a name is unknown or not allowed; ImportError for
        "msgspec" if that package is not installed.
    """
    if isinstance(decoders, (str, bytes)):
        raise TypeError(f"decoders must be a sequence of codecs, not {decoders!r}; write ({decoders!r},)")
    writer = _resolve_one(codec)
    readers: dict[str, Codec] = {"msgpack": msgpack, "raw": raw, writer.name: writer}
    for decoder in decoders:
        reader = _resolve_one(decoder)
        known = readers.setdefault(reader.name, reader)
        wraps_same = getattr(reader, "wraps_same", None)  # of a user's own
        if wraps_same is not None and not wraps_same(known):
            raise ValueError(f"two codecs are named {reader.name!r}; each needs a name of its own")
    return writer, readers


def _resolve_one(codec: str | Codec) -> Codec:
    if not isinstance(codec, str):
        made: Codec = _custom.CustomCodec(codec)
        return made
    if codec == "msgpack":
        return msgpack
    if codec == "raw":
        return raw
    if codec == "pickle":
        return _module(_pickle)
    if codec == "msgspec":
        return _module(_msgspec)
    raise ValueError(f"unknown codec {codec!r}; use one of {NAMES} or a codec object")


def _module(codec: Any) -> Codec:
    """The module itself, now that it is wanted; at shutdown what stands for it does as well."""
    return imported(codec.__name__) or codec  # type: ignore[no-any-return]
