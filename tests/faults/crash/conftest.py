"""The sweeps' processes, and how much of a sweep is made.

In the environment, for both tiers:
    SHMSTORE_CRASH_STRIDE   act at every so many-th instruction
    SHMSTORE_CRASH_OFFSET   beginning with this one; from the commit if not given
    SHMSTORE_CRASH_TURNS    of an instruction that is executed again and again only so many times; 0: all
    SHMSTORE_CRASH_ONCE     1: an instruction that a former case was killed at, in this run or in one that left its figures
                            in the same directory, is left out in later ones
    SHMSTORE_CRASH_REPORT   a directory for the figures, one JSON file for each test (report.py reads them); figures that
                            a run with ONCE adds get names of their own
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The full sweep takes an hour or more, so it runs only if its mark is asked for."""
    if "crash" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("crash") and HERE in Path(item.path).parents:
                item.add_marker(pytest.mark.skip(reason="the full sweep: pytest -m crash"))


@pytest.fixture(autouse=True)
def quiet_recovery_log() -> Iterator[None]:
    """They are not logged here."""
    logger = logging.getLogger("shmstore")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


SEEN: set[int] = set()
LOOK = 150  # instructions of looking around, which may be more in the recording than in a victim: after a second, or
# because the text in /proc of another process came in other pieces


def seen_before() -> set[int]:
    """By this process, and before it by any run with the same directory."""
    if not SEEN and os.environ.get("SHMSTORE_CRASH_REPORT"):
        for path in Path(os.environ["SHMSTORE_CRASH_REPORT"]).glob("*.json"):
            SEEN.update(json.loads(path.read_text())["reached"])
    return SEEN


def number(name: str, default: int) -> int:
    return int(os.environ.get(f"SHMSTORE_CRASH_{name}", default))


def of_the_commit() -> int:
    """So that in the course of time every instruction has its turn, and one commit's run can be repeated."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True)
    if done.returncode == 0:
        return int(done.stdout[:8], 16)
    from shmstore import _core

    return int(hashlib.sha256(Path(_core.__file__).read_bytes()).hexdigest()[:8], 16)


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import driver
    from cases import CASES
    from processes import Processes

    try:
        made = Processes(tmp_path_factory.mktemp("crash"))
    except driver.CannotTrace as reason:
        pytest.skip(str(reason))
    try:
        try:
            made.driver.kill(made.victim(CASES["create"]))
        except driver.CannotTrace as reason:
            pytest.skip(str(reason))
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def choose() -> Callable[..., Any]:
    """How much, by the tier's defaults and the environment."""
    import sweep

    def choose(stride: int, turns: int = 0) -> Any:
        stride = number("STRIDE", stride)
        return sweep.Choice(stride, number("OFFSET", of_the_commit()) % stride, number("TURNS", turns),
                            seen_before() if number("ONCE", 0) else None)  # fmt: skip

    return choose


@pytest.fixture
def conclude() -> Callable[..., None]:
    def conclude(result: Any, choice: Any) -> None:
        repeat = f"stride {choice.stride}, offset {choice.offset}, turns {choice.turns or 'all'}"
        print(
            f"{result.case}, {result.mode}: {result.instructions} instructions, acted at {result.acted}, "
            f"{result.ended_before} came too late, {result.seconds:.1f} s ({repeat})"
        )
        if os.environ.get("SHMSTORE_CRASH_REPORT"):
            directory = Path(os.environ["SHMSTORE_CRASH_REPORT"])
            directory.mkdir(parents=True, exist_ok=True)
            figures = {**result.as_dict(), "stride": choice.stride, "offset": choice.offset, "turns": choice.turns}
            name = ("" if choice.seen is None else "once-") + result.file_name()
            (directory / name).write_text(json.dumps(figures))
        assert not result.failures, f"({repeat}; see conftest.py for how to repeat it)\n" + "\n".join(result.failures)
        enough = 0.9 * (result.acted + result.ended_before) + -LOOK // choice.stride
        assert result.acted >= enough, "the victims did not take the recorded way"
        assert result.acted or choice.seen is not None or not result.ended_before

    return conclude
