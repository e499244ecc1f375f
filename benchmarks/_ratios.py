"""Pairs of calls that should cost about the same, each in one interleaved run: a tuple beside a list, add beside put."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

from benchmarks._bars import Bar
from benchmarks._measure import Contestant, measure
from benchmarks._run import Setting
from benchmarks._shmstore import Ours

BATCH, ITEMS, MANY = 100, 30, 1_000_000
OBJECT = {"id": 10_000, "name": "user-00000", "score": 1 / 7, "active": True, "group": "staff"}


def ratios(setting: Setting, ours: Ours) -> Iterator[Bar]:
    """The bars. Each is the time of the first call as a multiple of that of the second."""
    store, fresh = ours.store, count()
    numbers, huge = list(range(ITEMS)), list(range(MANY))
    with_tuple = [*huge, (1, 2)]
    pairs = dict.fromkeys(map(str, range(BATCH)), OBJECT)
    store.put_many({**pairs, "list": numbers, "tuple": tuple(numbers), "huge": huge, "huge and tuple": with_tuple})

    def change(_: Any) -> None:
        store.get("0")
        store.put("0", OBJECT)

    def change_if_same(_: Any) -> None:
        version = store.get_versioned("0")[1]
        store.cas("0", OBJECT, version)

    def put_each(_: Any) -> None:
        for key, value in pairs.items():
            store.put(key, value)

    def bar(text: str, most: float, first: Callable[[Any], object], second: Callable[[Any], object], batch: int) -> Bar:
        found = measure(
            [Contestant(name, _turn(call), [None] * batch) for name, call in (("first", first), ("second", second))],
            rounds=setting.rounds(31), batch=batch, rng=setting.rng,
        )  # fmt: skip
        return Bar(text, found["first"].median / found["second"].median, most=most)

    values = tuple(numbers)
    yield bar(
        "put of a tuple: of a list", 1.3, lambda _: store.put("a", values), lambda _: store.put("a", numbers), BATCH
    )
    yield bar("get of a tuple: of a list", 1.3, lambda _: store.get("tuple"), lambda _: store.get("list"), BATCH)
    yield bar(
        "add: of put, new keys", 1.3,
        lambda _: store.add(f"new {next(fresh)}", OBJECT), lambda _: store.put(f"new {next(fresh)}", OBJECT), BATCH,
    )  # fmt: skip
    yield bar("replace: of put", 1.3, lambda _: store.replace("0", OBJECT), lambda _: store.put("0", OBJECT), BATCH)
    yield bar("get_versioned and cas: of get and put", 1.3, change_if_same, change, BATCH)
    yield bar("put_many: of put", 1.3, lambda _: store.put_many(pairs), put_each, 3)
    yield bar("get_versioned: of get", 1.3, lambda _: store.get_versioned("0"), lambda _: store.get("0"), BATCH)
    yield bar(
        "put of a million ints and a tuple: of the ints", 1.2,
        lambda _: store.put("b", with_tuple), lambda _: store.put("b", huge), 1,
    )  # fmt: skip
    yield bar(
        "get of a million ints and a tuple: of the ints", 1.2,
        lambda _: store.get("huge and tuple"), lambda _: store.get("huge"), 1,
    )  # fmt: skip


def _turn(call: Callable[[Any], object]) -> Callable[[Sequence[Any]], None]:
    def turn(arguments: Sequence[Any]) -> None:
        for argument in arguments:
            call(argument)

    return turn
