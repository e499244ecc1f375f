"""Let ``python -m shmstore`` be ``shmstore``."""

import sys

from shmstore.cli import main

if __name__ == "__main__":
    sys.exit(main())
