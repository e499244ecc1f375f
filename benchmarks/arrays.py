"""Time putting and getting numpy arrays of 8 MB beside plain memcpy and LMDB: ``python -m benchmarks.arrays``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any

import shmstore
from benchmarks._bars import Bar
from benchmarks._floor import remove
from benchmarks._guard import fresh_name, resources
from benchmarks._lmdb import HOW_TO_GET_IT, INSTALLED, Lmdb
from benchmarks._measure import Contestant, Sample, measure
from benchmarks._run import Report, Row, Setting, parser, run
from benchmarks._shmstore import Ours, destroy

if TYPE_CHECKING:
    import numpy as np

MEGABYTES = 8
SAME, ALTERNATING, VIEW = "memcpy, same region", "memcpy, alternating", "shmstore, view of bytes"


def main(argv: Sequence[str] | None = None) -> int:
    return run("arrays", play, parser("arrays", __doc__, "61, quick 3").parse_args(argv))


def play(setting: Setting, report: Report) -> None:
    try:
        import numpy as np
    except ImportError:
        report.note("numpy is not installed: pip install '.[bench]'")
        return
    arrays = [np.random.default_rng(seed).random((MEGABYTES << 20) // 8) for seed in (1, 2)]
    with resources() as stack:
        contestants = _Contestants(stack, arrays)
        rows = {}
        for operation in ("put", "get"):
            report.progress(operation)
            found = contestants.putting() if operation == "put" else contestants.getting()
            batch = 2 if setting.quick else 6
            samples = measure(found, rounds=setting.rounds(61), batch=batch, rng=setting.rng)
            rows[operation] = Row(operation, f"{operation}, numpy of {MEGABYTES} MB", "ns", samples)
    rows["first touch"] = _first_touch(setting, report, arrays[0])
    report.add(*rows.values())
    _show(report, rows)
    put, get = rows["put"], rows["get"]
    why = f"LMDB is {HOW_TO_GET_IT}"
    report.bars += [
        Bar(
            f"put of {MEGABYTES} MB: of a memcpy that alternates between two warm regions",
            put.ratio("shmstore", ALTERNATING),
            most=1.15,
        ),
        Bar(f"put of {MEGABYTES} MB: times faster than LMDB", put.ratio("lmdb", "shmstore"), least=1, why=why),
        Bar(f"get of {MEGABYTES} MB: times faster than LMDB", get.ratio("lmdb", "shmstore"), least=1, why=why),
    ]


class _Contestants:
    """Two arrays take turns in all of them, so what is copied is never what was copied last.

    A get gives an array of its own; only bytes can be looked at in place.
    """

    def __init__(self, stack: ExitStack, arrays: list[np.ndarray[Any, Any]]) -> None:
        import numpy as np

        self._arrays, self._frombuffer = arrays, np.frombuffer
        self._ours = Ours(stack, {"array": arrays[0]}, size="128M")
        self._ours.store.put("bytes", arrays[0].tobytes())
        self._ours.store.put("array", arrays[1])  # the store has two warm regions from here on, too
        memory = SharedMemory(fresh_name(), create=True, size=2 * arrays[0].nbytes)
        stack.callback(remove, memory)
        assert memory.buf is not None
        self._regions = np.frombuffer(memory.buf, arrays[0].dtype).reshape(2, -1)
        stack.callback(self.__dict__.pop, "_regions")  # before the memory is closed
        self._regions[:] = arrays
        self._turn = 0
        self._lmdb = Lmdb(stack, {"array": arrays[0].data.cast("B")}, size=128 << 20, plain=True) if INSTALLED else None

    def putting(self) -> list[Contestant]:
        ways: dict[str, Callable[[Any], None]] = {
            "shmstore": self._put,
            SAME: self._copy,
            ALTERNATING: self._copy_in_turn,
        }
        if self._lmdb:
            ways["lmdb"] = self._put_lmdb
        return [Contestant(name, _each(way), self._arrays) for name, way in ways.items()]

    def getting(self) -> list[Contestant]:
        ways: dict[str, Callable[[Any], None]] = {"shmstore": self._get, VIEW: self._view, SAME: self._copy_out}
        if self._lmdb:
            ways["lmdb"] = self._get_lmdb
        return [Contestant(name, _each(way), self._arrays) for name, way in ways.items()]

    def _put(self, array: Any) -> None:
        self._ours.store.put("array", array)

    def _copy(self, array: Any) -> None:
        self._regions[0] = array

    def _copy_in_turn(self, array: Any) -> None:
        self._turn ^= 1
        self._regions[self._turn] = array

    def _put_lmdb(self, array: Any) -> None:
        assert self._lmdb
        with self._lmdb.begin(write=True) as transaction:
            transaction.put(b"array", array.data.cast("B"))

    def _get(self, _: Any) -> None:
        self._ours.store.get("array")

    def _view(self, _: Any) -> None:
        with self._ours.store.view("bytes") as view:
            self._frombuffer(view)

    def _copy_out(self, _: Any) -> None:
        self._regions[0].copy()

    def _get_lmdb(self, _: Any) -> None:
        assert self._lmdb
        with self._lmdb.begin(buffers=True) as transaction:
            self._frombuffer(transaction.get(b"array")).copy()


def _each(way: Callable[[Any], None]) -> Callable[[Sequence[Any]], None]:
    def run(arguments: Sequence[Any]) -> None:
        for argument in arguments:
            way(argument)

    return run


def _first_touch(setting: Setting, report: Report, array: Any) -> Row:
    """The first put into pages that nobody has touched, and the third, into pages that the first had."""
    row = Row("first touch", f"put, numpy of {MEGABYTES} MB, by the state of the pages", "ns", {})
    for number in range(rounds := setting.rounds(15)):
        report.progress(f"first touch: round {number + 1} of {rounds}")
        key = fresh_name()
        with resources() as stack:
            stack.callback(destroy, key)
            store = stack.enter_context(shmstore.Store[Any](key, create=True, size="64M"))
            for name in ("first", "second", "third", "fourth"):
                began = time.perf_counter_ns()
                store.put("array", array)
                row.samples.setdefault(name, Sample()).rounds.append(time.perf_counter_ns() - began)
    return row


def _show(report: Report, rows: dict[str, Row]) -> None:
    header = ("", ">µs", ">GB/s", ">of shmstore's")
    for row in rows.values():
        base = next(iter(row.samples))
        cells = []
        for name in row.samples:
            ns = row.median(name) or 1
            cells.append([name, f"{ns / 1000:,.1f}", f"{(MEGABYTES << 20) / ns:,.1f}", f"{row.ratio(name, base):.2f}"])
        report.table(row.title, header if base == "shmstore" else (*header[:3], f">of the {base}"), cells)


if __name__ == "__main__":
    sys.exit(main())
