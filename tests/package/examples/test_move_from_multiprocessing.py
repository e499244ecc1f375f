"""One program on the standard library's shared memory and on ours: the same output but for the name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "options, name", [([], "shmstore.shared_memory"), (["--stdlib"], "multiprocessing.shared_memory")]
)
def test_it_finds_the_primes(examples, start, finish, segments_of, options, name):
    objects = set(os.listdir("/dev/shm"))
    process = start(examples / "move_from_multiprocessing.py", *options)
    code, output, errors = finish(process)
    assert (code, errors) == (0, "")
    assert output.splitlines() == [
        "17984 primes below 200000: [5133, 4459, 4256, 4136]",
        "the largest is 199999",
        f"kept by {name}",
    ]
    assert segments_of(process.pid) == []
    assert not [left for left in set(os.listdir("/dev/shm")) - objects if left.startswith("psm_")]


def test_the_two_ways_differ_in_one_import(examples):
    source = Path(examples / "move_from_multiprocessing.py").read_text()
    assert source.count("import shared_memory") == 2
    assert source.count("shmstore") - source.split('"""')[1].count("shmstore") == 1
