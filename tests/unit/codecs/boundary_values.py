"""Values of every type by the number of bytes that they hold, and every way to read one back.

A kind is a function from a size to a value that packs to a little more than so many bytes. Where a type cannot have
every size (eight bytes an element) the next smaller one is made.
"""

from __future__ import annotations

import array
import datetime
import decimal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import shmstore

PATTERN = bytes(range(1, 256)) * 100  # no period that a power of two could hide


class Money:
    """A class that is registered."""

    def __init__(self, cents: bytes) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return type(other) is Money and self.cents == other.cents

    def __hash__(self) -> int:
        return hash(self.cents)


def body(size: int) -> bytes:
    """Return so many bytes."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def text(size: int) -> str:
    """Return a text of so many bytes in UTF-8, most characters of which take two."""
    return "é" * (size // 2) + "x" * (size % 2)


def offset(size: int) -> datetime.timezone:
    """Return a zone with a long name."""
    return datetime.timezone(datetime.timedelta(hours=1), "z" * size)


def numbered(size: int) -> list[int]:
    """Return different ints of so many bytes in all: one byte each, then two, three and five."""
    most = 0
    for bytes_each, last in ((1, 128), (2, 256), (3, 65536), (5, 1 << 32)):
        count = min(size // bytes_each, last - most)
        most, size = most + count, size - count * bytes_each
        if most < last:
            break
    return list(range(most))


def split(items: list[Any]) -> dict[Any, Any]:
    """Return a dict of the items: half of them keys."""
    return dict(zip(items[::2], items[1::2], strict=False))


KINDS: dict[str, Callable[[int], Any]] = {
    "bytes": body,
    "bytearray": lambda n: bytearray(body(n)),
    "memoryview": lambda n: memoryview(bytearray(body(n))),
    "memoryview read-only": lambda n: memoryview(body(n)),
    "memoryview of doubles": lambda n: memoryview(body(n // 8 * 8)).cast("d"),
    "memoryview of two dimensions": lambda n: memoryview(bytearray(body(n // 2 * 2 or 2))).cast("B", (2, n // 2 or 1)),
    "str": lambda n: "x" * n,
    "str of two bytes each": text,
    "int": lambda n: int.from_bytes(b"\x7e" + body(n), "big"),
    "negative int": lambda n: ~int.from_bytes(b"\x7e" + body(n), "big"),
    "Decimal": lambda n: decimal.Decimal("7" * (n or 1)),
    "datetime": lambda n: datetime.datetime(2026, 11, 5, tzinfo=offset(n)),
    "time": lambda n: datetime.time(12, tzinfo=offset(n)),
    "array": lambda n: array.array("B", body(n)),
    "array of doubles": lambda n: array.array("d", b"\0" * (n // 8 * 8)),
    "array of characters": lambda n: array.array("u", "é" * (n // 4)),
    "list": lambda n: [None] * n,
    "list of one": lambda n: [body(n)],
    "tuple": lambda n: (None,) * n,
    "tuple of one": lambda n: (body(n),),
    "dict": lambda n: split(numbered(n)),
    "dict of one": lambda n: {"key": body(n)},
    "dict with a large key": lambda n: {body(n): "value"},
    "set": lambda n: set(numbered(n)),
    "set of one": lambda n: {body(n)},
    "frozenset": lambda n: frozenset(numbered(n)),
    "slice": lambda n: slice(body(n), None, "x"),
    "tuple in tuples": lambda n: ((1, (body(n),)), 2),
    "buffers in a list": lambda n: [bytearray(body(n)), memoryview(body(n))],
    "registered": lambda n: Money(body(n)),
}  # fmt: skip


def add_packages() -> None:
    """Add the kinds of the packages that are installed."""
    try:
        import numpy as np
    except ImportError:
        return
    np_kinds: dict[str, Callable[[int], Any]] = {
        "numpy": lambda n: np.frombuffer(bytearray(body(n)), "u1"),
        "numpy read-only": lambda n: np.frombuffer(body(n), "u1"),
        "numpy of doubles": lambda n: np.zeros(n // 8),
        "numpy in Fortran's order": lambda n: np.zeros((2, n // 2), "u1", order="F"),
        "numpy of many dimensions": lambda n: np.zeros((1, 1, 1, 1, n), "u1"),
        "numpy structure": lambda n: np.frombuffer(bytearray(body(n // 3 * 3)), [("a", "u1"), ("b", ">u2")]),
        "numpy of bytes": lambda n: np.array([body(n or 1)]),
        "numpy of characters": lambda n: np.array(["é" * (n // 4 or 1)]),
        "numpy strided": lambda n: np.frombuffer(body(2 * n), "u1")[::2],
        "numpy bytes_": lambda n: np.bytes_(body(n)),
        "numpy str_": lambda n: np.str_(text(n)),
        "numpy void": lambda n: np.void(body(n or 1)),
        "numpy in a dict": lambda n: {"array": np.frombuffer(bytearray(body(n)), "u1")},
    }
    KINDS.update(np_kinds)
    try:
        import pyarrow as pa
    except ImportError:
        return
    KINDS["Arrow table"] = lambda n: pa.table({"a": np.frombuffer(body(n), "u1")})
    KINDS["Arrow batch"] = lambda n: pa.record_batch({"a": np.frombuffer(body(n), "u1")})
    try:
        import pandas as pd
    except ImportError:
        return
    KINDS["DataFrame"] = lambda n: pd.DataFrame({"a": np.frombuffer(body(n), "u1")})
    KINDS["Index"] = lambda n: pd.Index(np.frombuffer(body(n), "u1"))


shmstore.register(126, Money, lambda money: money.cents, Money)
add_packages()


def same(a: Any, b: Any) -> bool:
    """Tell whether both are of one type, equal, and alike in what == does not look at."""
    kind = type(a)
    if type(b) is not kind:
        return False
    root = kind.__module__.partition(".")[0]
    if root == "numpy":
        alike = a.dtype == b.dtype and a.shape == b.shape and same_bytes(a, b)
        return bool(alike and a.flags.writeable == b.flags.writeable and a.flags.fnc == b.flags.fnc)
    if root in ("pyarrow", "pandas"):
        return bool(a.equals(b))
    if kind is memoryview:
        return (a.format, a.shape, a.readonly) == (b.format, b.shape, b.readonly) and same_bytes(a, b)
    if kind is list or kind is tuple:
        return len(a) == len(b) and (a == b if len(a) > 9 else all(map(same, a, b)))
    if kind is dict and len(a) == 1:
        return same(list(*a.items()), list(*b.items()))
    if kind is datetime.datetime or kind is datetime.time:
        return bool(a == b and a.tzinfo.__getinitargs__() == b.tzinfo.__getinitargs__())
    return bool(a == b)


def same_bytes(a: Any, b: Any) -> bool:
    """Compare two buffers, large ones without a copy."""
    if a.nbytes < 1 << 30:
        return bool(a.tobytes() == b.tobytes())
    return memoryview(a).cast("B") == memoryview(b).cast("B")


class Reader:
    """Handles on one store that read it in every way."""

    def __init__(self, key: str, size: str, codec: str = "msgpack") -> None:
        self.store: shmstore.Store[Any] = shmstore.open(key, size=size, codec=codec)
        self.others: dict[str, shmstore.Store[Any]] = {
            "read-only": shmstore.open(key, readonly=True, decoders=(codec,)),
            "msgspec": shmstore.open(key, codec="msgspec", decoders=(codec,)),
        }

    def close(self) -> None:
        for handle in (self.store, *self.others.values()):
            handle.close()

    def ways(self, value: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Yield every way to read the one entry of the store; after the last it is gone."""
        store, codec = self.store, self.store._codec.name
        yield "get", lambda: store.get("k")
        yield "get_many", lambda: store.get_many(["k", "absent"])["k"]
        yield "items", lambda: dict(store.items())["k"]
        yield "values", lambda: next(iter(store.values()))
        yield "get_versioned", lambda: store.get_versioned("k")[0]
        for name, handle in self.others.items():
            yield name, lambda handle=handle: handle["k"]
            yield f"{name} get_many", lambda handle=handle: handle.get_many(["k"])["k"]
        if type(value) is bytes and codec != "pickle":
            yield "view", self._view
        if room_for(value, codec) is not None:
            yield "get_into", lambda: self._into(value, codec)
        yield "[]", lambda: store["k"]
        yield "pop", lambda: store.pop("k")

    def _view(self) -> bytes:
        with self.store.view("k") as memory:
            return bytes(memory)

    def _into(self, value: Any, codec: str) -> Any:
        memory = room_for(value, codec)
        assert self.store.get_into("k", memory) == memoryview(memory).nbytes
        return bytes(memory) if type(value) is bytes else memory


def room_for(value: Any, codec: str) -> Any:
    """Return memory into which get_into() copies a value, so that the two are the same then; None for other values."""
    if codec == "pickle":
        return None
    if type(value) in (bytes, bytearray):
        return bytearray(len(value))
    numpy = sys.modules.get("numpy")
    if numpy is not None and type(value) is numpy.ndarray and value.flags.writeable:
        return numpy.zeros_like(value)
    return None
