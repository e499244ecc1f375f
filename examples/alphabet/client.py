"""Read the alphabet that a server has put into shared memory, and answer with a star. See server.py."""

import sys
import time

from shmstore.sysv import Attachment, shmat, shmget

LIMIT = 30.0  # seconds to wait for a server


def attach_when_there(key: int, deadline: float) -> Attachment:
    """Attach the server's segment; System V cannot tell when one is created, so look again until it is."""
    while True:
        try:
            return shmat(shmget(key, 27))
        except FileNotFoundError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def main() -> int:
    key = int(sys.argv[1], 0) if len(sys.argv) > 1 else 5678
    deadline = time.monotonic() + LIMIT
    with attach_when_there(key, deadline) as memory:
        # Check all 26, not only the first: some processors show the writes in another order.
        while 0 in bytes(memory[:26]):
            if time.monotonic() > deadline:
                sys.exit(f"key {key}: no letters came within {LIMIT:g} s")
            time.sleep(0.01)
        print(bytes(memory[:26]).decode())
        memory[0] = ord("*")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(str(error))
