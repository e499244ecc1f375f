"""Read the alphabet that the other program puts into a store, and answer with a star. See server.py."""

import sys

from shmstore import Store


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "alphabet"
    with Store[str](name, size="1M") as store:  # whoever comes first creates it
        store.wait("letters", timeout=30.0)  # sleeps until they are there
        print(store["letters"])
        store["answer"] = "*"


if __name__ == "__main__":
    try:
        main()
    except TimeoutError as error:
        sys.exit(str(error))
