"""Every call that opening, creating, removing and mapping make, refused with every error that it can give: each cause has
its own sentence, and what helps stands in it. docs/system-errors.md has the table."""

from __future__ import annotations

import errno
import mmap
import os
import re
import sys
from pathlib import Path

import pytest

from shmstore import PRIVATE, Store, sysv

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "faults" / "crash"))

from pathlib import Path

import seccomp_faults

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from refused_calls import (  # noqa: E402
    ADD_SEALS,
    CREATES,
    OFD_SETLK,
    REMOVE,
    SANDBOX,
    STAT,
    TMPFILE,
    WRITES,
    refusal,
    seccomp,
    told,
)
from segment_sizes import ONE_MIB, M  # noqa: E402

SYSV = {  # which call, with which error: what the message says
    "no System V memory in this sandbox": (refusal("shmget", "ENOSYS"), SANDBOX + r".*backend=\"posix\""),
    "a sandbox without shmget": (refusal("shmget", "EPERM"), SANDBOX + r".*backend=\"posix\""),
    "a sandbox that makes none": (refusal("shmget", "EPERM", CREATES), SANDBOX + r".*backend=\"posix\""),
    "a key that is not for us": (refusal("shmget", "EACCES"), r"key 0x[0-9a-f]{8} is .*ask its owner for a mode"),
    "no open file in the system": (
        refusal("shmget", "ENFILE", CREATES),
        r"whole system has no open file left: fs\.file-max is \d+",
    ),
    "too large, or too small": (
        refusal("shmget", "EINVAL", CREATES),
        r"1048576 bytes asked for; a new segment has 1 to shmmax bytes",
    ),
    "segments or pages used up": (
        refusal("shmget", "ENOSPC", CREATES),
        r"kernel\.shmmni is \d+ segments, \d+ exist; kernel\.shmall is \d+",
    ),
    "no memory for it": (refusal("shmget", "ENOMEM", CREATES), r"kernel\.shmmax is \d+, vm\.overcommit_memory is \d"),
    "it may not be looked at": (refusal("shmctl", "EACCES", (1, 0xFFFFFFFF, STAT)), SANDBOX),
    "a sandbox without shmctl": (refusal("shmctl", "EPERM", (1, 0xFFFFFFFF, STAT)), SANDBOX),
    "it may not be attached": (refusal("shmat", "EACCES"), SANDBOX),
    "a sandbox without shmat": (refusal("shmat", "EPERM"), SANDBOX),
    "no addresses for it": (
        refusal("shmat", "ENOMEM"),
        r"no room for 1M more: ulimit -v is unlimited, vm\.max_map_count is \d+, \d+ mappings exist",
    ),
    "locked mappings": (refusal("shmat", "EAGAIN"), r"locks what it maps \(mlockall.*ulimit -l is"),
    "no open file for the mapping": (refusal("shmat", "ENFILE"), r"whole system has no open file left"),
    "no random bytes": (refusal("getrandom", "ENOSYS"), SANDBOX),
    "random bytes are forbidden": (refusal("getrandom", "EPERM"), SANDBOX),
}


@seccomp
@pytest.mark.parametrize("cause", SYSV)
def test_opening_in_system_v_memory(cause, key, in_child):
    filter_, says = SYSV[cause]
    code, text = told(in_child, lambda: Store(key, **ONE_MIB), filter_)
    assert code == filter_.error
    assert re.search(says, text), text
    assert f"store {key!r}: {filter_.call}" in text and "huge pages" not in text
    assert sysv_of(key) is None  # what was made is gone again


@seccomp
@pytest.mark.parametrize("call", ["shmctl", "shmat"])
def test_finding_in_system_v_memory(call, key, in_child):
    with Store(key, **ONE_MIB):
        code, text = told(in_child, lambda: Store(key, create=False), refusal(call, "EACCES"))
    assert code == errno.EACCES and re.search(
        r"of uid 0, mode 0600, 1048576 bytes; you are uid 0; ask its owner for a mode", text
    ), text


