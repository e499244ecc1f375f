"""Files of /proc and /sys, read in one call.

Python 3.10 removes ``open`` from ``builtins`` before the last finalizers run, and these may still use stores. ``FileIO``
stays.
"""

from _io import FileIO

__all__ = ["read"]


def read(path: str) -> bytes:
    """Return the whole file. Raises: OSError."""
    with FileIO(path) as file:
        return file.readall()
