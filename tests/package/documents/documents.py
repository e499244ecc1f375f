"""The parts of a Markdown file that the tests look at: fenced blocks, links and the anchors of headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
NOT_OURS = {"build", "node_modules"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the document on which the text begins."""

    language: str
    text: str
    line: int


def documents() -> list[Path]:
    """Every Markdown file of the project."""
    found = (
        path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    )
    return sorted(path for path in found if not NOT_OURS & set(path.relative_to(ROOT).parts))


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    found: list[Block] = []
    language, text, first = "", None, 0
    for number, line in enumerate(path.read_text().splitlines(keepends=True), 1):
        fence = re.match(r"```(\w*)\s*$", line)
        if fence and text is None:
            language, text, first = fence[1], "", number + 1
        elif fence:
            assert text is not None and not fence[1], f"{path}:{number}: a block begins inside a block"
            found.append(Block(language, text, first))
            text = None
        elif text is not None:
            text += line
    assert text is None, f"{path}:{first}: this block has no end"
    return found


def prose(path: Path) -> str:
    """A document without its fenced blocks and its spans of code."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
    return re.sub(r"`[^`\n]+`", lambda span: re.sub(r"[\[\]()]", " ", span[0]), text)


def links(path: Path) -> list[str]:
    """The targets of all links and images of a document."""
    return re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", prose(path))


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    found: set[str] = set()
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
    for heading in re.findall(r"^#+ +(.*?) *#*$", text, re.M):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        plain = slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        count = 0
        while slug in found:
            count += 1
            slug = f"{plain}-{count}"
        found.add(slug)
    return found
