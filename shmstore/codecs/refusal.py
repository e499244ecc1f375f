"""What an encoder raises about one object; ``codecs/explain.py`` finds out where it lies and says so."""

from __future__ import annotations

from shmstore._imports import once


@once
class Unsupported(Exception):
    """An object that is not stored as it is. It never leaves the codecs, which make a CodecError of it."""

    def __init__(self, cause: str, remedy: str, part: str = "") -> None:
        super().__init__(cause, remedy, part)
        self.cause = cause
        self.remedy = remedy
        self.part = part  # of the object, as it continues the path: ".tzinfo"
