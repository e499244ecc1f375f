"""Values on a command line: reading arguments, and showing values."""

from __future__ import annotations

import math
import sys

from shmstore.cli.support.entry_keys import printable
from shmstore.cli.support.failures import FAILED, WRONG, Failure
from shmstore.codecs import extensions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["kind_of", "one_line", "parse_json", "show_value"]


def parse_json(text: str | bytes, what: str) -> Any:
    """Read strict JSON, without NaN and Infinity."""
    import json

    def refuse(constant: str) -> None:
        raise ValueError(f'{constant} is no JSON; --typed takes {{"$float": "{constant.lower()}"}}')

    def finite(digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            raise Failure(
                WRONG, f'{what} has {digits}, which is more than a float can hold; --typed accepts {{"$float": "inf"}}'
            )
        return number

    try:
        return json.loads(text, parse_constant=refuse, parse_float=finite)
    except RecursionError:
        raise Failure(FAILED, f"{what} is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError, too
        raise Failure(WRONG, f"{what} is not JSON: {error}; --text stores it as a str") from None


def show_value(value: Any, width: int) -> str:
    """Text as it is, other values in Python's notation, in lines of *width*."""
    if type(value) is str:
        return printable(value, keep="\n\t") if sys.stdout.isatty() else value
    from pprint import pformat

    try:
        return pformat(value, width=width, sort_dicts=False)
    except RecursionError:
        return one_line(value)
    except ValueError as error:  # an int with more digits than are written
        raise Failure(FAILED, f"the value cannot be shown: {error}") from None


def one_line(value: Any, room: int | None = None) -> str:
    """A value in Python's notation, in one line, cut to *room* columns."""
    try:
        text = printable(repr(value))
    except (RecursionError, ValueError):
        text = f"<{type(value).__name__}>"
    return text if room is None or len(text) <= room else text[: max(0, room - 3)] + "..."


_FIXED = {0xC0: "None", 0xC2: "bool", 0xC3: "bool", 0xCA: "float", 0xCB: "float"}
_RANGES = (
    (0x00, 0x7F, "int"), (0x80, 0x8F, "dict"), (0x90, 0x9F, "list"), (0xA0, 0xBF, "str"), (0xC4, 0xC6, "bytes"),
    (0xCC, 0xD3, "int"), (0xD9, 0xDB, "str"), (0xDC, 0xDD, "list"), (0xDE, 0xDF, "dict"), (0xE0, 0xFF, "int"),
)  # fmt: skip
_EXTENSION_CODE_AT = {0xC7: 2, 0xC8: 3, 0xC9: 5, 0xD4: 1, 0xD5: 1, 0xD6: 1, 0xD7: 1, 0xD8: 1}


def kind_of(codec: str, data: bytes) -> str:
    """The type of a stored value by its first bytes, without decoding it; for other codecs, the name of the codec."""
    if codec == "raw":
        return "bytes"
    if codec != "msgpack" or not data:
        return codec
    first = data[0]
    if first in _FIXED:
        return _FIXED[first]
    at = _EXTENSION_CODE_AT.get(first)
    if at is not None and at < len(data):
        return extensions.NAMES.get(data[at], f"extension {data[at]}")
    return next((kind for low, high, kind in _RANGES if low <= first <= high), "?")
