"""Write the alphabet into a segment of shared memory, and wait until a client answers with a star.

    python server.py [KEY]          in one shell
    python client.py [KEY]          in another (or the client in C)

This shows shared memory without a store: both sides must agree on every byte, and must look again and again to notice
a change. examples/two_programs/ has the same exchange with a store.

The 27 bytes are a to z and a NUL. The first byte is 0 until the letters are there, and `*` once they are read.
"""

import signal
import sys
import time
from types import FrameType

from shmstore.sysv import IPC_CREAT, IPC_EXCL, IPC_RMID, shmat, shmctl, shmget

LETTERS = b"abcdefghijklmnopqrstuvwxyz\0"

stopped_by = 0


def stop(signum: int, frame: FrameType | None) -> None:
    """Leave a note only, so that no signal can come between creating the segment and removing it."""
    global stopped_by
    stopped_by = signum


def main() -> int:
    key = int(sys.argv[1], 0) if len(sys.argv) > 1 else 5678
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    shmid = shmget(key, len(LETTERS), IPC_CREAT | IPC_EXCL | 0o600)
    try:
        with shmat(shmid) as memory:
            memory[1:] = LETTERS[1:]
            memory[0] = LETTERS[0]  # last: it tells the client that the others are there
            print(f"key {key}: the letters are there", flush=True)
            while memory[0] != ord("*") and not stopped_by:
                time.sleep(0.01)
    finally:
        shmctl(shmid, IPC_RMID)
    return 128 + stopped_by if stopped_by else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(str(error))
