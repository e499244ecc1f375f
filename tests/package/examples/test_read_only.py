"""A reader sees every change and can make none."""

from __future__ import annotations


def test_the_reader_follows_and_is_refused(examples, start, finish, segments_of):
    process = start(examples / "read_only.py")
    code, output, errors = finish(process)
    assert (code, errors) == (0, "")
    first, refused, last = output.splitlines()
    assert first == "reader: settings are {'colour': 'green'}"
    assert refused.startswith("reader: refused: ")
    assert last == "reader: settings became {'colour': 'blue'}"
    assert segments_of(process.pid) == []
