"""A /dev/shm of 64 MB, as Docker gives: a POSIX store fills up and goes on, System V does not care, and the doctor says
so. A SIGBUS would show as exit code -7. The IPC namespace goes too, with what a failure leaves in it."""

import subprocess
import sys
from pathlib import Path

import pytest

WORK = Path(__file__).with_name("small_shm_work.py")
CANNOT = subprocess.run(
    ["unshare", "-m", "-i", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/dev/shm"],
    capture_output=True,
    text=True,
)


@pytest.mark.skipif(CANNOT.returncode != 0, reason=f"no mount namespace here: {CANNOT.stderr.strip()}")
@pytest.mark.parametrize(
    "what",
    [
        "fills_up_and_goes_on", "another_takes_the_rest", "pages_go_back_when_alone", "deaths_in_a_full_shm",
        "system_v_is_not_bound", "doctor_says_which_and_why", "a_private_posix_store_is_not_bound", "prefault_wants_all_of_it",
    ],
)  # fmt: skip
def test_small_shm(what):
    done = subprocess.run(
        ["unshare", "-m", "-i", sys.executable, WORK, "64", what], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr[-3000:])
