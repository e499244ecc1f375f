"""What an encoder raises for an unsupported object; ``codecs/error_path.py`` finds the path to it."""

from __future__ import annotations

from shmstore._base.imports import once

# For a str with a lone surrogate. Python makes such a str from file names; the second remedy restores their bytes.
ENCODE_IT = "store bytes: s.encode('utf-8', 'surrogatepass'), of a file name s.encode('utf-8', 'surrogateescape')"


@once
class Unsupported(Exception):
    """An object that cannot be stored. The codecs turn this into a CodecError, so it never leaves them."""

    def __init__(self, cause: str, remedy: str, part: str = "") -> None:
        super().__init__(cause, remedy, part)
        self.cause = cause
        self.remedy = remedy
        self.part = part  # of the object, as it continues the path: ".tzinfo"
        self.is_inside = False  # is the part an object of its own, which *cause* names?


LIMIT = 2**32 - 1  # msgpack's lengths have 32 bits


def check_size(size: int) -> None:
    """Refuse more bytes than one str, bytes or extension of msgpack can have.

    Raises: Unsupported.
    """
    if size > LIMIT:
        raise Unsupported(f"it has {size} bytes, and the limit of msgpack is {LIMIT} (2**32 - 1)",
                          "store it in parts, or its bytes with codec='raw'")  # fmt: skip
