"""The parser of a command: options may stand anywhere among the arguments, as users of GNU tools expect, and what is
none is answered with the nearest that is one (argparse does so from Python 3.14 on, and only of choices)."""

from __future__ import annotations

import argparse
import sys

from shmstore.cli._failures import WRONG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, NoReturn

__all__ = ["CommandParser", "HelpFormatter", "Parser", "did_you_mean"]


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs to the width of the terminal, and leaves indented ones as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            paragraph if "\n  " in f"\n{paragraph}" else super(HelpFormatter, self)._fill_text(paragraph, width, indent)
            for paragraph in paragraphs
        )


# What other tools call a command, where no likeness of letters leads to ours.
_ELSEWHERE = {"set": "put", "add": "put", "store": "put", "read": "get", "remove": "rm", "destroy": "rm", "help": "--help"}


class Parser(argparse.ArgumentParser):
    """Does not swallow it when its help cannot be written."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if message and file is not None:
            file.write(message)

    def error_with_help(self, message: str) -> NoReturn:
        """As error(), with the whole help in place of the usage."""
        self._print_message(self.format_help(), sys.stderr)
        self.exit(WRONG, f"\n{self.prog}: error: {message}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        if action.dest == "command":
            guess = f"; did you mean {_ELSEWHERE[value]}?" if value in _ELSEWHERE else did_you_mean(value, action.choices)
            self.error(f"there is no command {value!r}{guess or f'; {self.prog} --help lists them'}")
        raise argparse.ArgumentError(
            action, f"{value!r} is none of {', '.join(action.choices)}{did_you_mean(value, action.choices)}"
        )

    def refuse_unknown_options(self, args: Sequence[str], advice: str) -> None:
        """Before anything else is looked at: what follows a mistyped option would be taken for something else."""
        for arg in args:
            name = arg.partition("=")[0]
            if arg == "--":
                return
            if name.startswith("--") and " " not in arg and name not in self._option_string_actions:
                self.error(f"there is no option {name}{did_you_mean(name, self._option_string_actions) or advice}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name what is nearest to a word, if anything is near. The dashes of options make nothing alike."""
    from difflib import get_close_matches

    by_letters = {one.lstrip("-"): one for one in known}
    near = get_close_matches(word.lstrip("-").lower(), by_letters, n=1)
    return f"; did you mean {by_letters[near[0]]}?" if near else ""


class CommandParser(Parser):
    """``put KEY NAME --text VALUE`` works as ``put KEY NAME VALUE --text``, which argparse alone does not give
    where an argument is optional."""

    _inside = False

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        if self._inside:
            return super().parse_known_args(args, namespace)
        self.refuse_unknown_options(args or (), " here; what begins with a dash and is none goes behind --")
        self._inside = True
        try:
            found, unknown = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False
        if unknown:
            self.error(f"there is no use for {' '.join(map(repr, unknown))} here")
        return found, unknown
