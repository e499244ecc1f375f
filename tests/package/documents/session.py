"""Run the examples of a document, block by block, and compare what they show with what comes out.

- ``console``: shell commands behind ``$``, each with the output that follows it. A line ``...`` stands for any lines. If
  the last command of a block shows ``...`` at its end, it may go on running; a later block that begins with lines of
  output shows the rest. "Killed" is what a shell prints when SIGKILL ended the command.
- ``pycon``: input behind ``>>>``, at one Python prompt for the whole document. ``...`` stands for any text.
- ``python``: a file to save if the first line is ``# name.py``; otherwise a part of a program, which is run at the same
  prompt. ``print(..)  # text`` says what it prints.

So a document has two terminals, a shell and a Python prompt, and these are different processes here, too. The names of
the document's stores are replaced by names of the test alone. What differs from run to run is compared by its shape.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from documents import Block

HERE = Path(__file__).resolve().parent
TAKEOVER = "shmstore '"  # the logger's line about a takeover: a document cannot know what a killed process held
DEADLINE = 900.0  # of a watchdog: generous, since other tests share the machine

VOLATILE = [
    (r"^(-{2,} *)+$", "---"),
    (r" +state$", ""),  # a column that is there when some store of the machine has something to be said of
    (r"0x[0-9a-f]{8}\b", "0xKEY"),
    (r"\(segment \d+\)", "(segment ID)"),
    (r"(0xKEY) +\d+ +\w+ (?= *0\d\d\d )", r"\1 ID OWNER "),
    (r"\bprocess \d+", "process ID"),
    (r"\b\d+( [smh])( \d+ [smh])?$", r"SPAN"),
    (r"sound: \d+ entries", "sound: COUNT entries"),
    (r"(today +str +)\d+", r"\1SIZE"),
    (r" +", " "),
]


def shape(line: str) -> str:
    """A line without what differs from run to run."""
    for pattern, sign in VOLATILE:
        line = re.sub(pattern, sign, line)
    return line.strip()


def matches(expected: list[str], got: list[str]) -> bool:
    """Whether the lines are alike; ``...`` stands for any number of lines."""
    if not expected:
        return not got
    if expected[0] == "...":
        return any(matches(expected[1:], got[skipped:]) for skipped in range(len(got) + 1))
    return bool(got) and shape(expected[0]) == shape(got[0]) and matches(expected[1:], got[1:])


def commands(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that follow it; "" before the first one."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found if found[0][1] else found[1:]


def promises(text: str) -> list[str]:
    """What the print calls of a program say they print."""
    return re.findall(r"^ *print\(.*\) +# (.*)$", text, re.M)


class Session:
    """The two terminals of one document, in one directory."""

    def __init__(self, directory: Path, names: dict[str, str]) -> None:
        self.directory = directory
        self.names = names  # of stores: the document's, and the test's
        self.environment = {
            **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "TZ": "UTC",
            "COLUMNS": "200", "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        self.running: Command | None = None
        self.prompt: subprocess.Popen[str] | None = None
        self.watchdog = threading.Timer(DEADLINE, self.kill)
        self.watchdog.start()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.prompt:
            assert self.prompt.stdin
            self.prompt.stdin.close()  # the end of its input is its end
            if exc[0] is None:
                self.prompt.wait()
        self.watchdog.cancel()
        self.kill()
        for process in self.processes():
            process.wait()
            assert process.stdout
            process.stdout.close()

    def processes(self) -> list[subprocess.Popen[str]]:
        found = (self.prompt, self.running and self.running.process)
        return [process for process in found if process]

    def kill(self) -> None:
        """End what is running, at the deadline or when the test has failed."""
        for process in self.processes():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # with the processes that it has started

    def run(self, block: Block) -> None:
        """Run one block; an AssertionError says what it shows and what came out."""
        if block.language == "console":
            *others, last = commands(block.text)
            for command, expected in others:
                self.shell(command, expected)
            self.shell(*last, may_go_on=last[1][-1:] == ["..."])
        elif block.language == "pycon":
            for example in doctest.DocTestParser().get_examples(block.text):
                self.ask(example.source, example.want, example.exc_msg)
        elif block.language == "python":
            file = re.match(r"# ([\w/]+\.\w+)\n", block.text)
            if file:
                (self.directory / file[1]).write_text(self.ours(block.text))
            else:
                printed, error = self.evaluate("exec", block.text)
                assert error is None, error
                assert printed.splitlines() == promises(block.text), (printed.splitlines(), promises(block.text))

    # ---- the shell

    def shell(self, command: str, expected: list[str], *, may_go_on: bool = False) -> None:
        if command:
            while self.running and not self.running.at_end:  # "..." stands for the lines that it still prints
                self.running.read()
            self.running = Command(self.ours(command, quoted=False), self.directory, self.environment)
        assert self.running, "no command shows these lines: " + "\n".join(expected)
        while True:
            got = [self.theirs(line) for line in self.running.lines]
            ended = self.running.at_end
            if matches(expected, got) and (ended or may_go_on):
                break
            assert not ended, (self.running.command, expected, got, [shape(line) for line in got])
            self.running.read()
        self.running.lines.clear()  # the rest is shown later
        if ended:
            self.running = None

    # ---- the Python prompt

    def ask(self, source: str, want: str, error: str | None) -> None:
        printed, raised = self.evaluate("single", source)
        if error is None:
            assert raised is None, (source, raised)
            options = doctest.ELLIPSIS
            assert doctest.OutputChecker().check_output(want, printed, options), (source, want, printed)
        else:
            assert raised is not None, (source, "raised nothing")
            assert doctest.OutputChecker().check_output(error, raised, doctest.ELLIPSIS), (source, error, raised)

    def evaluate(self, mode: str, source: str) -> tuple[str, str | None]:
        if self.prompt is None:
            self.prompt = subprocess.Popen(
                [sys.executable, HERE / "interpreter.py"], cwd=self.directory, env=self.environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        assert self.prompt.stdin and self.prompt.stdout
        self.prompt.stdin.write(json.dumps([mode, self.ours(source)]) + "\n")
        self.prompt.stdin.flush()
        answer = self.prompt.stdout.readline()
        assert answer, "the Python prompt has ended"
        printed, error = json.loads(answer)
        return self.theirs(printed), None if error is None else self.theirs(error)

    # ---- the names of stores

    def ours(self, text: str, *, quoted: bool = True) -> str:
        """A text with the test's names: in Python they stand in quotes, in the shell they are words."""
        for name, key in self.names.items():
            pattern = rf"(?<=[\"']){name}(?=[\"'])" if quoted else rf"(?<![\w./-]){name}(?![\w.-])"
            text = re.sub(pattern, key, text)
        return text

    def theirs(self, text: str) -> str:
        for name, key in self.names.items():
            text = text.replace(key, name)
        return text


class Command:
    """A shell command, and the lines that it has printed since they were last compared."""

    def __init__(self, command: str, directory: Path, environment: dict[str, str]) -> None:
        self.command = command
        self.lines: list[str] = []
        self.at_end = False
        self.process = subprocess.Popen(
            ["sh", "-c", command], cwd=directory, env=environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def read(self) -> None:
        """Wait for the next line, or for the end."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if line:
            if not line.startswith(TAKEOVER):
                self.lines.append(line.rstrip("\n"))
            return
        self.at_end = True
        self.process.stdout.close()
        if self.process.wait() in (-9, 128 + 9):
            self.lines.append("Killed")
