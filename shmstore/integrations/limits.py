"""A storage for the rate limits of the package limits, and so for Flask-Limiter and slowapi, shared by all workers on the host.

    import shmstore.integrations.limits  # makes the scheme known
    limiter = Limiter(get_remote_address, app=app, storage_uri="shmstore://shop-limits?size=16M")

``async+shmstore://`` is the same for coroutines. A call takes microseconds, so it runs in the event loop.

Each limit has one entry, and a hit changes it in one atomic step, whatever the strategy: of several workers that ask at once for
the last hit, one gets it. A fixed window is a counter. A moving window is an array of pairs, the time of a hit and the number of
all hits up to it. A sliding window is its start, with the hits of the window before and of this one.
"""

from __future__ import annotations

import functools
import hashlib
import time
from array import array
from bisect import bisect_left
from functools import cached_property
from math import floor
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from limits.aio.storage import MovingWindowSupport as AsyncMovingWindowSupport
from limits.aio.storage import SlidingWindowCounterSupport as AsyncSlidingWindowCounterSupport
from limits.aio.storage import Storage as AsyncStorage
from limits.errors import ConfigurationError
from limits.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore.integrations import _shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from shmstore.cache import Cache

__all__ = ["AsyncShmStorage", "ShmStorage"]

_LONGEST = 1000  # characters of a key that is stored as it is


class _Limits:
    """The limits in the cache that the URI names. *options* are those of shmstore.Cache; the URI may have them, too."""

    def __init__(self, uri: str = "", wrap_exceptions: bool = False, **options: Any) -> None:
        parts = urlsplit(uri)
        self._name = parts.netloc + parts.path
        if not self._name:
            raise ConfigurationError("the URI names the cache that has the limits, such as shmstore://shop-limits")
        given = {option: int(value) if value.isdecimal() else value for option, value in parse_qsl(parts.query)}
        self._options = {**given, **options}
        parent: Any = super()  # a storage, of threads or of coroutines
        parent.__init__(uri, wrap_exceptions=wrap_exceptions)

    @cached_property
    def _cache(self) -> Cache[Any]:
        """The cache; opened when it is first used, not when settings are read."""
        return _shared.handle(self._name, self._options)

    @property
    def base_exceptions(self) -> type[Exception]:
        return errors.ShmStoreError

    # ---- fixed windows

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        return self._cache.incr(
            _entry("", key), amount, ttl=expiry
        )  # a new entry gets the ttl, an old one keeps its own

    def get(self, key: str) -> int:
        return self._cache.get(_entry("", key), 0)

    def get_expiry(self, key: str) -> float:
        try:
            return time.time() + (self._cache.ttl(_entry("", key)) or 0.0)
        except KeyError as error:
            if is_foreign(error):
                raise
            return time.time()

    def clear(self, key: str) -> None:
        self._cache.delete_many([_entry(kind, key) for kind in ("", "moving ", "sliding ")])

    def reset(self) -> int | None:
        return self._cache.clear()

    def check(self) -> bool:
        try:
            return self._cache.stats() is not None
        except errors.ShmStoreError as error:
            if is_foreign(error):
                raise
            return False

    # ---- moving windows

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        def hit(data: bytes) -> bytes | None:
            now = time.time()
            hits, first = _since(data, now - expiry)
            before, total = hits[2 * first - 1] if first else 0.0, hits[-1] if hits else 0.0
            if total - before + amount > limit:
                return None
            last = hits[-2] if hits else now  # the clock may have been put back
            kept = hits[
                2 * max(first - 1, 0) :
            ]  # from the last one before the window: its number of hits is what came before
            return (kept + array("d", [max(now, last), total + amount])).tobytes()

        return self._modify(_entry("moving ", key), hit, b"", expiry)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        now = time.time()
        hits, first = _since(self._cache.get(_entry("moving ", key), b""), now - expiry)
        if 2 * first == len(hits):
            return now, 0
        return hits[2 * first], int(hits[-1] - (hits[2 * first - 1] if first else 0))

    # ---- sliding windows

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        def hit(window: tuple[float, int, int] | None) -> tuple[float, int, int] | None:
            now = time.time()
            start, before, hits = _slid(window, expiry, now)
            if floor(before * (start + expiry - now) / expiry) + hits + amount > limit:
                return None
            return start, before, hits + amount

        return self._modify(_entry("sliding ", key), hit, None, 2 * expiry)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        now = time.time()
        start, before, hits = _slid(self._cache.get(_entry("sliding ", key)), expiry, now)
        return before, start + expiry - now if before else 0.0, hits, start + 2 * expiry - now

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        self._cache.delete(_entry("sliding ", key))

    def _modify(self, entry: str, hit: Callable[[Any], Any], absent: Any, ttl: int) -> bool:
        """Replace the entry by what *hit* returns for it, in one step; None: the hit is refused."""
        if hit(self._cache.get(entry, absent)) is None:
            return False  # a refusal writes nothing
        taken = False

        def modified(value: Any) -> Any:
            nonlocal taken
            new = hit(value)
            taken = new is not None
            return new if taken else value

        self._cache.modify(entry, modified, absent, ttl=ttl)
        return taken


def _entry(kind: str, key: str) -> str:
    """The key of an entry. What identifies a client may be of any length."""
    if len(key) > _LONGEST:
        key = hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=20).hexdigest()
    return kind + key


def _since(data: bytes, start: float) -> tuple[array[float], int]:
    """All pairs of times and numbers, and which pair is the first one of the window."""
    hits = array("d", data)
    return hits, bisect_left(hits[0::2], start)


def _slid(window: tuple[float, int, int] | None, expiry: int, now: float) -> tuple[float, int, int]:
    """Start, hits of the window before, and hits of the one that *now* is in."""
    if window is None or now >= window[0] + 2 * expiry:
        return now, 0, 0
    start, before, hits = window
    return (start, before, hits) if now < start + expiry else (start + expiry, hits, 0)


class ShmStorage(_Limits, Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """All strategies."""

    STORAGE_SCHEME = ["shmstore"]


def _coroutine(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    async def coroutine(*arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    return coroutine


class AsyncShmStorage(_Limits, AsyncStorage, AsyncMovingWindowSupport, AsyncSlidingWindowCounterSupport):
    """The same, of coroutines."""

    STORAGE_SCHEME = ["async+shmstore"]

    incr = _coroutine(_Limits.incr)
    get = _coroutine(_Limits.get)
    get_expiry = _coroutine(_Limits.get_expiry)
    clear = _coroutine(_Limits.clear)
    reset = _coroutine(_Limits.reset)
    check = _coroutine(_Limits.check)
    acquire_entry = _coroutine(_Limits.acquire_entry)
    get_moving_window = _coroutine(_Limits.get_moving_window)
    acquire_sliding_window_entry = _coroutine(_Limits.acquire_sliding_window_entry)
    get_sliding_window = _coroutine(_Limits.get_sliding_window)
    clear_sliding_window = _coroutine(_Limits.clear_sliding_window)
