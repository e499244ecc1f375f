"""Values as the server has them: what another program reads and writes there."""

from __future__ import annotations

import datetime

import pytest

import shmstore
from shmstore.near import values


@pytest.mark.parametrize(
    ("value", "body"),
    [
        (0, b"0"),
        (-7, b"-7"),
        (2**63 - 1, b"9223372036854775807"),
        (-(2**63), b"-9223372036854775808"),
        (True, b"\x01\xc3"),
        (None, b"\x01\xc0"),
        ("a", b"\x01\xa1a"),
        (b"5", b"\x01\xc4\x015"),
        ([1, 2], b"\x01\x92\x01\x02"),
    ],
)
def test_format(value, body):
    assert values.encode(value) == body
    found = values.decode(body)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "value", [2**63, -(2**63) - 1, 2**200, (1, "a"), {"d": datetime.date(2024, 2, 29)}, 1.5, "", b""]
)
def test_roundtrip(value):
    found = values.decode(values.encode(value))
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "body", [b"", b" 5", b"05", b"+5", b"5 ", b"1_0", b"-", b"-0", b"1.5", b"hello", b"\x02\xc0", b"9" * 30, b"\xff"]
)
def test_what_shmstore_has_not_written(body):
    with pytest.raises(shmstore.CodecError):
        values.decode(body)


def test_versions():
    assert values.version_of(b"1") == values.version_of(values.encode(1)) != values.version_of(b"2")
