"""Hand arrays from one process to another.

    python arrays.py

A camera puts frames, each with its settings. A viewer in another process reads them as they arrive. The arrays keep
their dtype and shape. They are stored as read-only arrays, so the viewer's array uses the bytes that were read, without
another copy. Needs numpy.
"""

import os
import signal
import subprocess
import sys

import shmstore

try:
    import numpy as np
except ImportError:
    sys.exit("this example needs numpy: pip install numpy")

FRAMES = 5
SHAPE = (480, 640)


def camera(name: str) -> None:
    """Put one frame after the other, each when the one before has been seen."""
    with shmstore.open(name, create=False) as store:
        for number in range(FRAMES):
            pixels = np.zeros(SHAPE, np.uint8)
            pixels[number * 90 : number * 90 + 10, ::2] = 255
            pixels.flags.writeable = False
            store["frame"] = {"number": number, "gain": np.float32(1.5), "pixels": pixels}
            store.wait(f"seen {number}", timeout=30.0)


def main() -> None:
    name = f"arrays-{os.getpid()}"
    with shmstore.open(name, create=True, size="16M") as store:
        try:
            writer = subprocess.Popen([sys.executable, __file__, name])
            try:
                version = None
                for number in range(FRAMES):
                    store.wait("frame", after=version, timeout=30.0)
                    frame, version = store.get_versioned("frame")
                    pixels = frame["pixels"]
                    rows = np.flatnonzero(pixels.any(axis=1))
                    print(f"frame {frame['number']}: {pixels.dtype} {pixels.shape}, lines {rows[0]} to {rows[-1]}, "
                          f"mean {pixels.mean() * frame['gain']:.2f}")  # fmt: skip
                    store[f"seen {number}"] = True
                writer.wait(30)
            finally:
                writer.kill()
                writer.wait()
        finally:
            store.destroy()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # through every "finally"
    try:
        if len(sys.argv) > 1:
            camera(sys.argv[1])
        else:
            main()
    except KeyboardInterrupt:
        sys.exit(130)
