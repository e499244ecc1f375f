"""The options of a near cache, parsed and checked in one place."""

from __future__ import annotations

from shmstore._base.durations import check_ttl, ttl_ns
from shmstore._base.imports import late
from shmstore.near.backing import Address, Backing, parse_backing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
    import json
    from collections.abc import Iterable
    from typing import Any
else:
    hashlib, json = late("hashlib"), late("json")

__all__ = ["Config", "parse"]

MODES = ("bypass", "stale", "miss", "raise")
_LINGER = 5.0  # seconds that a listener stays after the last process has detached
_SHORTEST = 50_000_000  # ns: a bound below that would be broken by every pause of the listener
_LOCKS = 0.25  # of the bound: how long the listener waits for a lock in the store


class Config:
    """*bound*, *near_ttl* and *max_stale* are in ns. *digest*: of what all processes of a host must agree on."""

    __slots__ = (
        "prefixes", "_store", "address", "bound", "digest", "linger", "max_stale", "name", "near_ttl", "on_partition", "ttl",
    )  # fmt: skip

    def __init__(
        self, name: str, address: Address, prefixes: tuple[bytes, ...], bound: int, store: dict[str, Any]
    ) -> None:
        self.name = name
        self.address = address
        self.bound = bound
        self.linger = _LINGER
        self.prefixes = prefixes
        self._store = store
        agreed = json.dumps([address.identity(), [prefix.hex() for prefix in prefixes], bound])
        self.digest = int.from_bytes(hashlib.sha256(agreed.encode()).digest()[:7], "big")
        self.near_ttl = self.max_stale = 0
        self.on_partition = "bypass"
        self.ttl: Any = None

    def has_copies(self, raw: bytes) -> bool:
        return raw.startswith(self.prefixes)

    def backing(self) -> Backing:
        return Backing(self.address, repr(self.name))

    def for_listener(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "store": {**self._store, "timeout": self.bound * _LOCKS / 1e9},
            "kind": self.address.kind,
            "options": self.address.options,
            "prefixes": [prefix.hex() for prefix in self.prefixes],
            "digest": self.digest,
            "bound": self.bound,
            "linger": self.linger,
        }


def parse(
    name: Any, backing: Any, *, prefixes: Any, near_ttl: Any, bound: Any, on_partition: Any, max_stale: Any, ttl: Any,
    store: dict[str, Any],
) -> Config:  # fmt: skip
    """Raises: TypeError, ValueError; ImportError without redis-py or hiredis."""
    if not isinstance(name, str):
        raise TypeError(
            f"a cache with a backing has a name, a str, not {type(name).__name__}: the listener opens it by its name"
        )
    if on_partition not in MODES:
        raise ValueError(f'on_partition is "bypass", "stale", "miss" or "raise", not {on_partition!r}')
    if (max_stale is not None) != (on_partition == "stale"):
        raise ValueError(
            'max_stale is how old values may be with on_partition="stale", in seconds; give both or neither'
        )
    life = ttl_ns(near_ttl, "near_ttl")
    if not life:
        raise ValueError("near_ttl is a number of seconds: it limits what no listener hears of, such as SWAPDB")
    limit = ttl_ns(bound, "bound")
    if limit < _SHORTEST:
        raise ValueError(f"bound is at least {_SHORTEST / 1e9} seconds, not {bound!r}")
    check_ttl(ttl)
    config = Config(name, parse_backing(backing), _parse_prefixes(prefixes), limit, store)
    config.near_ttl, config.on_partition, config.ttl = life, on_partition, ttl
    config.max_stale = ttl_ns(max_stale, "max_stale") if max_stale is not None else 0
    if max_stale is not None and config.max_stale < limit:
        raise ValueError(f"max_stale is at least bound ({bound!r}), not {max_stale!r}")
    return config


def _parse_prefixes(prefixes: Iterable[str | bytes]) -> tuple[bytes, ...]:
    if isinstance(prefixes, (str, bytes)):
        raise TypeError(f"prefixes is a list or tuple of prefixes; write prefixes=[{prefixes!r}]")
    found = []
    for prefix in prefixes:
        if not isinstance(prefix, (str, bytes)):
            raise TypeError(f"a prefix is str or bytes, not {type(prefix).__name__}")
        found.append(prefix.encode() if isinstance(prefix, str) else prefix)
    found.sort()
    if not found:
        raise ValueError("prefixes is empty, so no key would have a copy; leave it out, or use redis-py alone")
    for one, other in zip(found, found[1:]):
        if other.startswith(one):
            raise ValueError(f"prefixes: {one!r} is the beginning of {other!r}, and the server refuses that")
    return tuple(found)
