"""Watch a store without being able to change it.

    python read_only.py

One program writes. Another attaches with `readonly=True`. The kernel maps its memory without write permission, so even
a bug in it cannot change what others see. It takes no locks, so no other process ever waits for it.
"""

import os
import signal
import subprocess
import sys

from shmstore import ReadOnlyStore, Store


def watch(name: str) -> None:
    """Be the reader: print what is there, try to change it, and follow one change."""
    with Store[dict[str, str]](name, readonly=True) as store:
        settings, version = store.get_versioned("settings")
        print("reader: settings are", settings)
        try:
            store["settings"] = {"colour": "red"}
        except ReadOnlyStore as error:
            print("reader: refused:", error)
        print("ready", flush=True)
        store.wait("settings", after=version, timeout=30.0)
        print("reader: settings became", store["settings"])


def main() -> None:
    name = f"read-only-{os.getpid()}"
    with Store[dict[str, str]](name, create=True, size="1M") as store:
        try:
            store["settings"] = {"colour": "green"}
            command = [sys.executable, __file__, name]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
                assert reader.stdout
                try:
                    for line in reader.stdout:
                        if line == "ready\n":
                            store["settings"] = {"colour": "blue"}
                        else:
                            print(line, end="")
                except BaseException:
                    reader.kill()  # it would wait for a change that does not come
                    raise
            if reader.returncode:
                sys.exit(f"the reader failed with {reader.returncode}")
        finally:
            store.destroy()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # through every "finally"
    try:
        if len(sys.argv) > 1:
            watch(sys.argv[1])
        else:
            main()
    except KeyboardInterrupt:
        sys.exit(130)
