"""What processes and threads did on a few keys, also when they are killed, is linearizable."""

import json
import pathlib
import random
import shutil
import subprocess
import sys

import checker
import history as h
import pytest

RECORDER = pathlib.Path(__file__).with_name("record.py")


def record(key, directory, *options):
    """Figures and operations of one run."""
    done = subprocess.run(
        [sys.executable, RECORDER, key, directory, *map(str, options)], capture_output=True, text=True, timeout=1200
    )
    problems = [line for line in done.stderr.splitlines() if "died in the midst of" not in line]
    assert done.returncode == 0 and problems == [], problems[:20]
    deaths = json.loads((directory / "deaths.json").read_text())
    operations = []
    for path in sorted(directory.glob("*.log")):
        operations += h.read(path, deaths.get(path.stem.split(".")[0]))
    return json.loads(done.stdout), operations


def judge(make, key, directory, *options):
    directory.mkdir(exist_ok=True)
    store = make(size="8M")
    try:
        figures, operations = record(key, directory, *options)
        store.recover()
        store.check()
        assert [client.is_me for client in store.clients()] == [True]
        figures["checked"] = checker.check(operations)
    finally:
        shutil.rmtree(directory, ignore_errors=True)  # a full run's files are large
    figures["not completed"] = sum(not op.completed for op in operations)
    figures["expirations"] = store.stats().expirations
    print(json.dumps(figures))
    return figures, operations


def test_processes_and_threads(make, key, tmp_path):
    figures, operations = judge(make, key, tmp_path / "logs", "--operations", 40_000, "--seed", random.getrandbits(30))
    assert figures["operations"] == len(operations) == 40_000
    assert {op.kind for op in operations} == set(h.KINDS)
    assert figures["checked"]["overlapping"] >= 2


def test_while_processes_are_killed(make, key, tmp_path):
    options = ("--operations", 40_000, "--kill-every", 0.02, "--seed", random.getrandbits(30))
    figures, _ = judge(make, key, tmp_path / "logs", *options)
    assert figures["operations"] >= 40_000 and figures["kills"] >= 4


def test_while_everything_expires(make, key, tmp_path):
    """Entries go within a few calls, and are touched just then."""
    options = ("--operations", 20_000, "--keys", 2, "--mortal", "--seed", random.getrandbits(30))
    figures, operations = judge(make, key, tmp_path / "logs", *options)
    touched = [op.outcome for op in operations if op.kind == h.TOUCH]
    assert min(touched.count(h.YES), touched.count(h.NO)) > 100


@pytest.mark.parametrize("ends", ["namespace", "tag"])
def test_while_all_keys_are_cleared(make, key, tmp_path, ends):
    """Each key is in a namespace that is cleared again and again, or has a tag that is evicted."""
    options = ("--operations", 20_000, "--ends", ends, "--keys", 3, "--seed", random.getrandbits(30))
    _, operations = judge(make, key, tmp_path / "logs", *options)
    clears = [op for op in operations if op.kind == h.CLEAR]
    assert len(clears) > 100
    with pytest.raises(checker.NotLinearizable):
        checker.check([op for op in operations if op.kind != h.CLEAR])
    read = [op.outcome for op in operations if op.kind == h.GET]
    assert min(read.count(h.YES), read.count(h.NO)) > 100


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["namespace", "tag"])
def test_half_a_million_while_all_keys_are_cleared(make, key, tmp_path, ends):
    options = ("--operations", 500_000, "--ends", ends, "--keys", 3, "--kill-every", 0.05)
    judge(make, key, tmp_path / "logs", *options, "--seed", random.getrandbits(30))


def test_a_falsified_history_is_found_out(make, key, tmp_path):
    """Histories as they really come, with one answer exchanged for one that was right long before."""
    _, operations = judge(make, key, tmp_path / "logs", "--operations", 6_000, "--keys", 2)
    rng = random.Random(1)
    history = sorted((op for op in operations if op.key == 0), key=lambda op: op.start)
    hits = [i for i, op in enumerate(history) if op.kind in (h.GET, h.GET_VERSIONED, h.POP) and op.result]
    written = [i for i, op in enumerate(history) if op.kind == h.PUT]
    for _ in range(8):
        victim = rng.randrange(len(hits) // 2, len(hits))
        old, new = history[hits[victim - len(hits) // 4]], history[hits[victim]]
        assert old.result != new.result
        forged = new._replace(result=old.result, version=old.version if new.version else 0)
        with pytest.raises(checker.NotLinearizable):
            checker.check(history[: hits[victim]] + [forged] + history[hits[victim] + 1 :])
    for _ in range(8):  # a put that is not in the history although somebody read its value
        at = rng.choice(written)
        read = [op for op in history if op.result == history[at].value and op.kind <= h.GET_VERSIONED]
        if read:
            with pytest.raises(checker.NotLinearizable):
                checker.check(history[:at] + history[at + 1 :])


@pytest.mark.slow
@pytest.mark.parametrize("kill_every", [0, 0.05, 0.005])
def test_a_million(make, key, tmp_path, kill_every):
    options = ("--operations", 1_000_000, "--kill-every", kill_every, "--keys", 3)
    figures, _ = judge(make, key, tmp_path / "logs", *options, "--seed", random.getrandbits(30))
    assert figures["operations"] >= 1_000_000


@pytest.mark.slow
def test_a_million_while_everything_expires(make, key, tmp_path):
    options = ("--operations", 1_000_000, "--kill-every", 0.05, "--keys", 2, "--mortal")
    judge(make, key, tmp_path / "logs", *options, "--seed", random.getrandbits(30))


@pytest.mark.slow
def test_one_key_and_many_processes(make, key, tmp_path):
    options = ("--operations", 200_000, "--processes", 8, "--threads", 1, "--keys", 1, "--kill-every", 0.05)
    judge(make, key, tmp_path / "logs", *options, "--seed", random.getrandbits(30))
