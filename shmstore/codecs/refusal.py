"""What an encoder raises about one object; ``codecs/explain.py`` finds out where it lies and says so."""

from __future__ import annotations

from shmstore._base.imports import once

# Of a str with a lone surrogate; Python makes such of file names, to which the second gives back their bytes.
ENCODE_IT = "store bytes: s.encode('utf-8', 'surrogatepass'), of a file name s.encode('utf-8', 'surrogateescape')"


@once
class Unsupported(Exception):
    """An object that is not stored as it is. It never leaves the codecs, which make a CodecError of it."""

    def __init__(self, cause: str, remedy: str, part: str = "") -> None:
        super().__init__(cause, remedy, part)
        self.cause = cause
        self.remedy = remedy
        self.part = part  # of the object, as it continues the path: ".tzinfo"
        self.is_inside = False  # is the part an object of its own, which *cause* names?


LIMIT = 2**32 - 1  # msgpack's lengths have 32 bits


def check_size(size: int) -> None:
    """Refuse more bytes than msgpack can say of one str, bytes or extension.

    Raises: Unsupported.
    """
    if size > LIMIT:
        raise Unsupported(f"it has {size} bytes, and the limit of msgpack is {LIMIT} (2**32 - 1)",
                          "store it in parts, or its bytes with codec='raw'")  # fmt: skip
