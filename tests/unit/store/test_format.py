"""docs/format.md is true: its tables, vectors and examples are those of the code."""

from __future__ import annotations

import re
import shutil
import subprocess
import zoneinfo
from array import array
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from uuid import UUID

import pytest

from shmstore._core import lib
from shmstore._store.names import parse_key
from shmstore.codecs import msgpack

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "format.md").read_text()
STRUCTS = {  # the section that describes it, and what it is called in layout.h
    "Header": "shms_header", "Bucket": "shms_bucket", "Block": "shms_block", "Client": "shms_client",
    "Operation record": "shms_record", "Client pin": "shms_client_pin", "Page table": "shms_page",
    "Size classes": "shms_class", "Policy of a cache": "shms_policy", "Bell": "shms_bell",
}  # fmt: skip


def section(title: str) -> str:
    """Everything from a heading to the next one."""
    return re.split(r"^#+ ", re.split(rf"^#+ {re.escape(title)}\n", TEXT, flags=re.M)[1], flags=re.M)[0]


def rows(title: str, *heads: str) -> list[list[str]]:
    """The cells of the section's table with a head that begins so."""
    table = section(title).split("| " + " | ".join(heads))[1].split("\n\n")[0]
    return [[cell.strip(" `") for cell in line.strip().split("|")[1:-1]] for line in table.split("\n")[2:]]


def vectors(title: str, *heads: str) -> list[list[str]]:
    found = [row[: len(heads)] for row in rows(title, *heads)]
    assert len(found) >= 6
    return found


