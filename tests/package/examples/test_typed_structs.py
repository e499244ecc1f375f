"""Structs on one side, dicts on the other."""

from __future__ import annotations

import pytest


def test_both_sides_read_each_other(examples, start, finish, segments_of):
    pytest.importorskip("msgspec", reason="msgspec is not installed")
    process = start(examples / "typed_structs.py")
    code, output, errors = finish(process)
    assert (code, errors) == (0, "")
    assert output.splitlines() == [
        "the shop reads {'item': 'spoons', 'count': 6, 'price': 1.0}",
        "6 spoons: 6.00",
        "2 tea: 7.00",
        "6 cups: 24.00",
        "in all: 37.0",
        f"refused: store 'typed-structs-{process.pid}', entry 'order:3': cannot decode as __main__.Order: Expected `int`, got `str` - at `$.count`",
    ]
    assert segments_of(process.pid) == []
