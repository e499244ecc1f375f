"""Several imports of the package in one interpreter: autoreload, ``importlib.reload``, ``del sys.modules[...]``.

Each import has modules, classes and functions of its own, and handles of an earlier one go on with theirs. What users
compare, catch or pickle must not differ between them.
"""

from __future__ import annotations

import sys

from shmstore._calls import kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _T = TypeVar("_T")

__all__ = ["current", "once"]


def once(thing: _T) -> _T:
    """Return what the first import has in the place of *thing*: a class, or an object that its repr names."""
    name = f"{thing.__module__}.{thing.__qualname__}" if hasattr(thing, "__qualname__") else repr(thing)
    found: _T = kept.setdefault(name, thing)
    return found


def current(thing: Any) -> Any:
    """Return what the class or function *thing* is by now where pickle looks for it, for __reduce__."""
    __import__(thing.__module__)
    return getattr(sys.modules[thing.__module__], thing.__qualname__, thing)
