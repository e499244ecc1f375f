"""What the cases execute, without killing anybody. `python tests/faults/crash/trace_coverage.py DIRECTORY [-k PART OF A NAME] [--race]`

A minute instead of hours: each operation is stepped through once, and what it came to is left in DIRECTORY as a sweep
would leave it. `report.py DIRECTORY` then says which instructions a sweep of these cases acts at, and which lines are left.
--race: the fourth mode instead, of some of the instructions at which others interfere; the rest of the way is recorded.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import cases
import driver as drivers
import sweep
import test_sweep
from processes import Broken, Processes, processes_in
from snapshot import Snapshot


def traced(processes: Processes, name: str) -> sweep.Result:
    result, began = sweep.Result(name, "trace"), time.monotonic()
    with Snapshot(processes, cases.CASES[name]) as snapshot:
        trace = snapshot.record()
    result.instructions, result.reached = len(trace), set(trace)
    result.seconds = time.monotonic() - began
    return result


def raced(processes: Processes, name: str, stride: int) -> sweep.Result:
    result, began = sweep.Result(name, "trace race"), time.monotonic()
    with Snapshot(processes, cases.CASES[name]) as snapshot:
        trace = snapshot.record()
        ways = drivers.plans(trace)
        result.instructions = len(trace)
        for n in sweep.Choice(stride, 0, 1).of(trace):
            result.reached.update(snapshot.race_at(n, ways[n]))
            result.states += 1
    result.seconds = time.monotonic() - began
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("-k", default="", help="only cases whose names contain it")
    parser.add_argument("--race", type=int, default=0, metavar="STRIDE")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    logging.getLogger("shmstore").setLevel(logging.ERROR)
    chosen = test_sweep.RACED if arguments.race else test_sweep.ALL
    failed = False
    with tempfile.TemporaryDirectory() as directory, processes_in(Path(directory)) as processes:
        for name in chosen:
            if arguments.k not in name:
                continue
            try:
                result = raced(processes, name, arguments.race) if arguments.race else traced(processes, name)
            except (Exception, Broken) as error:
                print(f"{name}: {type(error).__name__}: {error}", flush=True)
                failed = True
                continue
            print(
                f"{name}: {result.instructions} instructions, {len(result.reached)} different, {result.seconds:.1f} s",
                flush=True,
            )
            (arguments.directory / result.file_name()).write_text(json.dumps(result.as_dict()))
    sys.exit(failed)


if __name__ == "__main__":
    main()
