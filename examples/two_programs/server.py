"""Put the alphabet into a store, and wait until a client answers with a star.

    python server.py [NAME]         in one shell
    python client.py [NAME]         in another, before or after

This is the exchange of examples/alphabet/, with keys instead of bytes. No program looks again and again, no program sees
half of an object, and objects may have any size. The two programs share only the name of the store. If one of them ends
early, for example by Ctrl-C, the exchange ends for both. After a `kill -9`, `shmstore rm NAME` removes the store.
"""

import signal
import sys

from shmstore import Store, StoreDestroyed


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "alphabet"
    with Store[str](name, size="1M") as store:
        try:
            store.put("letters", "abcdefghijklmnopqrstuvwxyz")
            store.wait("answer")  # sleeps until the other program puts it
            print("the answer is", store["answer"])
        finally:
            store.destroy()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except StoreDestroyed as error:
        sys.exit(f"somebody else has ended the conversation: {error}")