def test_a_mode_that_keeps_its_creator_out(key, in_child):
    for options in ({}, {"backend": "posix"}):
        with pytest.raises(OSError, match="mode=0o60 must let its creator read and write"):
            in_child(lambda options=options: Store(key, size="1M", mode=0o060, **options), uid=54321)
    assert sysv_of(key) is None and not os.path.exists(f"/dev/shm/shmstore-{key}")


def sysv_of(key):
    from shmstore._store.names import parse_key

    number = parse_key(key).number
    return next((row for row in sysv.segments() if row.stat and row.stat.key == number), None)


POSIX = {
    "no descriptor": (refusal("openat", "EMFILE", TMPFILE), r"no file descriptor left: ulimit -n is \d+; close"),
    "no open file in the system": (
        refusal("openat", "ENFILE", TMPFILE),
        r"whole system has no open file left: fs\.file-max is",
    ),
    "not mounted": (
        refusal("openat", "ENOENT", TMPFILE),
        r"/dev/shm is missing; as root: mount -t tmpfs.*backend=\"sysv\"",
    ),
    "no directory": (refusal("openat", "ENOTDIR", TMPFILE), r"/dev/shm is missing"),
    "no tmpfs": (refusal("openat", "EOPNOTSUPP", TMPFILE), r"/dev/shm is not a tmpfs"),
    "an old kernel's answer": (refusal("openat", "EISDIR", TMPFILE), r"/dev/shm is not a tmpfs"),
    "read-only": (
        refusal("openat", "EROFS", TMPFILE),
        r"/dev/shm is mounted read-only; as root: mount -o remount,rw /dev/shm",
    ),
    "no inode or page": (refusal("openat", "ENOSPC", TMPFILE), r"/dev/shm has \d+ bytes.*remove files from it"),
    "a quota": (refusal("openat", "EDQUOT", TMPFILE), r"uid 0 has used its quota of /dev/shm"),
    "a sandbox makes no files": (refusal("openat", "EPERM", TMPFILE), SANDBOX),
    "a security module": (refusal("openat", "EACCES", TMPFILE), SANDBOX),
    "a mode that cannot be set": (refusal("fchmod", "EPERM"), SANDBOX),
    "a file too large": (
        refusal("ftruncate", "EFBIG"),
        r"1048576 bytes are more than a file can have in this file system",
    ),
    "no memory for the size": (refusal("ftruncate", "ENOSPC"), r"/dev/shm has \d+ bytes"),
    "no addresses for it": (
        refusal("mmap", "ENOMEM", (3, 0x3, mmap.MAP_SHARED), (1, 0xFFFFFFFF, M)),
        r"no room for 1M more: ulimit -v",
    ),
    "locked mappings": (
        refusal("mmap", "EAGAIN", (3, 0x3, mmap.MAP_SHARED), (1, 0xFFFFFFFF, M)),
        r"locks what it maps",
    ),
    "pages used up": (refusal("fallocate", "ENOSPC"), r"no page left for it: /dev/shm has"),
    "pages of a quota": (refusal("fallocate", "EDQUOT"), r"uid 0 has used its quota of /dev/shm"),
    "pages of no tmpfs": (refusal("fallocate", "EOPNOTSUPP"), r"/dev/shm is not a tmpfs"),
    "a sandbox without fallocate": (refusal("fallocate", "EPERM"), SANDBOX),
    "locks used up": (refusal("fcntl", "ENOLCK", (1, 0xFFFFFFFF, OFD_SETLK)), r"no memory left for a lock"),
    "a sandbox without locks": (refusal("fcntl", "EPERM", (1, 0xFFFFFFFF, OFD_SETLK)), SANDBOX),
    "no place for the name": (refusal("linkat", "ENOSPC"), r"/dev/shm has \d+ bytes"),
    "a name may not be given": (refusal("linkat", "EPERM"), SANDBOX),
    "names without /proc": (refusal("linkat", "ENOENT"), r"/proc, which must be mounted"),
    "no random bytes": (refusal("getrandom", "ENOSYS"), SANDBOX),
}


