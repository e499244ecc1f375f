"""The kernel's table of segments: what it says, and that nobody is left out of it."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from shmstore.sysv import (
    IPC_INFO,
    IPC_PRIVATE,
    IPC_RMID,
    IPC_STAT,
    SHM_INFO,
    SHM_STAT,
    SHM_STAT_ANY,
    ShmidDs,
    segments,
    shmat,
    shmctl,
    shmdt,
    shmget,
)
from shmstore.sysv._proc import TABLE, parse, read_table

sys.path.insert(0, str(Path(__file__).resolve().parent))
from eventually import comes_to

STRANGER = 54321
PAGE = os.sysconf("SC_PAGE_SIZE")

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@pytest.fixture
def three():
    """Segments that nobody but their owner, that everybody, and that nobody at all but root may read."""
    ids = [shmget(IPC_PRIVATE, 100 + mode, mode) for mode in (0o600, 0o644, 0o000)]
    yield ids
    for shmid in ids:
        shmctl(shmid, IPC_RMID)


def fields(stat):
    return {name: getattr(stat, name) for name in stat.__slots__}


def test_limits():
    info = shmctl(0, IPC_INFO)
    for name in ("shmmax", "shmmni", "shmall"):
        with open(f"/proc/sys/kernel/{name}") as file:
            assert getattr(info, name) == int(file.read())
    assert info.shmmin == 1
    assert f"shmmni={info.shmmni}" in repr(info)


def test_use_and_places(in_child, unshare_ipc):
    """In a namespace of its own, where nobody else changes the figures."""

    def look():
        ids = [shmget(IPC_PRIVATE, size, 0o600) for size in (1, PAGE + 1, 5 * PAGE)]
        shmctl(ids[1], IPC_RMID)  # leaves a place empty
        attachment = shmat(ids[2])
        attachment.memory[0] = 1
        usage, limits = shmctl(0, SHM_INFO), shmctl(0, IPC_INFO)
        places = {}
        for index in range(usage.highest + 1):
            try:
                places[index] = shmctl(index, SHM_STAT).id
                assert fields(shmctl(index, SHM_STAT)) == fields(shmctl(places[index], IPC_STAT))
                assert fields(shmctl(index, SHM_STAT)) == fields(shmctl(index, SHM_STAT_ANY))
            except OSError as error:
                places[index] = error.errno
        rows = [(row.index, row.readable, row.stat.id) for row in segments()]
        return ids, [usage.used_ids, usage.shm_tot, usage.shm_rss, usage.highest, limits.highest], places, rows

    ids, figures, places, rows = in_child(look, before=unshare_ipc)
    assert figures == [2, 6, 1, 2, 2]
    assert places == {0: ids[0], 1: errno.EINVAL, 2: ids[2]}
    assert rows == [(0, True, ids[0]), (2, True, ids[2])]


def test_an_empty_table(in_child, unshare_ipc):
    assert in_child(segments, before=unshare_ipc) == []


def table(ids):
    """The rows of these segments, as a child can tell them: whether there is an index, readable, what is known."""
    return [
        (row.index is not None, row.readable, row.stat and fields(row.stat))
        for row in segments()
        if row.stat is None or row.stat.id in ids
    ]


@pytest.fixture
def expected(three):
    """expected(found, readable): the rows of the three segments as they are now."""
    if os.geteuid() != 0:
        pytest.skip("only root sees one that nobody may read")

    def expected(found, readable):
        return list(zip(found, readable, [fields(shmctl(shmid, IPC_STAT)) for shmid in three]))

    return expected


def in_order(rows, three):
    return sorted(rows, key=lambda row: three.index(row[2]["id"]))


def test_segments_of_another_user_are_listed(three, expected, in_child):
    look = lambda: in_order(in_child(lambda: table(three), uid=STRANGER), three)  # noqa: E731
    comes_to(look, lambda: expected([True] * 3, [False, True, False]))


@pytest.mark.skipif(os.geteuid() != 0, reason="of root, who may read everything")
def test_root_reads_all(three, expected):
    comes_to(lambda: in_order(table(three), three), lambda: expected([True] * 3, [True] * 3))


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EPERM])
def test_without_shm_stat_any_proc_tells(three, expected, in_child, forbid_shmctl, code):
    """EINVAL is what kernels before 4.17 say, EPERM what sandboxes do."""
    before = lambda: forbid_shmctl(code, SHM_STAT_ANY)  # noqa: E731
    look = lambda: in_order(in_child(lambda: table(three), uid=STRANGER, before=before), three)  # noqa: E731
    comes_to(look, lambda: expected([False, True, False], [False, True, False]))


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS])
def test_without_the_table_proc_tells_all(three, expected, in_child, forbid_shmctl, code):
    before = lambda: forbid_shmctl(code, SHM_INFO, SHM_STAT, SHM_STAT_ANY)  # noqa: E731
    look = lambda: in_order(in_child(lambda: table(three), uid=STRANGER, before=before), three)  # noqa: E731
    comes_to(look, lambda: expected([False] * 3, [False, True, False]))


def test_with_neither_there_is_at_least_a_row(three, in_child, unshare_ipc, forbid_shmctl, hide_proc):
    def before():
        unshare_ipc()
        shmget(IPC_PRIVATE, 1, 0o600)
        shmget(IPC_PRIVATE, 1, 0o604)
        hide_proc()
        forbid_shmctl(errno.EINVAL, SHM_STAT_ANY)

    rows = in_child(lambda: [(row.index, row.readable, row.stat is None, repr(row)) for row in segments()],
                    uid=STRANGER, before=before)  # fmt: skip
    assert [row[:3] for row in rows] == [(1, True, False), (0, False, True)]
    assert rows[1][3] == "<Segment at index 0 unreadable>"


def test_with_nothing_at_all_the_refusal_says_so(in_child, forbid_shmctl, hide_proc):
    def before():
        hide_proc()
        forbid_shmctl(errno.ENOSYS, SHM_INFO)

    with pytest.raises(OSError, match="neither the kernel's table nor /proc/sysvipc/shm") as refused:
        in_child(segments, before=before)
    assert refused.value.errno == errno.ENOSYS


def test_stat_of_a_segment_of_another_user(three, in_child):
    def look():
        for row in segments():
            if row.stat.id == three[0]:
                assert shmctl(row.index, SHM_STAT_ANY).id == three[0]
                shmctl(row.index, SHM_STAT)

    with pytest.raises(OSError, match=f"uid {STRANGER} may not read .*; SHM_STAT_ANY shows it") as refused:
        in_child(look, uid=STRANGER)
    assert refused.value.errno == errno.EACCES


def test_segments_that_come_and_go_do_no_harm(in_child):
    """A walk beside a process that creates and removes."""
    child = os.fork()
    if child == 0:
        try:
            for _ in range(3000):
                attachment = shmat(shmid := shmget(IPC_PRIVATE, 1, 0o600))
                shmctl(shmid, IPC_RMID)
                shmdt(attachment)
        finally:
            os._exit(0)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        for row in segments():
            assert row.stat is not None
            assert row.stat.size > 0


LINE = b" -2  7 1600 4096 11 12 1 1000 100 1001 101 21 22 23 8192 512"


def test_a_line_of_the_table():
    (row,) = parse(b"head\n" + LINE + b"\n")
    assert row.as_dict() == {
        "key": -2, "id": 7, "mode": 0o1600, "size": 4096, "cpid": 11, "lpid": 12, "nattch": 1, "uid": 1000, "gid": 100,
        "cuid": 1001, "cgid": 101, "atime": 21, "dtime": 22, "ctime": 23, "rss": 8192, "swap": 512,
    }  # fmt: skip


def test_a_line_of_a_kernel_that_prints_no_memory():
    (row,) = parse(b"head\n" + LINE.rsplit(b" ", 2)[0])
    assert (row.ctime, row.rss, row.swap) == (23, 0, 0)


@pytest.mark.parametrize("line", [b"-2 7 1600", LINE.replace(b"1600", b"0x1"), LINE.replace(b"4096", b"many"), b" "])
def test_a_line_that_is_none(line):
    with pytest.raises(ValueError):
        parse(b"head\n" + line)


@pytest.mark.parametrize("table", [b"", b"head", b"head\n"])
def test_a_table_without_lines(table):
    assert parse(table) == []


def test_the_table_agrees_with_the_kernel(three):
    if not Path(TABLE).exists():
        pytest.skip("/proc/sysvipc is not mounted")
    names = ShmidDs.__slots__

    def look():
        rows = {row.id: row for row in read_table()}
        return [{name: getattr(rows[shmid], name) for name in names} for shmid in three[:2]]

    comes_to(look, lambda: [fields(shmctl(shmid, IPC_STAT)) for shmid in three[:2]])
