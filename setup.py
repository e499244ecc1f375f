"""Everything is in pyproject.toml but the two things it has no key for: cffi's hook and the wheel's abi3 tag."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from setuptools import setup

from build_backend import build_ext  # first of all: it refuses where this cannot work

setup(
    cmdclass={"build_ext": build_ext},
    cffi_modules=["build_ffi.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
