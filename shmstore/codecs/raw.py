"""The codec for bytes: what was put is what is stored, byte for byte."""

from __future__ import annotations

from shmstore.codecs.error_path import type_name
from shmstore.errors import CodecError

__all__ = ["decode", "encode", "name"]

name = "raw"


def encode(obj: object) -> bytes:
    """Return *obj*, which must be bytes exactly: nothing else would come back as what it was.

    Raises: CodecError for any other type.
    """
    if type(obj) is bytes:
        return obj
    raise CodecError(
        f"cannot encode $: codec 'raw' stores bytes, not {type_name(type(obj))}; "
        "convert it to bytes, or use the codec 'msgpack'"
    )


def decode(data: bytes) -> bytes:
    """Return *data*."""
    return data
