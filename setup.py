"""Everything is in pyproject.toml but the two things it has no key for: cffi's hook and the wheel's abi3 tag."""

from setuptools import setup

setup(
    cffi_modules=["build_ffi.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
