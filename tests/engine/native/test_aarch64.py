"""The C tests cross-built for aarch64 and run by qemu's emulator.

This shows that the engine *functions* there: sizes, alignment, the code without SSE2, the atomics' instructions. It shows
nothing of memory order: qemu runs on this machine, whose order is stronger."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import engine_build
import pytest
from scenarios import MODES, SCENARIOS, stress, tell

HERE = Path(__file__).resolve().parent
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


# large_blocks fills gigabytes, which takes the emulator an hour
@pytest.mark.parametrize("scenario", [scenario for scenario in SCENARIOS if scenario != "large_blocks"])
def test_scenario_on_aarch64(build, number, scenario):
    tell(*build(scenario), number, timeout=600)


@pytest.mark.parametrize("mode", MODES)
def test_stress_on_aarch64(build, number, mode):
    print(mode, stress(*build("stress"), mode, workers=4, seconds=20, number=number, timeout=600))
