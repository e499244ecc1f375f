"""Time twenty kinds of real values beside a dict of msgpack, msgspec, pickle and orjson: ``python -m benchmarks.values``.

shmstore puts a value into the store and gets it. Each of the others encodes the value into a dict of this process and
decodes it from there, as fast as its library goes. A library that refuses a value has a dash. Where it gives back
something else, such as a string for a UUID or a list for a tuple, its figure is in brackets: the program still has to
convert, and the time of that is not in it.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from msgpack import Packer, unpackb  # type: ignore[import-untyped]

from benchmarks._bars import Bar
from benchmarks._guard import resources
from benchmarks._kinds import kinds
from benchmarks._measure import Contestant, measure
from benchmarks._ratios import ratios
from benchmarks._run import Report, Row, Setting, parser, run
from benchmarks._shmstore import Ours

OURS, BATCH = "shmstore", 100
PLAIN, RICH = "row as strings", "row with dates and decimals"


def main(argv: Sequence[str] | None = None) -> int:
    return run("values", play, parser("values", (__doc__ or "").partition("\n\n")[0], "31, quick 3").parse_args(argv))


@dataclass(frozen=True)
class Codec:
    """A library's fastest pair of calls."""

    name: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]

    def outcome(self, value: Any) -> str | None:
        """'same', 'other' where the library gives back something else, or None where it refuses."""
        try:
            found = self.decode(self.encode(value))
        except (TypeError, ValueError, OverflowError):
            return None
        return "same" if same(found, value) else "other"


def same(one: Any, two: Any) -> bool:
    """Whether two values are equal, and have the same types down to the last item."""
    if type(one) is not type(two) or one != two:
        return False
    if isinstance(two, dict):
        return all(same(key, other) for key, other in zip(one, two)) and all(same(one[key], two[key]) for key in two)
    if isinstance(two, (list, tuple)):
        return all(map(same, one, two))
    return True


def codecs(report: Report) -> list[Codec]:
    found = [
        Codec("msgpack", Packer(strict_types=True).pack, lambda body: unpackb(body, strict_map_key=False)),
        Codec("pickle", lambda value: pickle.dumps(value, pickle.HIGHEST_PROTOCOL), pickle.loads),
    ]
    try:
        from msgspec import msgpack

        found.append(Codec("msgspec", msgpack.Encoder().encode, msgpack.Decoder().decode))
    except ImportError:
        report.note("msgspec is not installed: pip install '.[bench]'")
    try:
        import orjson

        found.append(Codec("orjson", orjson.dumps, orjson.loads))
    except ImportError:
        report.note("orjson is not installed: pip install '.[bench]'")
    return found


def play(setting: Setting, report: Report) -> None:
    libraries = codecs(report)
    medians: dict[str, dict[str, Row]] = {}
    cells = []
    with resources() as stack:
        ours = Ours(stack, {}, size="64M")
        for kind, value in kinds().items():
            report.progress(kind)
            ours.store.put("value", value)
            if not same(ours.store.get("value"), value):
                raise AssertionError(f"the store gives back something else for {kind!r}")
            outcomes = {codec.name: codec.outcome(value) for codec in libraries}
            able = [codec for codec in libraries if outcomes[codec.name]]
            rows = {
                operation: Row(
                    f"{operation} {kind}",
                    f"{operation} {kind}",
                    "ns",
                    measure(
                        contestants(operation, ours, able, value),
                        rounds=setting.rounds(31),
                        batch=BATCH,
                        rng=setting.rng,
                    ),
                    {"outcomes": outcomes},
                )
                for operation in ("put", "get")
            }
            report.add(*rows.values())
            medians[kind] = rows
            cells.append([kind, *_cells(rows["put"], outcomes), *_cells(rows["get"], outcomes)])
        report.progress("pairs of calls")
        pairs = list(ratios(setting, Ours(stack, {}, size="128M")))
    names = [codec.name for codec in libraries]
    header = ["value", ">put, µs", *(f">{name}" for name in names), ">get, µs", *(f">{name}" for name in names)]
    report.table("\nshmstore's time, and the others' as a multiple of it; (): gives back another type", header, cells)
    for operation, most in (("put", 2.5), ("get", 3.5)):
        rich, plain = (medians[kind][operation].samples[OURS].median for kind in (RICH, PLAIN))
        title = f"{operation} of a row with dates and decimals: of the same row as strings"
        report.bars.append(Bar(title, rich / plain, most=most))
    report.bars += pairs


def contestants(operation: str, ours: Ours, able: Sequence[Codec], value: Any) -> list[Contestant]:
    if operation == "put":
        found = [Contestant(OURS, _putting(ours.store.put), [value] * BATCH)]
        return found + [Contestant(codec.name, _encoding(codec.encode), [value] * BATCH) for codec in able]
    found = [Contestant(OURS, _getting(ours.store.get), ["value"] * BATCH)]
    return found + [Contestant(codec.name, _decoding(codec, value), ["value"] * BATCH) for codec in able]


def _putting(put: Callable[[str, Any], object]) -> Callable[[Sequence[Any]], None]:
    def turn(values: Sequence[Any]) -> None:
        for value in values:
            put("value", value)

    return turn


def _getting(get: Callable[[str], object]) -> Callable[[Sequence[str]], None]:
    def turn(keys: Sequence[str]) -> None:
        for key in keys:
            get(key)

    return turn


def _encoding(encode: Callable[[Any], bytes]) -> Callable[[Sequence[Any]], None]:
    kept: dict[str, bytes] = {}

    def turn(values: Sequence[Any]) -> None:
        for value in values:
            kept["value"] = encode(value)

    return turn


def _decoding(codec: Codec, value: Any) -> Callable[[Sequence[str]], None]:
    kept, decode = {"value": codec.encode(value)}, codec.decode

    def turn(keys: Sequence[str]) -> None:
        for key in keys:
            decode(kept[key])

    return turn


def _cells(row: Row, outcomes: dict[str, str | None]) -> list[str]:
    cells = [f"{row.samples[OURS].median / 1000:.2f}"]
    for name, outcome in outcomes.items():
        ratio = row.ratio(name, OURS)
        text = "-" if ratio is None else f"{ratio:.2f}"
        cells.append(f"({text})" if outcome == "other" else text)
    return cells


if __name__ == "__main__":
    sys.exit(main())
