"""Benchmarks for those who want to see for themselves: ``python -m benchmarks.ops`` in the project's root.

What is measured is the *installed* shmstore. ``python -m`` puts the current folder in front of everything, and
there lies the checkout, which has no compiled module; so the root is taken off the path before shmstore is
imported for the first time.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"

sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT]

try:
    import shmstore as shmstore
except ImportError as error:
    raise SystemExit(f"shmstore is not installed here ({error}); run:  pip install '.[bench]'") from None
