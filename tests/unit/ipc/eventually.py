"""For what tests beside these disturb: `ls`, `prune` and `doctor` attach to every segment for a moment, which the kernel notes
in the segment's record."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def comes_to(look: Callable[[], Any], expected: Callable[[], Any] | Any) -> None:
    """Look until what is found is what is expected, or what the function says then; fail if that never happens."""
    deadline = time.monotonic() + 60
    while (found := look()) != (right := expected() if callable(expected) else expected):
        assert time.monotonic() < deadline, f"{found!r}, not {right!r}"
        time.sleep(0.001)
