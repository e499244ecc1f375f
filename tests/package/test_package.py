"""The package as it is installed: what is in it, and what its types say."""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import shmstore
from shmstore._core import ffi, lib

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = Path(shmstore.__file__).parent


def run(*command: object, **options: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_installed_package_is_tested():
    assert ROOT not in Path(shmstore.__file__).resolve().parents


def test_no_c_source_is_installed():
    suffixes = {path.suffix for path in INSTALLED.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert suffixes == {".py", ".pyi", ".so", ".typed"}
    assert [path.name for path in INSTALLED.glob("_core*.so")] == ["_core.abi3.so"]


def test_without_its_compiled_module_it_says_what_to_run(tmp_path):
    (tmp_path / "shmstore").mkdir()
    (tmp_path / "shmstore" / "__init__.py").write_text((INSTALLED / "__init__.py").read_text())
    done = subprocess.run([sys.executable, "-c", "import shmstore"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install ." in done.stderr.splitlines()[-1]


def test_only_what_is_needed_is_imported():
    dear = "typing dataclasses enum uuid json re numpy rich asyncio pickle logging".split()
    program = "import sys; before = set(sys.modules); import msgpack; theirs = set(sys.modules); import shmstore;"
    program += f"print([m for m in {dear!r} if m in sys.modules and m not in theirs])"
    assert run(sys.executable, "-I", "-S", "-c", f"import sys; sys.path += {sys.path[1:]!r}; {program}").strip() == "[]"


def test_every_public_name_exists():
    names = ["shmstore", *(m.name for m in pkgutil.walk_packages(shmstore.__path__, "shmstore."))]
    for name in names:
        if name.rsplit(".", 1)[-1] in ("__main__", "_core"):
            continue
        try:
            module = importlib.import_module(name)
        except (
            ModuleNotFoundError
        ) as error:  # tests/integrations has the same question, where the framework is installed
            assert name.startswith("shmstore.integrations.") and not str(error.name).startswith("shmstore"), name
            continue
        missing = [public for public in getattr(module, "__all__", ()) if not hasattr(module, public)]
        assert not missing, (name, missing)
        assert module.__doc__, name


def test_every_public_method_says_what_it_does():
    bare = [
        f"{thing.__name__}.{name}"
        for thing in (getattr(shmstore, public) for public in shmstore.__all__)
        if isinstance(thing, type)
        for name in dir(thing)
        if not name.startswith("_") and callable(getattr(thing, name)) and not getattr(thing, name).__doc__
    ]
    assert not [name for name in bare if name.startswith("Store.")]


def test_open_has_the_parameters_of_store():
    opens, makes = inspect.signature(shmstore.open), inspect.signature(shmstore.Store)
    assert list(opens.parameters.values()) == list(makes.parameters.values())
    assert [type(p.default) for p in opens.parameters.values()] == [type(p.default) for p in makes.parameters.values()]
    assert "size: 'int | str' = '64M', " in str(opens) and "mode: 'int' = 0o600, " in str(opens)
    tree = ast.parse(inspect.getsource(shmstore.open))
    (call,) = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Store"]
    assert ast.unparse(call) == "Store(**locals())"


def test_the_stub_names_what_the_compiled_module_has():
    stub = (INSTALLED / "_core.pyi").read_text()
    named = set(re.findall(r"^    (?:def )?(\w+)[:(]", stub, re.M)) - {"self"}
    assert named == set(dir(lib))
    assert ffi.NULL is not None


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    return tmp_path_factory.mktemp("outside")


@pytest.mark.sample  # pre-commit runs the same
def test_types_are_strict(outside):
    run(sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "-p", "shmstore",
        "--cache-dir", outside / "cache", cwd=outside)  # fmt: skip


@pytest.mark.sample  # takes five seconds; .ci/run has the samples
def test_types_are_those_of_the_running_package(outside):
    allowed = Path(__file__).with_name("stubtest_allowlist.txt")
    run(sys.executable, "-m", "mypy.stubtest", "shmstore", "--mypy-config-file", ROOT / "pyproject.toml",
        "--allowlist", allowed, cwd=outside)  # fmt: skip


def test_types_know_the_options_of_open(outside):
    program = outside / "options.py"
    program.write_text(
        "import shmstore\nshmstore.open('k', size=1, ttl=None, codec='raw')\nshmstore.open('k', sise='1M', ttl='1')\n"
    )
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", program, "--cache-dir", outside / "cache"],
                          cwd=outside, capture_output=True, text=True, timeout=300)  # fmt: skip
    wrong = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(wrong) == 2 and all(":3: " in line for line in wrong), done.stdout
    assert '"sise"' in done.stdout and '"ttl"' in done.stdout


@pytest.mark.slow
def test_the_wheel_and_the_sdist(outside):
    """The wheel is abi3 and free of C; the sdist builds a wheel without the checkout."""
    pip = (sys.executable, "-m", "pip")
    requires = re.search(r"^requires = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.M)
    run(*pip, "install", "--quiet", "--target", outside / "tools", *ast.literal_eval(requires[1]))
    build = f"import setuptools.build_meta as b; print(b.build_sdist({str(outside / 'dist')!r}))"
    copy = outside / "copy"
    run("git", "clone", "--quiet", ROOT, copy)
    sdist = run(
        sys.executable, "-c", build, cwd=copy, env={**os.environ, "PYTHONPATH": str(outside / "tools")}
    ).splitlines()[-1]
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", outside / "wheels", outside / "dist" / sdist, cwd=outside)
    (wheel,) = (outside / "wheels").glob("*.whl")
    assert re.fullmatch(r"shmstore-[\d.]+-cp310-abi3-linux_\w+\.whl", wheel.name)
    suffixes = {Path(name).suffix for name in zipfile.ZipFile(wheel).namelist() if name.startswith("shmstore/")}
    assert suffixes == {".py", ".pyi", ".so", ".typed"}
