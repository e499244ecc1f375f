"""The recipes of docs/integrations.md, each section as one program. What a line prints is in its comment."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "integrations.md").read_text()
# What each section needs, the name of the cache in it, and what stands between its blocks.
CONFIGURE = """
import django
from django.conf import settings
settings.configure(CACHES=CACHES, SESSION_ENGINE=SESSION_ENGINE)
django.setup()
"""
SECTIONS = {
    "Django": ("django", "shop", CONFIGURE),
    "cachelib": ("cachelib", "shop", ""),
    "Flask-Caching": ("flask_caching", "shop", ""),
    "Flask-Session": ("flask_session", "sessions", ""),
    "dogpile.cache": ("dogpile.cache", "shop", ""),
    "cachetools": ("cachetools", "shop", ""),
    "Flask-Limiter, slowapi and limits": ("flask_limiter", "shop-limits", ""),
    "requests-cache": ("requests_cache", "responses", ""),
    "aiocache": ("aiocache", "shop", ""),
    "joblib.Memory": ("joblib", "results", ""),
    "Litestar": ("litestar", "shop", ""),
    "Starlette and FastAPI": ("starlette.testclient", "shop-pages", ""),
    "prometheus_client": ("prometheus_client", "shop-metrics", ""),
    "diskcache": ("shmstore", "shop", ""),
    "multiprocessing": ("shmstore", "shop", ""),
    "concurrent.futures": ("shmstore", "shop", ""),
    "Celery": ("celery", "shop", ""),
    "Dask": ("distributed", "shop", ""),
    "Ray": ("ray", "shop", ""),
    "Jupyter": ("shmstore", "notebooks", ""),
    "Moving": ("shmstore", "shop", ""),
}
PIP = {"Ray": "ray"}  # not in the extra, because it takes a gigabyte


@pytest.mark.parametrize("section", SECTIONS)
def test_recipe(section: str, key: str, tmp_path: Path) -> None:
    needs, name, between = SECTIONS[section]
    pytest.importorskip(
        needs, reason=f"{section} is not installed: pip install {PIP.get(section, repr('.[integrations]'))}"
    )
    (text,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    program = between.join(re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S))
    program, found = re.subn(rf'(?<=["/]){name}(?=(?:-state)?["?])', key, program)
    assert found
    expected = re.findall(r"print\(.*\)  # (.+)$", program, re.M)
    assert expected
    (tmp_path / "recipe.py").write_text(program)  # workers that are spawned import it
    command = [sys.executable, "recipe.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.splitlines()) == (0, expected), done.stderr


def test_every_section_with_a_program_is_run() -> None:
    found = re.findall(r"^## (.+)\n((?:(?!^## )[^\n]*\n)*)", TEXT, re.M)
    assert [title for title, text in found if "```python" in text] == list(SECTIONS)
