"""Put the alphabet into a store and wait for somebody to answer with a star.

    python server.py [NAME]         in one shell
    python client.py [NAME]         in another, before or after

The conversation of examples/alphabet/, with names for bytes: nobody asks again and again, nobody sees half
of an object, and the objects may be of any size. The two programs share the store's name, and nothing else.
A program that leaves early, by Ctrl-C for example, ends the conversation for both. What a `kill -9` leaves is removed by
`shmstore rm NAME`.
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
