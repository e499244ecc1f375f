"""Build as setuptools does, and say in a last sentence what is missing where that cannot work.

pip shows the end of what a build wrote, so a refusal is one sentence there: before anything is built where the machine
or the Python is none that the engine was shown to work on, and after the compiler's own messages where it fails.
pyproject.toml names this file as the backend, and setup.py imports it, for those who run that by hand. An old Python gets
here, too, for pip reads requires-python only after the build has begun.
"""

import itertools
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile

OLDEST = (3, 10)  # as requires-python in pyproject.toml


def refuse_unsupported():
    """Stop with a sentence where the engine was never shown to work."""
    if platform.python_implementation() != "CPython":
        raise SystemExit(f"shmstore needs CPython: this is {platform.python_implementation()}.")
    if sys.version_info < OLDEST:
        raise SystemExit("shmstore needs Python %d.%d or later: this is %d.%d." % (*OLDEST, *sys.version_info[:2]))  # noqa: UP031
    if not sys.platform.startswith("linux"):
        raise SystemExit(f"shmstore needs Linux: this is {sys.platform}.")
    if platform.machine() not in ("x86_64", "aarch64") or sys.maxsize < 2**32:
        bits = sys.maxsize.bit_length() + 1
        raise SystemExit(
            f"shmstore needs a 64-bit Python on x86-64 or ARM: this is {platform.machine()} with {bits} bits."
        )
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise SystemExit("shmstore is not yet tested on free-threaded Python: use the ordinary build.")


refuse_unsupported()

try:
    import cffi  # its hook is what compiles: without it, setuptools would build a package that lacks the engine
    import setuptools
    from setuptools.build_meta import *  # noqa: F403
    from setuptools.command.build_ext import build_ext as setuptools_build_ext
    from setuptools.errors import BaseError, CCompilerError

    if int(setuptools.__version__.split(".")[0]) < 77 or cffi.__version_info__ < (2, 1):
        raise ImportError(f"here are setuptools {setuptools.__version__} and cffi {cffi.__version__}")
except ImportError as missing:
    raise SystemExit(
        f"shmstore is built with setuptools 77 or later and cffi 2.1 or later ({missing}): let pip install them, by "
        "'pip install .' without --no-build-isolation, or install them yourself: pip install 'setuptools>=77' 'cffi>=2.1'"
    ) from None

# What the compiler needs, by the package manager that is there.
PACKAGES = {
    "apt-get": "apt-get install gcc libc6-dev python3-dev",
    "dnf": "dnf install gcc python3-devel",
    "yum": "yum install gcc python3-devel",
    "apk": "apk add gcc musl-dev linux-headers python3-dev",
    "zypper": "zypper install gcc python3-devel",
    "pacman": "pacman -S gcc",
}
C_HEADERS = "#include <stdatomic.h>\n#include <sys/shm.h>\n#include <linux/futex.h>\n"


class build_ext(setuptools_build_ext):
    """Says why it could not compile."""

    def build_extensions(self):
        try:
            super().build_extensions()
        except (BaseError, CCompilerError, OSError) as error:
            raise SystemExit(f"error: {error}\n{reason(self.compiler)}") from None


def reason(compiler):
    """Why nothing could be compiled: one sentence, with what to do about it."""
    command = list(compiler.compiler_so)
    bare = list(itertools.takewhile(lambda word: not word.startswith("-"), command))
    name = shlex.join(bare)
    begin = "shmstore is compiled when it is installed, and"
    if shutil.which(command[0]) is None:
        return f"{begin} there is no C compiler {name!r} here: {remedy()}"
    said = refusal(command, "int nothing;\n")
    if said and refusal(bare, "int nothing;\n"):
        return f"{begin} the C compiler {name!r} does not work ({said}): {remedy()}"
    if said:
        return f"{begin} the C compiler {name!r} does not take the options that CC or CFLAGS give it ({said})"
    said = refusal(command, C_HEADERS)
    if said:
        return (
            f"{begin} {name!r} is no C11 compiler with the headers of the C library and of Linux ({said}): {remedy()}"
        )
    said = refusal([*command, *(f"-I{folder}" for folder in compiler.include_dirs)], "#include <Python.h>\n")
    if said:
        return f"{begin} the headers of Python {sys.version_info[0]}.{sys.version_info[1]} (Python.h) are missing: {remedy()}"
    return f"shmstore could not be compiled by {name!r}: its messages stand above"


def remedy():
    """The command that installs what is missing, where the package manager is known."""
    advice = "install a C compiler such as gcc, the headers of the C library, and those of Python (python3-dev)"
    folders = os.pathsep.join((os.defpath, "/usr/sbin", "/sbin"))
    for manager, command in PACKAGES.items():
        if shutil.which(manager, path=folders):
            advice = f"as root: {command}"
            break
    return f"correct CC={os.environ['CC']}, or {advice}" if os.environ.get("CC") else advice


def refusal(command, source):
    """The last line of what the compiler says against a source; empty if it takes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "probe.c")
        with open(path, "w") as file:
            file.write(source)
        done = subprocess.run(
            [*command, "-std=c11", "-D_GNU_SOURCE", "-c", path, "-o", os.path.join(folder, "probe.o")],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
    if done.returncode == 0:
        return ""
    lines = [
        line.replace(path, "probe.c") for line in done.stdout.splitlines() if "error" in line
    ] or done.stdout.splitlines()
    return lines[0].strip() if lines else f"it ended with {done.returncode}"
