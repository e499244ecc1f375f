"""No function imports anything: at shutdown, import statements fail (shmstore/_base/imports.py)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[3] / "shmstore"
# The command line and the demo end before. What late modules come by; and pandas, which needs modules of its own then.
ALLOWED = {
    "_base/imports.py": 2,
    "codecs/optional.py": 1,
    "codecs/frame_writer.py": 1,
    "codecs/nested.py": 2,
    "codecs/pandas_zones.py": 1,
}
SOURCES = [
    source
    for source in sorted(PACKAGE.rglob("*.py"))
    if not source.relative_to(PACKAGE).as_posix().startswith(("cli/", "demo.py", "_demo_parent.py", "__main__.py"))
]


def imports_in_functions(source: str) -> list[int]:
    """The lines of import statements, and of calls of __import__ and import_module."""
    found = set()
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            for node in ast.walk(function):
                called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                if isinstance(node, (ast.Import, ast.ImportFrom)) or called.endswith(("__import__", "import_module")):
                    found.add(node.lineno)
    return sorted(found)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_function_imports(source: Path) -> None:
    found = imports_in_functions(source.read_text())
    assert len(found) <= ALLOWED.get(source.relative_to(PACKAGE).as_posix(), 0), found


def test_an_import_in_a_function_is_seen() -> None:
    program = "import a\ndef f():\n  import b\n  def g():\n    from c import d\n    __import__('e')\nx = lambda: importlib.import_module('f')\n"
    assert imports_in_functions(program) == [3, 5, 6, 7]
