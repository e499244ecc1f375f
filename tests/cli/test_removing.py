"""rm of several stores and of a pattern, what -f means, and the question before what was chosen goes."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

import shmstore
from shmstore.cli.support import removal


@pytest.fixture
def stores(key):
    """Stores by the last word of their names; what is left of them is removed."""
    made = {}

    def make(*words, backend="sysv"):
        for word in words:
            with shmstore.Store(f"{key}{word}", size="64K", backend=backend) as store:
                store["a"] = 1
                made[word, backend] = store.info().id
        return made

    yield make
    for word, backend in made:
        try:
            shmstore.destroy(f"{key}{word}", backend=backend)
        except shmstore.StoreNotFound:
            pass


@pytest.fixture
def left(key):
    """The last words of the names of those that are still there."""

    def left(backend="sysv"):
        return sorted(
            str(one.name)[len(key) :]
            for one in shmstore.stores()
            if one.backend == backend and str(one.name).startswith(key)
        )

    return left


# ---- several ----


def test_several_and_each_is_said(stores, key, cli, left):
    made = stores("1", "2", "3")
    done = cli("rm", f"{key}2", f"{key}1", f"{key}2").ok()
    assert done.lines == [f"{key}{word} (segment {made[word, 'sysv']}) removed" for word in "21"]
    assert left() == ["3"]


def test_what_can_be_removed_is_whatever_the_others_are(stores, key, cli, left, plant, number):
    made = stores("1", "2", "3")
    plant(number)
    with shmstore.Store(f"{key}2", create=False):
        done = cli("rm", f"{key}nope", f"{key}1", f"{key}2", hex(number), "--json")
        assert done.code == 4 and left() == ["2", "3"]
    assert len(done.err.splitlines()) == 3 and all(line.startswith("shmstore: ") for line in done.err.splitlines())
    rows = {row["name"]: row for row in done.json["stores"]}
    assert rows[f"{key}1"] == {
        "name": f"{key}1", "backend": "sysv", "id": made["1", "sysv"], "removed": True, "attached": 0, "error": None
    }  # fmt: skip
    assert not rows[f"{key}2"]["removed"] and "using it" in rows[f"{key}2"]["error"]
    assert "not a store" in rows[hex(number)]["error"]
    assert cli("rm", f"{key}nope", f"{key}3").code == 3 and left() == ["2"]


def test_wrong_words_end_it_before_anything_is_removed(stores, key, cli, left):
    stores("1")
    for wrong in ([f"{key}1", ""], [f"{key}1", "0x0"], [f"{key}1", "--id", "1"], ["--id", "1", "--object", "x"], []):
        assert cli("rm", *wrong).code == 2 and left() == ["1"], wrong


def test_several_by_id_and_by_object(stores, key, cli, left):
    made = stores("1", "2")
    stores("1", "2", backend="posix")
    cli("rm", "--id", made["1", "sysv"], "--id", made["2", "sysv"]).ok()
    assert left() == [] and left("posix") == ["1", "2"]
    cli("rm", "--object", f"shmstore-{key}1", "--object", f"/dev/shm/shmstore-{key}2").ok()
    assert left("posix") == []


# ---- -f ----


def test_force_means_that_what_is_not_there_is_no_failure(stores, key, cli, left):
    """The same in rm and in del, and of stores, ids, objects and entries."""
    stores("1")
    for words in (
        ["rm", f"{key}nope"], ["rm", f"{key}nope", f"{key}nada"], ["rm", f"{key}no*"], ["rm", "--id", 2**31 - 1], ["rm", "--object", key],
        ["del", f"{key}1", "nope"], ["del", f"{key}nope", "a"],
    ):  # fmt: skip
        assert cli(*words).code == 3, words
        done = cli(*words, "-f")
        assert (done.code, done.out, done.err) == (0, "", ""), words
    assert cli("rm", f"{key}nope", "-f", "--json").ok().json == {"removed": None, "attached": None}
    assert cli("del", f"{key}nope", "a", "-f", "--json").ok().json == {"deleted": 0, "missing": ["a"]}
    assert left() == ["1"]


def test_force_does_not_hide_other_failures(stores, key, cli, nobody, left):
    stores("1")
    assert nobody("rm", f"{key}1", "-f").code == 1
    assert cli("del", "", "a", "-f").code == 2
    assert left() == ["1"]


# ---- patterns ----


def test_a_pattern_removes_what_it_matched_after_a_yes(stores, key, cli, left):
    made = stores("job-1", "job-2", "job-33", "jo", "other")
    stores("job-9", backend="posix")
    refused = cli("rm", f"{key}job-?")
    assert (refused.code, refused.out) == (4, "") and len(left()) == 5
    assert refused.err == (
        f"shmstore: nothing was removed: 2 stores match: {key}job-1 (segment {made['job-1', 'sysv']}), {key}job-2 (segment "
        f"{made['job-2', 'sysv']}); use --yes to remove them, or --name if '{key}job-?' is a name\n"
    )
    dry = cli("rm", f"{key}job-*", "--dry-run").ok()
    assert [line.split()[0] for line in dry.lines] == [f"{key}job-{number}" for number in (1, 2, 33)] and len(
        left()
    ) == 5
    assert all(" would be removed: 1 entry, " in line for line in dry.lines)
    done = cli("rm", f"{key}job-?", "-y").ok()
    assert [line.split()[0] for line in done.lines] == [f"{key}job-1", f"{key}job-2"]
    assert left() == ["jo", "job-33", "other"] and left("posix") == ["job-9"]
    cli("rm", f"{key}j*", f"{key}[o]*", "--yes", "--json").ok()
    assert left() == [] and left("posix") == ["job-9"]
    missed = cli("rm", f"{key}job-*", "-y")
    assert missed.code == 3 and missed.err.endswith(f"matches '{key}job-*'; 1 does with --backend posix\n")
    cli("rm", f"{key}job-*", "-y", "--backend", "posix").ok()
    assert left("posix") == []


def test_a_pattern_leaves_alone_what_is_used_unless_forced(stores, key, cli, left):
    stores("1", "2")
    with shmstore.Store(f"{key}1", create=False, readonly=True):
        done = cli("rm", f"{key}*", "-y")
        assert (
            done.code == 4
            and left() == ["1"]
            and f"{key}1 (segment" in done.err
            and "--force removes it anyway" in done.err
        )
        cli("rm", f"{key}*", "-f").ok()
    assert left() == []


@pytest.mark.parametrize("word", ["*", "?", "[1]", "a*b", "[", "[!x]"])
def test_a_name_with_signs_of_patterns_is_removable(stores, key, cli, left, word):
    """Named by itself it goes without a question, if it is all that is meant; --name never means more than it."""
    stores(word)
    cli("rm", f"{key}{word}").ok()
    assert left() == []
    stores(word, "1", "a1b")
    done = cli("rm", f"{key}{word}")
    if done.code == 4:  # others match, too
        assert left() == sorted([word, "1", "a1b"])
        cli("rm", "--name", f"{key}{word}").ok()
    assert left() == ["1", "a1b"]


def test_patterns_are_of_names_alone(key, cli, number, plant, stores, left):
    """Not of keys that are numbers, nor of what is no store, nor of objects."""
    plant(number)
    with shmstore.Store(number ^ 1, size="64K") as numbered:
        for pattern in ("0x*", "?x*", f"{number:#010x}"[:-1] + "*"):
            assert cli("rm", pattern, "-y").code == 3, pattern
        numbered.destroy()
    stores("", backend="posix")
    assert cli("rm", f"shmstore-{key}*", "-y", "--backend", "posix").code == 3 and left("posix") == [""]
    assert cli("rm", "--path", "*").code == 3


def test_a_pattern_leaves_the_store_of_another_user_alone(key, cli, as_user, left):
    """Another user's is one of them, and left alone."""
    as_user(65534, lambda: shmstore.Store(f"{key}theirs", size="64K").info().id)
    try:
        done = cli("rm", f"{key}*", "-y")
        assert done.code == 4 and "uid 65534 made it" in done.err
    finally:
        cli("rm", f"{key}theirs", "-f").ok()


