"""What the tests of a framework reported, against the table of docs/integrations.md."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

TABLE = Path(__file__).resolve().parents[2] / "docs" / "integrations.md"


def documented(requirement: str) -> tuple[int, set[str]]:
    """The number of tests that pass, and the names of those that are skipped."""
    name, version = requirement.split("==")
    (row,) = re.findall(rf"^\| {re.escape(name)} {re.escape(version)} \|.*$", TABLE.read_text(), re.M | re.I)
    _, _, passed, failed, skipped, _ = row.split("|")
    assert failed.strip() == "0"
    return int(passed), set(re.findall(r"`(test_\w+)`", skipped))


def reported(junit: Path) -> tuple[int, set[str], set[str]]:
    """The number of tests that passed, and the names of those that failed and were skipped, in a file of pytest."""
    passed, failed, skipped = 0, set(), set()
    for case in ElementTree.parse(junit).iter("testcase"):
        name = case.get("name", "").split("[")[0]
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add(name)
        elif case.find("skipped") is not None:
            skipped.add(name)
        else:
            passed += 1
    return passed, failed, skipped
