"""Arguments that were not given."""

from __future__ import annotations

from shmstore._base.calls import set_ttls
from shmstore._base.imports import once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["DEFAULT", "KEEP", "MISSING", "PRIVATE", "Default", "Private", "DefaultInt", "DefaultStr"]


class Default:
    """Stands for "what the handle was opened with", or, as KEEP, for "what the entry has"."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        return self._name


DEFAULT = once(Default("DEFAULT"))
KEEP = once(Default("KEEP"))
set_ttls(DEFAULT, KEEP)
MISSING: Any = once(Default("MISSING"))  # Any: it stands where a value of any type could


class Private(Default):
    """The name for stores without a name. Each is new, and ends with the last attached process."""

    __slots__ = ()


PRIVATE = once(Private("PRIVATE"))


@once
class DefaultStr(str):
    """A default value. Its type distinguishes it from an equal str that the caller gives."""

    __slots__ = ()


@once
class DefaultInt(int):
    """The same for permission bits, which signatures show in octal."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{self:#o}"
