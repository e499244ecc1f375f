"""Frames go from one process to another."""

from __future__ import annotations

import pytest


def test_every_frame_arrives(examples, start, finish, segments_of):
    pytest.importorskip("numpy", reason="numpy is not installed")
    process = start(examples / "arrays.py")
    code, output, errors = finish(process)
    assert (code, errors) == (0, "")
    assert output.splitlines() == [
        f"frame {n}: uint8 (480, 640), lines {n * 90} to {n * 90 + 9}, mean 3.98" for n in range(5)
    ]
    assert segments_of(process.pid) == []
