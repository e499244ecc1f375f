"""Progress bars and tables: by rich where it is installed (extra ``[cli]``), in plain text otherwise."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager


class Output(Protocol):
    """What a command presents itself with."""

    def line(self, text: str = "") -> None:
        """Write a line."""

    def progress(self, title: str) -> AbstractContextManager[Callable[[float], None]]:
        """Give a function that shows how much is done, from 0 to 1."""

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show rows of text; columns whose title starts with ">" are aligned to the right."""


def choose_output() -> Output:
    """Give rich output if rich can be imported, else plain."""
    try:
        return RichOutput()
    except ImportError:
        return PlainOutput()


class PlainOutput:
    """Text only; a bar is drawn only where somebody is looking."""

    width = 40

    def line(self, text: str = "") -> None:
        print(text, flush=True)

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[float], None]]:
        drawn = -1

        def show(fraction: float) -> None:
            nonlocal drawn
            filled = int(fraction * self.width)
            if filled != drawn and sys.stdout.isatty():
                drawn = filled
                bar = "#" * filled + "." * (self.width - filled)
                print(f"\r{title} [{bar}] {fraction:4.0%}", end="", flush=True)

        try:
            yield show
        finally:
            print() if sys.stdout.isatty() else print(title, flush=True)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        names = [name.removeprefix(">") for name in header]
        widths = [max(len(cell) for cell in column) for column in zip(names, *rows)]
        print(f"\n{title}")
        heading = [names, ["-" * width for width in widths]] if any(names) else []
        for row in [*heading, *rows]:
            cells = [
                cell.rjust(width) if name.startswith(">") else cell.ljust(width)
                for cell, width, name in zip(row, widths, header)
            ]
            print("  ".join(cells).rstrip())


class RichOutput:
    """The same by rich. Raises ImportError without it."""

    def __init__(self) -> None:
        from rich.console import Console

        # Into a file or a pipe there is no width to keep to, and a name must not be cut.
        self._console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)

    def line(self, text: str = "") -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[float], None]]:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task(title, total=1.0)
            yield lambda fraction: bar.update(task, completed=fraction)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", show_header=any(header))
        for name in header:
            title = name.removeprefix(">")
            table.add_column(title, justify="right" if title != name else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print()
        self._console.print(table)
