"""The keys of entries on a command line: text as it is, other keys as Python literals.

A key that is plain text stands for itself. Text that begins and ends with a quote is a Python literal: ``b'\\xff'`` is a
key of bytes, ``'a\\nb'`` a key with a line feed, ``''`` the empty key. ``parse_entry_key`` reads what ``show_entry_key`` writes.
"""

from __future__ import annotations

import re

from shmstore.cli.support.failures import WRONG, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shmstore._store.keys import EntryKey

__all__ = ["parse_entry_key", "printable", "raw_argument", "show_entry_key"]

_LITERAL = re.compile(r"""b?(['"]).*\1""", re.S)
_BEGINS_LITERAL = re.compile(r"""b?['"]""")


def show_entry_key(key: EntryKey) -> str:
    """Write a key on one line, so that parse_entry_key reads it."""
    if isinstance(key, bytes):
        return repr(key)
    if not key or not key.isprintable() or key != key.strip() or _BEGINS_LITERAL.match(key):
        return repr(key)
    return key


def parse_entry_key(text: str) -> EntryKey:
    """Read a key from an argument."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raw = raw_argument(text)
        raise Failure(WRONG, f"the key {raw!r} is not UTF-8; if the key is bytes, write it as {raw!r}") from None
    if not (len(text) > 1 and _LITERAL.fullmatch(text)):
        return text
    import ast

    try:
        key = ast.literal_eval(text)
        if isinstance(key, str):
            key.encode()
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        key = None
    if not isinstance(key, (str, bytes)):
        raise Failure(WRONG, f"the key {text} is in quotes, but is not a Python literal of a str or bytes")
    return key


def raw_argument(text: str) -> bytes:
    """An argument as UTF-8. Bytes of the command line that are not UTF-8 stay the same."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise Failure(WRONG, f"{text!r} is not text: it has a lone surrogate") from None


def printable(text: str, keep: str = "") -> str:
    """Escape control and other unprintable characters as Python does, except those in *keep*."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else repr(char)[1:-1] for char in text)
