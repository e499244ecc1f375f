"""The type of codecs, for annotations (importing it imports typing, which the package itself does without)."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Codec"]


class Codec(Protocol):
    """What ``Store(codec=...)`` and ``decoders=`` accept, besides the names of the built-in codecs."""

    @property
    def name(self) -> str:
        """Recorded with each value; at most 64 bytes of UTF-8."""

    def encode(self, obj: Any, /) -> bytes:
        """Return the bytes to store. Called while no lock is held, so it may call the store."""

    def decode(self, data: bytes, /) -> Any:
        """Return the object: the inverse of ``encode``."""
