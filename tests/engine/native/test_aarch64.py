"""The C tests cross-built for aarch64 and run by qemu's emulator.

This shows that the engine *functions* there: sizes, alignment, the code without SSE2, the atomics' instructions. It shows
nothing of memory order: qemu runs on this machine, whose order is stronger."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import engine_build  # noqa: E402

from shmstore import sysv  # noqa: E402

# large_blocks fills gigabytes, which takes the emulator an hour; stress has its own test below.
NOT_SCENARIOS = ("stress", "large_blocks", "emulated_proc")
SCENARIOS = sorted(path.stem for path in HERE.glob("*.c") if path.stem not in NOT_SCENARIOS)
CANNOT_TELL = 77
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def build(tmp_path_factory, request):
    cc, qemu = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if not cc or not qemu:
        pytest.skip("needs the packages gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user")
    directory = engine_build.shared_directory(tmp_path_factory, request.config, "aarch64")
    probe = directory / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    if subprocess.run([cc, "-static", "-o", directory / "probe", probe], capture_output=True).returncode:
        pytest.skip("the aarch64 compiler finds no C library: the package libc6-dev-arm64-cross")

    def build(scenario):
        wrapped = (HERE / "emulated_proc.c", "-Wl,--wrap=open,--wrap=fopen")
        return [qemu, str(engine_build.static_program(directory, scenario, cc, *wrapped))]

    return build


@pytest.fixture
def number():
    number = engine_build.fresh_key()
    yield number
    try:
        sysv.shmctl(sysv.shmget(number, 0, 0), sysv.IPC_RMID)
    except FileNotFoundError:
        pass


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_on_aarch64(build, number, scenario):
    told = subprocess.run([*build(scenario), str(number)], capture_output=True, text=True, timeout=600)
    if told.returncode == CANNOT_TELL:
        pytest.skip(told.stderr.strip())
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("mode", ["threads", "shared", "processes"])
def test_stress_on_aarch64(build, number, mode):
    seed = random.SystemRandom().randrange(1 << 62)
    command = [*build("stress"), mode, "4", "20", str(number), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"seed {seed}\n{done.stderr[:10000]}"
    print(mode, done.stdout)
