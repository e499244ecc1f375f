"""An example that needs a package which is not there says so, in one sentence."""

from __future__ import annotations

import ast
import os
import sys

import pytest

NEEDS = {"arrays.py": "numpy", "flask_cache.py": "flask", "typed_structs.py": "msgspec"}


@pytest.mark.parametrize("example", NEEDS)
def test_it_says_what_to_install(examples, start, finish, segments_of, tmp_path, monkeypatch, example):
    package = NEEDS[example]
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / f"{package}.py").write_text(f"raise ModuleNotFoundError('No module named {package}', name={package!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(hidden), prepend=os.pathsep)
    process = start(examples / example)
    assert finish(process) == (1, "", f"this example needs {package}: pip install {package}\n")
    assert segments_of(process.pid) == []


def test_the_others_need_nothing(examples):
    for path in examples.rglob("*.py"):
        imports = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, (ast.Import, ast.ImportFrom))
        ]
        names = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports}
        others = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"shmstore"}
        assert others == {NEEDS[path.name]} if path.name in NEEDS else not others, path
