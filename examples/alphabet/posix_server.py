"""Write the alphabet into a POSIX shared memory object, and wait until a client answers with a star.

    python posix_server.py [NAME]   in one shell
    python posix_client.py [NAME]   in another (or the client in C)

This is the exchange of server.py with the other family of calls: the object has a name instead of a number. It is in
/dev/shm, and is mapped like a file.
"""

import os
import signal
import sys
import time
from types import FrameType

from shmstore.posix import O_CREAT, O_EXCL, O_RDWR, ftruncate, mmap, shm_open, shm_unlink

LETTERS = b"abcdefghijklmnopqrstuvwxyz\0"

stopped_by = 0


def stop(signum: int, frame: FrameType | None) -> None:
    """Leave a note only, so that no signal can come between creating the object and removing it."""
    global stopped_by
    stopped_by = signum


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else "/alphabet"
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    fd = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0o600)
    try:
        ftruncate(fd, len(LETTERS))
        with mmap(None, len(LETTERS), fd=fd) as memory:
            os.close(fd)  # the mapping stays
            memory[1:] = LETTERS[1:]
            memory[0] = LETTERS[0]  # last: it tells the client that the others are there
            print(f"object {name}: the letters are there", flush=True)
            while memory[0] != ord("*") and not stopped_by:
                time.sleep(0.01)
    finally:
        shm_unlink(name)
    return 128 + stopped_by if stopped_by else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(str(error))
