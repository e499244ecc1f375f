"""Each folder of the C sources includes only itself and what is below it, no two files include each other, and what the
commands share imports no command."""

from __future__ import annotations

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


def test_modules_form_no_cycle() -> None:
    """A module is a .c file with its header."""
    uses: dict[str, set[str]] = {}
    for source in SOURCES:
        module = source.relative_to(CSRC).as_posix().split(".")[0]
        uses.setdefault(module, set()).update(name.split(".")[0] for name in includes(source))
    while free := [module for module, used in uses.items() if not used - {module} & uses.keys()]:
        for module in free:
            del uses[module]
    assert uses == {}


@pytest.mark.parametrize("folder", ["commands", "support"])
def test_commands_use_what_they_share_and_not_each_other(folder: str) -> None:
    sources = sorted((CSRC.parent / "cli" / folder).glob("*.py"))
    assert len(sources) > 15
    assert [
        source.name for source in sources if re.search(r"shmstore\.cli(\.commands| import)", source.read_text())
    ] == []