def output_of(source: Path) -> list[str]:
    """The lines that a C program prints, which includes headers of the engine."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "this test needs a C compiler, as the package does"
    program = source.with_suffix("")
    subprocess.run([compiler, "-std=gnu11", "-I", ROOT / "shmstore" / "csrc", "-o", program, source], check=True)
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()


def test_offsets_and_sizes(tmp_path: Path) -> None:
    """The compiler says where each field of the tables is; the tables leave no byte out."""
    lines, stated = [], []
    for title, struct in STRUCTS.items():
        end = 0
        for offset, size, field, *_ in rows(title, "offset", "size", "field"):
            assert int(offset) == end, f"{title}: {field}"
            if not size:  # an array to the end of the structure
                lines.append(f'printf("{struct}.{field} %zu\\n", offsetof(struct {struct}, {field}));')
                stated.append(f"{struct}.{field} {offset}")
                continue
            lines.append(
                f'printf("{struct}.{field} %zu %zu\\n", offsetof(struct {struct}, {field}), '
                f"sizeof ((struct {struct} *)0)->{field});"
            )
            stated.append(f"{struct}.{field} {offset} {size}")
            end += int(size)
        lines.append(f'printf("{struct} %zu\\n", sizeof(struct {struct}));')
        stated.append(f"{struct} {end}")
    source = tmp_path / "offsets.c"
    source.write_text('#include <stdio.h>\n#include "base/layout.h"\nint main(void) {\n' + "\n".join(lines) + "\n}\n")
    assert output_of(source) == stated


def test_size_classes(tmp_path: Path) -> None:
    """The classes that the table describes are those that engine/classes.h computes."""
    source = tmp_path / "classes.c"
    source.write_text(
        '#include <stdio.h>\n#include "engine/classes.h"\nint main(void) {\n'
        'for (uint32_t i = 0; i < SHMS_CLASSES; i++) printf("%d\\n", (int)shms_class_bytes(i));\n}\n'
    )
    sizes = [int(line) for line in output_of(source)]
    assert f"{len(sizes)} [size classes](#size-classes)" in TEXT
    stated = dict(row[:2] for row in rows("Size classes", "class", "size in bytes"))
    assert stated["0 to 13"] == f"{sizes[0]} to {sizes[13]}, 16 apart" and len(sizes) == 14 + 40
    assert sizes[:14] == list(range(48, 257, 16))
    assert sizes[14:] == [(8 + part) << shift for shift in range(5, 10) for part in range(1, 9)]
    assert stated["14 to 53"].startswith("eight for each doubling, up to 8192")


def test_constants() -> None:
    """The numbers that the prose states are those of layout.h."""
    layout = (ROOT / "shmstore" / "csrc" / "base" / "layout.h").read_text()
    numbers = dict(re.findall(r"#define (SHMS_\w+) (0x\w+?|\d+)u?l*\b", layout))
    assert f"`SHMSTORE`: {numbers['SHMS_MAGIC']}" in TEXT
    assert f"`SHMSINIT` ({numbers['SHMS_MAGIC_INIT']})" in TEXT
    assert int(numbers["SHMS_FORMAT_VERSION"]) == 1
    assert TEXT.startswith("# The format of the segment\n\nVersion 1.")
    stated = dict(re.findall(r"^\| (I\d+) \| (.+?) \|$", section("Invariants"), flags=re.M))
    assert list(stated) == re.findall(r"^ \*   (I\d+) ", layout, flags=re.M)


@pytest.mark.parametrize(("length", "stated"), vectors("Hash", "length", "hash"))
def test_hash(length: str, stated: str) -> None:
    message = bytes(range(int(length)))
    assert lib.shms_hash(message, len(message), 0x0706050403020100, 0x0F0E0D0C0B0A0908) == int(stated, 16)


@pytest.mark.parametrize(("name", "stated"), vectors("From a key to a segment", "name", "`key_t`"))
def test_key_of_a_name(name: str, stated: str) -> None:
    assert parse_key(name).number & 0xFFFFFFFF == int(stated, 16)


@pytest.mark.parametrize(("text", "stated"), vectors("Values in msgpack", "object", "bytes"))
def test_extensions(text: str, stated: str) -> None:
    if "np." in text:
        names = {"np": pytest.importorskip("numpy", reason="numpy is not installed")}
        assert msgpack.encode(eval(text, names)).hex() == stated
        assert msgpack.encode(msgpack.decode(bytes.fromhex(stated))).hex() == stated
        return
    names = {
        "array": array, "date": date, "datetime": datetime, "time": time, "timedelta": timedelta, "timezone": timezone,
        "Decimal": Decimal, "Fraction": Fraction, "UUID": UUID, "ZoneInfo": zoneinfo.ZoneInfo,
    }  # fmt: skip
    value = eval(text, names)
    assert msgpack.encode(value).hex() == stated
    again = msgpack.decode(bytes.fromhex(stated))
    assert type(again) is type(value)
    assert again == value if "memory" in text else repr(again) == repr(value)  # == takes other zones for the same


@pytest.mark.parametrize(("text", "stated"), [row[:2] for row in rows("Values in msgpack", "object", "code and")])
def test_arrow_and_pandas(text: str, stated: str) -> None:
    names = {name: pytest.importorskip(package, reason=f"{package} is not installed")
             for name, package in (("pa", "pyarrow"), ("pd", "pandas"))}  # fmt: skip
    packed = msgpack.encode(eval(text, names))
    assert packed[0] == 0xC8 and packed[3:].hex().startswith(stated)


def test_every_extension_has_an_example() -> None:
    codes = {int(row[0]) for row in rows("Values in msgpack", "code", "type", "payload") if ".." not in row[0]}
    shown = set()
    for _, text in vectors("Values in msgpack", "object", "bytes"):
        packed = bytes.fromhex(text)
        shown.add(packed[2] if packed[0] == 0xC7 else packed[1])
    shown |= {bytes.fromhex(row[1])[0] for row in rows("Values in msgpack", "object", "code and")}
    assert shown == codes == set(range(1, 22))


def test_worked_example() -> None:
    """From the name to the bytes of its block."""
    stated = dict(row[:2] for row in rows("A worked example", "what", "value"))
    key = bytes.fromhex(stated["hash_key"])
    name = stated["key"].encode()
    hash_ = lib.shms_hash(name, len(name), int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little"))
    assert hash_ == int(stated["hash"], 16)
    home = (hash_ >> 32) * int(stated["bucket_count"]) >> 32
    assert home == int(stated["home"])
    offset, value = int(stated["block's offset"]), bytes.fromhex(stated["value"])
    word = (hash_ & 0xFFFF) << 48 | (home & 0xFF) << 40 | offset // 16
    assert word == int(stated["slot word, in slot 0 of its home"], 16)
    assert msgpack.decode(value) == {"n": 7}
    lengths = len(value) << 24 | len(name) << 8 | 1
    assert lengths == int(stated["lengths"], 16)
    assert home * 7 == int(stated["slot number"])
    multiplier, xor = (int(stated[f"number_{part}"], 16) for part in ("multiplier", "xor"))

    def life(number: str) -> int:
        return (int(stated[number]) * multiplier ^ xor) << 2 & 2**64 - 1

    assert life("number of its span") | 3 == int(stated["word of the span's free blocks"], 16)
    assert life("number of its life") == int(stated["word"], 16)
    block = life("number of its life").to_bytes(8, "little") + hash_.to_bytes(8, "little") + bytes(8)
    block += lengths.to_bytes(8, "little") + (home * 7).to_bytes(4, "little") + bytes(4)
    block += name + value
    dump = bytes.fromhex(section("A worked example").split("```")[1])
    assert dump == block.ljust(64, b"\0")
