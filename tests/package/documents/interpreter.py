"""A Python prompt for the examples of a document: session.py starts it, sends it sources and compares what they print.

Each line of standard input is a source as JSON; each line of standard output is the answer: what the source printed,
and the last line of its traceback if it raised. Standard output is the pipe alone, so the examples print elsewhere.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback


def main() -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    answers = sys.stdout
    for line in sys.stdin:
        mode, source = json.loads(line)
        printed, error = io.StringIO(), None
        with contextlib.redirect_stdout(printed):
            try:
                exec(compile(source, "<document>", mode, dont_inherit=True), names)
            except BaseException as raised:
                error = "".join(traceback.format_exception_only(type(raised), raised))
        answers.write(json.dumps([printed.getvalue(), error]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