@seccomp
@pytest.mark.parametrize("cause", POSIX)
def test_creating_in_posix_memory(cause, key, in_child):
    filter_, says = POSIX[cause]
    code, text = told(in_child, lambda: Store(key, backend="posix", **ONE_MIB), filter_)
    assert code == filter_.error
    assert re.search(says, text), text
    assert text.split("] ", 1)[1].startswith(f"store {key!r}: ")
    if "missing" not in says:
        assert "is missing" not in text
    assert not os.path.exists(f"/dev/shm/shmstore-{key}")


FINDING = {
    "no descriptor": (refusal("openat", "EMFILE", WRITES), r"no file descriptor left"),
    "no open file in the system": (refusal("openat", "ENFILE", WRITES), r"whole system has no open file left"),
    "read-only": (refusal("openat", "EROFS", WRITES), r"mounted read-only"),
    "not ours": (
        refusal("openat", "EACCES", WRITES),
        r"/dev/shm/shmstore-\S+ is of uid 0, mode 0600, 1048576 bytes; you are uid 0",
    ),
    "a sandbox": (refusal("openat", "EPERM", WRITES), SANDBOX),
    "it cannot be read": (refusal("pread64", "EIO"), r"pread: Input/output error: /dev/shm/shmstore-"),
    "it may not be read": (refusal("pread64", "EPERM"), SANDBOX),
}


@seccomp
@pytest.mark.parametrize("cause", FINDING)
def test_finding_in_posix_memory(cause, key, in_child):
    """Above all no NotAStore: its message has the command that removes the segment."""
    filter_, says = FINDING[cause]
    with Store(key, backend="posix", **ONE_MIB):
        code, text = told(in_child, lambda: Store(key, backend="posix", create=False), filter_)
    assert code == filter_.error and re.search(says, text), text


UNNAMED = {
    "no memfd in this kernel": (refusal("memfd_create", "ENOSYS"), SANDBOX),
    "no descriptor": (refusal("memfd_create", "EMFILE"), r"no file descriptor left"),
    "a sandbox without memfd": (refusal("memfd_create", "EPERM"), SANDBOX),
    "a sandbox without seals": (refusal("fcntl", "EPERM", (1, 0xFFFFFFFF, ADD_SEALS)), SANDBOX),
}


@seccomp
@pytest.mark.parametrize("cause", UNNAMED)
def test_creating_a_private_store(cause, in_child):
    filter_, says = UNNAMED[cause]
    code, text = told(in_child, lambda: Store(PRIVATE, backend="posix", size="1M"), filter_)
    assert code == filter_.error and re.search(says, text), text
    assert "store PRIVATE: " in text


@seccomp
@pytest.mark.parametrize(("backend", "call"), [("sysv", "shmctl"), ("posix", "unlink")])
def test_removing_in_a_sandbox(backend, call, key, in_child):
    """Not "only its owner may": it is the owner that is refused."""
    with Store(key, backend=backend, size="1M") as store:
        arguments = ((1, 0xFFFFFFFF, REMOVE),) if call == "shmctl" else ()
        code, text = told(in_child, store.destroy, seccomp_faults.Refusal(call, errno.ENOSYS, arguments))
        assert code == errno.ENOSYS and re.search(SANDBOX, text), text
        store["k"] = 1  # it is there


def test_removing_from_another_ipc_namespace(key, in_child, unshare_ipc):
    with Store(key, size="1M") as store:
        _, text = told(in_child, store.destroy, before=unshare_ipc)
        assert "left the IPC namespace" in text and repr(key) in text
