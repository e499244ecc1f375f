"""Keys, prefixes, values and times to live that the model draws from, and how often."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import shmstore

NAMES = st.sampled_from(
    ["a", b"a", "b", b"b", "", b"", "a/1", "a/2", b"a/1", "\x00", "\u00e9", "\u00e9".encode(), "n" * 300, b"n" * 300]
    + [f"k{i}" for i in range(12)]
)
PREFIXES = st.sampled_from(["", "a", b"a", "a/", "k", "k1", "n" * 299, "zz", "\u00e9"])
SMALL = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.text(max_size=20), st.binary(max_size=200), st.none(), st.booleans(),
    st.lists(st.integers(-100, 100), max_size=5), st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=3),
)  # fmt: skip
TTLS = st.sampled_from([None, shmstore.DEFAULT, shmstore.KEEP, 1000, 5000.5])
SETTINGS = settings(  # fmt: skip
    deadline=None,
    max_examples=50,
    stateful_step_count=40,
    suppress_health_check=list(HealthCheck),
    database=None,
    report_multiple_bugs=False,
)
