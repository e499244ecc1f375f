"""Children of every kind share it, others do not find it, and nothing is left."""

from __future__ import annotations


def test_children_share_it_and_nothing_is_left(examples, start, finish, segments_of):
    process = start(examples / "private_to_children.py")
    code, output, errors = finish(process)
    assert (code, errors) == (0, "")
    total = sum(n * n for n in range(20))
    assert output.splitlines() == [
        f"sysv total: {total}", "sysv found by others: False", f"posix total: {total}", "posix found by others: False"
    ]  # fmt: skip
    assert segments_of(process.pid) == []
