"""Read the alphabet that a server has put into shared memory, and answer with a star. See posix_server.py."""

import os
import sys
import time

from shmstore.posix import O_RDWR, Mapping, mmap, shm_open

LIMIT = 30.0  # seconds to wait for a server
SIZE = 27


def map_when_there(name: str, deadline: float) -> Mapping:
    """Map the server's object; a new one has 0 bytes, so look again until it is there and has its size."""
    while True:
        try:
            fd = shm_open(name, O_RDWR)
        except FileNotFoundError:
            if time.monotonic() > deadline:
                raise
        else:
            try:
                if os.fstat(fd).st_size >= SIZE or time.monotonic() > deadline:
                    return mmap(None, SIZE, fd=fd)
            finally:
                os.close(fd)
        time.sleep(0.01)


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else "/alphabet"
    deadline = time.monotonic() + LIMIT
    with map_when_there(name, deadline) as memory:
        # Check all 26, not only the first: some processors show the writes in another order.
        while 0 in bytes(memory[:26]):
            if time.monotonic() > deadline:
                sys.exit(f"object {name}: no letters came within {LIMIT:g} s")
            time.sleep(0.01)
        print(bytes(memory[:26]).decode())
        memory[0] = ord("*")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(str(error))
