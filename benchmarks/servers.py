"""Load a site behind gunicorn, with each of several caches: ``python -m benchmarks.servers``.

The site has a thousand pages of 7 kB. A page takes 5 ms of a core to compute, page n is asked for n times as rarely as page 1, and
each answer is compared with what it has to be. There is one server for each cache: shmstore's `memoize`, Django's LocMemCache,
diskcache, Redis on a unix socket, and no cache. wrk loads them in turn, for some seconds each. The caches are empty in the first round,
and two more rounds fill them. At the end the memory of each server's processes is counted. A cache that is not installed is left out.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import shmstore
from benchmarks import ROOT
from benchmarks._bars import Bar
from benchmarks._guard import fresh_name, resources
from benchmarks._measure import Sample
from benchmarks._run import Report, Row, Setting, parser, run
from benchmarks._servers import Missing, launch, start
from benchmarks._site import CACHES, REPEATS

PAGES, WORKERS, CONNECTIONS = 1000, 4, 8
WARM_UP = 3  # rounds; the first one is "caches empty", the others are not counted
NEEDS = {"LocMemCache": "django", "diskcache": "diskcache", "Redis": "redis"}
DEADLINE = 60.0  # seconds for a server to answer, and to end
OURS = "shmstore"


@dataclass
class Site:
    """A server at work. *beside*: the processes that keep its pages, if these are not its own."""

    port: int
    process: subprocess.Popen[bytes]
    beside: list[int]

    def load(self, seconds: int) -> dict[str, Any]:
        """What wrk has counted. An error ends the run: nothing is killed here."""
        arguments = [
            f"-t{CONNECTIONS}",
            f"-c{CONNECTIONS}",
            f"-d{seconds}s",
            "--timeout=60s",
            "-s",
            str(ROOT / "benchmarks" / "load.lua"),
        ]
        command = ["wrk", *arguments, f"http://127.0.0.1:{self.port}", "--", str(PAGES), str(REPEATS)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
        if found["wrong"] or any(found[error] for error in ("connect", "read", "write", "timeout")):
            raise SystemExit(f"not all answers were right: {output}")
        return found

    def memory(self) -> tuple[float, float]:
        """Bytes of the first process and its workers, and of what is beside: each shared page divided among those that map it
        (PSS), and pages of one process only (USS)."""
        found = [_memory(pid) for pid in (self.process.pid, *_children(self.process.pid), *self.beside)]
        return sum(pss for pss, _ in found), sum(uss for _, uss in found)


def main(argv: Sequence[str] | None = None) -> int:
    title = (__doc__ or "").partition("\n\n")[0]
    return run("servers", play, parser("servers", title, "5, quick 1").parse_args(argv))


def play(setting: Setting, report: Report) -> None:
    os.sched_setaffinity(0, setting.cores)  # servers, workers and wrk use all
    if shutil.which("wrk") is None or find_spec("gunicorn") is None:
        raise SystemExit("this benchmark needs wrk and gunicorn: apt-get install wrk, pip install gunicorn")
    cold = Row("servers cold", "requests of the first seconds, caches empty", "per second", {})
    warm = Row("servers", "requests", "per second", {})
    pss = Row("servers memory", "memory of all processes, PSS", "bytes", {})
    uss = Row("servers private", "memory of all processes, USS", "bytes", {})
    computed: dict[str, int] = {}
    with resources() as stack:
        sites = dict(_sites(stack, report))
        first = -1 if setting.quick else -WARM_UP
        for number in range(first, setting.rounds(5, quick=1)):
            for who in setting.rng.sample(list(sites), len(sites)):
                report.progress(f"{who}, round {number}")
                counted = sites[who].load(1 if setting.quick else 4)
                if number >= 0 or number == first:
                    rounds = (cold if number < 0 else warm).samples.setdefault(who, Sample()).rounds
                    rounds.append(counted["answered"] / counted["seconds"])
                computed[who] = computed.get(who, 0) + counted["computed"]
        for who, site in sites.items():
            shared, private = site.memory()
            pss.samples[who], uss.samples[who] = Sample([shared]), Sample([private])
    for row in (cold, warm):
        row.samples = {who: row.samples[who] for who in sites}
    warm.about["computed"] = {who: computed[who] for who in sites}
    report.add(cold, warm, pss, uss)
    header = ("", ">requests/s", ">caches empty", ">computed", ">PSS, MB", ">USS, MB")
    cells = [
        (
            who, *(f"{row.median(who):,.0f}" for row in (warm, cold)), f"{computed[who]:,}",
            *(f"{(row.median(who) or 0) / 1e6:,.1f}" for row in (pss, uss)),
        )
        for who in sites
    ]  # fmt: skip
    report.table(f"gunicorn, {WORKERS} workers, {PAGES:,} pages", header, cells)
    absent = "it is not installed"
    report.bars += [
        Bar("behind gunicorn: requests, of Redis's", warm.ratio(OURS, "Redis"), least=1.0, why=absent),
        Bar(
            "behind gunicorn: requests, caches empty, of LocMemCache's",
            cold.ratio(OURS, "LocMemCache"),
            least=1.0,
            why=absent,
        ),
        Bar("behind gunicorn: memory, of LocMemCache's", pss.ratio(OURS, "LocMemCache"), most=1.0, why=absent),
    ]


def _sites(stack: ExitStack, report: Report) -> Iterator[tuple[str, Site]]:
    for who in CACHES:
        try:
            if who in NEEDS and find_spec(NEEDS[who]) is None:
                raise Missing(f"needs {NEEDS[who]}")
            place, beside = _place(who, stack)
            yield who, _serve(who, place, beside, stack)
        except Missing as why:
            report.note(f"{who} is left out: {why}")


def _place(who: str, stack: ExitStack) -> tuple[str, list[int]]:
    """Where the cache is, and the processes that keep it."""
    if who == "Redis":
        path = start(
            stack, "redis-server", "--port", "0", "--unixsocket", "{socket}", "--save", "", "--appendonly", "no"
        )
        return path, [_listener(path)]
    if who == "diskcache":
        return stack.enter_context(tempfile.TemporaryDirectory(prefix="shmstore-bench-")), []
    name = fresh_name()
    if who == OURS:
        stack.callback(_remove, name)
        shmstore.Cache(name, size="64M").close()
    return name, []


def _remove(name: str) -> None:
    try:
        shmstore.destroy(name)
    except shmstore.StoreNotFound:
        pass


def _listener(path: str) -> int:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        return int.from_bytes(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), sys.byteorder)


def _serve(who: str, place: str, beside: list[int], stack: ExitStack) -> Site:
    held = stack.enter_context(socket.socket())  # bound without listening: the port is the server's alone
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port = held.getsockname()[1]
    options = ["--bind", f"127.0.0.1:{port}", "--workers", str(WORKERS), "--log-level", "error", "--no-control-socket"]
    environment = {**os.environ, "SHMSTORE_BENCH_SITE": f"{who} {place}"}
    command = [sys.executable, "-m", "gunicorn", *options, "benchmarks._site:application"]
    process = launch(stack, command, cwd=ROOT, env=environment)
    end = time.monotonic() + DEADLINE
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > end:
            raise Missing("gunicorn does not start with it")
        time.sleep(0.05)
    return Site(port, process, beside)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/page/1", timeout=DEADLINE) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        raise Missing(f"gunicorn answers {error.code} with it") from None
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _memory(pid: int) -> tuple[float, float]:
    lines = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]]
    sizes = {name: int(size) * 1024 for name, size, _ in lines}
    return sizes["Pss:"], sizes["Private_Clean:"] + sizes["Private_Dirty:"]


if __name__ == "__main__":
    raise SystemExit(main())
