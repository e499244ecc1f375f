"""No read is older than the bound, and none goes backwards on a host, while listeners are killed, stopped and cut off.

Hosts are IPC namespaces: each has a store and a listener of its own, and all have one server.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from near_checker import problems

HOST = Path(__file__).with_name("near_host.py")
SECOND = 10**9


def unshare() -> list[str]:
    """The command that runs another one in an IPC namespace of its own."""
    for command in (["unshare", "--ipc"], ["unshare", "--user", "--map-root-user", "--ipc"]):
        try:
            if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
                return command
        except FileNotFoundError:
            break
    pytest.skip("this process may not make an IPC namespace (unshare --ipc)")


def run(server, folder, *, hosts, workers, cycles, seed, bound=0.3):
    """The notes of all workers, as the checker wants them."""
    server.client.flushall()
    command = unshare()
    numbers = [hosts, workers, cycles, seed, bound]
    running = [
        subprocess.Popen(
            [*command, sys.executable, str(HOST), server.url, "near-host", str(host), *map(str, numbers), str(folder)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for host in range(hosts)
    ]  # fmt: skip
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * hosts, "\n".join(said)
    calls = []
    for path in sorted(folder.glob("notes-*")):
        host = int(path.name.split("-")[1])
        calls += [(host, *row) for row in json.loads(path.read_text())]
    return calls


def check(server, folder, **options):
    calls = run(server, folder, **options)
    assert len(calls) > 100 and {call[1] for call in calls} == {"read", "write"}
    assert problems(calls, int(0.3 * SECOND))[:10] == []


def test_two_hosts(server, tmp_path):
    check(server, tmp_path, hosts=2, workers=1, cycles=4, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_four_hosts(server, tmp_path, seed):
    check(server, tmp_path, hosts=4, workers=3, cycles=40, seed=seed)


# ---- the checker itself

READ, WRITE = "read", "write"


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        ([(0, WRITE, "k", 1, 0, 10), (1, READ, "k", 1, 5, 12), (1, READ, "k", 0, 5, 9)], None),
        ([(0, WRITE, "k", 1, 0, 10), (1, READ, "k", 0, 110, 111)], None),  # as old as it may be
        ([(0, WRITE, "k", 1, 0, 10), (1, READ, "k", 0, 111, 112)], "after a newer one"),
        ([(0, WRITE, "k", 1, 0, 10), (0, READ, "k", 0, 11, 12)], "had read or written 1"),
        ([(0, WRITE, "k", 1, 0, 10), (1, READ, "k", 1, 5, 12), (1, READ, "k", 0, 13, 14)], "had read or written 1"),
        ([(0, WRITE, "k", 1, 0, 10), (1, READ, "k", 1, 5, 12), (1, READ, "k", 0, 11, 14)], None),  # at the same time
        ([(0, WRITE, "k", 1, 20, 30), (1, READ, "k", 1, 5, 12)], "before it was written"),
        ([(1, READ, "k", 2, 5, 12)], "before it was written"),
        ([(0, WRITE, "a", 1, 0, 10), (1, READ, "b", 0, 500, 501)], None),
    ],
)
def test_the_checker(calls, text):
    found = problems(calls, 100)
    assert (found == []) if text is None else (len(found) == 1 and text in found[0])
