"""CPython's own tests of mappings, run on stores, where this Python has them.

BasicTestMappingProtocol is for every mapping. TestMappingProtocol asks for more, some of which a store does not promise: keys that are
ints (values, items, clear, update), a constructor from keywords, copy and fromkeys (popitem needs them, too), and a setdefault that returns the
stored object itself. TestHashMappingProtocol is for mappings with keys of all types.
"""

from __future__ import annotations

import unittest

import pytest

import shmstore

OURS = {
    "BasicTestMappingProtocol": """
        test_bool test_constructor test_get test_getitem test_items test_keys test_len test_pop test_popitem test_read test_setdefault
        test_update test_values test_write
        """.split(),
    "TestMappingProtocol": "test_bool test_contains test_get test_getitem test_keys test_len test_pop".split(),
}
NOT_OURS = """
test_clear test_constructor test_copy test_fromkeys test_items test_popitem test_setdefault test_update test_values
""".split()


@pytest.fixture
def theirs():
    suite = pytest.importorskip("test.mapping_tests", reason="this Python comes without its tests")

    def make(protocol):
        class Tests(getattr(suite, protocol), unittest.TestCase):
            def type2test(self):
                store = shmstore.Store(shmstore.PRIVATE, size="1M")
                self.addCleanup(store.destroy)
                return store

        return Tests

    return make


@pytest.mark.parametrize("protocol, name", [(protocol, name) for protocol in OURS for name in OURS[protocol]])
def test_of_cpython(theirs, protocol, name):
    tests = theirs(protocol)
    if not hasattr(tests, name):
        pytest.skip("this Python's tests have none of this name")
    result = unittest.TestResult()
    tests(name).run(result)
    assert [text for _, text in result.errors + result.failures] == []
    assert (result.testsRun, result.skipped) == (1, [])


def test_no_test_is_forgotten(theirs):
    for protocol, names in OURS.items():
        found = {name for name in dir(theirs(protocol)) if name.startswith("test_")}
        assert found <= {*names, *NOT_OURS, *OURS["BasicTestMappingProtocol"]}
