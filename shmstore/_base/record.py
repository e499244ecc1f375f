"""The base class of immutable records."""

from __future__ import annotations

from shmstore._base.imports import once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self

__all__ = ["Record"]


@once
class Record:
    """Immutable fields, given by name. dataclasses does the same, and takes longer to import than this whole package."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, **values: Any) -> None:
        for field in self.__slots__:
            object.__setattr__(self, field, values.pop(field))
        if values:
            raise TypeError(f"{type(self).__name__} has no {', '.join(values)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def replaced(self, **values: Any) -> Self:
        """Return the same with other values for some fields."""
        return type(self)(**{**self.as_dict(), **values})

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return {field: getattr(self, field) for field in self.__slots__}

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.as_dict())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and type(other) is type(self) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.as_dict().values()))

    def __repr__(self) -> str:
        fields = ", ".join([f"{field}={value!r}" for field, value in self.as_dict().items()])
        return f"{type(self).__name__}({fields})"


@once
def _restore(cls: type[Record], values: dict[str, Any]) -> Record:
    return cls(**values)
