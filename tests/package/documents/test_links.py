"""Every link between the project's files leads somewhere, and so does every path that a file mentions in its text."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from documents import ROOT, anchors, documents, links

SOURCES = [
    path
    for pattern in ("shmstore/**/*.py", "shmstore/csrc/**/*.[ch]", "tests/**/*.py", "tests/**/*.[ch]", "benchmarks/*.py", "examples/**/*.*",
                    "*.toml", "*.py", ".ci/*", "docs/model/*.pml", "**/*.md")
    for path in sorted(ROOT.glob(pattern))
    if path.is_file() and "build" not in path.parts
]  # fmt: skip
# Paths as a text mentions them: from the root of the project, with a suffix.
MENTIONED = re.compile(
    r"(?<![\w/.-])(?:docs|tests|benchmarks|examples|shmstore)/[\w./-]*\w\.(?:md|txt|py|pml|svg|json|[ch])\b"
)


def broken(document: Path) -> list[str]:
    """The links of a document that lead nowhere."""
    found = []
    for link in links(document):
        if re.match(r"[a-z]+:", link):
            continue  # another host's
        target, _, anchor = link.partition("#")
        path = (document.parent / target).resolve() if target else document
        if not path.exists() or not path.is_relative_to(ROOT):
            found.append(f"{link}: there is no such file")
        elif anchor and (path.suffix != ".md" or anchor not in anchors(path)):
            found.append(f"{link}: there is no such heading")
    return found


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert broken(document) == []


def test_paths_in_texts_exist() -> None:
    missing = {
        f"{source.relative_to(ROOT)}: {path}"
        for source in SOURCES
        for path in MENTIONED.findall(source.read_text(errors="replace"))
        if not (ROOT / path).exists() and not list(ROOT.glob(path))
    }
    assert missing == set()


def test_a_broken_link_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    other.write_text("# One\n\n## A *second* `heading`, with [a link](page.md)!\n\n## One\n\n```\n# no heading\n```\n")
    assert anchors(other) == {"one", "a-second-heading-with-a-link", "one-1"}
    page.write_text(
        "[a](other.md) [b](other.md#one-1) [c](#none) ![d](gone.svg) [e](other.md#no-heading) `[f](gone.md)`"
    )
    assert broken(page) == [
        "#none: there is no such heading",
        "gone.svg: there is no such file",
        "other.md#no-heading: there is no such heading",
    ]
