"""The engine with other C libraries than this machine's: musl, and glibc as old as compat.h says.

An old glibc is made of this machine's: its headers are included first, then every name that compat.h defines is
taken away, and the functions that glibc wraps later are forbidden. So its own numbers are compiled, and compared with
those of the system. musl's programs are built by musl-gcc and run."""

from __future__ import annotations

import re
import subprocess

import engine_build
import pytest
from scenarios import MODES, SCENARIOS, stress, tell

COMPAT = (engine_build.CSRC / "os" / "compat.h").read_text()
NAMES = re.findall(r"^#define ((?!SHMS_)\w+)", COMPAT, re.M)
CALLS = ["getrandom", "memfd_create", "mlock2"]
HEADERS = [
    "errno.h", "fcntl.h", "pthread.h", "sched.h", "signal.h", "stdio.h", "stdlib.h", "string.h", "sys/ipc.h", "sys/mman.h",
    "sys/random.h", "sys/shm.h", "sys/socket.h", "sys/stat.h", "sys/syscall.h", "sys/sysmacros.h", "sys/un.h", "sys/vfs.h",
    "time.h", "unistd.h",
]  # fmt: skip
STRICT = [
    "-std=c11",
    "-D_GNU_SOURCE",
    "-pedantic",
    *engine_build.WARNINGS,
    "-Werror",
    "-fsyntax-only",
    f"-I{engine_build.CSRC}",
]


def included(names):
    return "".join(f"#include <{name}>\n" for name in names)


def old_glibc():
    """What stands in front of a file that shall see the C library of long ago."""
    return included(HEADERS) + "".join(f"#undef {name}\n" for name in NAMES) + f"#pragma GCC poison {' '.join(CALLS)}\n"


def compile_engine(cc, *flags):
    engine_build.run(cc, *STRICT, *flags, *engine_build.engine())


@pytest.mark.parametrize("names", [("musl-gcc",), ("gcc",), ("clang",)], ids=lambda names: names[0])
def test_the_engine_is_standard_c(names):
    compile_engine(engine_build.compiler(*names))


@pytest.mark.parametrize(
    "names", [("cc", "gcc"), pytest.param(("clang",), marks=pytest.mark.sample)], ids=lambda names: names[0]
)
def test_the_engine_compiles_with_an_old_glibc(tmp_path, names):
    before = tmp_path / "old_glibc.h"
    before.write_text(old_glibc())
    compile_engine(engine_build.compiler(*names), "-include", str(before))


def test_an_old_glibc_lacks_what_is_taken_away(tmp_path):
    """The test above would find a name that compat.h does not have."""
    source = tmp_path / "source.c"
    for use in ("int x = MADV_POPULATE_WRITE;", "int x = O_TMPFILE;", 'int f(void) { return memfd_create("", 0); }'):
        source.write_text(old_glibc() + use)
        with pytest.raises(AssertionError):
            engine_build.run(engine_build.compiler("cc", "gcc"), *STRICT, source)


def test_the_numbers_are_those_of_the_system(tmp_path):
    cc = engine_build.compiler("cc", "gcc")
    linux = ["linux/futex.h", "linux/magic.h"]
    source = tmp_path / "numbers.c"
    real = "".join(
        f"#ifdef {name}\nconst unsigned long long real_{name} = {name};\n#else\n#define NO_{name}\n#endif\n"
        for name in NAMES
    )
    same = "".join(
        f'#ifndef NO_{name}\n    known++;\n    if (real_{name} != (unsigned long long){name})\n        puts("{name}");\n#endif\n'
        for name in NAMES
    )
    source.write_text(
        included(HEADERS + linux) + real + old_glibc() + '#include "os/compat.h"\n'
        f'int main(void) {{\n    int known = 0;\n{same}    printf("%d", known);\n    return 0;\n}}\n'
    )
    engine_build.run(cc, "-D_GNU_SOURCE", f"-I{engine_build.CSRC}", "-o", tmp_path / "numbers", source)
    told = subprocess.run([tmp_path / "numbers"], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"\d+", told) and int(told) > len(NAMES) // 2, told


@pytest.fixture(scope="module")
def musl(tmp_path_factory, request):
    cc = engine_build.compiler("musl-gcc")
    directory = engine_build.shared_directory(tmp_path_factory, request.config, "musl")
    return lambda scenario: engine_build.static_program(directory, scenario, cc)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_with_musl(musl, number, scenario):
    tell(musl(scenario), number, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_stress_with_musl(musl, number, mode):
    stress(musl("stress"), mode, workers=5, seconds=10, number=number, timeout=200)
