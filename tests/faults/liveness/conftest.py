"""The module beside the tests, and what they share."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import actors


@pytest.fixture
def actor(key):
    """Start processes on the test's store: actor(namespaces, ...) -> Actor. Those that live are killed at the end."""
    started = []

    def start(*namespaces, **options):
        try:
            started.append(actors.Actor(key, *namespaces, **options))
        except actors.NotAllowed as error:
            pytest.skip(str(error))
        return started[-1]

    yield start
    for each in started:
        each.end()
