"""However the tests are started, programs that they start have default signals, and the run keeps its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

MAY_COME = "SHMSTORE_TEST_SIGNALS"
SIGNALS = """
import signal
ignored = [s for s in signal.valid_signals() if signal.getsignal(s) == signal.SIG_IGN]
print(sorted(map(int, ignored)), sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), signal.getsignal(signal.SIGINT).__name__)
"""


def test_programs_have_default_signals():
    for name in os.environ.get(MAY_COME, "").split():
        os.kill(os.getpid(), getattr(signal, name))  # and the run goes on
    own = sorted(map(int, (signal.SIGPIPE, signal.SIGXFSZ)))  # Python ignores those itself
    for command in ([sys.executable, "-c", SIGNALS], ["sh", "-c", f"'{sys.executable}' -c '{SIGNALS}'"]):
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert shown == f"{own} [] default_int_handler\n"


def ignore_and_block(names):
    def before_exec():
        for name in names:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGALRM])

    return before_exec


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("names", ["SIGINT", "SIGINT SIGHUP SIGQUIT SIGTERM SIGCHLD SIGALRM SIGUSR1"])
def test_signals_that_were_ignored_before_a_run(names, workers, request):
    """As nohup does it, and a shell for what it starts in the background."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "xdist",
        "-n",
        str(workers),
        f"{request.path}::test_programs_have_default_signals",
    ]
    environment = {**os.environ, MAY_COME: " ".join(set(names.split()) & {"SIGINT", "SIGHUP", "SIGQUIT", "SIGTERM"})}
    environment = {
        name: value for name, value in environment.items() if not name.startswith(("PYTEST_", "SHMSTORE_TEST_I"))
    }
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # some take a second to import
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment,
        preexec_fn=ignore_and_block(names.split()),
    )  # fmt: skip
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
