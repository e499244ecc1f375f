"""Memory order: each release/acquire pair of the engine as a litmus test, and with its orders taken away (pairs.c)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[2] / "shmstore" / "csrc"
# Tags that are not about memory order: the order of the steps alone, which the models check (docs/model), or a promise
# about what a race may do.
NOT_ORDERS = {"racy-copy", "prove-mismatch", "clock-then-expiry"}


def tags_in_the_code() -> set[str]:
    found = set()
    for source in CSRC.rglob("*.[ch]"):
        found |= set(re.findall(r"\[([a-z]+(?:-[a-z]+)+|alloc|publish|summary|unpin)\]", source.read_text()))
    return found


def test_pairs(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "these tests need a C compiler, as the package does"
    built = tmp_path / "pairs"
    subprocess.run([compiler, "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Wno-missing-field-initializers",
                    "-Wno-missing-braces", "-o", built, HERE / "pairs.c"], check=True)  # fmt: skip
    done = subprocess.run([built], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout
    tested = {line.split()[0] for line in done.stdout.splitlines()} - {"self"}
    assert tested == tags_in_the_code() - NOT_ORDERS
