"""Reading the server for a near cache: what becomes a copy, and what deletes one. The rules are those of cache.py."""

from __future__ import annotations

from shmstore import errors
from shmstore._base.calls import through
from shmstore._base.durations import seconds
from shmstore._base.foreign import is_foreign
from shmstore._base.sentinels import MISSING
from shmstore._core import lib
from shmstore._store import leases
from shmstore._store.failures import logger
from shmstore.near import state, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shmstore._store.keys import EntryKey
    from shmstore.near.cache import NearCache

    Wanted = dict[
        EntryKey, tuple[bytes, int]
    ]  # the keys to ask for, and the versions of their tokens, 0: there is none

__all__ = ["ask", "fetch", "get_many", "pass_by", "valid_state", "without_proof"]


def valid_state(cache: NearCache) -> Any:
    """The state, if copies are valid."""
    found: Any = cache._store.get(state.STATE)
    if found is not None and lib.shms_now() < found[2] and found[0] == cache._digest:
        return found
    cache._need_listener()
    return None


def fetch(cache: NearCache, raw: bytes, generation: int, default: Any) -> Any:
    """Rule 2. The state was valid when this call began."""
    store, end = cache._store, lib.shms_now() + cache._config.bound
    version = 0
    while not version:
        found: Any
        found, seen = store._value_and_version(raw) or (None, 0)
        if state.is_copy(found, generation, lib.shms_now()):  # another process has fetched it
            cache.near_hits += 1
            return found[2]
        if _is_token(cache, found):
            left = end - lib.shms_now()
            if left <= 0:
                return pass_by(cache, raw, default)
            leases.await_change(store, leases.Busy(raw, seen, (leases.owner_of(found),)), left)  # type: ignore[arg-type]
        else:
            version = state.put_token(store, raw, seen)
    sent = lib.shms_now()
    try:
        body, left = cache._backing.read(("GET", raw), ("PTTL", raw))
    except BaseException:
        through(store.delete, raw)
        raise
    return _settle(cache, raw, version, generation, sent, body, left, default)


def _is_token(cache: NearCache, entry: Any) -> bool:
    """Whether a living process fetches the value."""
    return type(entry) is bytes and not cache._store._is_gone(leases.owner_of(entry), True)


def _settle(
    cache: NearCache, raw: bytes, version: int, generation: int, sent: int, body: Any, left: Any, default: Any
) -> Any:
    """Put the copy for the token, or delete the entry (rule 3). *left*: the time to live that the server has said."""
    kept = False
    try:
        value = _value(cache, raw, body, default)
        if version and value is not default and isinstance(left, int) and left != -2:
            life = cache._config.near_ttl if left < 0 else min(cache._config.near_ttl, left * 1_000_000)
            deadline = sent + life
            rest = deadline - lib.shms_now()
            kept = rest > 0 and cache._store.cas(raw, [generation, deadline, value], version, ttl=rest / 1e9)
    except errors.StoreFull as error:  # the value is too large for the store
        if is_foreign(error) and not isinstance(error, MemoryError):
            raise
    finally:
        if not kept:
            through(cache._store.delete, raw)
    return value


def _value(cache: NearCache, raw: bytes, body: Any, default: Any) -> Any:
    body = cache._backing.checked(body, raw)
    if body is None:
        cache.misses += 1
        return default
    try:
        value = values.decode(body)
    except errors.CodecError as error:
        if is_foreign(error):
            raise
        cache.misses += 1
        log = logger()
        if log is not None:
            log.warning("shmstore %s: entry %r: %s; it is treated as absent", cache._store._key.shown, raw, error)
        return default
    cache.far_hits += 1
    return value


# ---- past the copies


def ask(cache: NearCache, raw: bytes, key: object) -> Any:
    """What the server has: bytes or None. The copy is deleted (rule 3)."""
    cache.passes += 1
    try:
        return cache._backing.checked(cache._backing.read(("GET", raw))[0], key)
    finally:
        if cache._config.has_copies(raw):
            through(cache._store.delete, raw)


def pass_by(cache: NearCache, raw: bytes, default: Any) -> Any:
    return _value(cache, raw, ask(cache, raw, raw), default)


def without_proof(cache: NearCache, raw: bytes, found: Any, now: int, default: Any) -> Any:
    """The listener does not prove how old the copies are. *found*: the state, or None."""
    cache._need_listener()
    how = cache._config.on_partition
    if how == "stale" and found is not None and found[0] == cache._digest:
        if now < found[2] - cache._config.bound + cache._config.max_stale:
            entry: Any = cache._store.get(raw)
            if state.is_copy(entry, found[1], now):
                cache.near_hits += 1
                return entry[2]
    if how == "miss":
        cache.misses += 1
        return default
    if how == "raise":
        raise _no_proof(cache)
    return pass_by(cache, raw, default)


def _no_proof(cache: NearCache) -> Exception:
    report = cache._store.get(state.REPORT)
    why = (report or {}).get("problem") or "it has not answered in time, or is being started"
    return errors.BackingUnavailable(
        f"store {cache._store._key.shown}: the listener proves no copy to be at most {seconds(cache._config.bound)} old: "
        f'{why}; with on_partition="bypass" the server would be asked'
    )


# ---- many keys


def get_many(cache: NearCache, raws: dict[EntryKey, bytes], fresh: bool) -> dict[EntryKey, Any]:
    found: dict[EntryKey, Any] = {}
    wanted: Wanted = {}
    valid, now = None if fresh else valid_state(cache), lib.shms_now()
    generation = valid[1] if valid else 0
    try:
        for key, raw in raws.items():
            wanted[key] = raw, 0
            if valid is None or not cache._config.has_copies(raw):
                continue
            entry: Any
            entry, version = cache._store._value_and_version(raw) or (None, 0)
            if state.is_copy(entry, generation, now):
                del wanted[key]
                cache.near_hits += 1
                found[key] = entry[2]
            elif not _is_token(cache, entry):  # to wait for other processes here could make two wait for each other
                wanted[key] = raw, state.put_token(cache._store, raw, version)
        if valid is None and not fresh and cache._config.on_partition != "bypass":
            each = {key: cache.get(key, MISSING) for key in wanted}
            return {key: value for key, value in each.items() if value is not MISSING}
        return {**found, **_fetch_many(cache, wanted, generation)}
    except BaseException:
        through(_forget, cache, wanted)
        raise


def _fetch_many(cache: NearCache, wanted: Wanted, generation: int) -> dict[EntryKey, Any]:
    if not wanted:
        return {}
    found = {}
    sent = lib.shms_now()
    answers = iter(cache._backing.read(*[(what, raw) for raw, _ in wanted.values() for what in ("GET", "PTTL")]))
    for key, (raw, version) in wanted.items():
        body, left = next(answers), next(answers)
        cache.passes += not version
        if cache._config.has_copies(raw):
            value = _settle(cache, raw, version, generation, sent, body, left, MISSING)
        else:
            value = _value(cache, raw, body, MISSING)
        if value is not MISSING:
            found[key] = value
    return found


def _forget(cache: NearCache, wanted: Wanted) -> None:
    """Remove the tokens of a call that has failed, and whatever it has put for them."""
    cache._store.delete_many([raw for raw, version in wanted.values() if version])
