"""Read values directly into typed structures.

    python typed_structs.py

One process uses msgspec and a `Struct`. The other uses plain dicts and the default codec. They share one store, because
the bytes are the same. A value of a wrong type raises an error when it is read. Needs msgspec.
"""

import os
import signal
import subprocess
import sys

import shmstore

try:
    import msgspec
except ImportError:
    sys.exit("this example needs msgspec: pip install msgspec")


class Order(msgspec.Struct, frozen=True):
    item: str
    count: int
    price: float

    @property
    def total(self) -> float:
        return self.count * self.price


def shop(name: str) -> None:
    """Know nothing of structures: put dicts."""
    with shmstore.open(name, create=False) as store:
        store["order:1"] = {"item": "tea", "count": 2, "price": 3.5}
        store["order:2"] = {"item": "cups", "count": 6, "price": 4.0}
        store["order:3"] = {"item": "pot", "count": "one", "price": 25.0}
        print("the shop reads", store["order:0"])


def main() -> None:
    name = f"typed-structs-{os.getpid()}"
    with shmstore.open(name, create=True, size="1M", codec="msgspec") as store:
        try:
            store["order:0"] = Order("spoons", 6, 1.0)
            subprocess.run([sys.executable, __file__, name], check=True)
            orders = store.get_many(["order:0", "order:1", "order:2"], type=Order)
            for order in orders.values():
                print(f"{order.count} {order.item}: {order.total:.2f}")
            print("in all:", sum(order.total for order in orders.values()))
            try:
                store.get("order:3", type=Order)
            except shmstore.CodecError as error:
                print("refused:", str(error).partition(";")[0])
        finally:
            store.destroy()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # through every "finally"
    try:
        if len(sys.argv) > 1:
            shop(sys.argv[1])
        else:
            main()
    except KeyboardInterrupt:
        sys.exit(130)
