"""System calls that the kernel refuses to a forked child, and the error that shmstore raises then."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "faults" / "crash"))

import seccomp_faults

CREATES, HUGETLB = (2, 0o1000, 0o1000), (2, 0o4000, 0o4000)  # of shmget's flags
OFD_SETLK, ADD_SEALS, REMOVE, POPULATE_WRITE, STAT = 37, 1033, 0, 23, 2
WRITES, TMPFILE = (2, 0o3, os.O_RDWR), (2, 0o20000000, 0o20000000)  # of openat's flags
SANDBOX = r"a system call filter \(seccomp\) of this process refuses it"
seccomp = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the filters have the numbers of x86-64")


def refusal(call, code, *arguments):
    return seccomp_faults.Refusal(
        call, getattr(errno, code), tuple((which, mask, value) for which, mask, value in arguments)
    )


def told(in_child, function, *refusals, before=lambda: None):
    """The error that a function raises in a child where these calls are refused."""

    def prepare():
        before()
        seccomp_faults.install(refusals)

    with pytest.raises(OSError) as caught:
        in_child(function, before=prepare)
    text = str(caught.value)
    assert "Traceback" not in text, text
    return caught.value.errno, text
