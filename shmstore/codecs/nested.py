"""Values inside the payload of an extension: how they are packed, and read again.

They follow the rules of all values. An error names an unsupported value by its path in the object of the extension. Such
payloads may be nested, but only LEVELS deep, because each level uses C stack, and the writer of the bytes is not trusted.
"""

from __future__ import annotations

import sys

from shmstore._base.foreign import is_foreign
from shmstore.codecs.unsupported import Unsupported
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

    Places = list[tuple[str, list[Any]]]  # a path, {} in it for the place in the list, and what is there

__all__ = ["LEVELS", "At", "pack", "unpack"]

LEVELS = 6


def pack(value: Any, places: Places) -> bytes:
    """Return *value* packed; *places* says where in the object the values are of which it is made.

    Raises: Unsupported for the first of them that cannot be stored.
    """
    from shmstore.codecs import error_path, msgpack

    if _level(pack.__code__) > LEVELS:
        raise Unsupported(
            f"more than {LEVELS} objects of pandas inside one another", "store the inner ones by themselves"
        )
    try:
        return msgpack.encode(value)
    except CodecError as error:
        if is_foreign(error):
            raise
        for path, values in places:
            found = error_path.first_unsupported(values)
            if found is not None:
                (_, (_, row, _), *steps), cause, remedy, part = found
                unsupported = Unsupported(cause, remedy, path.format(row) + error_path.shown(steps) + part)
                unsupported.is_inside = True
                raise unsupported from None
        raise


class At:
    """Let what is refused inside be refused at *path*, and what follows it."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, Unsupported):
            error.part = self._path + error.part


def unpack(data: bytes) -> Any:
    """Return the value.

    Raises: CodecError.
    """
    from shmstore.codecs import msgpack

    if _level(unpack.__code__) > LEVELS:
        raise CodecError(f"cannot decode: more than {LEVELS} objects of pandas inside one another")
    return msgpack.decode(data)


def _level(code: CodeType) -> int:
    """Return how many calls of a function are under way in this thread; nothing is kept, so nothing can be left over."""
    frame, found = sys._getframe(1), 0
    while frame is not None:
        found += frame.f_code is code
        frame = frame.f_back  # type: ignore[assignment]
    return found
