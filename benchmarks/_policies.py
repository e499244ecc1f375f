"""What is compared with the cache's own policy: LRU, S3-FIFO and Belady's optimum, on keys alone, one unit each."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence

__all__ = ["POLICIES"]

NEVER = 1 << 62


def lru(trace: Sequence[Hashable], capacity: int) -> int:
    """Return the number of hits. Evicts what was used least recently."""
    cache: OrderedDict[Hashable, None] = OrderedDict()
    hits = 0
    for key in trace:
        if key in cache:
            cache.move_to_end(key)
            hits += 1
            continue
        if len(cache) >= capacity:
            cache.popitem(last=False)
        cache[key] = None
    return hits


def s3_fifo(trace: Sequence[Hashable], capacity: int) -> int:
    """Return the number of hits. The algorithm of Yang and others (SOSP 2023): a small queue of a tenth, a main queue, and
    as many ghosts as the main queue has entries."""
    small_share = max(1, capacity // 10)
    small: deque[Hashable] = deque()
    main: deque[Hashable] = deque()
    frequency: dict[Hashable, int] = {}
    in_small: set[Hashable] = set()
    ghosts: OrderedDict[Hashable, None] = OrderedDict()
    hits = 0

    def evict_from_main() -> None:
        while True:
            key = main.popleft()
            if not frequency[key]:
                del frequency[key]
                return
            frequency[key] -= 1
            main.append(key)

    def evict() -> None:
        if len(small) < small_share and main:
            evict_from_main()
            return
        while small:
            key = small.popleft()
            in_small.discard(key)
            if frequency[key]:
                frequency[key] = 0
                main.append(key)
                if len(main) > capacity - small_share:
                    evict_from_main()
                    return
                continue
            del frequency[key]
            ghosts[key] = None
            if len(ghosts) > capacity - small_share:
                ghosts.popitem(last=False)
            return
        evict_from_main()

    for key in trace:
        if key in frequency:
            frequency[key] = min(3, frequency[key] + 1)
            hits += 1
            continue
        while len(frequency) >= capacity:
            evict()
        frequency[key] = 0
        if key in ghosts:
            del ghosts[key]
            main.append(key)
        else:
            small.append(key)
            in_small.add(key)
    return hits


def belady(trace: Sequence[Hashable], capacity: int) -> int:
    """Return the number of hits if the entry is evicted that is asked for last. No policy can do better.

    Two entries that are asked for equally late do not exist, so a heap of the next uses is enough.
    """
    from heapq import heappop, heappush

    following = [NEVER] * len(trace)
    seen: dict[Hashable, int] = {}
    for at in range(len(trace) - 1, -1, -1):
        following[at] = seen.get(trace[at], NEVER + at)
        seen[trace[at]] = at
    cache: dict[Hashable, int] = {}
    latest: list[tuple[int, Hashable]] = []
    hits = 0
    for key, after in zip(trace, following):
        if key in cache:
            hits += 1
        else:
            while len(cache) >= capacity:
                when, victim = heappop(latest)
                if cache.get(victim) == -when:
                    del cache[victim]
        cache[key] = after
        heappush(latest, (-after, key))
    return hits


POLICIES: dict[str, Callable[[Sequence[Hashable], int], int]] = {"LRU": lru, "S3-FIFO": s3_fifo, "Belady": belady}
