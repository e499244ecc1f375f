"""Ctrl-C and SIGTERM: an example that is ended in the middle removes its store and ends its processes."""

from __future__ import annotations

import signal
import time

import pytest

# Python's own, when the signal comes between making the thread of a ProcessPoolExecutor and starting it
EXECUTOR_HALF_STARTED = "cannot join thread before it is started"
NEEDS = {"arrays.py": "numpy", "flask_cache.py": "flask", "typed_structs.py": "msgspec"}
EXAMPLES = [*NEEDS, "read_only.py", "worker_pool.py", "private_to_children.py", "move_from_multiprocessing.py"]


@pytest.mark.parametrize("delay", [0.05, 0.4])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("example", EXAMPLES)
def test_nothing_is_left(examples, start, finish, segments_of, example, signum, delay):
    if example in NEEDS:
        pytest.importorskip(NEEDS[example])
    process = start(examples / example)
    deadline = time.monotonic() + 300.0
    while not segments_of(process.pid) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signum)
    code, _, errors = finish(process)  # returns once its children have ended, too: they share its pipes
    if EXECUTOR_HALF_STARTED not in errors:
        assert code in (128 + signum, 0, -signum), errors  # 0: it was faster; -signum: the interpreter was ending
    assert segments_of(process.pid) == []
