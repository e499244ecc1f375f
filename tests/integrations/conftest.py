"""The published sdists of frameworks, whose own tests run on the integrations, and a name for the caches of a test."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # own_tests

SDISTS = "SHMSTORE_SDISTS"  # in the environment: a folder that keeps the downloads


@pytest.fixture
def sdist(tmp_path: Path) -> Callable[[str], Path]:
    """Download and unpack the sdist of a requirement such as "django==5.2.19"; return its folder."""

    def fetch(requirement: str) -> Path:
        kept = Path(os.environ.get(SDISTS, tmp_path / "sdists"))
        name, version = requirement.split("==")
        pattern = f"{name.replace('-', '?').replace('.', '?')}-{version}.tar.gz"
        if not list(kept.glob(pattern)):
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--no-binary",
                ":all:",
                requirement,
            ]
            done = subprocess.run([*command, "--dest", kept], capture_output=True, text=True, timeout=600)
            if done.returncode:
                pytest.skip(f"pip cannot download {requirement} here: {done.stderr[-300:]}")
        (archive,) = kept.glob(pattern)
        with tarfile.open(archive) as packed:
            packed.extractall(tmp_path / "unpacked", filter="data")
        (folder,) = (tmp_path / "unpacked").iterdir()
        return folder

    return fetch
