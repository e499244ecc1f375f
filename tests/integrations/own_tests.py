"""What the tests of a framework reported, against the table of docs/integrations.md."""

from __future__ import annotations

import re
import subprocess
import sys
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


def run(tests: Path, *arguments: str) -> tuple[int, set[str], set[str]]:
    """Run pytest in a folder of tests."""
    report = tests.parent / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
    ]
    done = subprocess.run([*command, *arguments], cwd=tests, capture_output=True, text=True, timeout=900)
    assert report.exists(), done.stdout + done.stderr
    passed, failed, skipped = reported(report)
    assert failed == set(), done.stdout[-5000:]
    return passed, failed, skipped
