"""The parser of a command: options may stand anywhere among the arguments, as users of GNU tools expect."""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["CommandParser", "HelpFormatter", "Parser"]


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs to the width of the terminal, and leaves indented ones as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            paragraph if "\n  " in f"\n{paragraph}" else super(HelpFormatter, self)._fill_text(paragraph, width, indent)
            for paragraph in paragraphs
        )


class Parser(argparse.ArgumentParser):
    """Does not swallow it when its help cannot be written."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if message and file is not None:
            file.write(message)


class CommandParser(Parser):
    """``put KEY NAME --text VALUE`` works as ``put KEY NAME VALUE --text``, which argparse alone does not give
    where an argument is optional."""

    _inside = False

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        if self._inside:
            return super().parse_known_args(args, namespace)
        self._inside = True
        try:
            found, unknown = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False
        if unknown:
            self.error(f"there is no use for {' '.join(map(repr, unknown))} here")
        return found, unknown
