"""docs/api.md has everything public with its signature as the package has it, and nothing else."""

from __future__ import annotations

import builtins
import inspect
import keyword
import pathlib
import re
from typing import Any

import shmstore
from shmstore import ShareableList, SharedMemory, Store, posix, sysv
from shmstore._base import sentinels

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()
ROWS = [re.split(r" *(?<!\\)\| *", line)[1:-1] for line in PAGE.splitlines() if line.startswith("| `")]
SPANS = re.findall(r"`([^`]+)`", PAGE)

SPOKEN_OF = {
    "shmstore": shmstore,
    "store": Store,
    "block": SharedMemory,
    "shared": ShareableList,
    "sysv": sysv,
    "posix": posix,
}
RECORDS = {
    name: getattr(module, name)
    for module, names in [(shmstore, "Stats StoreInfo EntryInfo ClientInfo"), (posix, "Mapping"),
                          (sysv, "Attachment Segment ShmidDs IpcInfo ShmInfo")] for name in names.split()
}  # fmt: skip
RESULTS = ["Found", "Stored", "Removed"]  # of calls on many entries that pass over some
ERRORS = [
    name
    for name in shmstore.__all__
    if isinstance(getattr(shmstore, name), type) and issubclass(getattr(shmstore, name), Exception)
]
OPERATORS = {
    "store[key]": "__getitem__", "store[key] = value": "__setitem__", "del store[key]": "__delitem__",
    "key in store": "__contains__", "iter(store)": "__iter__", "len(store)": "__len__", "bool(store)": "__bool__",
}  # fmt: skip


def public(thing: Any) -> list[str]:
    return list(getattr(thing, "__all__", [name for name in dir(thing) if not name.startswith("_")]))


def signature(name: str, thing: Any, *, method: bool) -> str:
    """As one calls it: without types, and without self."""
    if not callable(thing):
        return name
    if thing in (shmstore.open, shmstore.Cache, Store):
        return f"{name}(name, ...)"  # a table has the rest
    found = inspect.signature(thing)
    shown = []
    for parameter in list(found.parameters.values())[method:]:
        default = parameter.default
        if default is ...:  # C has no name for it
            default = shmstore.KEEP if parameter.name == "touch" else shmstore.DEFAULT
        if parameter.name == "mode":
            default = sentinels.DefaultInt(default)  # shown as one writes it
        shown.append(parameter.replace(annotation=inspect.Parameter.empty, default=default))
    return name + str(found.replace(parameters=shown, return_annotation=inspect.Signature.empty))


def calls() -> set[str]:
    expected = set()
    for prefix, thing in SPOKEN_OF.items():
        for name in public(thing):
            found = getattr(thing, name)
            constant = prefix in ("shmstore", "sysv", "posix") and not callable(found)
            if not constant and name not in (*RECORDS, *RESULTS, *ERRORS):
                expected.add(signature(f"{prefix}.{name}", found, method=isinstance(thing, type)))
    return expected


def options() -> list[str]:
    parameters = list(inspect.signature(Store).parameters.values())[1:]
    of_store = {parameter.name for parameter in parameters}
    of_cache = list(inspect.signature(shmstore.Cache.__init__).parameters.values())[2:]
    assert of_store <= {parameter.name for parameter in of_cache}
    parameters += [parameter for parameter in of_cache if parameter.name not in of_store]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
    return [f"{parameter.name}={parameter.default!r}" for parameter in parameters]


def test_what_stands_in_the_tables_is_what_there_is():
    first = [row[0].strip("`") for row in ROWS if not row[0].startswith("`IPC_")]  # a row of shmctl's
    assert sorted(first) == sorted([*calls(), *options(), *RECORDS, *RESULTS, *ERRORS, *OPERATORS])
    assert [cell for cell in first if cell in options()] == options()
    assert all(hasattr(Store, method) for method in OPERATORS.values())


def test_records_have_these_fields():
    for name, kind in RECORDS.items():
        (row,) = [row for row in ROWS if row[0] == f"`{name}`"]
        fields = {field for field in public(kind) if not callable(getattr(kind, field))}
        assert sorted(re.findall(r"`(\w+)`", row[1])) == sorted(fields), name


def test_errors_have_these_bases():
    for name in ERRORS:
        (row,) = [row for row in ROWS if row[0] == f"`{name}`"]
        bases = [base.__name__ for base in getattr(shmstore, name).__bases__]
        assert row[1].strip("`") == (bases[-1] if bases != ["ShmStoreError"] else ""), name


def test_every_public_name_is_there_and_no_other():
    words = {word for span in SPANS for word in re.findall(r"[A-Za-z_]\w*", re.sub(r"\"[^\"]*\"|'[^']*'", "", span))}
    modules = (shmstore, sysv, posix)
    assert not {name for module in modules for name in module.__all__} - words
    capitals = {word for word in words if word[0].isupper() and not keyword.iskeyword(word)}
    assert not [
        word for word in capitals if not any(hasattr(place, word) for place in (*modules, builtins, pathlib, sentinels))
    ]
    for span in SPANS:
        for prefix, name in re.findall(r"\b(shmstore|store|sysv|posix|block|shared)\.(\w+)", span):
            assert hasattr(SPOKEN_OF[prefix], name), span


def test_the_errors_of_calls_are_errors():
    for row in ROWS:
        for name in re.findall(r"`([A-Z]\w+)`", row[-1] if "." in row[0] else ""):
            error = getattr(shmstore, name, getattr(builtins, name, None))
            assert issubclass(error, Exception), row


def test_every_table_is_whole():
    """A row with another number of cells than its head has would be shown cut off."""
    lines = PAGE.splitlines()
    for head, line in zip(lines, lines[1:], strict=False):
        if head.startswith("|") and line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", head)) == len(re.findall(r"(?<!\\)\|", line)), line


def test_the_readme_leads_to_it():
    assert "(docs/api.md)" in (ROOT / "README.md").read_text()
