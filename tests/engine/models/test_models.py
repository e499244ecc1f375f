"""The models in docs/model: each run and each variant with a rule left out, through spin.

Exhaustive within the bounds that a model's opening comment states. A run must end without an error, a variant must be
found wrong. `pytest -m model` runs the quick tier, `pytest -m "model or model_full"` all of it, and

    python tests/engine/models/test_models.py [quick|full] [model ...]

prints the table of REPORT.md. spin is a package of most distributions (Debian: apt-get install spin).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

MODELS = Path(__file__).resolve().parents[3] / "docs" / "model"
MEMORY_MB = 8000
ABSENT = "spin is not installed: apt-get install spin (or what your distribution calls it)"
TWO = "-DCR=2 -DNCR=1 "  # A may die


@dataclass(frozen=True)
class Run:
    model: str
    defines: str
    quick: bool = True
    live: bool = False  # with the claim of the model: readers come to an end

    @property
    def mutation(self) -> bool:
        return "-DM_" in self.defines

    def __str__(self) -> str:
        return f"{self.model} {self.defines}".strip()


def runs_of(model: str, quick: list[str], full: list[str], mutations: list[str], slow: list[str]) -> list[Run]:
    return [
        Run(model, defines, defines in quick or defines in mutations) for defines in quick + full + mutations + slow
    ]


RUNS = [
    *runs_of(
        "table",
        quick=["-DBKEY=0 -DSOPS=0 -DCR=6 -DNCR=2"],
        full=["", "-DPRE=2", "-DPRE=3", "-DBKEY=0", "-DPRE=2 -DCR=2 -DNCR=1", "-DPRE=2 -DCR=10 -DNCR=2"],
        mutations=[
            "-DM_NO_MISMATCH -DPRE=2",
            "-DM_NO_SEQ -DBKEY=0",
            "-DM_NO_SLOT -DBKEY=0",
            "-DM_OW_NOSEQ -DPRE=2",
            "-DM_FREE_FIRST -DCR=2 -DNCR=1",
            "-DM_REACH_LOW -DPRE=3",
            "-DM_STORE -DPRE=3",
            "-DM_KEEP_SEQ",
        ],
        slow=["-DM_SLOT_LATE -DAOPS=2 -DBKEY=0", "-DM_REACH_LATE -DPRE=3", "-DM_NO_RETIRE -DCR=2 -DNCR=1"],
    ),
    Run("table", "-DSTOPPED -DCR=2 -DNCR=1 -DBKEY=0 -DSOPS=0", quick=False, live=True),
    Run("table", "-DSTOPPED -DCR=8 -DNCR=1 -DBKEY=0 -DBOPS=0", quick=False, live=True),
    Run("table", "-DSTOPPED -DCR=2 -DNCR=1 -DBKEY=0 -DSOPS=0 -DM_WAITS", quick=False, live=True),
    *runs_of(
        "recovery",
        quick=[
            "",
            "-DCR=18 -DNCR=2 -DWITHG=1 -DWITHS=0 -DWITHB=0",
            "-DCR=66 -DNCR=2 -DWITHN=1 -DADOPT -DWITHS=0 -DWITHB=0",
        ],
        full=[
            TWO.strip(),
            TWO + "-DWITHG=1 -DWITHN=1 -DWITHS=0 -DWITHB=0",
            TWO + "-DWITHN=1 -DADOPT -DWITHS=0",
            "-DCR=18 -DNCR=2 -DNSUSP=1 -DWITHB=0",
            "-DCR=6 -DNCR=2",
        ],
        mutations=[
            "-DM_SLOTS_FIRST -DNSUSP=1 -DWITHS=0",
            "-DM_SWEEP_BLIND -DNSUSP=1",
            "-DM_FASTER " + TWO + "-DWITHG=1 -DWITHS=0 -DWITHB=0",
            "-DM_MARK_NOGEN " + TWO + "-DWITHG=1 -DWITHN=1 -DWITHS=0 -DWITHB=0",
            "-DM_FREE_EARLY " + TWO + "-DWITHN=1 -DWITHS=0 -DWITHB=0",
        ],
        slow=[
            "-DM_NO_WANTED " + TWO + "-DWITHS=0 -DWITHB=0",
            "-DM_DEAD_ROOTS " + TWO + "-DWITHS=0 -DWITHB=0",
            "-DM_ZERO_LATE " + TWO + "-DWITHN=1 -DWITHS=0 -DNSUSP=1 -DWITHB=0",
            "-DM_CLEAR " + TWO + "-DWITHG=1 -DWITHN=1 -DWITHS=0 -DWITHB=0",
            "-DM_ADOPT_ANYWAY " + TWO + "-DADOPT -DWITHN=1 -DWITHS=0 -DWITHF=0",
            "-DM_SWEEP_NOSLOT -DWITHB=0",
            "-DM_REC_LATE -DNSUSP=1",
            "-DM_REC_EARLY -DNSUSP=1 -DWITHS=0",
            "-DM_NOTE_LATE -DNSUSP=1 -DWITHS=0",
            "-DM_GIVE_LATE -DNSUSP=1 -DWITHS=0",
        ],
    ),
    *runs_of(
        "locks",
        quick=[""],
        full=["-DDOPS=3 -DFOPS=3"],
        mutations=["-DM_NO_COUNT", "-DM_REUSE_EARLY", "-DM_NO_OWNER", "-DM_NOGEN", "-DM_HOLDER_ONLY"],
        slow=["-DM_OWNER_FIRST", "-DM_RECORD_LATE", "-DM_FREE_STORE"],
    ),
    *runs_of(
        "pins",
        quick=["-DCRW=1 -DNR=1", "-DCRR=1 -DNR=1", "-DSTOPPED"],
        full=["", "-DCRR=1"],
        mutations=["-DM_UNPIN_FREES", "-DM_UNPIN_LOCKS -DSTOPPED", "-DM_BLIND", "-DM_LOOK_FIRST", "-DM_NO_PINS"],
        slow=["-DM_CHECK_FIRST", "-DM_PIN_IS_USED", "-DM_BIT_LATE -DNR=1"],
    ),
    *runs_of(
        "expiry",
        quick=["-DPRE -DWITHB=0 -DNSW=1"],
        full=["-DWITHB=0 -DCR=1 -DNSW=1", "-DWITHB=0", "-DNSW=1"],
        mutations=[
            "-DM_RAISE -DWITHB=0 -DNSW=1",
            "-DM_EXPIRY_FIRST -DPRE -DWITHB=0 -DNSW=1",
            "-DM_NO_SUSPECT -DCR=1 -DWITHB=0 -DNSW=1",
        ],
        slow=["-DM_NO_COUNT -DPRE -DWITHB=0 -DNSW=1", "-DM_NOTE_FIRST -DWITHB=0", "-DM_LATE_LOOK -DWITHB=0 -DNSW=1"],
    ),
    *runs_of(
        "create",
        quick=["", "-DDESTROY"],
        full=["-DNCR=2", "-DNOP=3 -DTRIES=3"],
        mutations=["-DM_READY_FIRST", "-DM_TRUSTS", "-DM_NO_FINISH", "-DM_ONE_LOOK"],
        slow=["-DM_NO_EXCL -DNOP=3"],
    ),
    *runs_of(
        "sleep",
        quick=[""],
        full=["-DDIE -DTIMED"],
        mutations=["-DM_NO_COUNT", "-DM_FLAG_LATE", "-DM_LOOK_FIRST"],
        slow=["-DM_WAKE_BLIND", "-DM_DIE_UNTIMED"],
    ),
]


@dataclass(frozen=True)
class Outcome:
    errors: int
    states: int
    seconds: float
    complete: bool
    text: str


def check(run: Run, directory: Path) -> Outcome:
    """Raises RuntimeError if the model does not compile; never if it is wrong."""

    def call(*command: str) -> str:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        if done.returncode and command[0] != "./pan":
            raise RuntimeError(f"{run}: {' '.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    began = time.monotonic()
    call("spin", "-a", *run.defines.split(), str(MODELS / f"{run.model}.pml"))
    # Compiling with -O2 takes longer than most variants run.
    speed = "-O0" if run.mutation or run.quick else "-O2"
    kind = ["-DNFAIR=3"] if run.live else ["-DSAFETY", "-DNOFAIR"]
    call("gcc", speed, "-w", "-DCOLLAPSE", f"-DMEMLIM={MEMORY_MB}", "-DVECTORSZ=2048", *kind, "-o", "pan", "pan.c")
    text = call("./pan", "-m1000000", *(["-a", "-f"] if run.live else []))
    errors = re.search(r"errors: (\d+)", text)
    states = re.search(r"([\d.e+]+) states, stored", text)  # "1.04e+08" where there are many
    complete = "Search not completed" not in text and "max search depth too small" not in text
    return Outcome(
        int(errors[1]) if errors else -1,
        int(float(states[1])) if states else 0,
        time.monotonic() - began,
        complete,
        text,
    )


def verdict(run: Run, outcome: Outcome) -> str:
    """Empty if it is as it should be."""
    if outcome.errors < 0:
        return "spin's answer is not understood"
    if run.mutation:
        return "" if outcome.errors else "this mutation is not caught"
    if outcome.errors:
        return "violated"
    return "" if outcome.complete else "not exhaustive"


def one(run: Run) -> tuple[Run, Outcome]:
    with tempfile.TemporaryDirectory() as directory:
        return run, check(run, Path(directory))


@pytest.mark.parametrize(
    "run",
    [pytest.param(run, id=str(run), marks=pytest.mark.model if run.quick else pytest.mark.model_full) for run in RUNS],
)
def test_model(run: Run, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not run.quick and "model_full" not in (request.config.getoption("-m") or ""):
        pytest.skip('the full tier is asked for by -m "model or model_full"')
    if not shutil.which("spin"):
        pytest.skip(ABSENT)
    outcome = check(run, tmp_path)
    assert verdict(run, outcome) == "", f"{run}\n{outcome.text}"


def main(arguments: list[str]) -> int:
    if not shutil.which("spin"):
        print(ABSENT, file=sys.stderr)
        return 2
    tier = arguments[0] if arguments and arguments[0] in ("quick", "full") else "quick"
    names = [name for name in arguments if name not in ("quick", "full")]
    chosen = [run for run in RUNS if (tier == "full" or run.quick) and (not names or run.model in names)]
    began = time.monotonic()
    wrong = 0
    print("| model | defines | states | seconds | |\n|---|---|---|---|---|")
    with ThreadPoolExecutor(2 if tier == "quick" else int(os.environ.get("JOBS", "1"))) as pool:
        for run, outcome in pool.map(one, chosen):
            problem = verdict(run, outcome)
            wrong += bool(problem)
            said = problem.upper() or ("caught" if run.mutation else "holds")
            print(
                f"| {run.model} | `{run.defines}` | {outcome.states:,} | {outcome.seconds:.0f} | {said} |", flush=True
            )
    print(f"\n{len(chosen)} runs, {wrong} not as they should be, {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
