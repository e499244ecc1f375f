"""The examples of README.md and docs/ do what they show, and the programs that users copy have types for mypy --strict."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import documents
import pytest
from session import Session, commands, matches, promises

import shmstore

ROOT = documents.ROOT
# The documents with examples, and the names of the stores in them.
STORES = {"README.md": ["pages", "quickstart"], "docs/cli.md": ["shop"], "docs/tutorial.md": ["tutorial"],
          "docs/values.md": ["frames", "users"]}  # fmt: skip
DOCUMENTS = sorted(STORES)
NEEDS = {"docs/values.md": ["numpy", "msgspec"]}


@pytest.fixture
def names(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """A name of this test alone for each store of the document; the stores are removed at the end."""
    unique = f"shmstore-test-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    given = {name: f"{unique}-{number}" for number, name in enumerate(STORES[request.getfixturevalue("document")])}
    yield given
    for name in given.values():
        for backend in ("sysv", "posix"):
            try:
                shmstore.destroy(name, backend=backend)
            except (shmstore.ShmStoreError, OSError):
                pass  # the document has removed it


@pytest.mark.parametrize("document", DOCUMENTS)
def test_examples(document: str, names: dict[str, str], tmp_path: Path) -> None:
    found = [block for block in documents.blocks(ROOT / document) if block.language in ("console", "pycon", "python")]
    assert found
    for package in NEEDS.get(document, ()):
        pytest.importorskip(package)
    with Session(tmp_path, names) as session:
        for block in found:
            try:
                session.run(block)
            except AssertionError as failure:
                failure.args = (f"{document}:{block.line}: {failure.args[0] if failure.args else ''}",)
                raise


@pytest.mark.parametrize("document", ["README.md", "docs/tutorial.md"])
def test_types(document: str, tmp_path: Path) -> None:
    """Files are checked one by one; the other blocks of a document are one program."""
    parts = []
    for block in documents.blocks(ROOT / document):
        file = re.match(r"# (\w+\.py)\n", block.text)
        if block.language == "python" and file:
            (tmp_path / file[1]).write_text(block.text)
        elif block.language == "python":
            parts.append(block.text)
    if parts:
        (tmp_path / "parts.py").write_text("".join(parts))
    programs = sorted(tmp_path.glob("*.py"))
    assert programs
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *programs, "--allow-untyped-defs", "--allow-untyped-calls",
         "--cache-dir", tmp_path / "cache"], cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_installation(tmp_path: Path) -> None:
    """The tutorial's first step, in a copy of the checkout and a home of its own."""
    (script,) = [block.text for block in documents.blocks(ROOT / "docs/tutorial.md") if block.language == "sh"]
    copy = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", ROOT, copy], check=True)
    done = subprocess.run(
        ["sh", "-ec", script + "pwd; which shmstore; shmstore --version"], cwd=copy, env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    directory, program, version = done.stdout.splitlines()[-3:]
    assert Path(program).is_relative_to(tmp_path) and Path(directory).parent == tmp_path != ROOT
    assert version == f"shmstore {shmstore.__version__}"


def test_every_document_with_examples_is_run() -> None:
    """A block that shows output and is never run would become false unnoticed."""
    shown = {
        str(path.relative_to(ROOT))
        for path in documents.documents()
        if any(block.language in ("console", "pycon") or promises(block.text) for block in documents.blocks(path))
    }
    assert shown - {"docs/integrations.md"} == set(STORES)  # its recipes are run by tests/integrations


def test_lines_match_by_their_shape() -> None:
    assert matches(["a 0x12345678", "...", "(segment 5) end"], ["a 0xffffffff", "x", "y", "(segment 77) end"])
    assert not matches(["a"], ["b"])
    assert not matches(["a", "..."], [])
    assert matches(["..."], [])


def test_commands_have_the_lines_that_follow() -> None:
    assert commands("rest\n$ a\n1\n2\n$ b\n") == [("", ["rest"]), ("a", ["1", "2"]), ("b", [])]


def failing(tmp_path: Path, language: str, text: str) -> str:
    with Session(tmp_path, {}) as session, pytest.raises(AssertionError) as failure:
        session.run(documents.Block(language, text, 1))
    return str(failure.value)


def test_false_examples_are_found(tmp_path: Path) -> None:
    assert "'2'" in failing(tmp_path, "console", "$ echo 1\n2\n")
    assert "'...'" in failing(tmp_path, "console", "$ echo 1\n...\n2\n")
    assert "no command" in failing(tmp_path, "console", "1\n")
    assert "3" in failing(tmp_path, "pycon", ">>> 1 + 1\n3\n")
    assert "ZeroDivisionError" in failing(tmp_path, "pycon", ">>> 1 / 0\n")
    assert "raised nothing" in failing(
        tmp_path, "pycon", ">>> 1\nTraceback (most recent call last):\n  ...\nKeyError: 1\n"
    )
    assert "KeyError: 2" in failing(
        tmp_path, "pycon", ">>> {}[2]\nTraceback (most recent call last):\n  ...\nKeyError: 1\n"
    )
    assert "'1'" in failing(tmp_path, "python", "print(1)  # 2\n")


def test_a_command_goes_on_beside_the_prompt(tmp_path: Path) -> None:
    """The shell's command is killed from the prompt, as in the tutorial."""
    with Session(tmp_path, {}) as session:
        for language, text in [
            (
                "python",
                "# loop.py\nimport os\nprint('process', os.getpid())\nopen('pid', 'w').write(str(os.getpid()))\n"
                "open('ready', 'w')\nwhile True: pass\n",
            ),
            ("console", "$ python loop.py\nprocess 1\n...\n"),
            (
                "pycon",
                ">>> import os, signal, time\n>>> while not os.path.exists('ready'): time.sleep(0.01)\n"
                ">>> os.kill(int(open('pid').read()), signal.SIGKILL)\n",
            ),
            ("console", "...\nKilled\n$ echo next\nnext\n"),
        ]:
            session.run(documents.Block(language, text, 1))
