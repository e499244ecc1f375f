"""Two pools of processes share one cache."""

from __future__ import annotations


def test_the_second_pool_finds_everything(examples, start, finish, segments_of):
    process = start(examples / "worker_pool.py")
    code, output, errors = finish(process)
    assert (code, errors) == (0, "")
    assert output.splitlines() == [
        "Pool: 399 of 399 computed",
        "ProcessPoolExecutor: 0 of 399 computed",
        "the longest way to 1 starts at 327: 143 steps",
    ]
    assert segments_of(process.pid) == []
