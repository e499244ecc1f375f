"""Describe the compiled module ``shmstore._core`` to cffi.

The C surface is declared once, in ``shmstore/csrc/*/*.cdef.h``: cffi parses these files and the C sources include
them. The same file holds a second module, ``_calls``, with the hot calls (``python/module.c``); everything else is
bound by cffi.

Build it with ``pip install .``; nothing here needs to be run by hand.
"""

from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent
CSRC = Path("shmstore") / "csrc"


# cffi gives the GIL up around every call, which costs more than most calls here do, and a
# thread that gave it up waits for a switch interval (5 ms) to get it back. So only functions named
# shms_w_* (they wait, or copy much) give it up; __func__ is a constant, so the test folds at compile time.
KEEP_THE_LOCK = r"""
#define SHMS_RELEASES_GIL (__builtin_strncmp(__func__, "_cffi_f_shms_w_", 15) == 0)
#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS
#define Py_BEGIN_ALLOW_THREADS { PyThreadState *_save = SHMS_RELEASES_GIL ? PyEval_SaveThread() : 0;
#define Py_END_ALLOW_THREADS if (SHMS_RELEASES_GIL) PyEval_RestoreThread(_save); }
"""

cdefs = sorted((ROOT / CSRC).rglob("*.cdef.h"))
sources = sorted((ROOT / CSRC).rglob("*.c"))
headers = sorted((ROOT / CSRC).rglob("*.h"))


def relative(paths: list[Path]) -> list[str]:
    """Setuptools wants sources relative to the project."""
    return [str(path.relative_to(ROOT)) for path in paths]


ffibuilder = FFI()
for cdef in cdefs:
    ffibuilder.cdef("".join(line for line in cdef.read_text().splitlines(True) if not line.startswith("#")))
ffibuilder.set_source(
    "shmstore._core",
    "".join(f'#include "{name}"\n' for name in ("api/api.h", "os/sysv.h", "os/posix.h")) + KEEP_THE_LOCK,
    sources=relative(sources),
    depends=[*relative(headers), "build_ffi.py"],  # build_ffi.py reaches the sdist this way
    include_dirs=[str(CSRC)],
    libraries=["rt", "pthread"],  # before glibc 2.34: shm_open and shm_unlink; pthread_atfork
    define_macros=[("Py_LIMITED_API", "0x030a0000")],  # 3.10: METH_FASTCALL and PyUnicode_AsUTF8AndSize
    py_limited_api=True,
    extra_compile_args=[
        "-std=c11",
        "-D_GNU_SOURCE",
        "-fvisibility=hidden",
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",
        "-Wno-missing-field-initializers",
        "-Wno-error",
    ],  # that of CFLAGS is for other compilers' warnings
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
