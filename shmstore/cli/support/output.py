"""Progress bars and tables: by rich on a terminal if it is installed (extra ``[cli]``), otherwise in plain text."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

__all__ = ["Cell", "Output", "PlainOutput", "RichOutput", "choose_output", "is_terminal", "print_json"]


class Cell(str):
    """Text of a table with a meaning, which rich shows as a colour."""

    __slots__ = ("meaning",)
    meaning: str

    def __new__(cls, text: str, meaning: str) -> Cell:
        cell = super().__new__(cls, text)
        cell.meaning = meaning
        return cell


_STYLES = {"name": "bold", "quiet": "dim", "good": "green", "notice": "yellow", "bad": "bold red"}


class Output(Protocol):
    """How a command writes its output."""

    width: int | None  # columns, None where nothing bounds them

    def line(self, text: str = "") -> None:
        """Write a line."""

    def progress(self, title: str) -> AbstractContextManager[Callable[[float], None]]:
        """Give a function that shows how much is done, from 0 to 1."""

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show rows of text; columns whose title starts with ">" are aligned to the right. An empty line is before a
        title, unless it is the first thing written."""


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def choose_output() -> Output:
    """Give rich output on a terminal if rich can be imported, else plain: a pipe gets no colours and no folded names."""
    if is_terminal():
        try:
            return RichOutput()
        except ImportError:
            pass
    return PlainOutput()


def print_json(document: Any, *, line: bool = False) -> None:
    """Write a JSON document, indented; or as one line of many. A field that is an int beyond 2**53 becomes a string."""
    import json

    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    text = json.dumps(_exact(document), ensure_ascii=encoding != "utf8", indent=None if line else 2)
    print(text.encode(errors="backslashreplace").decode(), flush=line)


def _exact(document: Any) -> Any:
    if isinstance(document, dict):
        return {name: _exact(item) for name, item in document.items()}
    if isinstance(document, (list, tuple)):
        return [_exact(item) for item in document]
    return str(document) if type(document) is int and abs(document) > 2**53 else document


def _columns(text: str) -> int:
    """How wide text is on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


class PlainOutput:
    """Plain text. It draws a bar only on a terminal."""

    bar = 40

    def __init__(self) -> None:
        from shutil import get_terminal_size

        self.width = get_terminal_size().columns if is_terminal() else None
        self._begun = False

    def line(self, text: str = "") -> None:
        print(text, flush=True)
        self._begun = True

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[float], None]]:
        drawn = -1

        def show(fraction: float) -> None:
            nonlocal drawn
            filled = int(fraction * self.bar)
            if filled != drawn and is_terminal():
                drawn = filled
                bar = "#" * filled + "." * (self.bar - filled)
                print(f"\r{title} [{bar}] {fraction:4.0%}", end="", flush=True)

        try:
            yield show
        finally:
            print() if is_terminal() else print(title, flush=True)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        names = [name.removeprefix(">") for name in header]
        widths = [max(map(_columns, column)) for column in zip(names, *rows)]
        if title:
            print(f"\n{title}" if self._begun else title)
        self._begun = True
        heading = [names, ["-" * width for width in widths]] if any(names) else []
        for row in [*heading, *rows]:
            cells = []
            for cell, width, name in zip(row, widths, header):
                pad = " " * (width - _columns(cell))
                cells.append(pad + cell if name.startswith(">") else cell + pad)
            print("  ".join(cells).rstrip())
        sys.stdout.flush()


class RichOutput:
    """The same by rich. Raises ImportError without it."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)
        self.width: int | None = self._console.width
        self._begun = False

    def line(self, text: str = "") -> None:
        self._console.print(text, markup=False, soft_wrap=True)
        self._begun = True

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[float], None]]:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task(title, total=1.0)
            yield lambda fraction: bar.update(task, completed=fraction)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table(
            title=title or None, title_style="bold", title_justify="left", box=None, pad_edge=False,
            padding=(0, 2, 0, 0), show_header=any(name.removeprefix(">") for name in header), header_style="dim",
        )  # fmt: skip
        for name in header:
            column = name.removeprefix(">")
            right = name != column
            table.add_column(Text(column), justify="right" if right else "left", no_wrap=right, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell, style=_STYLES.get(getattr(cell, "meaning", ""), "")) for cell in row))
        if title and self._begun:
            self._console.print()
        self._console.print(table)
        self._begun = True


def state_cell(words: Sequence[str]) -> Cell:
    """A cell with what is unusual, in the colour of the most serious state."""
    bad = {"corrupt"}.intersection(words)
    return Cell(", ".join(words), "bad" if bad else "notice" if words else "quiet")
