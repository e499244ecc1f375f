"""Imports that take care: of modules that few programs need, and of the package being imported several times.

*Late* modules, which few programs need, are imported when something of them is first asked for. At shutdown finalizers still
use stores, while import statements fail, even for what was imported before. So no function of this package has an import
statement (tests/package/static), and what is late may be missing then, unless it is imported in time, at exit.

*Several imports* of the package in one interpreter come from autoreload, ``importlib.reload`` and ``del
sys.modules[...]``. Each has modules, classes and functions of its own, and handles of an earlier one go on with theirs.
What users compare, catch or pickle must not differ between them.
"""

from __future__ import annotations

import atexit
import sys

from shmstore._base.calls import kept
from shmstore._base.foreign import is_foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _T = TypeVar("_T")

__all__ = ["current", "imported", "late", "once"]


class _Late:
    """A module, from the first time on that something of it is asked for. It holds what is in the module, not the module
    object: of those that live to the end Python empties the globals."""

    __slots__ = ("__dict__", "_late", "_needs")  # the first becomes the module's

    def __init__(self, name: str, needs: str) -> None:
        self._late = name
        self._needs = needs

    def __getattr__(self, attribute: str) -> Any:
        name = self._late
        if self.__dict__:  # it is imported
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        try:
            __import__(name)
        except ImportError as error:
            if is_foreign(error):
                raise
            if sys.meta_path is not None:
                raise
            raise ImportError(f"{name} cannot be imported while Python shuts down; import it before") from None
        self.__dict__ = sys.modules[name].__dict__
        return getattr(self, attribute)


_modules: dict[str, _Late] = globals().get("_modules", {})  # which importlib.reload keeps


def late(name: str, *, needs: str | None = None) -> Any:
    """Return what stands for a module until it is imported: when something of it is asked for, and at exit, if by then the
    module *needs* is imported (itself, by default): the package that its objects are of, or "sys", so in any case."""
    if name not in _modules:
        _modules[name] = _Late(name, needs or name)
        late(needs or name)
    return _modules[name]


def imported(name: str) -> Any:
    """Return a module that somebody else has imported; None if nobody has, and so can hold nothing of it."""
    found: Any = sys.modules.get(name)
    if found is None and vars(_modules.get(name, _Late("", ""))):  # at shutdown: what it was at exit
        found = _modules[name]
    return found


@atexit.register
def _prepare() -> None:
    """Import what finalizers may need: from here on it is too late. And let finalizers come when modules are still whole,
    which they are not when the interpreter's dict goes."""
    for module in list(_modules.values()):
        if sys.modules.get(module._needs) is not None:
            try:
                module.__name__  # noqa: B018  # anything of it
            except (ImportError, OSError) as error:  # the process became another user's, say, or changed its root
                if is_foreign(error):
                    raise
    kept.clear()


def once(thing: _T) -> _T:
    """Return what the first import has in the place of *thing*: a class, or an object that its repr names."""
    name = f"{thing.__module__}.{thing.__qualname__}" if hasattr(thing, "__qualname__") else repr(thing)
    found: _T = kept.setdefault(name, thing)
    return found


def current(thing: Any) -> Any:
    """Return what the class or function *thing* is by now where pickle looks for it, for __reduce__."""
    __import__(thing.__module__)
    return getattr(sys.modules[thing.__module__], thing.__qualname__, thing)
