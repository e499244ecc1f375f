"""What needs all of pytest-xdist's workers at once happens before any of them is given a test."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Which worker runs which test, and how many get none, is the scheduler's business: a barrier inside of tests
    could wait for ever. But every worker collects every test, so each comes by here, and knows that the others do."""
    if session.config.option.collectonly:
        return
    for item in session.items:
        before_all_tests = getattr(getattr(item, "module", None), "before_all_tests", None)
        if before_all_tests is not None:
            before_all_tests(session.config)
            return
