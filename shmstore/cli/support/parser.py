"""The parser of a command. It follows the rules of GNU tools, and behaves the same on every Python: options may be anywhere
among the arguments, and the first ``--`` ends them. Everything after it is literal, even another ``--``. The error for an
unknown option names the nearest known one.

The versions of argparse differ in how they treat ``--`` and words that begin with a dash, and remove them even from values.
So CommandParser separates options from arguments itself, and argparse sees neither.
"""

from __future__ import annotations

import argparse
import re
import sys

from shmstore.cli.support.failures import WRONG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any, NoReturn

__all__ = ["CommandParser", "HelpFormatter", "Parser", "did_you_mean", "looks_like_option"]


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs to the width of the terminal, and does not change indented ones."""

    def add_argument(self, action: argparse.Action) -> None:
        """As argparse does, and counts the indent of commands, too."""
        super().add_argument(action)
        for command in self._iter_indented_subactions(action):
            length = len(self._format_action_invocation(command)) + self._current_indent
            self._action_max_length = max(self._action_max_length, length)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            paragraph if "\n  " in f"\n{paragraph}" else super(HelpFormatter, self)._fill_text(paragraph, width, indent)
            for paragraph in paragraphs
        )


# Names that other tools have for a command, and that are too different from ours for a guess by letters.
_ELSEWHERE = {
    "set": "put",
    "add": "put",
    "store": "put",
    "read": "get",
    "remove": "rm",
    "destroy": "rm",
    "help": "--help",
}


class Parser(argparse.ArgumentParser):
    """Raises the error if its help cannot be written, unlike argparse."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if message and file is not None:
            file.write(message)

    def error_with_help(self, message: str) -> NoReturn:
        """As error(), with the whole help instead of the usage."""
        self._print_message(self.format_help(), sys.stderr)
        self.exit(WRONG, f"\n{self.prog}: error: {message}\n")

    def check_command(self, word: str, known: Iterable[str]) -> None:
        if word not in known:
            guess = f"; did you mean {_ELSEWHERE[word]}?" if word in _ELSEWHERE else did_you_mean(word, known)
            self.error(f"there is no command {word!r}{guess or f'; {self.prog} --help lists the commands'}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(
                action, f"{value!r} is not one of {', '.join(action.choices)}{did_you_mean(value, action.choices)}"
            )

    def refuse_unknown_option(self, name: str, advice: str) -> NoReturn:
        """Called before the arguments are parsed: the word after a mistyped option would be taken for an argument."""
        self.error(f"there is no option {name}{did_you_mean(name, self._option_string_actions) or advice}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name the known word that is nearest to this one, if any is near. The dashes of options do not count."""
    from difflib import get_close_matches

    by_letters = {one.lstrip("-"): one for one in known}
    near = get_close_matches(word.lstrip("-").lower(), by_letters, n=1)
    return f"; did you mean {by_letters[near[0]]}?" if near else ""


_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def looks_like_option(word: str) -> bool:
    """Whether a word is an option: it begins with a dash, is not a number, and its name has no blank."""
    return word.startswith("-") and word != "-" and " " not in word.partition("=")[0] and not _NUMBER.fullmatch(word)


class CommandParser(Parser):
    """Separates options from arguments, and leaves the rest to argparse."""

    _words: dict[str, str]  # argparse sees a key of this dict instead of the word; it has a NUL, as no word has
    _advice = ""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        self._words = {}
        options, arguments = self._options_and_arguments(iter(args or ()))
        found, unused = super().parse_known_args([*options, *arguments], namespace)
        if unused:
            self.error(f"unexpected argument {' '.join(repr(self._words[place]) for place in unused)}")
        return found, unused

    def _options_and_arguments(self, words: Iterator[str]) -> tuple[list[str], list[str]]:
        options: list[str] = []
        arguments: list[str] = []
        for word in words:
            if word == "--":
                behind = list(map(self._place, words))
                arguments += behind
                self._advice = "" if behind else "; -- ends the options; for the key -- itself, write -- --"
            elif not looks_like_option(word):
                arguments.append(self._place(word))
            else:
                options += self._option(word, words)
        return options, arguments

    def _option(self, word: str, following: Iterator[str]) -> list[str]:
        """An option in the form for argparse: its name, and its value as a separate word."""
        name, has_value, value = word.partition("=")
        action = self._option_string_actions.get(name)
        if action is None:
            letters = [f"-{letter}" for letter in word[1:]]
            if not word.startswith("--") and all(letter in self._option_string_actions for letter in letters):
                return letters  # -fy; none of those with one letter takes a value
            self.refuse_unknown_option(name, "; write -- before an argument that begins with a dash")
        if action.nargs == 0:
            if has_value:
                self.error(f"{name} takes no value")
            return [name]
        if not has_value:
            value = next(following, "--")
            if looks_like_option(value):
                self.error(f"{name} needs a value; if the value begins with a dash, write {name}=-x")
        return [name, self._place(value)]

    def error(self, message: str) -> NoReturn:
        super().error(message + self._advice)

    def _place(self, word: str) -> str:
        place = f"\0{len(self._words)}"
        self._words[place] = word
        return place

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """argparse calls this to convert a word, or a default that is a str."""
        return super()._get_value(action, self._words.get(arg_string, arg_string))
