"""Read the alphabet that the other program puts into a store, and answer with a star. See server.py."""

import signal
import sys

from shmstore import Store, StoreDestroyed


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "alphabet"
    with Store[str](name, size="1M") as store:  # the first process creates it
        try:
            store.wait("letters", timeout=30.0)  # sleeps until they are there
            print(store["letters"])
            store["answer"] = "*"  # now the other program removes the store
        except BaseException:  # Ctrl-C, too
            store.destroy()
            raise


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except StoreDestroyed as error:
        sys.exit(f"somebody else has ended the conversation: {error}")
    except TimeoutError as error:
        sys.exit(str(error))
