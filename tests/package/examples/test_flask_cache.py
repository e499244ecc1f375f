"""A site whose pages do not all fit into its cache: no error, and most requests find their page."""

from __future__ import annotations

import re

import pytest


@pytest.mark.sample  # eight thousand requests, once and not on every Python
def test_every_request_is_answered(examples, start, finish, segments_of):
    pytest.importorskip("flask", reason="flask is not installed")
    process = start(examples / "flask_cache.py")
    code, output, errors = finish(process)
    assert (code, errors) == (0, "")
    answered, kept, hits = output.splitlines()
    assert answered == "8000 of 8000 requests were answered"
    found = re.fullmatch(r"(\d+) pages are in the cache, (\d+) were evicted", kept)
    assert found and 150 < int(found[1]) < 262 and int(found[2]) > 100
    assert 20 < int(hits.removeprefix("hit ratio: ").removesuffix("%")) < 90
    assert segments_of(process.pid) == []
