"""How the command behaves in a shell: streams, signals, terminals, colours, help. Never a traceback."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import shmstore

COMMANDS = "ls info get put del evict-tag keys incr ttl describe watch stats clients check clear chmod chown rm prune doctor demo".split()


def on_a_terminal(*argv, columns=80, **environment) -> str:
    """What a command writes to a terminal of so many columns."""
    main, end = pty.openpty()
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "shmstore", *map(str, argv)], stdin=end, stdout=end, stderr=end, cwd="/",
        env={**inherited, "TERM": "xterm", "COLUMNS": str(columns), **environment},
    )  # fmt: skip
    os.close(end)
    written = b""
    while select.select([main], [], [], 60)[0]:
        try:
            part = os.read(main, 65536)
        except OSError:  # EIO: the other end is closed
            break
        if not part:
            break
        written += part
    process.wait(timeout=60)
    os.close(main)
    return written.decode().replace("\r\n", "\n")


# ---- help ----


@pytest.mark.parametrize("command", COMMANDS)
def test_help(cli, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = cli(command, "--help").ok()
    assert "exit codes:" in done.out
    assert "examples:" in done.out
    assert "--json" in done.out
    assert max(map(len, done.lines)) <= 80


def test_every_command_is_in_the_help(cli):
    text = cli("--help").ok().out
    for command in COMMANDS:
        assert re.search(rf"^    {command} +\S", text, re.M), command
    assert cli("--version").ok().out.startswith("shmstore ")


def test_without_a_command_the_help_is_shown(cli):
    """As an error: a script that lost its arguments must not succeed, and a pipe gets nothing."""
    done = cli()
    assert (done.code, done.out) == (2, "") and done.err.startswith(cli("--help").ok().out)
    assert done.err.splitlines()[-1].startswith("shmstore: error: there is no COMMAND")


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nope"],
        ["get"],
        ["get", "k"],
        ["ls", "x"],
        ["ls", "--nope"],
        ["incr", "k", "n", "x"],
        ["get", "k", "n", "m"],
    ],
)
def test_wrong_arguments(cli, argv):
    done = cli(*argv)
    assert done.code == 2 and done.out == "" and done.err.startswith("usage: ")


@pytest.mark.parametrize(
    "argv, answer",
    [
        ("lst", "no command 'lst'; did you mean ls?"), ("LS", "did you mean ls?"), ("delete", "did you mean del?"),
        ("set", "did you mean put?"), ("help", "did you mean --help?"), ("xyz", "no command 'xyz'; shmstore --help lists the commands"),
        ("keys k --prefx user:", "there is no option --prefx; did you mean --prefix?"),
        ("get --timout=3 k n", "there is no option --timout; did you mean --timeout?"),
        ("get k --jsn", "did you mean --json?"),  # before KEY is missed
        ("get k --nope", "there is no option --nope; write -- before an argument that begins with a dash"),
        ("info k --backend posx", "'posx' is not one of sysv, posix; did you mean posix?"),
        ("--verison", "did you mean --version?"), ("--backend posix ls", "there is no option --backend before a command"),
    ],
)  # fmt: skip
def test_did_you_mean(cli, argv, answer):
    done = cli(*argv.split())
    assert done.code == 2 and done.out == "" and done.err.startswith("usage: ") and answer in done.err.splitlines()[-1]


@pytest.mark.parametrize(
    "argv, answer",
    [
        ("stats {} --count 3", "--count needs --watch"), ("stats {} --interval 1", "--interval needs --watch"),
        ("stats {} --watch --count 0", "--count: '0' is not a number above 0"), ("stats {} --watch --count x", "--count: 'x'"),
        ("stats {} --watch --interval 1ms", "--interval must be at least 10ms, not 1ms"), ("watch {} --count 0", "--count: '0'"),
        ("watch {} --count -1", "--count: '-1'"), ("watch {} a --prefix b", "--prefix applies only without KEY"),
        ("watch {} a --interval 1", "--interval applies only without KEY"), ("watch {} --wake", "--wake needs a KEY"),
        ("watch {} --interval 0", "--interval must be at least 1ms, not 0"), ("get {} a --raw --json", "give --raw or --json, not both"),
        ("put {} a 1 --size 1M", "add --create"), ("put {} a 1 --file x", "VALUE or --file"),
        ("info --id 1 --name", "--name applies to STORE"), ("rm --object x --path", "--path applies to STORE"),
        ("chmod 0600 --id 1 --path", "--path applies to STORE"), ("demo --workers 0", "--workers: '0' is not a number above 0"),
    ],
)  # fmt: skip
def test_no_option_is_without_effect(store, key, cli, argv, answer):
    done = cli(*argv.format(key).split())
    assert (done.code, done.out) == (2, "") and answer in done.err.splitlines()[-1]


def test_what_looks_like_an_option_behind_two_dashes_is_none(store, key, cli):
    cli("put", key, "--text", "--", "--prefx", "--x y").ok()
    cli("put", key, "a", "--text", "--x y").ok()  # it has a space, so it was never an option
    assert dict(store) == {"--prefx": "--x y", "a": "--x y"}


def test_options_may_stand_anywhere(store, key, cli):
    for argv in (["put", key, "a", "--text", "v"], ["put", "--text", key, "a", "v"], ["put", key, "--text", "a", "v"]):
        cli(*argv).ok()
        assert store.pop("a") == "v"
    cli("put", "--text", key, "--", "-n", "--text").ok()
    assert store["-n"] == "--text"
    assert cli("incr", key, "--json", "n", "-5").ok().json["value"] == -5
    assert cli("del", key, "-n", "--json", "n", "--force").code == 2  # a name that begins with a dash goes behind --
    assert cli("del", key, "n", "--json", "--", "-n").ok().json["deleted"] == 2


# ---- streams ----


def test_a_reader_that_goes_away(store, key, script):
    store.put_many({f"{i:06}" + "x" * 500: i for i in range(500)})
    process = script("keys", key)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr.read() == b""


@pytest.mark.parametrize("argv", [["ls"], ["--help"], ["ls", "--json"], ["doctor"]])
def test_standard_output_is_full(script, argv):
    with open("/dev/full", "wb") as full:
        process = script(*argv, stdout=full)
        assert process.wait(timeout=60) == 1
    assert process.stderr.read() == b"shmstore: standard output: No space left on device\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams(store, key, closed):
    command = f"'{sys.executable}' -m shmstore"
    for argv, code in (("ls", 0), (f"put {key} a 1", 0), (f"get {key} nope", 3), ("get", 2)):
        done = subprocess.run(["sh", "-c", f"{command} {argv} {closed}"], capture_output=True, text=True, cwd="/")
        assert done.returncode == code, (argv, done)
        assert "Traceback" not in done.stderr
    if "<&-" in closed:
        done = subprocess.run(["sh", "-c", f"{command} put {key} a {closed}"], capture_output=True, cwd="/")
        assert done.returncode == 2


def test_ascii_output(store, key, script):
    store["é日"] = "\u2713"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    out, err = script("get", key, "é日", env=environment).communicate(timeout=60)
    assert (out, err) == (b"\\u2713\n", b"")
    out, _ = script("keys", key, "--json", env=environment).communicate(timeout=60)
    assert b'"\\u00e9\\u65e5"' in out


def until_attached(process):
    """Wait until this very process has a store mapped: others that look at all stores attach to it as well."""
    deadline = time.monotonic() + 60
    while "/SYSV" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c(store, key, script):
    process = script("get", key, "never", "--wait", "60s")
    until_attached(process)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 130


@pytest.mark.parametrize("how", ["ignored", "blocked"])
def test_an_interrupt_that_was_ignored_before_stays_so(store, key, script, how):
    """As with nohup, or behind & in a script: what was started so goes on whatever is typed on the terminal."""

    def before_exec():
        if how == "ignored":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        else:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])

    waiting = script("get", key, "late", "--wait", "60s", preexec_fn=before_exec)
    demo = script("demo", "--limit", 40, "--workers", 2, preexec_fn=before_exec)
    until_attached(waiting)
    for process in (waiting, demo):
        process.send_signal(signal.SIGINT)
    store["late"] = "here"
    assert waiting.communicate(timeout=60) == (b"here\n", b"") and waiting.returncode == 0
    out, err = demo.communicate(timeout=300)
    assert (demo.returncode, err) == (0, b"") and b"The same job twice" in out


def test_a_demo_whose_children_are_reaped_by_the_kernel(script):
    """SIGCHLD ignored, as some servers leave it: there is no exit code to be had then."""
    process = script(
        "demo", "--limit", 40, "--workers", 2, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"") and b"The same job twice" in out


# ---- terminals ----


def test_colours_only_on_a_terminal(store, key, cli):
    pytest.importorskip("rich")
    store["a"] = 1
    assert "\x1b[" in on_a_terminal("ls")
    assert "\x1b[" not in on_a_terminal("ls", NO_COLOR="1").replace("\x1b[1m", "").replace("\x1b[2m", "").replace(
        "\x1b[0m", ""
    )
    assert "\x1b" not in on_a_terminal("ls", TERM="dumb")
    for command in (["ls"], ["info", key], ["stats", key], ["keys", key, "-l"], ["clients", key], ["doctor"]):
        assert "\x1b" not in cli(*command).out


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_tables_fit_the_terminal(store, key, columns):
    store.put_many({"user:1": "x" * 500, "n": 1})
    for command in (["ls"], ["info", key], ["stats", key], ["keys", key, "-l"], ["doctor"], ["clients", key]):
        text = re.sub(r"\x1b\[[\d;]*m", "", on_a_terminal(*command, columns=columns))
        for line in text.splitlines():
            assert len(line.rstrip()) <= columns, (command, line)


def test_what_ls_has_no_room_for_is_said(make, key, cli):
    """No empty line in front; what is left out, in the end; and what has no key is still found by its id."""
    gone = make()
    shmid = gone.info().id
    gone.destroy()
    with shmstore.Store(key, size="1M"):
        shown = re.sub(r"\x1b\[[\d;]*m", "", on_a_terminal("ls", "--stores", columns=80)).splitlines()
        assert shown[0].strip() == "Stores" and shown[1].split()[:2] == ["name", "key"]
        missing = {"id", "mode", "owner"} - set(shown[1].split())
        assert {"size", "used", "entries", "clients", "state"} <= set(shown[1].split()) and "id" in missing
        assert shown[-1].startswith("No room for id") and all(column in shown[-1] for column in missing)
        assert any(f" id {shmid} " in line and line.rstrip().endswith("destroyed") for line in shown)
        wide = on_a_terminal("ls", "--stores", columns=200)
        assert "No room" not in wide and {"id", "mode", "owner"} <= set(
            re.sub(r"\x1b\[[\d;]*m", "", wide).splitlines()[1].split()
        )
    assert cli("ls").ok().lines[0] in ("Stores", "Other System V segments", "Other POSIX objects in /dev/shm")


def test_no_table_begins_with_an_empty_line(store, key):
    for command in (["stats", key], ["info", key], ["clients", key], ["doctor"]):
        first, *_ = on_a_terminal(*command).splitlines()
        assert re.sub(r"\x1b\[[\d;]*m", "", first).strip(), command


def test_a_long_value_is_broken_into_lines(store, key):
    store["a"] = list(range(100))
    assert max(map(len, on_a_terminal("get", key, "a", columns=60).splitlines())) <= 60


def test_control_characters_do_not_reach_a_terminal(store, key, cli):
    store["a"] = "\x1b]0;title\x07 \x1b[2Jtext\n\ttab"
    assert on_a_terminal("get", key, "a") == "\\x1b]0;title\\x07 \\x1b[2Jtext\n\ttab\n"
    assert cli("get", key, "a").ok().out == "\x1b]0;title\x07 \x1b[2Jtext\n\ttab\n"


def test_without_rich_it_is_plain_and_aligned(store, key):
    store.put_many({"日本": 1, "a": "x"})
    program = "import sys; sys.modules['rich'] = None\nfrom shmstore.cli import main\nsys.exit(main(sys.argv[1:]))"
    for command in (["ls"], ["info", key], ["stats", key], ["keys", key, "-l"], ["clients", key], ["doctor"]):
        done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, cwd="/")
        assert (done.returncode, done.stderr) == (0, "") or command == ["doctor"], (command, done)
        assert "\x1b" not in done.stdout
    lines = subprocess.run(
        [sys.executable, "-c", program, "keys", key, "-l"], capture_output=True, text=True, cwd="/"
    ).stdout.splitlines()
    assert lines[2:] == ["a     str      2", "日本  int      1"]


def test_starting_is_quick_to_import():
    """Neither rich nor json nor ast is loaded before a command needs it."""
    program = "import sys, shmstore.cli; print([m for m in ('rich', 'json', 'ast', 'pprint', 'configparser', 'pathlib', 'asyncio') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, cwd="/")
    assert done.stdout.strip() == "[]", done


def test_demo_as_json(script):
    import json

    process = script("demo", "--limit", 60, "--workers", 2, "--json")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    document = json.loads(out)
    assert (document["files"], document["workers"]) == (60, 2)
    assert document["rounds"][1]["computed"] == 0 and len(document["answer"]["longest"]) == 10