# ---- the question ----


# prune looks at all stores, and those of other tests are none of our business.
PROGRAM = """
import sys
from shmstore.cli.support import found
from shmstore.cli import main
every = found.stores
found.stores = lambda backend: [one for one in every(backend) if str(one.header.name).startswith(sys.argv[1])]
sys.exit(main(sys.argv[2:]))
"""


def answered(key, *argv, answer):
    """What a command writes to a terminal on which somebody answers, and its exit code."""
    main, end = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, key, *argv], stdin=end, stdout=end, stderr=end, cwd="/")
    os.close(end)
    written, said, interrupt_at = b"", False, 0.0
    deadline = time.monotonic() + 60
    while (now := time.monotonic()) < deadline:
        if not answer and b"[y/N] " in written and now > interrupt_at:
            process.send_signal(signal.SIGINT)
            interrupt_at = now + 5  # once more then: Python sees one that comes right before it reads after it has read
        if not select.select([main], [], [], 0.1)[0]:
            continue
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        written += part
        if answer and b"[y/N] " in written and not said:
            said = True
            os.write(main, answer)
    code = process.wait(timeout=60)
    os.close(main)
    return code, written.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    "answer, goes",
    [(b"y\n", True), (b"YES\n", True), (b"\n", False), (b"n\n", False), (b"yess\n", False), (b"\x04", False)],
)
@pytest.mark.parametrize("command", ["rm", "prune"])
def test_on_a_terminal_it_asks(stores, key, left, command, answer, goes):
    made = stores("1", "2")
    words = ["rm", f"{key}*"] if command == "rm" else ["prune", "--backend", "sysv"]
    code, text = answered(key, *words, answer=answer)
    assert f"  {key}1 (segment {made['1', 'sysv']}): 1 entry, " in text and "Remove 2 stores? [y/N] " in text
    assert (code, left()) == ((0, []) if goes else (4, ["1", "2"]))
    assert ("nothing was removed" in text) != goes


def test_ctrl_c_at_the_question(stores, key, left):
    stores("1")
    code, _ = answered(key, "rm", f"{key}*", answer=b"")
    assert (code, left()) == (130, ["1"])


# ---- who comes in between ----


@pytest.mark.usefixtures("separate_clients")
def test_attaching_between_the_check_and_the_removal_keeps_the_store(stores, key, cli, left, monkeypatch):
    """Both rm and prune count once more right before the removal."""
    stores("1")
    late = []
    look = removal.Victim.remove

    def remove(self, *arguments):
        late.append(shmstore.Store(f"{key}1", create=False))
        look(self, *arguments)

    monkeypatch.setattr(removal.Victim, "remove", remove)
    done = cli("rm", f"{key}1")
    assert done.code == 4 and "using it" in done.err and left() == ["1"]
    assert late[0]["a"] == 1
    late.pop().close()
