"""Where PyInstaller finds the hook that packs this package into a program: named by an entry point in pyproject.toml."""

from __future__ import annotations

import os

__all__ = ["get_hook_dirs"]


def get_hook_dirs() -> list[str]:
    return [os.path.dirname(__file__)]
