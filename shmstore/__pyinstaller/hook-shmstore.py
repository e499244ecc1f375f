"""What PyInstaller cannot see: cffi's module, which C code imports, and modules that are imported when a value needs them.

The command line comes along with a program that imports it. numpy, pyarrow, pandas and rich come with programs that import
them, and are not drawn in by this package; msgspec is small, and chosen by a string: ``codec="msgspec"``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

__all__ = ["hiddenimports"]

_PACKAGE = Path(__file__).resolve().parents[1]
# Programs, and modules that import a framework: a program that uses one names it itself.
_LEFT_OUT = {"__main__", "__pyinstaller", "_demo_parent", "cli", "demo", "integrations"}


def _modules() -> list[str]:
    """Every module of the library, read from the folder: nothing is imported, and none that is new can be forgotten."""
    found = []
    for path in sorted(_PACKAGE.rglob("*.py")):
        parts = path.relative_to(_PACKAGE).with_suffix("").parts
        if not _LEFT_OUT & set(parts):
            found.append(".".join([_PACKAGE.name, *[part for part in parts if part != "__init__"]]))
    return found


hiddenimports = ["_cffi_backend", *_modules()]
if find_spec("msgspec"):
    hiddenimports.append("msgspec")
