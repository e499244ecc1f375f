"""Late imports of modules that few programs need, and several imports of this package in one interpreter.

A *late* module is imported when an attribute of it is first used. At shutdown, finalizers still use stores, but import
statements fail, even for modules that were imported before. So no function of this package has an import statement
(tests/package/static). A late module may be missing at shutdown, unless it was imported at exit.

*Several imports* of the package in one interpreter come from autoreload, ``importlib.reload`` and ``del
sys.modules[...]``. Each import has its own modules, classes and functions, and handles of an earlier import keep theirs.
Objects that users compare, catch or pickle must be the same in all imports.
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
    """Return a module that other code has imported; None if it was not imported, so that no object of it exists."""
    found: Any = sys.modules.get(name)
    if found is None and vars(_modules.get(name, _Late("", ""))):  # at shutdown: what it was at exit
        found = _modules[name]
    return found


@atexit.register
def _prepare() -> None:
    """Import the modules that finalizers may need, because later it is impossible. Then let finalizers run while modules are
    complete, which they are not when the interpreter's dict is cleared."""
    for module in list(_modules.values()):
        if sys.modules.get(module._needs) is not None:
            try:
                module.__name__  # noqa: B018  # anything of it
            except (ImportError, OSError) as error:  # the process became another user's, say, or changed its root
                if is_foreign(error):
                    raise
    kept.clear()


def once(thing: _T) -> _T:
    """Return the object of the first import that corresponds to *thing*: a class, or an object with the same repr."""
    name = f"{thing.__module__}.{thing.__qualname__}" if hasattr(thing, "__qualname__") else repr(thing)
    found: _T = kept.setdefault(name, thing)
    return found


def current(thing: Any) -> Any:
    """Return the class or function that pickle finds now under the name of *thing*, for __reduce__."""
    __import__(thing.__module__)
    return getattr(sys.modules[thing.__module__], thing.__qualname__, thing)
