"""The class Cache: a store that evicts what is least useful instead of refusing what is new."""

from __future__ import annotations

from shmstore.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    _V = TypeVar("_V")
else:
    _V = object

__all__ = ["Cache"]


class Cache(Store[_V]):
    """A store that makes room by itself: where a Store raises StoreFull, a Cache evicts the entries that are least useful.

    Everything else is as in a Store, and the options are the same. max_entries is the largest number of entries, which
    concurrent writers exceed by one each at most.

    The policy is S3-FIFO, without its queues. A new entry has to be used again while a tenth of the cache is written anew,
    otherwise it is evicted; what is used again stays as long as it is used. So a scan over many keys that are asked for
    once does not push out what is asked for often. What has expired goes first. Getting, overwriting and touching an entry
    counts as use, but not through a handle with readonly=True, which cannot write that down.

    >>> with shmstore.Cache("example", size="1M", ttl=3600) as cache:
    ...     for n in range(100_000):
    ...         cache[f"page:{n}"] = "x" * 100
    ...     print(cache.stats().evictions > 90_000)
    ...     cache.destroy()
    True

    The segment is larger than a Store's by a sixty-fourth of the size, which the policy needs.

    A cache and a store of one name are the same memory, and what the creator chose counts: a Store that attaches to a
    cache evicts, too. A Cache that attaches to a store raises NotACache.

    Two caches are equal only if they are the same handle, so a cache can be a key of a dict.
    """

    __slots__ = ()

    _EVICTS = True

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__
