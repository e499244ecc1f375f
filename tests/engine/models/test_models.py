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
MEMORY_MB = 5000
ABSENT = "spin is not installed: apt-get install spin (or what your distribution calls it)"
ONE = "-DCR=2 -DNCR=1 -DWITHF=1 "  # A may die, and F finds it
# Rules of blocks that break with A, F and Last alone.
ALONE = ["REC_LATE", "OLD_LATE", "REC_EARLY", "OLD_EARLY", "NOSLOT", "COUNT_LATE", "NO_COUNT"]


@dataclass(frozen=True)
class Run:
    model: str
    defines: str
    quick: bool = True
    live: bool = False  # with the claim of the model: readers come to an end
    open_ends: bool = False  # processes may wait forever: pan -E does not take that for an error

    @property
    def mutation(self) -> bool:
        return "-DM_" in self.defines

    def __str__(self) -> str:
        return f"{self.model} {self.defines}".strip()


def runs_of(
    model: str, quick: list[str], full: list[str], mutations: list[str], slow: list[str], open_ends: bool = False
) -> list[Run]:
    return [
        Run(model, defines, defines in quick or defines in mutations, open_ends=open_ends)
        for defines in quick + full + mutations + slow
    ]


RUNS = [
    *runs_of(
        "table",
        quick=["-DBKEY=0 -DSOPS=0 -DCR=6 -DNCR=2"],
        full=[
            "",
            "-DPRE=2",
            "-DPRE=3",
            "-DBKEY=0",
            "-DONEHOME",
            "-DONEHOME -DPRE=3 -DCR=6 -DNCR=2",
            "-DPRE=2 -DCR=2 -DNCR=1",
            "-DPRE=2 -DCR=10 -DNCR=2",
        ],
        mutations=[
            "-DM_NO_MISMATCH -DPRE=2",
            "-DM_NO_SEQ -DBKEY=0",
            "-DM_FREE_FIRST -DCR=2 -DNCR=1 -DSOPS=0",
            "-DM_REACH_LOW -DPRE=3",
            "-DM_REACH_STOPS -DONEHOME -DAOPS=2",
            "-DM_REACH_ZERO -DPRE=3 -DCR=2 -DNCR=1 -DSOPS=0",
            "-DM_STORE -DPRE=3",
            "-DM_KEEP_SEQ",
            "-DM_PROBE_EARLY -DBKEY=0",
            "-DM_SWEEP_HERE -DPRE=2",
            "-DM_SWEEP_FAST",
        ],
        slow=["-DM_NO_SLOT -DBKEY=0", "-DM_SLOT_LATE -DAOPS=2 -DBKEY=0", "-DM_REACH_LATE -DPRE=3"],
    ),
    Run("table", "-DSTOPPED -DCR=2 -DNCR=1 -DBKEY=0 -DSOPS=0", quick=False, live=True),
    Run("table", "-DSTOPPED -DCR=8 -DNCR=1 -DBKEY=0 -DBOPS=0", quick=False, live=True),
    Run("table", "-DSTOPPED -DCR=2 -DNCR=1 -DBKEY=0 -DSOPS=0 -DM_WAITS", quick=False, live=True),
    *runs_of(
        "move",
        quick=["-DWOPS=1 -DCR=2", "-DMOVERS=2 -DWOPS=1 -DALONE"],
        full=["", "-DCR=2", "-DCR=4", "-DMOVERS=2 -DWOPS=1 -DCR=2 -DALONE"],
        mutations=[
            "-DM_NO_LOCK",
            "-DM_NO_LOOK",
            "-DM_NO_LIFE",
            "-DM_NEW_VERSION",
            "-DM_EXPIRY_EARLY",
            "-DM_REC_LATE -DCR=2",
            "-DM_SAME_LIFE -DMOPS=2 -DNB=2",
        ],
        slow=[],
    ),
    *runs_of(
        "lease",
        quick=["", "-DLOST"],
        full=["-DROUNDS=3 -DDEATHS=3 -DLOST"],
        mutations=[
            "-DM_UNPROVED",
            "-DM_NO_GENERATION",
            "-DM_NO_VERSION",
            "-DM_SPLIT",
            "-DM_RELEASE_ANY -DLOST",
            "-DM_NO_TAKEOVER",
        ],
        slow=[],
    ),
    *runs_of(
        "resize",
        quick=["", "-DFALSE -DREADS=1", "-DSTOP -DWOPS=1"],
        full=["-DRESIZERS=2 -DWOPS=1 -DREADS=1"],
        mutations=[
            *(f"-DM_{rule}" for rule in ("BIT_LATE", "COPY_EARLY", "NO_DRAIN", "CHECK_EARLY", "NO_CHECK", "NO_STATE")),
            "-DM_NO_PROOF",
            *(f"-DFALSE -DREADS=1 -DM_{rule}" for rule in ("NO_BUMP", "BUMP_LATE", "DISCARD_EARLY", "READY_LATE")),
            "-DFALSE -DRESIZERS=2 -DWOPS=1 -DREADS=0 -DDEATHS=0 -DM_WORD",
            "-DSTOP -DWOPS=1 -DM_NO_THAW",
        ],
        slow=[],
    ),
    *runs_of(
        "blocks",
        quick=[
            ONE + "-DWITHR=1 -DBOPS=0",
            ONE + "-DBKEY=0",
            "-DCR=130 -DNCR=2 -DWITHF=1 -DWITHR=1 -DBOPS=0",
            "-DCR=128 -DNCR=1 -DWITHR=1 -DBOPS=0",
        ],
        full=[
            "-DBKEY=0 -DAOPS=2 -DTOUCH",
            "-DEOPS=1 -DTOUCH -DPREL",
            "-DEOPS=1 -DWITHR=1 -DBOPS=0",
            "-DBKEY=0 -DEOPS=1",
            "-DWITHR=2 -DBOPS=0",
            "-DCR=384 -DNCR=2 -DWITHR=2 -DWITHF=1 -DBOPS=0",
            "-DCR=6 -DNCR=2 -DWITHF=1 -DBKEY=0 -DGARBAGE",
            ONE + "-DWITHG=1 -DBOPS=0",
            ONE + "-DWITHG=1 -DBKEY=0 -DNB=2",
            ONE + "-DWITHG=1 -DWITHN=1 -DBOPS=0",
            "-DCR=18 -DNCR=2 -DWITHF=1 -DWITHG=1 -DWITHR=1 -DBOPS=0",
            "-DCR=10 -DNCR=2 -DWITHF=1 -DEOPS=1 -DBOPS=0",
            "-DCR=66 -DNCR=2 -DWITHF=1 -DWITHN=1 -DBOPS=0",
        ],
        mutations=[
            *(f"-DM_{rule} {ONE}-DBOPS=0" for rule in ALONE),
            *(f"-DM_{rule} -DWITHR=1 -DBOPS=0" for rule in ("NO_PINNED", "NO_CHECK", "BIT_LATE", "NO_UNPIN")),
            *(f"-DM_{rule} -DCR=128 -DNCR=1 -DWITHR=1 -DBOPS=0" for rule in ("NO_PINS", "PIN_BY_LIFE", "DEAD_PINS")),
            "-DM_UNPIN_BLIND -DWITHR=2 -DBOPS=0",
            f"-DM_ZOMBIE_LOST {ONE}-DWITHR=1 -DBOPS=0",
            f"-DM_COUNT_AFTER {ONE}-DBOPS=0 -DAOPS=2",
            f"-DM_PLAIN_FREE {ONE}-DWITHG=1",
            f"-DM_BUCKETS_FIRST {ONE}-DBKEY=0",
            f"-DM_FREE_EARLY {ONE}-DWITHN=1 -DBOPS=0",
            f"-DM_NO_OWNER {ONE}-DWITHG=1 -DWITHN=1 -DBOPS=0",
            "-DM_SWEEP_NOSEQ -DEOPS=1",
            "-DM_SWEEP_NOLOCK -DEOPS=1 -DBKEY=0",
            "-DM_INSERT_STORE -DAOPS=2",
        ],
        slow=[
            f"-DM_NO_TAG {ONE}-DWITHG=1 -DWITHN=1 -DBOPS=0",
            f"-DM_LIFE_ONCE {ONE}-DWITHG=1",
            f"-DM_NO_HOLD {ONE}-DWITHG=1 -DBKEY=0",
        ],
    ),
    Run("blocks", "-DSTOP -DCR=2 -DNCR=1 -DTOUCH", open_ends=True),
    Run("blocks", "-DSTOP -DCR=8 -DNCR=1 -DEOPS=1", quick=False, open_ends=True),
    Run("blocks", "-DSTOP -DCR=8 -DNCR=1 -DEOPS=1 -DPREL -DM_SWEEPS_ANY", quick=False, open_ends=True),
    *runs_of(
        "spans",
        quick=["-DCR=8 -DNCR=1 -DWITHF=1 -DWITHALLOC=0"],
        full=[
            "",
            "-DCR=4 -DNCR=1",
            "-DCR=10 -DNCR=2 -DWITHF=1 -DWITHOPEN=0",
            "-DCR=44 -DNCR=2 -DWITHF=1 -DWITHG=1 -DWITHALLOC=0 -DWITHSINGLE=0",
            "-DCR=8 -DNCR=1 -DWITHF=1 -DWITHALLOC=0 -DWITHOPEN=0 -DWITHD=1",
        ],
        mutations=[
            *(f"-DM_{rule}" for rule in ("HEAD_EARLY", "SAME_FREE", "STORE", "SOME", "INNER_FIRST", "GIVE_LATE")),
            "-DM_RECORD_LATE -DCR=4 -DNCR=1 -DWITHALLOC=0 -DWITHSINGLE=0",
            "-DM_RECORD_EARLY -DCR=8 -DNCR=1 -DWITHALLOC=0 -DWITHSINGLE=0",
            "-DM_NO_UNDO -DCR=8 -DNCR=1",
            "-DM_NO_PAGES -DCR=8 -DNCR=1 -DWITHALLOC=0 -DWITHSINGLE=0",
            "-DM_HEAD_FIRST -DCR=8 -DNCR=1 -DWITHF=1",
            "-DM_FINDER_GIVES -DCR=8 -DNCR=1 -DWITHF=1 -DWITHALLOC=0 -DWITHOPEN=0",
            "-DM_BLIND -DCR=8 -DNCR=1 -DWITHF=1 -DWITHALLOC=0 -DWITHOPEN=0 -DWITHD=1",
        ],
        slow=[],
    ),
    *runs_of(
        "read",
        quick=["-DWOPS=3", "-DXOPS=1 -DWOPS=3"],
        full=["-DWOPS=2 -DVOPS=2", "-DZ1 -DVOPS=1 -DXOPS=1", "-DEXPIRY -DZ1 -DVOPS=1", "-DWOPS=5", "-DNB=3 -DWOPS=4"],
        mutations=[
            "-DM_ACCEPT_FREE -DWOPS=5",
            "-DM_NO_SLOT -DWOPS=3",
            "-DM_NO_SEQ",
            "-DM_NO_MISMATCH",
            "-DM_EXPIRED -DEXPIRY -DWOPS=1",
            "-DM_EXPIRED -DM_ZOMBIE_ALIVE -DZ1 -DEXPIRY -DWOPS=1",
        ],
        slow=[],
        open_ends=True,
    ),
    *runs_of(
        "numbers",
        quick=["-DFALSE -DFORK"],
        full=["-DV=1 -DFALSE"],
        mutations=["-DFORK -DM_KEEP_LEASE", "-DFALSE -DM_TAKE_LATE", "-DV=0 -DM_STORE_LATE"],
        slow=[],
        open_ends=True,
    ),
    *runs_of(
        "locks",
        quick=[""],
        full=["-DDOPS=3 -DFOPS=3", "-DFALSE"],
        mutations=[
            *("-DM_NO_COUNT", "-DM_REUSE_EARLY", "-DM_NO_OWNER", "-DM_NOGEN", "-DM_HOLDER_ONLY"),
            *(f"-DFALSE -DM_{rule}" for rule in ("TAKE_BLIND", "LEAVE_BLIND", "LEAVE_EARLY", "LEAVE_HOLDER")),
        ],
        slow=["-DM_OWNER_FIRST", "-DM_RECORD_LATE", "-DM_FREE_STORE"],
    ),
    *runs_of(
        "expiry",
        quick=["-DPRE -DWITHB=0 -DNSW=1"],
        full=["-DWITHB=0 -DCR=1 -DNSW=1", "-DWITHB=0"],
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
    *runs_of(
        "told",
        quick=[""],
        full=[],
        mutations=[
            f"-DM_{rule}"
            for rule in (
                "NOTE_LATE",
                "OWNER_FIRST",
                "WAKE_ONLY",
                "TOUCH_ONLY",
                "BIT_BLIND",
                "COUNT_FIRST",
                "JOIN_BLIND",
                "NO_FLAG",
            )
        ],
        slow=[],
    ),
    *runs_of(
        "bell",
        quick=["-DFEW -DLOG=1"],
        full=["", "-DLOG=1", "-DDIE -DTIMED"],
        mutations=["-DM_RING_FIRST", "-DM_NOTE_LATE", "-DM_NO_FLAG", "-DM_LOG_BLIND"],
        slow=["-DM_SLEEP_BLIND", "-DM_LATE_READ", "-DM_DIE_UNTIMED"],
    ),
    *runs_of(
        "near",
        quick=["", "-DGAPS=1 -DREADS=1 -DREADS2=0", "-DFALSE -DREADS=1 -DREADS2=0"],
        full=[
            "-DWRITES=2",
            "-DPUTS=1 -DREADS=1",
            "-DPUTS=1 -DREADS2=0",
            "-DPASSES=1",
            "-DGAPS=1",
            "-DGAPS=2 -DREADS=1 -DREADS2=0",
            "-DFALSE -DREADS=1",
            "-DFALSE -DREADS2=0",
            "-DDEATHS=1 -DREADS=1",
            "-DDEATHS=1 -DGAPS=1 -DREADS=1 -DREADS2=1",
        ],
        mutations=[
            *(f"-DM_{rule} -DREADS=1" for rule in ("NO_TOKEN", "CHECK_AFTER", "TIMER")),
            "-DM_NO_IDENTITY",
            "-DM_PUT_STORES -DPUTS=1 -DREADS=1",
            "-DM_REFUSED_KEEPS -DWRITES=2 -DONCE",
            "-DM_PASS_KEEPS -DPASSES=1",
            *(f"-DM_{rule} -DGAPS=1 -DREADS=1" for rule in ("GENERATION_LATE", "VALID_FIRST")),
        ],
        slow=[
            *(f"-DM_{rule} -DREADS=1" for rule in ("TRACK_LATE", "PUSH_LATE")),
            "-DM_DELETE_FIRST -DPUTS=1 -DREADS=1 -DWRITES=0",
            "-DM_NO_RAISE -DGAPS=1 -DREADS=1",
            "-DM_NO_TERM -DFALSE -DREADS=1 -DREADS2=0 -DWRITES=2",
            "-DM_NO_TAKEOVER -DDEATHS=1 -DREADS=1",
        ],
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
    # -O0: compiling with more takes longer than most runs.
    kind = ["-DNFAIR=3"] if run.live else ["-DSAFETY", "-DNOFAIR"]
    call("gcc", "-O0", "-w", "-DCOLLAPSE", f"-DMEMLIM={MEMORY_MB}", "-DVECTORSZ=2048", *kind, "-o", "pan", "pan.c")
    text = call("./pan", "-m1000000", *(["-a", "-f"] if run.live else []), *(["-E"] if run.open_ends else []))
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
