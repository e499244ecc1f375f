"""Each folder of the C sources and of the package uses only itself and what is below it, no two files use each other, and
what the commands share imports no command."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "shmstore" / "csrc"
LAYERS = ["base", "os", "segment", "engine", "api", "python"]  # from the bottom to the top
SOURCES = sorted(CSRC.rglob("*.[ch]"))


def includes(source: Path) -> list[str]:
    return re.findall(r'^#include "(.+)"', source.read_text(), re.M)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(CSRC).as_posix())
def test_includes_point_down(source: Path) -> None:
    below = LAYERS[: LAYERS.index(source.parent.name) + 1]
    assert [name for name in includes(source) if name.split("/")[0] not in below] == []
    if source.parent.name != "python":
        assert "<Python.h>" not in source.read_text()


def test_sources_form_no_cycle() -> None:
    """A module is a .c file with its header."""
    uses: dict[str, set[str]] = {}
    for source in SOURCES:
        module = source.relative_to(CSRC).as_posix().split(".")[0]
        uses.setdefault(module, set()).update(name.split(".")[0] for name in includes(source))
    while free := [module for module, used in uses.items() if not (used - {module}) & uses.keys()]:
        for module in free:
            del uses[module]
    assert uses == {}


# ---- the package ---------------------------------------------------------------------------------------------

PACKAGE = CSRC.parent
PARTS = [
    "_core", "_base", "errors", "_system", "codecs", "sysv", "posix", "_store", "store", "near", "cache", "shared_memory", "__init__",
    "integrations", "demo", "_demo_parent", "cli", "__main__", "__pyinstaller",
]  # fmt: skip  # from the bottom to the top
MODULES = {
    path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", "."): path
    for path in PACKAGE.rglob("*.py")
}


def imports(path: Path) -> tuple[set[str], set[str]]:
    """Return the modules of the package that a module imports when it is imported, and those that it imports late.

    What is imported for type checkers alone is left out.
    """
    at_once: set[str] = set()
    late: set[str] = set()

    def add(found: set[str], name: str) -> None:
        if name.split(".")[0] == "shmstore":
            found.add(f"{name}.__init__" if f"{name}.__init__" in MODULES else name)

    def visit(node: ast.AST, found: set[str]) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for other in node.orelse:
                visit(other, found)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                add(found, alias.name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                is_module = name in MODULES or f"{name}.__init__" in MODULES or name == "shmstore._core"
                add(found, name if is_module else str(node.module))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "late" and isinstance(node.args[0], ast.Constant):
            add(late, str(node.args[0].value))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            found = late
        for child in ast.iter_child_nodes(node):
            visit(child, found)

    visit(ast.parse(path.read_text()), at_once)
    return at_once, late


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    own = module.split(".")[1]
    at_once, late = imports(MODULES[module])
    above = PARTS[PARTS.index(own) + 1 :]
    assert [name for name in sorted(at_once | late) if name.split(".")[1] in above] == []


def test_modules_of_python_form_no_cycle() -> None:
    uses = {module: imports(path)[0] for module, path in MODULES.items()}
    while free := [module for module, used in uses.items() if not (used - {module}) & uses.keys()]:
        for module in free:
            del uses[module]
    assert uses == {}


def test_imports_are_seen(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        "from shmstore import errors\nfrom shmstore.codecs import NAMES, raw\nif TYPE_CHECKING:\n  import shmstore.store\n"
        "else:\n  table = late('shmstore.sysv._table')\ndef f():\n  from shmstore.cli import main\n"
    )
    assert imports(source) == (
        {"shmstore.errors", "shmstore.codecs.__init__", "shmstore.codecs.raw"},
        {"shmstore.sysv._table", "shmstore.cli.__init__"},
    )


@pytest.mark.parametrize("folder", ["commands", "support"])
def test_commands_use_what_they_share_and_not_each_other(folder: str) -> None:
    sources = sorted((CSRC.parent / "cli" / folder).glob("*.py"))
    assert len(sources) > 15
    assert [
        source.name for source in sources if re.search(r"shmstore\.cli(\.commands| import)", source.read_text())
    ] == []
